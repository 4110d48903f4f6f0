"""Suites of general probes: those that are bundled, and files of questions and texts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.data import probing
from tunewright.data.probing import Choice, Instruction

DATA = Path(os.environ.get("TUNEWRIGHT_DATA", "/nowhere"))


def test_the_bundled_suites_are_whole() -> None:
    questions, asked, texts = probing.common_knowledge(), probing.instructions(), probing.general_texts()
    assert (len(questions), len(asked), len(texts)) == (60, 40, 30)
    for place in range(4):  # no place is right more often than another
        assert sum(one.answer == place for one in questions) == 15
    assert len({one.question for one in questions}) == 60 and len({one.ask for one in asked}) == 40
    assert not any(one.obeyed("") for one in asked)
    assert all(200 < len(text) < 500 for text in texts)


@pytest.mark.parametrize(
    ("instruction", "good", "bad"),
    [
        (Instruction("", right="HELLO", exact=True), "HELLO!", "hello"),
        (Instruction("", right="green", words=(1, 1)), "Green.", "It is green."),
        (Instruction("", lines=(3, 4)), "cat\ndog\n\ncow", "cat, dog, cow"),
        (Instruction("", right='"name"', json=True), '{"name": "Tom"}', 'It is {"name": "Tom"}'),
    ],
)
def test_an_instruction_knows_when_it_is_obeyed(instruction: Instruction, good: str, bad: str) -> None:
    assert instruction.obeyed(good) and not instruction.obeyed(bad) and not instruction.obeyed("")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": "Q?", "choices": ["a", "b"], "answer": 1}, Choice("Q?", ("a", "b"), 1)),
        ({"question": "Q?", "choices": ["a", "b"], "answer": "B"}, Choice("Q?", ("a", "b"), 1)),
        ({"question": "Q?", "choices": ["yes", "no"], "answer": "no"}, Choice("Q?", ("yes", "no"), 1)),
        (
            {"question": "Q?", "mc1": [{"text": "x", "correct": False}, {"text": "y", "correct": True}]},
            Choice("Q?", ("x", "y"), 1),
        ),
    ],
)
def test_questions_are_read_however_they_name_the_right_choice(
    tmp_path: Path, row: dict[str, Any], expected: Choice
) -> None:
    storage.write_jsonl(tmp_path / "suite.jsonl", [row])
    assert probing.choices_of(str(tmp_path / "suite.jsonl")) == [expected]


def test_a_row_that_is_no_question_is_named(tmp_path: Path) -> None:
    storage.write_jsonl(tmp_path / "suite.jsonl", [{"question": "Q?", "choices": ["a", "b"], "answer": 7}])
    with pytest.raises(DataError, match=r"suite.jsonl line 1 is no question with choices"):
        probing.choices_of(str(tmp_path / "suite.jsonl"))


def test_texts_are_parted_into_paragraphs(tmp_path: Path) -> None:
    storage.write_text(tmp_path / "own.txt", "Heading\n\n" + "A sentence of some length. " * 4 + "\n\n" + "word " * 700)
    found = probing.texts_of(str(tmp_path / "own.txt"))
    assert len(found) == 4 and max(map(len, found)) <= probing.MOST_LETTERS
    storage.write_text(tmp_path / "short.txt", "Hello.")
    with pytest.raises(DataError, match="holds no text to read"):
        probing.texts_of(str(tmp_path / "short.txt"))


@pytest.mark.skipif(not (DATA / "probe-mmlu").exists(), reason="the public data sets are not on this machine")
def test_public_suites_are_read_whole() -> None:
    assert len(probing.choices_of(str(DATA / "probe-mmlu" / "validation.jsonl"))) == 235
    assert len(probing.choices_of(str(DATA / "probe-truthfulqa" / "test.jsonl"))) == 817
