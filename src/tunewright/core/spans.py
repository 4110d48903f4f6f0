"""Spans of time in words, such as 24h and 7d."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from tunewright.core.errors import RecipeError

DAY_SECONDS = 86_400
_SECONDS = {"m": 60, "h": 3600, "d": DAY_SECONDS, "w": 7 * DAY_SECONDS}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([mhdw])")


def span(text: str) -> float:
    """Seconds of `30m`, `24h`, `7d` or `2w`. Raises ValueError."""
    found = _SPAN.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"'{text}' is no span of time; give a number and m, h, d or w, such as 24h")
    return float(found[1]) * _SECONDS[found[2]]


def moment(text: str | float, *, what: str) -> float:
    """Seconds since 1970 of a date (UTC where it names no zone), or of so long ago: `7d`. Raises RecipeError."""
    if not isinstance(text, str):
        return float(text)
    try:
        return time.time() - span(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise RecipeError(
            f"{what}: '{text}' is neither a span such as 7d nor a date such as 2026-11-25T12:00. Give one of them."
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
