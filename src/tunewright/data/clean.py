"""Twins: rows that are the same, exactly or after normalising; contradictions; spellings of one label."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from tunewright.core.example import Example, Message
from tunewright.core.report import Finding

_OF_NUMBERS = "-.,:/%"
_NOT_BEFORE_DIGIT = re.compile(r"[-.,:/](?![0-9])")
_LONGEST_KEY = 500  # characters; longer keys are hashed to save memory


def normalise(text: str) -> str:
    """A text without what writers vary: compatibility forms, case, punctuation, white space.

    Punctuation that changes a number (-5, 3.5, 10:30) stays. A text of nothing but punctuation is only folded.
    """
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    bare = folded
    for mark in set(folded):  # a few dozen at most; removing one by one is faster than any pattern of them all
        if not mark.isalnum() and mark not in _OF_NUMBERS and unicodedata.category(mark)[0] == "P":
            bare = bare.replace(mark, "")
    bare = _NOT_BEFORE_DIGIT.sub("", bare)
    return " ".join(bare.split()) or " ".join(folded.split())


def prompt_text(example: Example) -> str:
    """All that the model is asked, as one text; of a plain document, the document."""
    if example.text is not None:
        return example.text
    return "\x1e".join(_said(message) for message in example.prompt)


def answer_text(example: Example) -> str:
    """All that the model should say (and, of a pair, should not), as one text."""
    answers = [_said(message) for message in example.messages[len(example.prompt) :]]
    return "\x1e".join([*answers, "\x1f", *(_said(message) for message in example.rejected or [])])


def twin_key(example: Example) -> str:
    """Equal for rows that ask the same, exactly or after normalising: such rows must never straddle a split."""
    if example.text is not None:
        key = normalise(example.text)
    else:
        key = "\x1e".join(f"{message.role}:{normalise(_said(message))}" for message in example.prompt)
    return key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()


def exact_key(example: Example) -> tuple[str, str]:
    """Equal for rows that ask and answer the same, to the letter."""
    return prompt_text(example), answer_text(example)


def _said(message: Message) -> str:
    if message.tool_calls is None:
        return message.content
    return f"{message.content}{json.dumps(message.tool_calls, ensure_ascii=False, sort_keys=True)}"


def findings(examples: Iterable[Example], keys: dict[str, str]) -> list[Finding]:
    """Normalised twins, contradictions and label spellings. `keys`: example id -> twin key."""
    twins: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        twins[keys[example.id]].append(example)
    groups = [group for group in twins.values() if len(group) > 1]
    return [*_same(groups), *_contradictions(groups), *_spellings(twins.values())]


def _same(groups: list[list[Example]]) -> list[Finding]:
    """Rows that only differ in what normalising removes."""
    alike = []
    for group in groups:
        by_answer: dict[str, list[Example]] = defaultdict(list)
        for example in group:
            by_answer[normalise(answer_text(example))].append(example)
        alike += [same for same in by_answer.values() if len(same) > 1]
    if not alike:
        return []
    return [
        Finding(
            name="normalised_twins",
            message="Rows that differ only in case, punctuation or spaces. They are kept, all on the same side.",
            rows=sum(len(same) for same in alike),
            example=_shown(alike[0][0], alike[0][1]),
            remedy="Remove all but one of each where they carry no meaning of their own.",
        )
    ]


def _contradictions(groups: list[list[Example]]) -> list[Finding]:
    split = [group for group in groups if group[0].text is None and len({_judged(example) for example in group}) > 1]
    labelled = [group for group in split if group[0].label is not None]
    others = [group for group in split if group[0].label is None]
    found = []
    if labelled:
        first = labelled[0]
        other = next(example for example in first if _judged(example) != _judged(first[0]))
        found.append(
            Finding(
                name="contradictions",
                severity="warning",
                message="The same text has different labels. The model can only be right about one of them.",
                rows=sum(len(group) for group in labelled),
                example=_shown(first[0], other),
                remedy="Decide which label is right and mend the rows; data/*.jsonl names them by id.",
            )
        )
    if others:
        first = others[0]
        other = next(example for example in first if _judged(example) != _judged(first[0]))
        found.append(
            Finding(
                name="several_answers",
                message="The same prompt has different answers: good where all are right, harmful where one is wrong.",
                rows=sum(len(group) for group in others),
                example=_shown(first[0], other),
                remedy="Look at the rows; keep one answer where only one is right.",
            )
        )
    return found


def _judged(example: Example) -> str:
    return example.label if example.label is not None else normalise(answer_text(example))


def _spellings(groups: Iterable[list[Example]]) -> list[Finding]:
    labels: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for group in groups:
        for example in group:
            if example.label is not None:
                folded = normalise(example.label.replace("_", " ").replace("-", " "))
                labels[folded][example.label] += 1
    several = [spellings for spellings in labels.values() if len(spellings) > 1]
    if not several:
        return []
    return [
        Finding(
            name="label_spellings",
            severity="warning",
            message="One label is written in several ways; each counts as a class of its own.",
            rows=sum(sum(spellings.values()) for spellings in several),
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
