"""One function for each format: a row and its roles' columns as the values of an Example."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.example import Message
from tunewright.data import conversations, entities, media
from tunewright.data.conversations import message, text_of
from tunewright.data.media import Place

Row = dict[str, Any]
Roles = dict[str, str]
_MORE_NEGATIVES = re.compile(r"negative_\d+")
# What stands at the ends of a segment that carries its template, and what shows that it carries more of it.
_ENDS = re.compile(r"^\s*(<s>|<\|begin_of_text\|>)|(</s>|<\|end_of_text\|>|<\|endoftext\|>|<\|eot_id\|>)\s*$")
_TEMPLATE = re.compile(
    r"\[/?INST\]|<\|im_(?:start|end)\|>|<\|start_header_id\|>|<start_of_turn>|<\|(?:user|assistant)\|>"
)


def _given(row: Row, roles: Roles, role: str) -> Any:
    return row.get(roles[role]) if role in roles else None


def _labels(row: Row, roles: Roles, place: Place) -> Row:
    prompt = text_of(row[roles["prompt"]], "the text")
    label = _label(row[roles["label"]])
    return {"messages": [message("user", prompt), message("assistant", label)], "label": label}


def _label(value: Any) -> str:
    if isinstance(value, list):  # several labels: their JSON list
        return json.dumps(list(dict.fromkeys(_label(one) for one in value)), ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return text_of(value, "the label").strip()


def _instruction(row: Row, roles: Roles, place: Place) -> Row:
    said = text_of(row[roles["output"]], "the output")
    return {"messages": [*_with_columns(_asked(row, roles), row, roles, place), message("assistant", said)]}


def _asked(row: Row, roles: Roles) -> list[Message]:
    """The messages of an instruction: alone it is what the user says; with an input it is the system message. After
    earlier turns both are what the user says.
    """
    instruction = text_of(row[roles["instruction"]], "the instruction")
    given = _given(row, roles, "input")
    history = _history(row, roles)
    if given is None or (isinstance(given, str) and not given.strip()):
        return [*history, message("user", instruction)]
    if history:
        return [*history, message("user", f"{instruction}\n{text_of(given, 'the input')}")]
    if own := conversations.system_of(_given(row, roles, "system")):
        instruction = f"{own}\n\n{instruction}"
    return [message("system", instruction), message("user", text_of(given, "the input"))]


def _history(row: Row, roles: Roles) -> list[Message]:
    """Earlier turns: a list of pairs, what the user said and what was answered."""
    given = _given(row, roles, "history")
    if given is None or given == "" or given == []:
        return []
    turns = conversations.listed(given)
    if any(not isinstance(turn, list | tuple) or len(turn) != 2 for turn in turns):
        raise DataError("history is no list of pairs [what the user said, what was answered]")
    return [
        message(role, text_of(said, "a turn of the history"))
        for turn in turns
        for role, said in zip(("user", "assistant"), turn, strict=True)
    ]


def _completion(row: Row, roles: Roles, place: Place) -> Row:
    """A prompt and what is said to it, both texts or both messages."""
    asked, extras = _prompt(row[roles["prompt"]], place)
    said = conversations.answer(row[roles["completion"]], "the completion", place)
    found = [*_with_columns([*_history(row, roles), *asked], row, roles, place), *said]
    conversations.check_order(found, learned=True)
    if said[0].role != "assistant" or said[-1].role != "assistant":
        raise DataError("wrong order: the completion must be what the assistant says")
    values = _with_tools({"messages": found}, extras, row, roles)
    return values | ({"num_answer_messages": len(said)} if len(said) > 1 else {})


def _prompt(given: Any, place: Place) -> tuple[list[Message], Row]:
    if isinstance(given, list) and any(isinstance(one, dict) for one in given):
        return conversations.messages(given, place)
    return [message("user", text_of(given, "the prompt"))], {}


def _prompts(row: Row, roles: Roles, place: Place) -> Row:
    """A prompt alone; what graders compare with stands beside it, or stays a column."""
    given = row[roles["prompt"]]
    if isinstance(given, str) and given.lstrip().startswith("[{"):
        given = conversations.listed(given)
    asked, extras = _prompt(given, place)
    asked = _with_columns(asked, row, roles, place)
    conversations.check_order(asked, learned=False)
    if asked[-1].role not in ("user", "tool"):
        raise DataError(f"no prompt: the last message is the {asked[-1].role}'s, where the user should ask")
    values = _with_tools({"messages": asked, "num_answer_messages": 0}, extras, row, roles)
    expected = _given(row, roles, "expected")
    if expected is None:
        return values
    text = expected if isinstance(expected, str) else json.dumps(expected, ensure_ascii=False, default=str)
    return values | {"expected": text_of(text, "the expected answer")}


def _pairs(row: Row, roles: Roles, place: Place) -> Row:
    """The anchor asks, the positive answers; negatives are what should not be answered."""
    anchor = _one_text(row[roles["anchor"]], "the anchor", "user")
    positives = _several(row[roles["positive"]])
    if len(positives) > 1:
        raise DataError(f"several positives: {len(positives)} in one row; give each a row of its own")
    positive = _one_text(positives[0] if positives else None, "the positive")
    given = _several(_given(row, roles, "negative"))
    given += [row[name] for name in row if _MORE_NEGATIVES.fullmatch(name) and row[name] is not None]
    negatives = dict.fromkeys(_one_text(one, "the negative") for one in given)
    values: Row = {"messages": [message("user", anchor), message("assistant", positive)]}
    return values | ({"rejected": [message("assistant", one) for one in negatives]} if negatives else {})


def _several(value: Any) -> list[Any]:
    """Texts or conversations: one of them, or a list."""
    if value is None or value == []:
        return []
    if isinstance(value, list) and not all(isinstance(one, dict) for one in value):
        return list(value)
    return [value]


def _one_text(value: Any, what: str, role: str | None = None) -> str:
    """A text, also one that is the last message (of a role) of a conversation."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        found = [one for one in conversations.messages(value)[0] if role is None or one.role == role]
        value = found[-1].content if found else None
    return text_of(value, what)


