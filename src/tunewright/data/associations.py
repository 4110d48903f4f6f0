"""Whether something is told of some rows more often than of others: tables of two by two, many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.core.statistics import holm

LEAST_EXPECTED = 5.0  # rows in a cell, below which chi-squared is no good approximation (Cochran 1954)


@dataclass(frozen=True)
class Table:
    """Rows with and without something, among those looked at and among those they are compared with."""

    having: int
    lacking: int
    other_having: int
    other_lacking: int

    @property
    def share(self) -> float:
        """Of the rows looked at."""
        return self.having / (self.having + self.lacking)

    @property
    def other_share(self) -> float:
        """Of the rows compared with."""
        return self.other_having / (self.other_having + self.other_lacking)

    @property
    def is_whole(self) -> bool:
        """Whether there are rows on both sides."""
        return self.having + self.lacking > 0 and self.other_having + self.other_lacking > 0


@dataclass(frozen=True)
class Odds:
    """How many times the odds are, with its interval, and p after Holm's correction for all tables of one call."""

    ratio: float
    low: float
    high: float
    p: float


def odds(tables: Sequence[Table], *, confidence: float = 0.95) -> list[Odds]:
    """The odds ratio of each table, with Woolf's interval (1955) after adding a half to each cell (Haldane 1956).

    p: two-sided, Fisher's exact test where a cell is expected to hold fewer than five rows, else chi-squared with
    Yates' correction; corrected together (Holm 1979).
    """
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2))
    found = []
    for table, p in zip(tables, holm([_p(table) for table in tables]), strict=True):
        a, b, c, d = (n + 0.5 for n in (table.having, table.lacking, table.other_having, table.other_lacking))
        middle, reach = math.log(a * d / (b * c)), z * math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
        found.append(Odds(math.exp(middle), math.exp(middle - reach), math.exp(middle + reach), p))
    return found


def _p(table: Table) -> float:
    from scipy.stats import fisher_exact

    a, b, c, d = table.having, table.lacking, table.other_having, table.other_lacking
    n, rows, columns = a + b + c + d, (a + b, c + d), (a + c, b + d)
    if not all((*rows, *columns)):
        return 1.0
    if min(row * column / n for row in rows for column in columns) < LEAST_EXPECTED:
        return float(fisher_exact([[a, b], [c, d]])[1])
    chi = n * max(0.0, abs(a * d - b * c) - n / 2) ** 2 / (rows[0] * rows[1] * columns[0] * columns[1])
    return math.erfc(math.sqrt(chi / 2))  # chi-squared with one degree of freedom
