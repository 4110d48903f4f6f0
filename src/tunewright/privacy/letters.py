"""Letters of the scripts that have capitals, as character classes for patterns (`re` has none), and sets of words."""

from __future__ import annotations

_LAST = 0x0530  # Latin, Greek and Cyrillic lie below; Latin Extended Additional is added
_RANGES = (*range(0x41, _LAST), *range(0x1E00, 0x1F00))
UPPER = "".join(chr(code) for code in _RANGES if chr(code).isupper())
LOWER = "".join(chr(code) for code in _RANGES if chr(code).islower())


def spaced(text: str) -> frozenset[str]:
    """Words of a text, as a set to look up in."""
    return frozenset(text.split())
