"""Looks for a prompt on validation rows: candidates, tried by successive halving within a budget."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from random import Random
from typing import Any

from tunewright.contestants import _wording
from tunewright.contestants.prompt import QUESTION, Prompt, Search
from tunewright.core import storage
from tunewright.core.contesting import Rehearsal, Rehearsed
from tunewright.core.endpoint import Question
from tunewright.core.errors import DataError
from tunewright.core.example import Example

LEAST_ROWS = 8  # that a candidate is judged on
SHOWN_TO_PROPOSER = 8


@dataclass
class Candidate:
    """A prompt, what it answered so far, and what that is worth."""

    prompt: Prompt
    answers: list[str] = field(default_factory=list)
    value: float = 0.0

    @property
    def mark(self) -> str:
        """Tells it apart from the others."""
        return storage.digest(self.prompt.model_dump(mode="json"))[:12]


def found(asked: Prompt, search: Search, scene: Rehearsal) -> Rehearsed:
    """The best prompt as options that ask it again, and how it was found. Raises DataError, EndpointError, Stopped."""
    rows = sorted(scene.validation, key=lambda one: hashlib.sha256(f"{search.seed}:{one.id}".encode()).digest())
    rows = rows[: search.rows]
    if not rows:
        raise DataError(
            f"Contestant '{asked.label}' looks for its prompt on validation rows, and none can be graded by "
            f"'{scene.grader}'. Give data.split.validation a share, or give the prompt: system, template or file."
        )
    living = candidates(asked, search, scene)
    trace: list[dict[str, Any]] = []
    seconds, num_tried, num_asked, before = 0.0, len(living), 0, 0
    total = sum(count * number for count, number in _plan(len(living), len(rows)))
    for count, keep in rungs(len(living), len(rows)):
        tried: list[Candidate] = []
        for one in living:
            if search.seconds is not None and seconds >= search.seconds and (trace or tried):
                break
            came = scene.trial(one.prompt, rows[before:count], f"{one.mark}.{before}")
            one.answers += came.answers
            one.value = scene.value(rows[:count], one.answers)
            seconds += came.seconds
            num_asked += count - before
            tried.append(one)
            scene.poll("questions of the prompt search", min(num_asked, total), total)
        if len(tried) < len(living) and trace:
            break  # out of time: the rung before is the last on which all were tried alike
        living = sorted(tried, key=lambda one: -one.value)  # stable: of equals the plainer one
        trace.append({"rows": count, "values": [_told(one) for one in living]})
        if len(tried) < keep or (search.seconds is not None and seconds >= search.seconds):
            break
        living, before = living[:keep], count
    best = living[0]
    options = _told(best)["options"]
    told = {
        "options": {"kind": "prompt", **options},
        "grader": scene.grader,
        "validation": trace[-1]["values"][0]["value"],
        "rows": trace[-1]["rows"],
        "candidates": num_tried,
        "questions": num_asked,
        "seconds": round(seconds, 3),
        "rungs": trace,
    }
    return Rehearsed(best.prompt, told)


def rungs(num_candidates: int, num_rows: int) -> list[tuple[int, int]]:
    """(rows that each has answered by then, candidates that stay): halved until one is left, rows doubled each time
    (Jamieson and Talwalkar 2016, algorithm 1).
    """
    steps = max(1, math.ceil(math.log2(num_candidates)))
    found: list[tuple[int, int]] = []
    for step in range(steps):
        count = min(num_rows, max(LEAST_ROWS, round(num_rows / 2 ** (steps - 1 - step))))
        keep = 1 if step == steps - 1 else max(2, math.ceil(num_candidates / 2 ** (step + 1)))
        if found and count == found[-1][0]:
            found[-1] = (count, keep)
        else:
            found.append((count, keep))
    return found


def _plan(num_candidates: int, num_rows: int) -> list[tuple[int, int]]:
    """(new rows, candidates that answer them) of each rung."""
    planned, before, living = [], 0, num_candidates
    for count, keep in rungs(num_candidates, num_rows):
        planned.append((count - before, living))
        before, living = count, keep
    return planned


def candidates(asked: Prompt, search: Search, scene: Rehearsal) -> list[Candidate]:
    """Prompts to try, the plainest first: the question alone, then in turn an instruction or a set of examples by
    itself, and a pair of both as the seed draws it.
    """
    texts = [*search.instructions, *_wording.instructions(scene.training, scene.labels, search.definitions)]
    texts += _proposed(search, scene)
    systems: list[str | None] = [None, *dict.fromkeys(texts)]
    sets = [dict(shown) for shown in _sets(search, scene)]
    pairs = [(system, shown) for system in systems for shown in sets]
    first = [(system, sets[0]) for system in systems] + [(None, shown) for shown in sets[1:]]
    rest = [pair for pair in pairs if pair not in first]
    Random(search.seed).shuffle(rest)
    turns = [pair for two in zip_longest(first[1:], rest) for pair in two if pair is not None]
    chosen = [first[0], *turns][: search.candidates]
    order = sorted(chosen, key=lambda pair: (pair[1].get("k", len(pair[1].get("examples", ()))), len(pair[0] or "")))
    plain = {"search": None, "template": QUESTION}  # the question as it stands: options that say so can be given again
    return [Candidate(asked.model_copy(update=plain | {"system": text, **shown})) for text, shown in order]


def _sets(search: Search, scene: Rehearsal) -> list[dict[str, Any]]:
    """Sets of shown examples: none, the nearest, and two fixed ones, for each number of examples."""
    usable = [one for one in scene.training if one.messages and one.messages[-1].role == "assistant"]
    found: list[dict[str, Any]] = []
    for k in search.shots:
        if k == 0 or not usable:
            found.append({})
            continue
        found.append({"k": k, "pick": "similar"})
        for seed in (search.seed, search.seed + 1):
            fixed = Prompt(k=k, pick="fixed", seed=seed).fixed(usable)
            found.append({"examples": tuple(one.id for one in fixed)})
    return [one for number, one in enumerate(found) if one not in found[:number]]


def _proposed(search: Search, scene: Rehearsal) -> list[str]:
    """Instructions that an endpoint proposes from training rows, other rows for each."""
    if search.proposer is None:
        return []
    rows: Sequence[Example] = [one for one in scene.training if one.answer is not None]
    draw = Random(search.seed)
    questions = []
    for number in range(1, search.proposals + 1):
        shown = draw.sample(rows, min(SHOWN_TO_PROPOSER, len(rows)))
        messages = _wording.proposing(shown, scene.labels, number)
        questions.append(Question(messages, max_tokens=400, temperature=0.9, seed=number))
    return [reply.text.strip() for reply in scene.ask(search.proposer, questions) if reply.text.strip()]


def _told(one: Candidate) -> dict[str, Any]:
    options = one.prompt.model_dump(mode="json", exclude_defaults=True, exclude={"model", "name"})
    if len(options) > 1:
        del options["template"]  # something else is given
    return {"value": round(one.value, 6), "options": options}
