"""Instructions for a task, made from its training rows: what kind of answer, which labels, in what form."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tunewright.core.example import Example

SHORT = 80  # characters of a row that stands for its label
_FEW = 500  # rows that are looked at


def sort_into(labels: Sequence[str]) -> str:
    """The plainest instruction for labels: all of them, and that one is the whole answer."""
    return f"Answer with exactly one of these labels and nothing else: {', '.join(labels)}."


def instructions(training: Sequence[Example], labels: Sequence[str], definitions: Mapping[str, str]) -> list[str]:
    """Instructions that fit the task, the plainest first."""
    rows = [one for one in training[:_FEW] if one.answer is not None]
    if labels:
        found = [
            "Decide what the message is about. Answer with its label alone.",
            sort_into(labels),
        ]
        if definitions:
            told = "\n".join(f"- {label}: {definitions[label]}" for label in labels if label in definitions)
            found.append(f"{sort_into(labels)}\nWhat they mean:\n{told}")
        return [*found, _with_rows(training, labels)]
    answers = [one.answer or "" for one in rows]
    if (keys := _fields(answers)) is not None:
        example = f"\nFor example: {answers[0]}"
        asked = f"Answer with one JSON object with the fields {', '.join(keys)}, and nothing else."
        return [asked, asked + example]
    if answers and all(_is_number(answer) for answer in answers):
        return ["Answer with a number and nothing else."]
    found = ["Answer the user's message.", "Answer briefly and to the point, without any introduction."]
    if answers:
        words = round(statistics.median(len(answer.split()) for answer in answers))
        found.append(f"Answer in about {max(1, words)} words, without any introduction.")
        found.append(f"Answer in the style of this answer: {answers[0][:400]}")
    return found


def proposing(rows: Sequence[Example], labels: Sequence[str], number: int) -> list[dict[str, Any]]:
    """What a model is asked in order to propose an instruction (Zhou et al. 2023, arXiv 2211.01910, forward mode)."""
    pairs = "\n\n".join(f"Input: {_said(one)}\nOutput: {one.answer}" for one in rows)
    known = f"\n\nAll possible outputs: {', '.join(labels)}." if labels else ""
    asked = (
        "I gave a friend an instruction. With it the friend turned these inputs into these outputs:\n\n"
        f"{pairs}{known}\n\nWrite the instruction: what to do, and in what form to answer. Write nothing else. "
        f"This is proposal {number}; word it in a way of your own."
    )
    return [{"role": "user", "content": asked}]


def _with_rows(training: Sequence[Example], labels: Sequence[str]) -> str:
    """All labels, each with a short row that has it."""
    shortest: dict[str, str] = {}
    for one in training:
        if one.label is not None and len(_said(one)) < len(shortest.get(one.label, "x" * (SHORT + 1))):
            shortest[one.label] = " ".join(_said(one).split())
    told = "\n".join(f"- {label}: {shortest[label]}" if label in shortest else f"- {label}" for label in labels)
    return f"Answer with exactly one of these labels and nothing else. Each has an example behind it:\n{told}"


def _said(one: Example) -> str:
    return next((message.content for message in reversed(one.asked) if message.role == "user"), "")


def _fields(answers: Sequence[str]) -> list[str] | None:
    """The fields that all answers have, where each is a JSON object."""
    found: list[str] | None = None
    for answer in answers:
        try:
            value = json.loads(answer)
        except ValueError:
            return None
        if not isinstance(value, dict):
            return None
        found = [key for key in (found if found is not None else value) if key in value]
    return found or None


def _is_number(answer: str) -> bool:
    try:
        float(answer.replace(",", ""))
    except ValueError:
        return False
    return True
