"""entity_f1: the entities found in a text, each right only as a whole: place and type."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunewright.core.example import Example, Span
from tunewright.core.parts import Grade, Grader

if TYPE_CHECKING:
    import numpy as np


class EntityF1(Grader):
    """Strict F1 over entities: 2 tp / (found + expected), where tp has the expected place and type.

    Needs spans, or an expected answer that is a JSON list of entities. An answer is a JSON list of {text, label, start,
    end}; an entity without start and end is looked for in the text, the first time after the one before it. Anything
    else finds nothing. A row's own grade is its F1, 1 where there is nothing to find and nothing was found. Source: the
    strict measure of SemEval 2013, task 9 (Segura-Bedmar et al. 2013), micro-averaged. Neighbour: `label_f1` (texts).
    """

    def grade(self, example: Example, answer: str) -> Grade:
        """F1 within the row."""
        hits, expected, got = _counts(example, answer)
        if expected + got == 0:
            return Grade(score=1.0)
        why = "" if hits == expected == got else f"{hits} of {expected} found, {got} named"
        return Grade(score=2 * hits / (expected + got), why=why)

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """Right, expected and named entities of each row: [rows, 3]."""
        import numpy as np

        return np.array([_counts(e, answer) for e, answer in zip(examples, answers, strict=True)], dtype=float)

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Micro F1; 1 where there is nothing to find and nothing was found."""
        import numpy as np

        hits, expected, got = np.moveaxis(totals, -1, 0)
        f1: np.ndarray = np.where(expected + got > 0, 2 * hits / np.maximum(expected + got, 1), 1.0)
        return f1

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """Precision, recall and F1, over all entities and for each type."""
        every: dict[str, list[int]] = {}
        for example, answer in zip(examples, answers, strict=True):
            expected, got = _expected(example), _named(answer, _text(example))
            for kind in {span.label for span in expected | got}:
                one, other = ({s for s in spans if s.label == kind} for spans in (expected, got))
                tally = every.setdefault(kind, [0, 0, 0])
                for place, count in enumerate((len(one & other), len(one), len(other))):
                    tally[place] += count
        types = {kind: _figures(*tally) for kind, tally in sorted(every.items())}
        total = [sum(tally[place] for tally in every.values()) for place in range(3)]
        return {**_figures(*total), "types": types} if every else {}


def _figures(hits: int, expected: int, got: int) -> dict[str, float]:
    return {
        "precision": hits / got if got else 0.0,
        "recall": hits / expected if expected else 0.0,
        "f1": 2 * hits / (expected + got) if expected + got else 0.0,
        "n": expected,
    }


def _counts(example: Example, answer: str | None) -> tuple[int, int, int]:
    expected, got = _expected(example), _named(answer, _text(example))
    return len(expected & got), len(expected), len(got)


def _text(example: Example) -> str:
    return next((message.content for message in reversed(example.prompt) if message.role == "user"), "")


def _expected(example: Example) -> set[Span]:
    return set(example.spans) if example.spans is not None else _named(example.answer, _text(example))


def _named(answer: str | None, text: str) -> set[Span]:
    """The entities of an answer. Named again without places, an entity is looked for further on in the text."""
    try:
        listed = json.loads(answer or "")
    except ValueError:
        return set()
    found: set[Span] = set()
    at: dict[str, int] = {}
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or not isinstance(one.get("label"), str):
            continue
        start, end, said = one.get("start"), one.get("end"), one.get("text")
        if not (isinstance(start, int) and isinstance(end, int)):
            if not isinstance(said, str) or not said:
                continue
            start = text.find(said, at.get(said, 0))
            end = start + len(said)
            at[said] = end
        found.add(Span(start=start, end=end, label=one["label"]))
    return found
