"""The OpenAI API's answers: pure functions from what was generated to JSON."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tunewright.server.account import Account
from tunewright.server.words import Token
from tunewright.server.worker import End

DONE = "data: [DONE]\n\n"


@dataclass(frozen=True)
class Head:
    """What every chunk and answer of one request begins with."""

    kind: str  # "chat.completion" or "text_completion"
    model: str
    fingerprint: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def answer_id(self) -> str:
        """The id that clients see."""
        return f"{'chatcmpl' if self.kind == 'chat.completion' else 'cmpl'}-{self.id}"

    def body(self, choices: list[dict[str, Any]], *, chunk: bool = False) -> dict[str, Any]:
        """The object with its choices."""
        return {
            "id": self.answer_id,
            "object": f"{self.kind}.chunk" if chunk and self.kind == "chat.completion" else self.kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }


@dataclass
class Outcome:
    """One finished answer."""

    text: str = ""
    finish: str = ""
    num_tokens: int = 0
    tokens: list[Token] = field(default_factory=list)
    given: dict[str, Any] | None = None  # log-probs of its prompt, where they are told
    scores: dict[str, float] | None = None
    confidence: float | None = None
    escalate: bool | None = None


def event(value: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


def usage(account: Account) -> dict[str, Any]:
    """How many tokens a request took."""
    return {
        "prompt_tokens": account.prompt_tokens,
        "completion_tokens": account.completion_tokens,
        "total_tokens": account.prompt_tokens + account.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": account.cached_tokens},
    }


# --- chat ---


def chat_choice(
    index: int, outcome: Outcome, *, logprobs: bool, called: tuple[str, list[dict[str, Any]]] | None = None
) -> dict[str, Any]:
    """A whole answer. called: the calls of tools in it, and the text before them. What the API has no place for stands
    in `tunewright`.
    """
    message: dict[str, Any] = {"role": "assistant", "content": outcome.text, "refusal": None}
    if called:
        message |= {"content": called[0] or None, "tool_calls": called[1]}
    choice = {
        "index": index,
        "message": message,
        "finish_reason": "tool_calls" if called else outcome.finish,
        "logprobs": chat_logprobs(outcome.tokens) if logprobs and outcome.scores is None else None,
    }
    return choice | ours(outcome)


def chat_delta(index: int, delta: dict[str, Any], *, tokens: Sequence[Token] | None = None) -> dict[str, Any]:
    """A part of an answer."""
    logprobs = chat_logprobs(tokens) if tokens else None
    return {"index": index, "delta": delta, "finish_reason": None, "logprobs": logprobs}


def chat_end(index: int, finish: str, ours: dict[str, Any]) -> dict[str, Any]:
    """The last part of an answer."""
    return {"index": index, "delta": {}, "finish_reason": finish, "logprobs": None} | ours


def chat_logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    """Log-probs (nats) of each token and of the likeliest ones at its place."""
    content = [
        _entry(token.text, token.logprob)
        | {"top_logprobs": [_entry(text, logprob) for text, logprob in token.likeliest]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _entry(text: str, logprob: float) -> dict[str, Any]:
    # a token that is part of a character has bytes that its text does not tell
    return {"token": text, "logprob": logprob, "bytes": None if "\ufffd" in text else list(text.encode())}


def ours(over: Outcome | End) -> dict[str, Any]:
    """What the API has no place for: of an answer chosen from labels their scores, where they were asked for, and
    whether a person should look at it, where the release says so.
    """
    found: dict[str, Any] = {"scores": over.scores} if over.scores else {}
    if over.escalate is not None:
        found |= {"confidence": over.confidence, "escalate": over.escalate}
    return {"tunewright": found} if found else {}


# --- completions ---


def text_choice(
    index: int,
    text: str,
    finish: str | None,
    tokens: Sequence[Token] | None,
    *,
    offset: int = 0,
    given: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """An answer, or a part of one whose tokens begin `offset` characters after the beginning. given: the log-probs of
    the prompt that is told before it.
    """
    logprobs = text_logprobs(tokens, offset) if tokens else None
    if given:
        logprobs = {name: told + logprobs[name] for name, told in given.items()} if logprobs else given
    return {"index": index, "text": text, "finish_reason": finish, "logprobs": logprobs}


def text_logprobs(tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    """The older shape of log-probs: four lists of the same length."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.likeliest) for token in tokens],
        "text_offset": offsets,
    }
