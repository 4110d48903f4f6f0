"""What the columns mean: detects the format of rows, maps columns to roles, and turns a row into an Example."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tunewright.core.errors import DataError, unknown
from tunewright.core.example import Example, Message
from tunewright.core.retrieval import COLUMNS
from tunewright.data import conversations, entities
from tunewright.data.conversations import message, text_of


@dataclass(frozen=True)
class Role:
    """A part that a format needs: the words of `data.fields` that name its column, and the columns it is known by."""

    name: str
    words: tuple[str, ...]
    columns: tuple[str, ...]
    required: bool = True


_SYSTEM = Role("system", ("system",), ("system", "system_prompt"), required=False)
_TOOLS = Role("tools", ("tools",), ("tools", "functions"), required=False)
# Which passage holds the answer: an id, or its text. They stay in the row's meta for data.retrieval.
_PASSAGE = tuple(Role(word, (word,), (), required=False) for word in COLUMNS)
_INSTRUCTION = Role("instruction", ("instruction",), ("instruction",))
_INPUT = Role("input", ("input",), ("input", "context"), required=False)

FORMATS: dict[str, tuple[Role, ...]] = {
    "preference": (
        Role("chosen", ("chosen",), ("chosen", "preferred_output", "preferred_completion")),
        Role("rejected", ("rejected",), ("rejected", "non_preferred_output", "non_preferred_completion")),
        Role("instruction", ("instruction",), ("instruction",), required=False),
        Role("messages", ("messages", "prompt"), ("messages", "conversations", "prompt", "question"), required=False),
        Role("input", ("input",), ("input",), required=False),
        _SYSTEM,
        _TOOLS,
    ),
    "chat": (
        Role("messages", ("messages",), ("messages", "conversation", "conversations")),
        _SYSTEM,
        _TOOLS,
        *_PASSAGE,
    ),
    "sharegpt": (
        Role("messages", ("messages",), ("conversations", "conversation", "messages")),
        _SYSTEM,
        _TOOLS,
        *_PASSAGE,
    ),
    "instruction": (
        _INSTRUCTION,
        _INPUT,
        Role("output", ("output", "completion"), ("output", "response", "answer", "completion")),
        _SYSTEM,
        *_PASSAGE,
    ),
    "completion": (
        Role("prompt", ("prompt", "input", "text"), ("prompt", "question", "query", "input")),
        Role("completion", ("completion", "output"), ("completion", "response", "answer", "output")),
        _SYSTEM,
        *_PASSAGE,
    ),
    "labels": (
        Role(
            "prompt",
            ("prompt", "text", "input"),
            ("text", "message", "utterance", "sentence", "prompt", "query", "question", "comment", "review"),
        ),
        Role("label", ("label",), ("label_text", "label_name", "label", "category", "intent", "class")),
        _SYSTEM,
    ),
    "pairs": (
        Role("anchor", ("anchor",), ("anchor", "sentence1", "query")),
        Role("positive", ("positive",), ("positive", "sentence2")),
        Role("negative", ("negative",), ("negative",), required=False),
        _SYSTEM,
    ),
    "entities": (
        Role("tokens", ("tokens",), ("tokens", "words")),
        Role("tags", ("tags",), ("tags", "ner_tags", "labels")),
        _SYSTEM,
    ),
    "spans": (
        Role("text", ("text",), ("text", "document", "sentence", "content")),
        Role("spans", ("spans",), ("spans", "entities")),
        _SYSTEM,
    ),
    "text": (Role("text", ("text",), ("text", "document", "content")),),
}
_LABEL_COLUMNS = {"label", "category", "intent", "class"}
# Columns that may stand beside a plain text; any other text column could be its answer, so we ask.
_BESIDE_TEXT = {
    "id", "uid", "source", "url", "title", "date", "author", "name", "lang", "language", "license", "licence", "split",
    "timestamp", "created", "file", "meta", "metadata", "topic", "year",
}  # fmt: skip


def detect(rows: list[dict[str, Any]], fields: dict[str, str]) -> str:
    """The format of rows, from their columns. Raises DataError with the columns found when none fits or several do."""
    columns = list(dict.fromkeys(name for row in rows for name, value in row.items() if value is not None))
    fits = [name for name in FORMATS if _match(name, tuple(columns), tuple(fields.items())) is not None]
    if "preference" in fits:
        return "preference"
    chat = _match("chat", tuple(columns), tuple(fields.items()))
    if chat is not None and (kind := _kind_of_chat(rows, chat["messages"])) is not None:
        return kind
    if (kind := _kind_of_entities(rows, fits, columns, fields)) is not None:
        return kind
    fits = [name for name in fits if name not in ("chat", "sharegpt", "entities", "spans")]
    if "pairs" in fits:
        return "pairs"
    if "instruction" in fits:
        return "instruction"
    lowered = {name.strip().lower() for name in columns}
    judged = all(isinstance(row.get("label"), bool) for row in rows)  # whether an answer is good, beside the answer
    if "completion" in fits and ("labels" not in fits or judged or (not fields and "label" not in lowered)):
        return "completion"
    several_labels = len(lowered & _LABEL_COLUMNS) > 1 and not lowered & {"label_text", "label_name"}
    if "labels" in fits and "completion" not in fits and ("label" in fields or not several_labels):
        return "labels"
    if fits == ["text"] and ("text" in fields or not _other_text(rows, lowered)):
        return "text"
    raise DataError(_question(columns, fits))


def to_example(
    format: str, row: dict[str, Any], fields: dict[str, str], id: str, *, system: str | None = None
) -> Example:
    """A row as an Example. Raises DataError(reason) when something is missing, empty or out of order.

    system: put before every conversation that has no system message.
    """
    roles = _match(format, tuple(row), tuple(fields.items()))
    if roles is None:
        raise DataError(f"missing column: {_missing(format, row, fields)}")
    make = _MAKERS[format]
    values: dict[str, Any] = make(row, roles)
    messages: list[Message] = values.get("messages", [])
    if format != "text" and (not messages or messages[0].role not in ("system", "developer")):
        own = row.get(roles["system"]) if "system" in roles else None
        own = text_of(own, "the system message") if own else system
        if own:
            values["messages"] = [message("system", own), *messages]
    used = {column for role, column in roles.items() if role not in COLUMNS}
    meta = {name: value for name, value in row.items() if name not in used and value is not None}
    if "message_extras" in values:
        meta["message_extras"] = values.pop("message_extras")
    if meta:
        values["meta"] = meta
    return Example(id=id, **values)


# --- columns ---


def check_format(format: str) -> None:
    """Raise DataError when `data.format` is no word we know."""
    if format != "auto" and format not in FORMATS:
        raise DataError(f"data.format: {unknown('format', format, ['auto', *FORMATS])}")


@lru_cache(maxsize=4096)
def _match(format: str, columns: tuple[str, ...], fields: tuple[tuple[str, str], ...]) -> dict[str, str] | None:
    """Role -> column, or None when a required role has none or `fields` names a word that the format does not know."""
    lowered = {name.strip().lower(): name for name in reversed(columns)}
    named = dict(fields)
    roles: dict[str, str] = {}
    for role in FORMATS[format]:
        word = next((word for word in role.words if word in named), None)
        if word is not None:
            column: str | None = named.pop(word)
            if column not in columns:
                column = None
        else:
            free = (name for name in role.columns if name in lowered and lowered[name] not in dict(fields).values())
            column = next((lowered[name] for name in free if lowered[name] not in roles.values()), None)
        if column is not None:
            roles[role.name] = column
        elif role.required:
            return None
    if named:
        return None
    return roles


def check_fields(format: str, rows: list[dict[str, Any]], fields: dict[str, str]) -> None:
    """Raise DataError when `data.fields` has a word that the format does not know, or a column that no row has."""
    columns = {name for row in rows for name in row}
    known = [FORMATS[format]] if format in FORMATS else FORMATS.values()
    words = {word for roles in known for role in roles for word in role.words}
    for word, column in fields.items():
        if word not in words:
            raise DataError(f"data.fields: {unknown(f'word for format {format}', word, words)}")
        if column not in columns:
            raise DataError(f"data.fields: the column of '{word}' is not there. {unknown('column', column, columns)}")


def _missing(format: str, row: dict[str, Any], fields: dict[str, str]) -> str:
    for role in FORMATS[format]:
        word = next((word for word in role.words if word in fields), None)
        if role.required and _match_one(role, row, fields[word] if word else None) is None:
            return f"no '{fields[word] if word else role.name}' among {', '.join(row) or 'no columns'}"
    return f"the columns {', '.join(row)} do not make format '{format}'"


def _match_one(role: Role, row: dict[str, Any], given: str | None) -> str | None:
    lowered = {name.strip().lower(): name for name in row}
    if given is not None:
        return given if given in row else None
    return next((lowered[name] for name in role.columns if name in lowered), None)


def _kind_of_chat(rows: list[dict[str, Any]], column: str) -> str | None:
    """Whose shape the messages have; None when the column holds no messages at all."""
    for row in rows:
        try:
            listed = conversations.listed(row.get(column))
        except DataError:
            continue
        if listed and isinstance(listed[0], dict):
            return "sharegpt" if "from" in listed[0] else "chat"
    return None


def _kind_of_entities(
    rows: list[dict[str, Any]], fits: list[str], columns: list[str], fields: dict[str, str]
) -> str | None:
    """`entities` or `spans` where the columns hold such; None where they only have such names."""
    for name, role, looks_so in (
        ("entities", "tags", lambda value: isinstance(value, list)),
        ("spans", "spans", entities.is_places),
    ):
        roles = _match(name, tuple(columns), tuple(fields.items())) if name in fits else None
        if roles is not None and all(looks_so(row[roles[role]]) for row in rows if row.get(roles[role]) is not None):
            return name
    return None


def _other_text(rows: list[dict[str, Any]], lowered: set[str]) -> bool:
    known = {*_BESIDE_TEXT, *FORMATS["text"][0].columns}
    return any(
        isinstance(value, str) and name.strip().lower() not in known for row in rows for name, value in row.items()
    )


def _question(columns: list[str], fits: list[str]) -> str:
    if fits:
        what = f"The columns {', '.join(columns)} could be read as {' or '.join(fits)}"
    else:
        what = f"No format fits the columns {', '.join(columns) or '(none)'}"
    return (
        f"{what}. Say which with data.format, and which column is what with data.fields, such as {{prompt: COLUMN, "
        "label: COLUMN} or {prompt: COLUMN, completion: COLUMN}. Formats: labels (text, label), instruction "
        "(instruction, input, output), completion (prompt, completion), chat (messages), sharegpt (conversations), "
        "preference (prompt, chosen, rejected), pairs (anchor, positive, negative), entities (tokens, tags), spans "
        "(text, spans), text (text)."
    )


# --- rows ---


def _labels(row: dict[str, Any], roles: dict[str, str]) -> dict[str, Any]:
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


def _instruction(row: dict[str, Any], roles: dict[str, str]) -> dict[str, Any]:
    answer = text_of(row[roles["output"]], "the output")
    return {"messages": [*_asked(row, roles), message("assistant", answer)]}


def _asked(row: dict[str, Any], roles: dict[str, str]) -> list[Message]:
    """The messages of an instruction: alone it is what the user says; with an input it is the system message."""
    instruction = text_of(row[roles["instruction"]], "the instruction")
    given = row.get(roles["input"]) if "input" in roles else None
    if given is None or (isinstance(given, str) and not given.strip()):
        return [message("user", instruction)]
    own = row.get(roles["system"]) if "system" in roles else None
    if own:
        instruction = f"{text_of(own, 'the system message')}\n\n{instruction}"
    return [message("system", instruction), message("user", text_of(given, "the input"))]


def _completion(row: dict[str, Any], roles: dict[str, str]) -> dict[str, Any]:
    prompt = text_of(row[roles["prompt"]], "the prompt")
    answer = text_of(row[roles["completion"]], "the completion")
    return {"messages": [message("user", prompt), message("assistant", answer)]}


def _pairs(row: dict[str, Any], roles: dict[str, str]) -> dict[str, Any]:
    """The anchor asks, the positive answers; a negative is what should not be answered."""
    anchor, positive = text_of(row[roles["anchor"]], "the anchor"), text_of(row[roles["positive"]], "the positive")
    values: dict[str, Any] = {"messages": [message("user", anchor), message("assistant", positive)]}
    if "negative" in roles and row[roles["negative"]] is not None:
        values["rejected"] = [message("assistant", text_of(row[roles["negative"]], "the negative"))]
    return values


def _chat(row: dict[str, Any], roles: dict[str, str]) -> dict[str, Any]:
    messages, extras = conversations.messages(row[roles["messages"]])
    conversations.check_order(messages, learned=True)
    return _with_tools({"messages": messages}, extras, row, roles)


def _with_tools(
    values: dict[str, Any], extras: dict[str, Any], row: dict[str, Any], roles: dict[str, str]
) -> dict[str, Any]:
    tools = conversations.tools(row.get(roles["tools"])) if "tools" in roles else None
    if tools:
        values["tools"] = tools
    if extras:
        values["message_extras"] = extras
    return values


def _preference(row: dict[str, Any], roles: dict[str, str]) -> dict[str, Any]:
    given = row.get(roles["messages"]) if "messages" in roles else None
    tools: Any = None
    prompt: list[Message] = []
    extras: dict[str, Any] = {}
    if "instruction" in roles and row.get(roles["instruction"]):
        prompt = _asked(row, roles)
    elif given is None and "input" in roles:
        given = row[roles["input"]]
        if isinstance(given, dict):  # OpenAI's shape: the input holds messages and tools
            tools, given = given.get("tools"), given.get("messages")
    if not prompt and given is not None:
        if isinstance(given, str) and not given.lstrip().startswith("["):
            prompt = [message("user", text_of(given, "the prompt"))]
        else:
            prompt, extras = conversations.messages(given)
    pair = conversations.pair(prompt, row[roles["chosen"]], row[roles["rejected"]])
    values = _with_tools({"messages": [*pair.prompt, *pair.chosen], "rejected": pair.rejected}, extras, row, roles)
    if len(pair.chosen) > 1:
        values["num_answer_messages"] = len(pair.chosen)
    if tools:
        values["tools"] = conversations.tools(tools)
    return values


def _text(row: dict[str, Any], roles: dict[str, str]) -> dict[str, Any]:
    return {"text": text_of(row[roles["text"]], "the text")}


_MAKERS = {
    "labels": _labels,
    "instruction": _instruction,
    "completion": _completion,
    "pairs": _pairs,
    "chat": _chat,
    "sharegpt": _chat,
    "preference": _preference,
    "entities": entities.of_tags,
    "spans": entities.of_places,
    "text": _text,
}
