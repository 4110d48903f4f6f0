"""More rows to learn from: made from the training rows, or brought in files that are never measured on.

Made rows come in at one place alone, behind the split: they are put beside the training rows when the rows that measure
are known, and what is near to one of those is thrown away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.core import catalog
from tunewright.core.augment import Augment
from tunewright.core.endpoint import Question
from tunewright.core.errors import DataError, EndpointError
from tunewright.core.example import Example
from tunewright.core.parts import Edit
from tunewright.core.report import Finding
from tunewright.data import augment as rows
from tunewright.data.admit import REASONS, Gate, said
from tunewright.stages.replies import Replies, Speaker

_MOST_ROUNDS = 20  # copies of one row, at most, to bring a label up
_ANSWER_TOKENS = 400  # of a reworded message
_ASKED_TOGETHER = 256


@dataclass
class Grown:
    """What was made."""

    made: list[Example] = field(default_factory=list)
    by_edit: Counter[str] = field(default_factory=Counter)
    unchanged: int = 0  # rows in which no edit could change anything
    unanswered: int = 0  # questions without a usable reply
    short: dict[str, int] = field(default_factory=dict)  # labels that stay below what balance asks for, and how much
    labels_before: Counter[str] = field(default_factory=Counter)
    labels_after: Counter[str] = field(default_factory=Counter)


class Grower:
    """Makes rows from rows as `options` say, and keeps those that the gate lets in."""

    def __init__(
        self,
        options: Augment,
        gate: Gate,
        replies: Replies | None,
        *,
        poll: Callable[[int], None] = lambda made: None,
    ) -> None:
        self.options, self.gate, self.replies, self.poll = options, gate, replies, poll
        self.edits: list[Edit] = [catalog.build("edits", choice) for choice in options.edits]
        self.grown = Grown()

    def grow(self, training: Sequence[Example], beside: Sequence[Example] = ()) -> Grown:
        """Rows made from the training rows, in a fixed order. beside: other rows that are learned from; they count
        where labels are balanced. Raises DataError, EndpointError, Stopped.
        """
        options = self.options
        if options.balance is not None:
            self._balance(training, beside)
            return self.grown
        for copy in range(options.per_row or 1):
            chosen = [
                number
                for number, example in enumerate(training)
                if options.share is None or rows.draw_of(options.seed, example.id, "share").random() < options.share
            ]
            self._round(training, [(number, copy) for number in chosen])
        return self.grown

    def _balance(self, training: Sequence[Example], beside: Sequence[Example]) -> None:
        of_label: dict[str, list[int]] = {}
        order = {}
        for number, example in enumerate(training):
            if example.label is not None:
                of_label.setdefault(example.label, []).append(number)
                order[number] = rows.draw_of(self.options.seed, example.id, "balance").random()
        if not of_label:
            raise DataError(
                "data.augment.balance: no training row has a label, so there is nothing to balance. Give per_row or "
                "share instead."
            )
        counts = Counter({label: len(numbers) for label, numbers in of_label.items()})
        counts.update(example.label for example in beside if example.label in of_label)
        wanted = max(counts.values()) if self.options.balance == "largest" else int(self.options.balance or 0)
        self.grown.labels_before = counts
        after = self.grown.labels_after = Counter(counts)
        for numbers in of_label.values():
            numbers.sort(key=lambda number: order[number])
        for copy in range(_MOST_ROUNDS):
            lacking = {label: wanted - after[label] for label in of_label if after[label] < wanted}
            if not lacking:
                break
            pieces = [(number, copy) for label, lack in lacking.items() for number in of_label[label][:lack]]
            for example in self._round(training, pieces):
                after[str(example.label)] += 1
        self.grown.short = {label: wanted - after[label] for label in of_label if after[label] < wanted}

    def _round(self, training: Sequence[Example], pieces: Sequence[tuple[int, int]]) -> list[Example]:
        """One try at each of these rows, by number and copy; what was let in."""
        kept = []
        for start in range(0, len(pieces), _ASKED_TOGETHER):
            block = [(training[number], copy) for number, copy in pieces[start : start + _ASKED_TOGETHER]]
            for example in self._tried(block):
                if example is not None and self.gate.admit(example):
                    kept.append(example)
                    self.grown.by_edit[str(example.meta[rows.MADE]["by"])] += 1
            self.poll(len(self.grown.made) + len(kept))
        self.grown.made += kept
        return kept

    def _tried(self, block: Sequence[tuple[Example, int]]) -> list[Example | None]:
        """A row of each, by the first of its edits that changes something."""
        found: list[Example | None] = [None] * len(block)
        asking: dict[int, list[int]] = {}  # by the edit's number
        for number, (example, copy) in enumerate(block):
            for edit in self._in_turn(example, copy):
                if edit.num_questions:
                    asking.setdefault(self.edits.index(edit), []).append(number)
                    break
                found[number] = rows.made(example, edit, seed=self.options.seed, copy=copy)
                if found[number] is not None:
                    break
            else:
                self.grown.unchanged += 1
        for place, numbers in asking.items():
            self._ask(self.edits[place], [block[number] for number in numbers], numbers, found)
        return found

    def _in_turn(self, example: Example, copy: int) -> Iterator[Edit]:
        """The edits, another one first for each row and copy."""
        first = rows.draw_of(self.options.seed, example.id, "first").randrange(len(self.edits)) + copy
        for number in range(len(self.edits)):
            yield self.edits[(first + number) % len(self.edits)]

    def _ask(
        self, edit: Edit, block: Sequence[tuple[Example, int]], numbers: Sequence[int], found: list[Example | None]
    ) -> None:
        """Ask a model about each row, as often as the edit needs."""
        assert self.replies is not None, "checked before"
        seed = self.options.seed
        replied: dict[int, list[str]] = {place: [] for place in range(len(block))}
        for turn in range(edit.num_questions):
            asked = {}
            for place, replies in replied.items():
                example, copy = block[place]
                if len(replies) < turn:
                    continue
                messages = rows.question(example, edit, seed=seed, copy=copy, replies=replies)
                if messages:
                    asked[place] = Question(messages, _ANSWER_TOKENS, 0.8, seed + copy)
            answers = self.replies.ask(list(asked.values()))
            for place, text in zip(asked, answers, strict=True):
                if text is not None and text.strip():
                    replied[place].append(text.strip())
        for place, replies in replied.items():
            example, copy = block[place]
            if len(replies) == edit.num_questions:
                found[numbers[place]] = rows.made(
                    example, edit, seed=seed, copy=copy, replies=replies, model=self.replies.speaker.name
                )
            self.grown.unanswered += found[numbers[place]] is None


def speaker_of(options: Augment, *, runs: str | Path, stop: Any) -> Speaker:
    """Who is asked. Raises EndpointError where its key is missing."""
    from tunewright.stages.replies import AtEndpoint, Here

    if options.endpoint is not None:
        return AtEndpoint(options.endpoint, stop=stop)
    if options.model is None:
        raise EndpointError("An edit asks a model, and none is named: give an endpoint (url and model), or a model.")
    return Here(options.model, runs=runs, stop=stop)


def asks(options: Augment) -> bool:
    """Whether any of the edits asks a model."""
    return any(catalog.build("edits", choice).num_questions for choice in options.edits)


# --- what is told ---


def numbers_of(grown: Grown, gate: Gate, replies: Replies | None, *, before: int) -> dict[str, Any]:
    """Figures of an augmentation, for a report."""
    found: dict[str, Any] = {
        "rows_before": before,
        "rows_after": before + len(grown.made),
        "made": len(grown.made),
        "by_edit": dict(sorted(grown.by_edit.items())),
        "thrown_away": dict(gate.refused),
        "unchanged": grown.unchanged,
    }
    if grown.labels_before:
        before_counts, after_counts = grown.labels_before.values(), grown.labels_after.values()
        found["smallest_label"] = {"before": min(before_counts), "after": min(after_counts)}
        found["largest_label"] = {"before": max(before_counts), "after": max(after_counts)}
    if replies is not None:
        spent = replies.spent
        found |= {"asked": spent.questions, "unanswered": grown.unanswered}
        found |= {"tokens": spent.prompt_tokens + spent.completion_tokens}
        found |= {"money": round(spent.money, 6)} if spent.money else {}
    return found


def findings_of(grown: Grown, gate: Gate, replies: Replies | None, *, before: int) -> list[Finding]:
    """What a person should know of an augmentation."""
    kinds = ", ".join(f"{count:,} by {kind}" for kind, count in sorted(grown.by_edit.items())) or "none"
    told = [
        Finding(
            name="augmented",
            severity="info" if grown.made else "warning",
            message=f"{before:,} training rows became {before + len(grown.made):,}: {len(grown.made):,} were made "
            f"({kinds}). None of them is on a side that measures.",
            count=len(grown.made),
            example=None if not grown.made else f"{grown.made[0].id}: {said(grown.made[0])[:120]}",
            remedy="Look at some of them, and compare with a run without: rows that are made do not always help.",
        ),
        *thrown_away(gate),
    ]
    if grown.short:
        label, lack = max(grown.short.items(), key=lambda pair: (pair[1], pair[0]))
        told.append(
            Finding(
                name="balance_not_reached",
                severity="warning",
                message=f"{len(grown.short):,} labels stay below what data.augment.balance asks for: their rows give "
                "no more rows that differ enough.",
                count=len(grown.short),
                example=f"'{label}' lacks {lack:,}",
                remedy="Bring real rows of these labels, add other edits, or balance to a smaller number.",
            )
        )
    if replies is not None and replies.refused:
        told.append(
            Finding(
                name="questions_refused",
                severity="warning",
                message=f"{len(replies.refused):,} questions got no answer.",
                count=len(replies.refused),
                example=replies.refused[0],
                remedy="The rows are left out. Ask another model, or leave it at that.",
            )
        )
    return told


def thrown_away(gate: Gate) -> list[Finding]:
    """One finding about the rows that the gate refused."""
    if not gate.refused:
        return []
    total = sum(gate.refused.values())
    why = ", ".join(f"{count:,} {REASONS[reason]}" for reason, count in gate.refused.most_common())
    return [
        Finding(
            name="made_rows_thrown_away",
            message=f"{total:,} rows to add were thrown away: {why}.",
            count=total,
            example=gate.first[gate.refused.most_common(1)[0][0]],
            remedy="Nothing to do; without this they would flatter the measure or repeat what is there.",
        )
    ]
