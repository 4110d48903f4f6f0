"""Groups of people in English texts: how often they are spoken of, and what is told of the rows that do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.example import Example
from tunewright.data import group_figures as figures
from tunewright.data import showing
from tunewright.data.group_figures import Association

_SHOWN = 20  # associations in the notes
_SENTENCES = 4  # of them in the summary
_LEAST_BALANCE = 50  # rows with he or she, or with names, before a share of them is spoken of
_LEAST_MISSED = 100  # rows that speak of a group before a category of it is missed
_LEAST_TWINS = 5  # sets of rows that are the same but for the people
_SWAP = "tunewright data augment RUN --edits '{{kind: swap, group: {group}}}' --out more.jsonl"


class GroupMentions(Detector):
    """Counts mentions of gender, ethnicity, religion, age, disability, nationality and orientation against labels and
    sentiment; the balance of pronouns and names; and rows that are the same but for whom they speak of.
    """

    rows: int = Field(20, ge=10, description="fewer rows about a category are not compared")
    level: float = Field(0.05, gt=0, lt=1, description="chance of any false association, over all tests")
    odds: float = Field(2.0, ge=1, description="smaller odds ratios are not told")
    most_rows: int = Field(200_000, ge=1000, description="rows that are looked at, evenly spread")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Watch:
    def __init__(self, options: GroupMentions, scene: Scene) -> None:
        self.options, self.scene = options, scene
        self.stride = max(1, -(-scene.num_rows // options.most_rows))
        self.count = 0
        self.looked = figures.Looked()

    def see(self, row: Seen) -> None:
        """Look at what a row says."""
        if self.count % self.stride == 0:
            self.looked.add(row.number, _said(row.example))
        self.count += 1

    def faults(self) -> Iterable[Fault]:
        """What goes with groups, and who is hardly there; figures and sentences go into the notes."""
        if not self.looked.spoken and not self.looked.named:
            return
        notes: dict[str, Any] = {
            "rows_looked_at": len(self.looked.numbers),
            "mentions": self.looked.categories,
            "pronouns": figures.counts_of(self.looked.pronoun),
            "names": figures.counts_of(self.looked.named),
            "sentences": [self._counted()],
        }
        self.scene.notes["groups"] = notes
        numbers = np.array(self.looked.numbers)
        labels = self.scene.label[numbers]
        yield from self._labels_and_sentiment(labels, notes)
        yield from self._balance(notes)
        yield from self._missing(notes)
        yield from self._twins(numbers, labels, notes)
        if len(notes["sentences"]) == 1 and self.looked.categories:
            notes["sentences"].append("No label, sentiment or imbalance that stands out goes with any of them.")

    def _counted(self) -> str:
        parts = [
            f"{group} in {self.looked.num_of(group):,} ({', '.join(f'{c} {n:,}' for c, n in list(counts.items())[:5])}"
            f"{', ...' if len(counts) > 5 else ''})"
            for group, counts in self.looked.categories.items()
        ]
        spoken = "; ".join(parts) or "no group"
        return f"Of {len(self.looked.numbers):,} rows looked at, these speak of people by group: {spoken}."

    # --- labels and sentiment ---

    def _labels_and_sentiment(self, labels: np.ndarray, notes: dict[str, Any]) -> Iterator[Fault]:
        """A label that is a sentiment is that; other rows have the one of their words."""
        signs = figures.as_sentiment(self.scene.labels)
        if signs is None:
            tone = np.array(self.looked.sentiment, np.int64)
            found, num = self._associations(labels, list(self.scene.labels))
            self._note("associations", found, num, notes, what="Label '{}' is on")
            if found:
                yield self._fault("group_label_association", found, num, "Label '{}' is on")
        else:
            tone = np.where(labels >= 0, np.array([*signs, 0])[labels], 0)
        found, num = self._associations(tone + 1, ["negative", "neutral", "positive"])
        found = [one for one in found if one.what != "neutral"]
        what = "The tone is {} in" if signs is None else "The label is {} in"
        self._note("sentiment", found, num, notes, what=what)
        if found:
            yield self._fault("group_sentiment", found, num, what)

    def _associations(self, values: np.ndarray, words: list[str]) -> tuple[list[Association], int]:
        options = self.options
        return figures.associations(
            self.looked, values, words, least=options.rows, level=options.level, ratio=options.odds
        )

    def _note(self, key: str, found: list[Association], num: int, notes: dict[str, Any], *, what: str) -> None:
        notes[key] = [
            {
                "group": one.kind[0],
                "category": one.kind[1],
                "what": one.what,
                "share": round(one.table.share, 4),
                "other_share": round(one.table.other_share, 4),
                "odds_ratio": round(one.odds.ratio, 3),
                "low": round(one.odds.low, 3),
                "high": round(one.odds.high, 3),
                "p_holm": one.odds.p,
                "rows": one.table.having,
                "within_group": one.within,
            }
            for one in found[:_SHOWN]
        ]
        notes["sentences"] += [f"{figures.told(one, num, what=what.format(one.what))}." for one in found[:_SENTENCES]]

    def _fault(self, name: str, found: list[Association], num: int, what: str) -> Fault:
        first = found[0]
        rows = self._numbers(np.unique(np.concatenate([one.rows for one in found])))
        more = f" {len(found) - 1:,} more are in prepare/report.json." if len(found) > 1 else ""
        within = any(one.within for one in found)
        return Fault(
            name=name,
            severity="warning" if within else "info",
            message=f"{figures.told(first, num, what=what.format(first.what))}.{more}",
            rows=rows,
            example=self._example(first.rows[:1]),
            remedy=(
                "Look at the rows. Where the group must not decide, add each of them with the group swapped: "
                f"{_SWAP.format(group=first.kind[0])}"
                if within
                else "Look at the rows: the subject may explain it; if not, add rows about these people that are told "
                "otherwise."
            ),
        )

    # --- balance ---

    def _balance(self, notes: dict[str, Any]) -> Iterator[Fault]:
        """She against he, and names."""
        she, he = (len(self.looked.pronoun.get(word, ())) for word in ("she", "he"))
        women, men = (len(self.looked.named.get(word, ())) for word in ("female", "male"))
        said = [
            f"She is said in {one:,} rows, he in {other:,}: she in {_share(one, other)}"
            if what == "pronouns"
            else f"names usual for women are in {one:,} rows, for men in {other:,}: women's in {_share(one, other)}"
            for what, one, other in (("pronouns", she, he), ("names", women, men))
            if one + other >= _LEAST_BALANCE
        ]
        if said:
            sentence = "; ".join(said)
            notes["sentences"].append(f"{sentence[0].upper()}{sentence[1:]}.")
        pronoun = figures.lopsided(she, he, _LEAST_BALANCE)
        if not pronoun and not figures.lopsided(women, men, _LEAST_BALANCE):
            return
        table, words = (self.looked.pronoun, ("she", "he")) if pronoun else (self.looked.named, ("female", "male"))
        often = max(words, key=lambda word: len(table.get(word, ())))
        rows = np.array(table[often])
        yield Fault(
            name="pronoun_balance",
            message=f"{notes['sentences'][-1][:-1]}. Fewer than a third or more than two thirds is told.",
            rows=self._numbers(rows),
            example=self._example(rows[:1]),
            remedy=f"If both should be served alike, add these rows swapped: {_SWAP.format(group='gender')}",
        )

    def _missing(self, notes: dict[str, Any]) -> Iterator[Fault]:
        found = figures.missing(self.looked, _LEAST_MISSED)
        notes["missing"] = found
        if not found:
            return
        parts = [
            f"{' and '.join(figures.called((group, one)) for one in rare)} (of {self.looked.num_of(group):,} rows that "
            f"speak of {group})"
            for group, rare in found.items()
        ]
        message = f"Hardly any row speaks of {'; '.join(parts)}."
        notes["sentences"].append(message)
        group = next(iter(found))
        yield Fault(
            name="missing_groups",
            message=message,
            count=sum(self.looked.categories[group].get(one, 0) for group, rare in found.items() for one in rare),
            remedy=f"If your users speak of them too, add such rows, or swap some: {_SWAP.format(group=group)}",
        )

    # --- twins ---

    def _twins(self, numbers: np.ndarray, labels: np.ndarray, notes: dict[str, Any]) -> Iterator[Fault]:
        """Rows that are the same but for the people, and those of them with different labels."""
        sets = figures.twins(self.looked, self.scene.asked[numbers])
        differing = [places for places in sets if len(np.unique(labels[places])) > 1 and (labels[places] >= 0).all()]
        notes["twins"] = {"sets": len(sets), "differing": len(differing)}
        for name, found in (("swapped_twins_differ", differing), ("swapped_twins", sets)):
            differ = name == "swapped_twins_differ"
            if len(found) < (1 if differ else _LEAST_TWINS):
                continue
            rows = np.unique(np.concatenate(found))
            yield Fault(
                name=name,
                severity="warning" if differ else "info",
                message=(
                    f"{len(rows):,} rows in {len(found):,} sets are the same but for the people they speak of"
                    f"{', and have different labels' if differ else ''}."
                ),
                rows=self._numbers(rows),
                example=self._example(_two(found[0], labels)),
                remedy=(
                    "Decide whether the people may decide; where not, one of the labels is wrong."
                    if differ
                    else "Good against bias. Keep them on one side (data.split.group), or the test flatters the model."
                ),
            )

    def _numbers(self, places: np.ndarray) -> np.ndarray:
        return np.sort(np.array(self.looked.numbers)[places])

    def _example(self, places: np.ndarray) -> str:
        return showing.rows(*self.scene.examples(self._numbers(places)))


def _said(example: Example) -> list[str]:
    """What a row says, without its system message; without its answer where that is a label."""
    if example.text is not None:
        return [example.text]
    messages = example.prompt if example.label is not None else example.messages
    return [message.content for message in messages if message.role in ("user", "assistant")]


def _share(one: int, other: int) -> str:
    share = figures.balance(one, other)
    assert share is not None, "there are rows"
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%}) of them"


def _two(places: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The first row of a set, and the first with another label, else the next."""
    other = places[labels[places] != labels[places[0]]]
    return np.array([places[0], other[0] if len(other) else places[1]])
