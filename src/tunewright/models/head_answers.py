"""Answers of releases whose head speaks: a label, a list of labels, a number, the entities of a text, a reward."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message
from tunewright.models import tagging
from tunewright.models.chat import Chat
from tunewright.models.forest import Row
from tunewright.models.tunable import TunableModel

if TYPE_CHECKING:
    from tunewright.models.decode import Decode

READ_TOKENS = 4096  # tokens computed at once
ENDLESS = 2**31


@dataclass(frozen=True)
class Said:
    """What a head says about one conversation. scores: log-prob (nats) of each label, where there are labels."""

    text: str
    num_tokens: int
    scores: dict[str, float] | None = None


@dataclass(frozen=True)
class _Asked:
    """A row to be computed, and for tagging the text and its words."""

    row: Row
    text: str = ""
    words: Sequence[tuple[int, int]] = ()
    of_word: Sequence[int] = ()  # the place of each word's token among those with a weight


def longest_prompt(model: TunableModel, decode: Decode) -> int:
    """The longest prompt that is answered: a text that is only read loses its end instead, a conversation cannot."""
    return ENDLESS if model.is_encoder or decode.kind == "tag" else model.longest()


def asked_ids(chat: Chat, decode: Decode, messages: Sequence[dict[str, Any]], tools: Any) -> list[int] | None:
    """The ids of a conversation where they are not those that wait for an answer; None where they are."""
    if decode.kind == "tag":
        return chat.spelled(_last_text(messages)).ids
    if decode.kind == "reward" and messages[-1]["role"] == "assistant":
        said = [Message.model_validate(message) for message in messages]
        turn = chat.turns(Example(id="asked", messages=said, tools=tools))[-1]
        return [*turn.prompt, *turn.answer]
    return None


@torch.inference_mode()
def answers(
    model: TunableModel,
    decode: Decode,
    conversations: Sequence[Sequence[dict[str, Any]]],
    prompts: Sequence[list[int]],
    *,
    adapter: str = "",
    progress: Callable[[int], None] | None = None,
) -> list[Said]:
    """What the head says about each conversation. Raises DataError when one does not fit, or has no answer to judge."""
    if decode.kind == "embed" and not decode.labels:
        raise DataError(
            "This release makes vectors of texts and answers nothing. Serve it and ask /v1/embeddings, or take one "
            "that was tuned to answer."
        )
    model.net.eval()
    asked = [_asked(model, decode, c, ids, adapter) for c, ids in zip(conversations, prompts, strict=True)]
    said: list[Said] = []
    for batch in _batches(asked):
        outputs = model.outputs(model.forest([one.row for one in batch]), adapter=adapter).float()
        counts = [sum(weight > 0 for weight in one.row.weights) for one in batch]
        parts = outputs.split(counts) if decode.kind == "tag" else outputs.split(1)
        said += [_said(decode, one, part) for one, part in zip(batch, parts, strict=True)]
        if progress:
            progress(len(said))
    return said


def _asked(
    model: TunableModel, decode: Decode, messages: Sequence[dict[str, Any]], ids: list[int], adapter: str
) -> _Asked:
    longest = model.longest(adapter)
    if decode.kind == "reward" and messages[-1]["role"] != "assistant":
        raise DataError("A reward is given to an answer: the last message must be the assistant's.")
    if decode.kind == "tag":
        text = _last_text(messages)
        laid = tagging.lay_out(model.chat, text, longest)
        places = sorted(set(laid.places)) or [len(laid.ids) - 1]
        weights = [0.0] * len(laid.ids)
        for place in places:
            weights[place] = 1.0
        of_word = [places.index(place) for place in laid.places]
        return _Asked(Row(laid.ids, weights, "", adapter), text, laid.words, of_word)
    items = model.chat.shortened(ids, longest)
    if items is None:
        raise DataError(f"A message of {len(ids)} tokens does not fit the model's {longest}. Shorten it.")
    return _Asked(Row(items, [0.0] * (len(items) - 1) + [1.0], "", adapter))


def _batches(asked: Sequence[_Asked]) -> list[list[_Asked]]:
    batches: list[list[_Asked]] = []
    room = 0
    for one in asked:
        if not batches or len(one.row.items) > room:
            batches.append([])
            room = READ_TOKENS
        batches[-1].append(one)
        room -= len(one.row.items)
    return batches


def _said(decode: Decode, one: _Asked, outputs: torch.Tensor) -> Said:
    size = len(one.row.items)
    if decode.kind == "tag":
        of_place = outputs.argmax(-1).tolist()
        found = tagging.entities(one.words, [of_place[place] for place in one.of_word], decode.labels)
        told = [{"text": one.text[s.start : s.end], "label": s.label, "start": s.start, "end": s.end} for s in found]
        return Said(json.dumps(told, ensure_ascii=False), size)
    if decode.kind in ("classify", "embed"):
        logits = outputs[0]
        scores = torch.nn.functional.logsigmoid(logits) if decode.multi else torch.log_softmax(logits, -1)
        by_label = dict(zip(decode.labels, scores.tolist(), strict=True))
        if decode.multi:
            chosen = [label for label, logit in zip(decode.labels, logits.tolist(), strict=True) if logit > 0]
            return Said(json.dumps(chosen, ensure_ascii=False), size, by_label)
        return Said(decode.labels[int(logits.argmax())], size, by_label)
    return Said(f"{float(outputs[0, 0]) * decode.std + decode.mean:.6g}", size)


def _last_text(messages: Sequence[dict[str, Any]]) -> str:
    text = next((message["content"] for message in reversed(messages) if message["role"] == "user"), None)
    if not isinstance(text, str):
        raise DataError("The words of the last user message are tagged, and there is none. Send one.")
    return text
