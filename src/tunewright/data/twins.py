"""What rows that ask the same tell: near copies, contradictions, several answers; and spellings of one label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tunewright.core.example import Example
from tunewright.core.report import Finding
from tunewright.data.clean import answer_text, normalise, prompt_text
from tunewright.data.spool import Spool, classes, digest


@dataclass(frozen=True)
class _Groups:
    """Rows that have twins, group behind group, in the order in which each first appears. One entry a row."""

    rows: np.ndarray
    group: np.ndarray  # number of the group, from 0
    answer: np.ndarray  # digest of the answer, normalised
    judged: np.ndarray  # digest of what must be equal where rows ask the same: the label, else the answer
    is_text: np.ndarray
    is_labelled: np.ndarray


def findings(
    order: np.ndarray, twins: np.ndarray, spool: Spool, poll: Callable[[int], None] = lambda done: None
) -> list[Finding]:
    """Normalised twins, contradictions and label spellings.

    order: the rows that were kept, side behind side. twins: by row number, the class of rows that ask the same. poll:
    called with how many of the rows that have twins were read again.
    """
    position = _by_class(twins[order])
    groups = _groups(order[position], twins, spool, poll)
    return [*_same(groups, spool), *_contradictions(groups, spool), *_spellings(order[position], spool)]


def _by_class(twins: np.ndarray) -> np.ndarray:
    """Positions, ordered by where the class of each first appears, then as they are."""
    _, first, number = np.unique(twins, return_index=True, return_inverse=True)
    return np.argsort(first[number], kind="stable")


def _groups(rows: np.ndarray, twins: np.ndarray, spool: Spool, poll: Callable[[int], None]) -> _Groups:
    """The groups among rows that stand class behind class. Only rows that have twins are read again."""
    begins = np.flatnonzero(np.diff(twins[rows], prepend=-1))
    sizes = np.diff(np.append(begins, len(rows)))
    rows = rows[np.repeat(sizes > 1, sizes)]
    sizes = sizes[sizes > 1]
    answer, judged = np.empty(len(rows), "V16"), np.empty(len(rows), "V16")
    is_text, is_labelled = np.empty(len(rows), bool), np.empty(len(rows), bool)
    ascending = np.argsort(rows, kind="stable")
    for at, example in zip(ascending.tolist(), spool.examples(rows[ascending], poll), strict=True):
        said = digest(normalise(answer_text(example)))
        answer[at] = said
        judged[at] = digest(example.label) if example.label is not None else said
        is_text[at], is_labelled[at] = example.text is not None, example.label is not None
    return _Groups(rows, np.repeat(np.arange(len(sizes)), sizes), answer, judged, is_text, is_labelled)


def _same(groups: _Groups, spool: Spool) -> list[Finding]:
    """Rows that only differ in what normalising removes."""
    alike = classes(groups.group, groups.answer)
    sizes = np.bincount(alike)
    several = np.flatnonzero(sizes > 1)
    if not len(several):
        return []
    first, second = groups.rows[np.flatnonzero(alike == several[0])[:2]]
    return [
        Finding(
            name="normalised_twins",
            message="Rows that differ only in case, punctuation or spaces. They are kept, all on the same side.",
            count=int(sizes[several].sum()),
            example=_shown(spool[first], spool[second]),
            remedy="Remove all but one of each where they carry no meaning of their own.",
        )
    ]


def _contradictions(groups: _Groups, spool: Spool) -> list[Finding]:
    judged = classes(groups.group, groups.judged)
    begins = np.flatnonzero(np.diff(groups.group, prepend=-1))
    sizes = np.diff(np.append(begins, len(judged)))
    differs = judged != np.repeat(judged[begins], sizes)
    split = (np.bincount(groups.group[differs], minlength=len(begins)) > 0) & ~groups.is_text[begins]
    labelled, others = split & groups.is_labelled[begins], split & ~groups.is_labelled[begins]

    def shown(which: np.ndarray) -> str:
        group = int(np.argmax(which))
        other = begins[group] + int(np.argmax(differs[begins[group] :]))
        return _shown(spool[groups.rows[begins[group]]], spool[groups.rows[other]])

    found = []
    if labelled.any():
        found.append(
            Finding(
                name="contradictions",
                severity="warning",
                message="The same text has different labels. The model can only be right about one of them.",
                count=int(sizes[labelled].sum()),
                example=shown(labelled),
                remedy="Decide which label is right and mend the rows; data/*.jsonl names them by id.",
            )
        )
    if others.any():
        found.append(
            Finding(
                name="several_answers",
                message="The same prompt has different answers: good where all are right, harmful where one is wrong.",
                count=int(sizes[others].sum()),
                example=shown(others),
                remedy="Look at the rows; keep one answer where only one is right.",
            )
        )
    return found


def _spellings(rows: np.ndarray, spool: Spool) -> list[Finding]:
    """Labels that are one when folded; in the order in which they appear among `rows`."""
    numbers = spool.column("label")[rows]
    found, first, counts = np.unique(numbers[numbers >= 0], return_index=True, return_counts=True)
    names: Sequence[str] = list(spool.labels)
    folded: dict[str, dict[str, int]] = {}
    for at in np.argsort(first).tolist():
        if found[at] < len(names):
            label = names[found[at]]
            folded.setdefault(normalise(label.replace("_", " ").replace("-", " ")), {})[label] = int(counts[at])
    several = [spellings for spellings in folded.values() if len(spellings) > 1]
    if not several:
        return []
    return [
        Finding(
            name="label_spellings",
            severity="warning",
            message="One label is written in several ways; each counts as a class of its own.",
            count=sum(sum(spellings.values()) for spellings in several),
            example=", ".join(f"'{label}' ({count})" for label, count in several[0].items()),
            remedy="Write each label in one way.",
        )
    ]


def _shown(first: Example, second: Example) -> str:
    """Two rows side by side, short enough for a report."""
    shown = [(one.id, _short(prompt_text(one), 80), _short(one.answer or "", 60)) for one in (first, second)]
    return " / ".join(f"{id}: {prompt} -> {answer}" for id, prompt, answer in shown)


def _short(text: str, most: int) -> str:
    line = " ".join(text.replace("\x1e", " | ").split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
