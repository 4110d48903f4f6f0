"""What is told of rows that speak of groups of people: labels and sentiment by group, pronouns, names, twins."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tunewright.core.statistics import Interval, wilson
from tunewright.data import group_words
from tunewright.data.associations import Odds, Table, odds
from tunewright.data.groups import (
    GROUPS,
    Words,
    is_english,
    may_speak,
    mentions,
    names,
    neutral_key,
    pronouns,
    sentiment,
)

LONGEST = 4000  # characters of a row that are looked at
LEAST_HAVING = 5  # rows behind an association
FAIR = (1 / 3, 2 / 3)  # shares of she between which nothing is said
RARE = 0.05  # share of a group's rows below which a category counts as missing
Kind = tuple[str, str]  # group and category
Indexes = np.ndarray


@dataclass
class Looked:
    """Rows that were looked at, by their place: numbers, sentiment, and which speak of whom."""

    numbers: array[int] = field(default_factory=lambda: array("q"))
    sentiment: array[int] = field(default_factory=lambda: array("b"))
    spoken: dict[Kind, array[int]] = field(default_factory=dict)
    pronoun: dict[str, array[int]] = field(default_factory=dict)
    named: dict[str, array[int]] = field(default_factory=dict)
    keyed: array[int] = field(default_factory=lambda: array("q"))
    keys: list[bytes] = field(default_factory=list)

    def add(self, number: int, texts: Sequence[str]) -> None:
        """Look at a row's texts that are English."""
        found = Words("\n".join(texts)[:LONGEST])
        if not is_english(found.low) or (len(texts) > 1 and not found.text.isascii()):
            english = [text for text in texts if is_english(Words(text[:LONGEST]).low)]
            found = Words("\n".join(english)[:LONGEST])
        place = len(self.numbers)
        self.numbers.append(number)
        self.sentiment.append(sentiment(found.low))
        called = names(found)
        for gender in called:
            self.named.setdefault(gender, array("q")).append(place)
        for kind in pronouns(found.low):
            self.pronoun.setdefault(kind, array("q")).append(place)
        spoken = mentions(found.text) if may_speak(found.low) else []
        for one in dict.fromkeys((one.group, one.category) for one in spoken):
            self.spoken.setdefault(one, array("q")).append(place)
        if spoken or called:
            self.keyed.append(place)
            self.keys.append(neutral_key(found, spoken))

    @cached_property
    def categories(self) -> dict[str, dict[str, int]]:
        """Rows by group and category, most first."""
        found: dict[str, dict[str, int]] = {group: {} for group in GROUPS}
        for (group, category), rows in sorted(self.spoken.items(), key=lambda pair: -len(pair[1])):
            found[group][category] = len(rows)
        return {group: counts for group, counts in found.items() if counts}

    def num_of(self, group: str) -> int:
        """Rows that speak of a group at all."""
        return len(np.unique(np.concatenate([self.rows(kind) for kind in self.spoken if kind[0] == group])))

    def rows(self, kind: Kind) -> Indexes:
        """Places of the rows that speak of a category."""
        return np.frombuffer(self.spoken[kind], np.int64)


@dataclass(frozen=True)
class Association:
    """What rows about a category are told more often than those they are compared with."""

    kind: Kind
    what: str
    table: Table
    odds: Odds
    rows: Indexes  # places of the rows that have it
    within: bool  # compared with rows about others of the same group


def called(kind: Kind) -> str:
    """People of a category, in words."""
    return group_words.CALLED.get(kind, f"{kind[1]} people")


def comparisons(looked: Looked, least: int) -> Iterator[tuple[Kind, Indexes, Indexes, bool]]:
    """Rows about a category alone and rows about others of its group, where both are enough; else all other rows."""
    every = np.arange(len(looked.numbers))
    for kind in looked.spoken:
        own = looked.rows(kind)
        if len(own) < least:
            continue
        others = [looked.rows(other) for other in looked.spoken if other[0] == kind[0] and other != kind]
        other = np.unique(np.concatenate(others)) if others else np.array([], np.int64)
        alone, apart = np.setdiff1d(own, other), np.setdiff1d(other, own)
        if len(alone) >= least and len(apart) >= least:
            yield kind, alone, apart, True
        elif len(every) - len(own) >= least:
            yield kind, own, np.setdiff1d(every, own), False


