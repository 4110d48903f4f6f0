"""A sample of rows, kept while all are shown: which rows, and a text of each."""

from __future__ import annotations

import numpy as np


class Drawn:
    """Which of the rows are looked at closely: all, or as many as `most`, drawn with a seed. Costs a byte a row."""

    def __init__(self, rows: np.ndarray, most: int, seed: int = 0) -> None:
        self.whole = len(rows) <= most
        draw = np.random.default_rng(seed)
        chosen = np.sort(rows if self.whole else rows[draw.choice(len(rows), most, replace=False, shuffle=False)])
        self.rows = chosen.astype(np.int64)
        self._in = bytearray(int(rows.max(initial=-1)) + 1)
        for number in chosen.tolist():
            self._in[number] = 1
        self.texts: list[str] = []

    def __contains__(self, number: int) -> bool:
        return number < len(self._in) and self._in[number] == 1

    def told(self, what: str = "rows") -> str:
        """How much was looked at, for a message; empty when it was all."""
        return "" if self.whole else f" (looked at {len(self.rows):,} {what}, drawn evenly)"