def _chat(row: Row, roles: Roles, place: Place) -> Row:
    found, extras = conversations.messages(row[roles["messages"]], place)
    found = _with_columns(found, row, roles, place)
    conversations.check_order(found, learned=True)
    return _with_tools({"messages": found}, extras, row, roles)


def _with_tools(values: Row, extras: Row, row: Row, roles: Roles) -> Row:
    tools = conversations.tools(_given(row, roles, "tools"))
    return values | ({"tools": tools} if tools else {}) | ({"message_extras": extras} if extras else {})


def _with_columns(found: list[Message], row: Row, roles: Roles, place: Place) -> list[Message]:
    """Messages with the media that columns hold."""
    given = {
        kind: [place.take(kind, one) for one in media.listed(_given(row, roles, f"{kind}s"))] for kind in media.KINDS
    }
    if not any(given.values()) and not any(one.media for one in found):
        return found
    return media.attach(found, given)


def _preference(row: Row, roles: Roles, place: Place) -> Row:
    given = _given(row, roles, "messages")
    beside: Row = {}
    prompt: list[Message] = []
    extras: Row = {}
    if _given(row, roles, "instruction"):
        prompt = _asked(row, roles)
    elif given is None and "input" in roles:
        given = row[roles["input"]]
        if isinstance(given, dict):  # OpenAI's shape: the input holds messages, tools and more
            beside, given = given, given.get("messages")
    if not prompt and given is not None:
        if isinstance(given, str) and not given.lstrip().startswith("["):
            prompt = [*_history(row, roles), message("user", text_of(given, "the prompt"))]
        else:
            prompt, extras = conversations.messages(given, place)
    chosen, rejected = _given(row, roles, "chosen"), row[roles["rejected"]]
    prompt = _with_columns(prompt, row, roles, place)
    if "chosen" not in roles:  # the better answer ends the conversation
        end = max((at + 1 for at, one in enumerate(prompt) if one.role == "user"), default=0)
        pair = conversations.pair_of(prompt[:end], prompt[end:], _worse(rejected, end, place))
    else:
        pair = conversations.pair(prompt, chosen, rejected, place)
    values = _with_tools({"messages": [*pair.prompt, *pair.chosen], "rejected": pair.rejected}, extras, row, roles)
    if len(pair.chosen) > 1:
        values["num_answer_messages"] = len(pair.chosen)
    if tools := conversations.tools(beside.get("tools")):
        values["tools"] = tools
    left = {key: value for key, value in beside.items() if key not in ("messages", "tools") and value is not None}
    return values | ({"meta": left} if left else {})


def _worse(given: Any, end: int, place: Place) -> list[Message]:
    """The worse answer: a text, messages, or a whole conversation whose first messages are the prompt."""
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
        given = given[0]
    found = conversations.answer(given, "rejected", place)
    last = max((at + 1 for at, one in enumerate(found) if one.role == "user"), default=0)
    return found[last:] if last else found


def _segments(row: Row, roles: Roles, place: Place) -> Row:
    """Texts in turn, each learned (label true) or context: what is context the user says, what is learned the
    assistant.
    """
    given = row[roles["segments"]]
    if not isinstance(given, list) or not given:
        raise DataError("segments are no list of objects {label, text}")
    joined: list[tuple[bool, str]] = []
    for one in given:
        if not isinstance(one, dict) or not isinstance(one.get("label"), bool) or not isinstance(one.get("text"), str):
            raise DataError("segments are no list of objects {label: true or false, text}")
        if joined and joined[-1][0] == one["label"]:
            joined[-1] = (one["label"], joined[-1][1] + one["text"])
        else:
            joined.append((one["label"], one["text"]))
    texts = [(learned, _ENDS.sub("", text).strip()) for learned, text in joined]
    if found := next((mark for _, text in texts if (mark := _TEMPLATE.search(text))), None):
        raise DataError(f"template in the text: a segment holds {found.group()!r}; give the turns as messages instead")
    messages = [
        message("assistant" if learned else "user", text_of(text, "a segment")) for learned, text in texts if text
    ]
    conversations.check_order(messages, learned=True)
    return {"messages": messages}


def _captions(row: Row, roles: Roles, place: Place) -> Row:
    """What is seen or heard, and its words."""
    found = _with_columns([message("user", "")], row, roles, place)
    if not found[0].media:
        raise DataError("empty: the row has no image, sound or film")
    return {"messages": [*found, message("assistant", text_of(row[roles["text"]], "the text"))]}


def _text(row: Row, roles: Roles, place: Place) -> Row:
    return {"text": text_of(row[roles["text"]], "the text")}


MAKERS: dict[str, Callable[[Row, Roles, Place], Row]] = {
    "labels": _labels,
    "instruction": _instruction,
    "completion": _completion,
    "prompts": _prompts,
    "pairs": _pairs,
    "chat": _chat,
    "sharegpt": _chat,
    "preference": _preference,
    "entities": entities.of_tags,
    "spans": entities.of_places,
    "segments": _segments,
    "captions": _captions,
    "text": _text,
}