def associations(
    looked: Looked, values: np.ndarray, words: Sequence[str], *, least: int, level: float, ratio: float
) -> tuple[list[Association], int]:
    """Values that rows about a category have at least `ratio` times as likely; and how many tests that took.

    values: of each row looked at, a place in `words`; -1 for none.
    """
    known = values >= 0
    totals = np.bincount(values[known], minlength=len(words))
    wanted = [number for number in range(len(words)) if totals[number] >= LEAST_HAVING]
    drafts = []
    for kind, own, other, within in comparisons(looked, least):
        own, other = own[known[own]], other[known[other]]
        if min(len(own), len(other)) < least:
            continue
        mine, theirs = (np.bincount(values[rows], minlength=len(words)) for rows in (own, other))
        for number in wanted:
            a, c = int(mine[number]), int(theirs[number])
            drafts.append((kind, number, Table(a, len(own) - a, c, len(other) - c), own, within))
    found = [
        Association(kind, words[number], table, one, own[values[own] == number], within)
        for (kind, number, table, own, within), one in zip(drafts, odds([draft[2] for draft in drafts]), strict=True)
        if one.p < level and one.ratio >= ratio and table.having >= LEAST_HAVING
    ]
    return sorted(found, key=lambda one: (not one.within, one.odds.p, -one.odds.ratio)), len(drafts)


def told(one: Association, num_tests: int, *, what: str) -> str:
    """An association as a sentence."""
    table, group = one.table, one.kind[0]
    other = f"those about others ({group})" if one.within else "all others"
    p = "p < 0.0001" if one.odds.p < 0.0001 else f"p = {one.odds.p:.4f}"
    return (
        f"{what} {table.share:.0%} of the rows about {called(one.kind)} ({table.having:,} of "
        f"{table.having + table.lacking:,}), but of {other} {table.other_share:.0%} ({table.other_having:,} of "
        f"{table.other_having + table.other_lacking:,}): odds ratio {one.odds.ratio:.1f} ({one.odds.low:.1f} to "
        f"{one.odds.high:.1f}), {p} after {num_tests:,} tests"
    )


def balance(one: int, other: int) -> Interval | None:
    """The share of the first of two counts, with its 95 % interval (Wilson); None of nothing."""
    return wilson(one, one + other) if one + other else None


def lopsided(one: int, other: int, least: int) -> bool:
    """Whether the share of the first is surely not between a third and two thirds."""
    share = balance(one, other)
    return share is not None and one + other >= least and (share.high < FAIR[0] or share.low > FAIR[1])


def missing(looked: Looked, least: int) -> dict[str, list[str]]:
    """Categories of which next to no row speaks, of groups that many rows speak of."""
    found = {}
    for group, expected in group_words.EXPECTED.items():
        counts = looked.categories.get(group, {})
        num = looked.num_of(group) if counts else 0
        rare = [one for one in expected if num >= least and wilson(counts.get(one, 0), num).high < RARE]
        if rare:
            found[group] = rare
    return found


def twins(looked: Looked, asked: np.ndarray) -> list[np.ndarray]:
    """Places of rows that are the same but for whom they speak of, set by set. asked: the class of each row looked at;
    rows of one class say the same of the same people.
    """
    sets: dict[bytes, list[int]] = {}
    for place, key in zip(looked.keyed, looked.keys, strict=True):
        sets.setdefault(key, []).append(place)
    several = (np.array(places) for places in sets.values() if len(places) > 1)
    return [places for places in several if len(np.unique(asked[places])) > 1]


def as_sentiment(labels: Sequence[str]) -> list[int] | None:
    """1, 0 or -1 for each label, where all are words of praise and blame and both are among them; else None."""
    found = [group_words.SENTIMENT_LABELS.get(label.strip().casefold()) for label in labels]
    if not {1, -1} <= {*found} or None in found:
        return None
    return [one for one in found if one is not None]


def counts_of(rows: dict[str, array[int]]) -> dict[str, int]:
    """Rows by word."""
    return dict(Counter({word: len(places) for word, places in rows.items()}).most_common())
