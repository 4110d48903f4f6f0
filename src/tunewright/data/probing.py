"""Suites that look at what a model can do beside its task: general texts, questions with choices, instructions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tunewright
from tunewright.core import yaml_text
from tunewright.core.errors import DataError
from tunewright.data import sources

SUITES = Path(tunewright.__file__).parent / "resources" / "suites"
LEAST_LETTERS = 40  # a shorter paragraph is a heading
MOST_LETTERS = 1500  # a longer one is read in parts


@dataclass(frozen=True)
class Choice:
    """A question with answers to choose from; `answer` is the place of the right one."""

    question: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Instruction:
    """Something to do, and what shows that it was done: every condition that is given must hold."""

    ask: str
    right: str | None = None  # a regular expression
    exact: bool = False  # capitals count
    words: tuple[int, int] | None = None
    lines: tuple[int, int] | None = None
    json: bool = False  # an object or a list

    def obeyed(self, answer: str) -> bool:
        """Whether an answer does what was asked."""
        answer = answer.strip()
        if not answer or not _within(len(answer.split()), self.words):
            return False
        if not _within(len([line for line in answer.splitlines() if line.strip()]), self.lines):
            return False
        flags = re.DOTALL if self.exact else re.DOTALL | re.IGNORECASE
        if self.right is not None and not re.search(self.right, answer, flags):
            return False
        return not self.json or _is_json(answer)


@cache
def general_texts() -> tuple[str, ...]:
    """The bundled paragraphs of general English."""
    return tuple(_bundled("general-text"))


@cache
def common_knowledge() -> tuple[Choice, ...]:
    """The bundled questions with choices."""
    return tuple(_choice(row, "common-knowledge") for row in _bundled("common-knowledge"))


@cache
def instructions() -> tuple[Instruction, ...]:
    """The bundled instructions."""
    found = []
    for row in _bundled("instructions"):
        given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        found.append(Instruction(**given))
    return tuple(found)


def texts_of(file: str) -> list[str]:
    """The paragraphs of a user's file: plain text, or rows with a `text`. Raises NotThere and DataError."""
    found = []
    for row in sources.read([file]):
        text = (row.values or {}).get("text")
        if isinstance(text, str):
            found += [part for paragraph in re.split(r"\n\s*\n", text) for part in _parts(paragraph.strip())]
    if not found:
        raise DataError(
            f"{file} holds no text to read: no row has a 'text' of {LEAST_LETTERS} characters. Name a file of plain "
            "text with an empty line between paragraphs."
        )
    return found


def choices_of(file: str) -> list[Choice]:
    """The questions of a file whose rows have `question`, `choices` and `answer` (a number from 0, a letter, or the
    choice itself), as MMLU has, or `question` and `mc1` (texts, one of them `correct`), as TruthfulQA has. Raises
    NotThere and DataError.
    """
    found = [_choice(row.values, f"{file} line {row.line}") for row in sources.read([file]) if row.values is not None]
    if not found:
        raise DataError(f"{file} holds no question. Name a file of rows with question, choices and answer.")
    return found


def _bundled(name: str) -> list[Any]:
    found = yaml_text.read((SUITES / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, list)
    return found


def _choice(values: dict[str, Any], where: str) -> Choice:
    question = str(values.get("question") or "").strip()
    if isinstance(values.get("mc1"), list):
        choices = tuple(str(one["text"]) for one in values["mc1"])
        right = [place for place, one in enumerate(values["mc1"]) if one["correct"]]
        answer = right[0] if len(right) == 1 else None
    else:
        choices = tuple(map(str, values.get("choices") or ()))
        answer = _place(values.get("answer"), choices)
    if not question or len(choices) < 2 or answer is None:
        raise DataError(
            f"{where} is no question with choices: it needs 'question', 'choices' (two or more) and 'answer' (the "
            f"right one's number from 0, its letter, or itself). Found the columns {', '.join(values) or 'none'}."
        )
    return Choice(question, choices, answer)


def _place(answer: Any, choices: tuple[str, ...]) -> int | None:
    """Where the right choice stands, however it is named."""
    if isinstance(answer, int) and not isinstance(answer, bool):
        return answer if 0 <= answer < len(choices) else None
    if str(answer) in choices:
        return choices.index(str(answer))
    letter = str(answer).strip().upper()
    at = ord(letter) - ord("A") if len(letter) == 1 else int(letter) if letter.isdigit() else -1
    return at if 0 <= at < len(choices) else None


def _parts(paragraph: str) -> list[str]:
    """A paragraph in pieces that are not too long, cut between words; nothing where it is too short."""
    parts = []
    while len(paragraph) > MOST_LETTERS:
        at = paragraph.rfind(" ", 0, MOST_LETTERS)
        at = at if at > 0 else MOST_LETTERS
        parts.append(paragraph[:at])
        paragraph = paragraph[at:].strip()
    return [part for part in [*parts, paragraph] if len(part) >= LEAST_LETTERS]


def _within(count: int, bounds: tuple[int, int] | None) -> bool:
    return bounds is None or bounds[0] <= count <= bounds[1]


def _is_json(answer: str) -> bool:
    try:
        return isinstance(json.loads(answer), dict | list)
    except ValueError:
        return False
