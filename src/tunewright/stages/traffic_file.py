"""Traffic of those who serve elsewhere: a file of logged requests, each with its response, as Exchanged."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunewright.core.errors import DataError, NotThere
from tunewright.core.traffic import Exchanged

SHAPE = (
    'Each row is {"request": {...}, "response": {...}} in OpenAI\'s shapes; beside them may stand id, created, '
    "seconds, first_token_seconds, confidence, thumb, correction and comment"
)


def read(path: str | Path) -> tuple[list[Exchanged], int]:
    """The answered requests of a file, and how many rows hold none. Raises NotThere, DataError."""
    from tunewright.data import readers, traffic

    if not Path(path).is_file():
        raise NotThere(f"There is no file {path}. Give the traffic as JSON lines. {SHAPE}.")
    found, failed = [], 0
    for row in readers.read_jsonl(Path(path), []):
        if row.values is None or not traffic.is_logged(row.values):
            raise DataError(f"{path}:{row.line} is no logged request. {SHAPE}.")
        request, response, problem = traffic.parts(row.values)
        if problem is not None:
            failed += 1
            continue
        found.append(_exchanged(row.values, request, response, where=f"{Path(path).name}:{row.line}"))
    return found, failed


def _exchanged(values: dict[str, Any], request: dict[str, Any], response: dict[str, Any], *, where: str) -> Exchanged:
    choice, usage = response["choices"][0], response.get("usage") or {}
    message = choice.get("message") or {"content": choice.get("text")}
    asked = request.get("messages")
    if not isinstance(asked, list):
        asked = [{"role": "user", "content": request.get("prompt") or ""}]
    return Exchanged(
        id=str(values.get("id") or response.get("id") or where),
        created=_time(values.get("created") or response.get("created")),
        project="",
        model=str(request.get("model") or ""),
        release=str(response.get("model") or ""),
        fingerprint=str(response.get("system_fingerprint") or ""),
        seconds=_number(values.get("seconds")) or 0.0,
        first_token_seconds=_number(values.get("first_token_seconds")),
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        finish=str(choice.get("finish_reason") or "stop"),
        confidence=_confidence(values, choice),
        messages=[one for one in asked if isinstance(one, dict)],
        tools=request.get("tools"),
        answer=message.get("content") if isinstance(message.get("content"), str) else None,
        thumb=values.get("thumb") if values.get("thumb") in ("up", "down") else None,
        correction=values.get("correction"),
        comment=values.get("comment"),
    )


def _confidence(values: dict[str, Any], choice: dict[str, Any]) -> float | None:
    """As the row tells it, else the probability of all its tokens."""
    told = _number(values.get("confidence"))
    if told is not None:
        return told
    tokens = (choice.get("logprobs") or {}).get("content") or []
    logprobs = [one["logprob"] for one in tokens if isinstance(one, dict) and _number(one.get("logprob")) is not None]
    return math.exp(sum(logprobs)) if logprobs else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def _time(value: Any) -> float:
    """Seconds since 1970 of a number or an ISO date (UTC where it names no zone); 0 where nothing is told."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return 0.0
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return _number(value) or 0.0
