"""How passages and a question become a message, and how citations are written and read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tunewright.core.retrieval import Shown
from tunewright.data import grounding
from tunewright.data.passages import Passage

SHOWN = [
    Passage("paris#1", "Paris is big.", "Paris", "paris", 0, 3),
    Passage("rome", "Rome is old.", None, "rome", 0, 3),
]


def test_the_message_to_the_letter() -> None:
    assert grounding.message("How old is Rome?", SHOWN, Shown()) == (
        "[1] Paris\nParis is big.\n\n[2] Rome is old.\n\n"
        "Answer from these passages and add the names of those you use, in brackets.\n\nQuestion: How old is Rome?"
    )
    assert (
        grounding.message("How?", SHOWN[1:], Shown(cite=False, names="id")) == "[rome] Rome is old.\n\nQuestion: How?"
    )


def test_a_template_of_ones_own_and_braces_in_texts() -> None:
    options = Shown(template="{question}\n--\n{passages}")
    odd = [Passage("a", "Write {question} here.", None, "a", 0, 3)]
    assert grounding.message("{passages}?", odd, options) == "{passages}?\n--\n[1] Write {question} here."
    assert grounding.message("Alone?", [], options) == "Alone?"


@pytest.mark.parametrize("change", [{"template": "{passages} only"}, {"words": 10, "overlap": 6}, {"passages": 0}])
def test_options_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Shown.model_validate(change)


@pytest.mark.parametrize(
    ("answer", "cited", "bare"),
    [
        ("In 753 BC. [2]", ["2"], "In 753 BC."),
        ("Old [1][2], very old [2; 3].", ["1", "2", "3"], "Old, very old."),
        ("See [paris#1, rome].", ["paris#1", "rome"], "See."),
        ("No source [not a name!] here []", [], "No source [not a name!] here []"),
    ],
)
def test_citations_are_read_and_taken_away(answer: str, cited: list[str], bare: str) -> None:
    assert grounding.citations(answer) == cited
    assert grounding.without_citations(answer) == bare


def test_citations_that_are_written_can_be_read() -> None:
    answer = grounding.with_citations("Rome.\n", ["2", "1"])
    assert answer == "Rome. [2][1]"
    assert grounding.citations(answer) == ["2", "1"] and grounding.without_citations(answer) == "Rome."
    assert grounding.with_citations("Rome.", []) == "Rome."
