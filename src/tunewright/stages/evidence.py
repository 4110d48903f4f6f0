"""Evidence on whether tuning is what a task needs: facts that stand in documents, errors of form, what rows teach."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.core import statistics
from tunewright.core.example import Example
from tunewright.core.parts import Grader
from tunewright.data.clean import normalise, prompt_text
from tunewright.data.grounding import without_citations
from tunewright.stages import grading
from tunewright.stages.grading import Sheet

MOST_ROWS = 20_000  # training rows that a proxy learns from
LONG = 3.0  # an answer so many times as long as the expected one, or as short, has another form
_NAMED = re.compile(r"\d[\d.,:/-]*\d|\d|(?<=[a-z,;:)\]] )[A-Z][\w'-]+(?: [A-Z][\w'-]+)*")


@dataclass(frozen=True)
class Share:
    """How many of some things, with Wilson's 95 % interval."""

    count: int
    of: int

    def told(self) -> dict[str, Any]:
        """As it stands in a report; no value where there is nothing to count."""
        if not self.of:
            return {"value": None, "low": None, "high": None, "n": 0}
        found = statistics.wilson(self.count, self.of)
        return found.plain(4) | {"n": self.of}


# --- what rows teach: a stand-in for tuning where answers are labels ---


def learned(
    grader: Grader, training: Sequence[Example], rows: Sequence[Example], *, parts: Iterable[float] = (0.25, 0.5, 1.0)
) -> list[tuple[int, Sheet]]:
    """What a quick classifier answers to rows after a part of the training rows, and after all: (rows learned, graded).

    Words and pairs of words with logistic regression: what tuning reaches at least, where the rows can be learned from.
    """
    from tunewright.data.proxy import Proxy

    usable = [one for one in training if one.label is not None]
    usable.sort(key=lambda one: hashlib.sha256(one.id.encode()).digest())  # files are often sorted
    found = []
    for part in parts:
        taken = usable[: round(part * min(len(usable), MOST_ROWS))]
        if len({one.label for one in taken}) < 2:
            continue
        proxy = Proxy().learn([prompt_text(one) for one in taken], [one.label or "" for one in taken])
        sheet = grading.sheet(grader, rows, proxy.answers([prompt_text(one) for one in rows]))
        if sheet is not None:
            found.append((len(taken), sheet))
    return found


# --- facts ---


def names(text: str) -> set[str]:
    """Names and numbers of a text, folded: words with a capital at its beginning or within a sentence, and figures."""
    return {normalise(found) for found in _NAMED.findall(f"x, {text}")} - {""}


def novelty(training: Sequence[Example], rows: Sequence[Example]) -> Share:
    """Of the names and numbers that expected answers hold beyond their questions: those that no training row holds.

    What is new in this sense can't be learned from these rows: the model must know it, or be shown it.
    """
    known: set[str] = set()
    for one in training[:MOST_ROWS]:
        known.update(normalise(f"{prompt_text(one)} {one.answer or ''}").split())
    needed = [name for one in rows for name in _needed(one)]
    return Share(sum(not known.issuperset(name.split()) for name in needed), len(needed))


def supported(rows: Sequence[Example], shown: Sequence[str]) -> dict[str, Share]:
    """Whether what is expected stands in the passages shown for each row: whole answers, and names and numbers."""
    whole = named = total = answers = 0
    for one, passages in zip(rows, shown, strict=True):
        text, expected = f" {normalise(passages)} ", normalise(_bare(one))
        if expected:
            answers += 1
            whole += f" {expected} " in text
        found = _needed(one)
        total += len(found)
        named += sum(f" {name} " in text for name in found)
    return {"answers": Share(whole, answers), "names": Share(named, total)}


# --- form ---


def errors_of_form(sheet: Sheet, labels: Sequence[str]) -> tuple[Share, dict[str, int]]:
    """Of the wrong answers, those whose form is wrong: none of the labels, no JSON, a field missing, the right answer
    with words around it, or far longer or shorter than what is expected. Also how many of each kind.
    """
    kinds: dict[str, int] = {}
    wrong = 0
    for example, answer, grade in zip(sheet.examples, sheet.answers, sheet.grades, strict=True):
        if grade.score >= 0.5:
            continue
        wrong += 1
        if (kind := _form(example.expected or "", answer, labels)) is not None:
            kinds[kind] = kinds.get(kind, 0) + 1
    return Share(sum(kinds.values()), wrong), kinds


def _form(expected: str, answer: str | None, labels: Sequence[str]) -> str | None:
    if answer is None:
        return "a field is missing"
    if labels:
        return None if answer in labels else "none of the labels"
    if _is_json(expected) and not _is_json(answer):
        return "no JSON"
    wanted, said = normalise(expected), normalise(answer)
    if not said:
        return "empty"
    if wanted and f" {wanted} " in f" {said} ":
        return "words around the right answer"
    ratio = (len(said) + 1) / (len(wanted) + 1)
    if ratio > LONG or ratio < 1 / LONG:
        return "far too long" if ratio > 1 else "far too short"
    return None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


def _needed(one: Example) -> set[str]:
    """Names and numbers of the expected answer that its question does not hold."""
    asked = f" {normalise(prompt_text(one))} "
    return {name for name in names(_bare(one)) if f" {name} " not in asked}


def _bare(one: Example) -> str:
    return without_citations(one.answer or "")
