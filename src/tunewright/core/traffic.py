"""Exchanged: one request that a served model answered, as monitoring and harvesting see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Exchanged:
    """A logged answer. Texts are None where they were not sampled; times are seconds, `created` since 1970.

    model: what was asked for, release: what answered, fingerprint: of everything that decides its answers. confidence:
    the probability that the model gave its answer, where it chose among labels or told log-probs. finish: as the API
    tells it; `cut` where the client hung up, `error` where the model failed. answer: the first, where several were
    asked for. thumb, correction (a text, or messages) and comment: what people said of the answer afterwards. notes:
    the request's metadata.
    """

    id: str
    created: float
    project: str
    model: str
    release: str
    fingerprint: str
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    finish: str
    first_token_seconds: float | None = None
    confidence: float | None = None
    key_id: str = ""
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    answer: str | None = None
    thumb: str | None = None  # up or down
    correction: str | list[dict[str, Any]] | None = None
    comment: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)
