"""How often a test set was opened: each evaluation that reads its answers is one opening, by whichever run.

Kept beside the runs, so that a fresh start or another run's name begins no new count.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import RunError
from tunewright.core.example import Example
from tunewright.core.parts import Grader
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding
from tunewright.core.run import Run

FILE = "openings.jsonl"
HIGH = 5  # openings from which on a report warns
SHOWN = 12  # hex digits of a hash


@dataclass(frozen=True)
class Frozen:
    """What a figure rests on, as hashes: the test set's content, what is asked and how, each grader, the model."""

    test_set: str
    prompts: str
    graders: dict[str, str]
    model: str

    @property
    def key(self) -> str:
        """The same for two evaluations of which the second can tell nothing new."""
        return storage.digest([self.test_set, self.prompts, sorted(self.graders.items()), self.model])[:SHOWN]


def frozen(test: Sequence[Example], graders: Sequence[Grader], *, model: str, decode: dict[str, Any]) -> Frozen:
    """The hashes. The test set's is the same in any order of rows and whatever their ids; a grader's changes with its
    options and its code. model: what tells the tuned model apart. decode: how it answers.
    """
    rows = sorted(storage.digest(example.model_dump(exclude={"id", "meta"})) for example in test)
    asked = sorted(storage.digest([message.for_template() for message in example.prompt]) for example in test)
    return Frozen(
        test_set=storage.digest(rows)[:SHOWN],
        prompts=storage.digest([asked, decode])[:SHOWN],
        graders={grader.label: _version(grader) for grader in graders},
        model=storage.digest(model)[:SHOWN],
    )


def refuse_sealed(recipe: Recipe, run: Run, what: Frozen) -> None:
    """Raise RunError when the recipe seals the test set and this evaluation would open it once too often."""
    limit = recipe.evaluate.openings
    before = _openings(run, what)
    if limit is not None and len(before) >= limit and what.key not in {row["key"] for row in before}:
        times = "once" if len(before) == 1 else f"{len(before)} times"
        raise RunError(
            f"The test set was opened {times} ({_place(run)}), and evaluate.openings seals it after {limit}: another "
            "look would choose by it. Bring test rows that are new (data.test), or raise evaluate.openings."
        )


def opened(run: Run, what: Frozen) -> int:
    """Count this evaluation, unless the same was asked before, and tell how often the test set has been opened."""
    before = _openings(run, what)
    if what.key in {row["key"] for row in before}:
        return len(before)
    row = {"test_set": what.test_set, "key": what.key, "run": run.name}
    row["time"] = datetime.now(UTC).isoformat(timespec="seconds")
    storage.append_jsonl(_place(run), row, point="openings")
    return len(before) + 1


def findings(count: int, level: float, *, still: bool | None) -> list[Finding]:
    """A warning when the test set was opened often. level: the goal's. still: whether the comparisons that gate and
    were won are won at a level divided by the openings too (Bonferroni); None when none was won.
    """
    if count < HIGH:
        return []
    chance = 1 - (1 - level / 2) ** count
    words = {
        None: "",
        True: f" What is beaten is beaten at the level {level / count:.2g} (divided by the openings) too.",
        False: f" At the level {level / count:.2g} (divided by the openings) not all that is beaten would be.",
    }[still]
    return [
        Finding(
            name="opened often",
            severity="warning",
            message=f"This test set has been opened {count} times. Whoever changes the recipe after each look gives "
            f"a model that is no better a chance of up to {chance:.0%}, not {level / 2:.1%}, to win at one.{words}",
            count=count,
            remedy="Choose by the validation rows, and keep the verdict for test rows that are new (data.test); "
            "evaluate.openings seals them.",
        )
    ]


def _openings(run: Run, what: Frozen) -> list[dict[str, Any]]:
    path = _place(run)
    rows = storage.read_jsonl(path) if path.exists() else []
    return [row for row in rows if row["test_set"] == what.test_set]


def _place(run: Run) -> Path:
    """Beside the outermost run: one that is part of another (a phase) has no count of its own."""
    folder = run.folder.resolve()
    for parent in folder.parents:
        if (parent / "run.json").exists():
            folder = parent
    return folder.parent / FILE


def _version(grader: Grader) -> str:
    source = Path(inspect.getfile(type(grader)))
    return storage.digest([grader.model_dump(), storage.sha256(source)])[:SHOWN]
