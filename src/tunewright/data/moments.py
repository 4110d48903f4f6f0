"""When a row is from: numbers and the usual ways to write a date, as seconds since 1970."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

# Day before month where both can be meant: the more common way, by countries.
_FORMATS = (
    "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d/%m/%Y", "%d/%m/%Y %H:%M", "%m/%d/%Y", "%Y/%m/%d", "%Y%m%d", "%d %b %Y",
    "%b %d, %Y",
)  # fmt: skip


def seconds(value: Any) -> float:
    """Seconds since 1970; a bare number is taken as it is, NaN stands for none."""
    if value is None or isinstance(value, bool):
        return math.nan
    if isinstance(value, int | float):
        return float(value)
    text = str(value).strip()
    try:
        return _stamp(datetime.fromisoformat(text))
    except ValueError:
        pass
    for format in _FORMATS:
        try:
            return _stamp(datetime.strptime(text, format))
        except ValueError:
            continue
    try:
        return float(text)
    except ValueError:
        return math.nan


def _stamp(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
