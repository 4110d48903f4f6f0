"""choice: multiple choice, by which of the row's own options the contestant's model finds likeliest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Desk, Grade, Grader
from tunewright.graders._folding import fold

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class _Asked:
    """The options of a row, and which of them are right."""

    texts: list[str]
    right: list[bool]


class Choice(Grader):
    """Right or wrong: the option with the highest log-prob, said after the question, is a right one. The value is
    accuracy.

    Needs a column of options in each row (`options`), and a contestant whose model runs here and says texts. Options
    are a list of texts, of which the expected answer tells the right one, by `right`; or of {text, correct}, or
    {choices, labels} with 1 for each right one, as in TruthfulQA. Scored by the summed log-prob of the option with its
    end of turn, or by that per character; both accuracies are told (acc and acc_norm of lm-evaluation-harness), and the
    mean share of the mass that right options have. Compared by McNemar's exact test. Sources: Brown et al. 2020,
    section 2.4; Lin et al. 2022 (mc1, mc2). Neighbours: `exact`, for the option that is said; `perplexity`.
    """

    paired: ClassVar[str] = "mcnemar"
    needs_expected: ClassVar[bool] = False
    needs_model: ClassVar[bool] = True

    options: str = Field("choices", description="the column that holds the row's options")
    right: Literal["text", "index", "letter"] = Field(
        "text", description="how the expected answer names an option: by its text, its place from 0, or A, B, C ..."
    )
    per_character: bool = Field(False, description="decide by log-prob per character: fair to long options")

    def grade(self, example: Example, answer: str) -> Grade:
        """Raises DataError: a text alone does not tell what a model finds likely."""
        raise DataError("Grader 'choice' asks the contestant's model: it has a place in evaluate.graders alone.")

    def grade_all(self, examples: Sequence[Example], answers: Sequence[str], desk: Desk) -> list[Grade]:
        """Raises DataError for a row without options, or without a right one."""
        assert desk.logprobs is not None, "only contestants with a model here are graded"
        asked = [self._asked(example) for example in examples]
        found = desk.logprobs(examples, [one.texts for one in asked])
        grades = []
        for one, said in zip(asked, found, strict=True):
            if said is None:
                grades.append(Grade(score=0.0, why="does not fit the model's context"))
                continue
            grades.append(_graded(one, [option.total for option in said], self.per_character))
        return grades

    def try_on(self, example: Example) -> None:
        """Raises DataError for a row without options, or without a right one."""
        self._asked(example)

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """Accuracy by the sum and by the log-prob per character, and the mean mass of the right options."""
        told = [grade.facts for grade in grades]
        means = {
            name: sum(facts.get(name, 0.0) for facts in told) / len(told)
            for name in ("accuracy_by_sum", "accuracy_per_character", "mass_of_right")
        }
        return means | {"rows_too_long": sum(not facts for facts in told)}

    def _asked(self, example: Example) -> _Asked:
        given = example.meta.get(self.options)
        if isinstance(given, dict) and {"choices", "labels"} <= given.keys():
            texts, right = [str(text) for text in given["choices"]], [bool(label) for label in given["labels"]]
        elif isinstance(given, list) and given and all(isinstance(one, dict) for one in given):
            texts, right = [str(one.get("text")) for one in given], [bool(one.get("correct")) for one in given]
        elif isinstance(given, list) and given:
            texts = [str(text) for text in given]
            right = self._right(texts, (example.answer or "").strip())
        else:
            columns = ", ".join(sorted(example.meta)) or "none"
            raise DataError(
                f"Grader '{self.label}' needs a list of options in the column '{self.options}', which row {example.id} "
                f"lacks. Name another column with options:. Columns of the row: {columns}."
            )
        if len(right) != len(texts) or not any(right):
            raise DataError(
                f"Grader '{self.label}' finds no right option in row {example.id}: the expected answer is "
                f"'{example.answer}', right: {self.right}. Say how it names an option: right: text, index or letter."
            )
        return _Asked(texts, right)

    def _right(self, texts: Sequence[str], expected: str) -> list[bool]:
        if self.right == "text":
            return [fold(text) == fold(expected) for text in texts]
        place = int(expected) if self.right == "index" and expected.isdecimal() else -1
        if self.right == "letter" and len(expected.strip(" ().")) == 1:
            place = _LETTERS.find(expected.strip(" ().").upper())
        return [number == place for number in range(len(texts))]


def _graded(asked: _Asked, totals: Sequence[float], per_character: bool) -> Grade:
    import numpy as np

    by_sum = np.array(totals)
    by_length = by_sum / np.array([max(1, len(text)) for text in asked.texts], float)
    mass = np.exp(by_sum - by_sum.max())
    first, other = int(by_sum.argmax()), int(by_length.argmax())
    said = other if per_character else first
    facts = {
        "accuracy_by_sum": float(asked.right[first]),
        "accuracy_per_character": float(asked.right[other]),
        "mass_of_right": float(mass[np.array(asked.right)].sum() / mass.sum()),
    }
    why = "" if asked.right[said] else f"chose '{asked.texts[said][:60]}'"
    return Grade(score=float(asked.right[said]), why=why, facts=facts)
