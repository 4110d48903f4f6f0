"""cites: what is cited was given, and the passage with the answer is among it."""

from __future__ import annotations

import pytest

from tunewright.core import catalog
from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Grader
from tunewright.graders.cites import Cites
from tunewright.graders.exact import Exact
from tunewright.graders.regex import Regex
from tunewright.stages import grading

GIVEN = {"1": "a", "2": "b", "3": "c"}


def row(gold: list[str], answer: str = "Ten [2]", given: dict[str, str] = GIVEN) -> Example:
    said = [Message(role="user", content="[1] ... When?"), Message(role="assistant", content=answer)]
    return Example(id="r", messages=said, question="When?", meta={"passages": given, "gold": gold})


@pytest.mark.parametrize(
    ("gold", "answer", "score", "why"),
    [
        (["b"], "At ten. [2]", 1, ""),
        (["b"], "At ten. [1]", 0, "2 is missing"),
        (["b"], "At ten. [1][2]", 1, ""),  # another given passage may help
        (["b"], "At ten. [2, 9]", 0.5, "9 was not given"),
        (["b"], "At ten.", 0, "cites nothing"),
        (["b", "c"], "At ten. [3]", 0.5, "2 is missing"),
        (["b", "c"], "At ten. [3] [7]", 0.25, "7 was not given; 2 is missing"),
        (["z"], "At ten.", 1, ""),  # what holds the answer was not given
        (["z"], "At ten. [1]", 1, ""),
        (["z"], "At ten. [4]", 0, "4 was not given"),
        ([], "At ten. [1][4]", 0.5, "4 was not given"),
    ],
)
def test_citations_are_graded(gold: list[str], answer: str, score: float, why: str) -> None:
    found = Cites().grade(row(gold), answer)
    assert found.score == pytest.approx(score) and found.why == why


def test_the_value_is_the_mean_over_rows() -> None:
    sheet = grading.sheet(Cites(), [row(["b"])] * 4, ["x [2]", "x [2][9]", "x", "x [2]"])
    assert sheet is not None
    measured = grading.measure(sheet)
    assert measured is not None and measured.value == pytest.approx(0.625)


def test_rows_without_passages_are_refused() -> None:
    plain = Example(id="p", messages=[Message(role="user", content="When?"), Message(role="assistant", content="Ten")])
    with pytest.raises(DataError, match="row p has no passages"):
        Cites().grade(plain, "Ten [1]")


def test_other_graders_compare_answers_without_citations_and_forms_with_them() -> None:
    cites: Grader = catalog.build("graders", {"kind": "regex", "pattern": r"\[2\]"})
    assert isinstance(cites, Regex)
    answers = ["ten [1]", "Ten", "Ten [2]", "Two"]
    right = grading.sheet(Exact(), [row(["b"])] * 4, answers)
    shaped = grading.sheet(cites, [row(["b"])] * 4, answers)
    assert right is not None and shaped is not None
    assert list(right.scores.values()) == [1, 1, 1, 0]
    assert list(shaped.scores.values()) == [0, 0, 1, 0]
    plain = row(["b"]).model_copy(update={"question": None})
    kept = grading.sheet(Exact(), [plain], ["Ten"])
    assert kept is not None and kept.scores == {0: 0}  # brackets of other rows are part of their answers
