"""The ratings of a run: one line each in ratings/ratings.jsonl as they come; and one rater's way through the turns."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import DataError, unknown
from tunewright.core.run import Run
from tunewright.stages.rating_plan import Kind, Order, Turn

SIDES = ("left", "right")
TIES = ("both good", "both bad")
SKIP = "skip"
CHOICES = (*SIDES, *TIES, SKIP)
COMPARED = (*SIDES, "same")  # of a criterion
LONGEST_NAME = 60
LONGEST_COMMENT = 4_000


@dataclass(frozen=True)
class Given:
    """What a rater said at one turn. criteria: of a pair, which side is better; of a case, whether it passes."""

    choice: str
    criteria: dict[str, Any] = field(default_factory=dict)
    critical: bool = False
    comment: str = ""
    seconds: float = 0.0


def read(run: Run, kind: Kind) -> list[dict[str, Any]]:
    """The ratings of one kind that stand: those that were taken back are left out."""
    found: dict[str, dict[str, Any]] = {}
    for row in storage.read_jsonl(run.path("ratings", "ratings.jsonl")):
        if "undo" in row:
            found.pop(row["undo"], None)
        else:
            found[row["rating"]] = row
    return [row for row in found.values() if row["kind"] == kind]


def fingerprint(run: Run) -> str | None:
    """A digest of the ratings that stand; None where nobody has rated yet."""
    if not run.path("ratings", "ratings.jsonl").exists():
        return None
    return storage.digest([read(run, "pair"), read(run, "case")])


class Session:
    """Raters at work on one run. What each is shown next follows from the file, so that it can stop at any moment.

    turns: what a rater of that name is shown, in order. criteria: those of the rubric. Safe for threads.
    """

    def __init__(
        self,
        run: Run,
        kind: Kind,
        turns: Callable[[str], list[Turn]],
        *,
        criteria: Sequence[str] = (),
        order: Order = "random",
    ) -> None:
        self.run, self.kind, self.criteria, self._order = run, kind, list(criteria), order
        self._turns = turns
        self._planned: dict[str, list[Turn]] = {}
        self._guard = threading.Lock()
        self._ratings: dict[str, dict[tuple[str, bool], dict[str, Any]]] = {}
        for row in read(run, kind):
            self._ratings.setdefault(row["rater"], {})[row["key"], row["repeat"]] = row
        run.path("ratings").mkdir(exist_ok=True)

    def state(self, rater: str) -> dict[str, Any]:
        """Where a rater stands, and what is shown next: never whose answers they are. Raises DataError."""
        name = _name(rater)
        with self._guard:
            return self._state(name)

    def rate(self, rater: str, place: int, given: Given) -> dict[str, Any]:
        """Take down what a rater says of the turn at `place`; a turn that is not theirs now changes nothing. Raises
        DataError.
        """
        name = _name(rater)
        with self._guard:
            turns = self._left(name)
            if turns and turns[0][0] == place:
                turn = turns[0][1]
                row = self._row(name, turn, given)
                storage.append_jsonl(self.run.path("ratings", "ratings.jsonl"), row, point="ratings")
                self._ratings.setdefault(name, {})[turn.item.key, turn.repeat] = row
            return self._state(name)

    def undo(self, rater: str) -> dict[str, Any]:
        """Take the rater's last rating back; its turn is shown again, with what was said beside it."""
        name = _name(rater)
        with self._guard:
            last = self._last(name)
            if last is None:
                return self._state(name)
            key, row = last
            storage.append_jsonl(
                self.run.path("ratings", "ratings.jsonl"), {"undo": row["rating"], "time": time.time()}, point="ratings"
            )
            del self._ratings[name][key]
            said = {"criteria": row["criteria"], "comment": row["comment"]}
            return self._state(name) | {"before": said}

    def _plan(self, rater: str) -> list[Turn]:
        if rater not in self._planned:
            self._planned[rater] = self._turns(rater)
        return self._planned[rater]

    def _left(self, rater: str) -> list[tuple[int, Turn]]:
        """Turns to come, with their places; what was skipped is not shown again."""
        done = self._ratings.get(rater, {})
        skipped = {key for (key, _), row in done.items() if row["choice"] == SKIP}
        return [
            (place, turn)
            for place, turn in enumerate(self._plan(rater))
            if (turn.item.key, turn.repeat) not in done and not (turn.repeat and turn.item.key in skipped)
        ]

    def _last(self, rater: str) -> tuple[tuple[str, bool], dict[str, Any]] | None:
        planned = {(turn.item.key, turn.repeat) for turn in self._plan(rater)}
        own = [(key, row) for key, row in self._ratings.get(rater, {}).items() if key in planned]
        return own[-1] if own else None

    def _state(self, rater: str) -> dict[str, Any]:
        left = self._left(rater)
        total = len(self._plan(rater))
        shown: dict[str, Any] | None = None
        if left:
            place, turn = left[0]
            shown = {"place": place, "prompt": turn.item.prompt, "answers": [turn.item.answers[turn.left]]}
            if turn.right is not None:
                shown["answers"].append(turn.item.answers[turn.right])
            else:
                shown["expected"] = turn.item.expected
        return {
            "kind": self.kind,
            "rater": rater,
            "criteria": self.criteria,
            "done": total - len(left),
            "total": total,
            "can_undo": self._last(rater) is not None,
            "item": shown,
        }

    def _row(self, rater: str, turn: Turn, given: Given) -> dict[str, Any]:
        skipped = given.choice == SKIP
        if self.kind == "pair" and given.choice not in CHOICES:
            raise DataError(unknown("choice", given.choice, CHOICES))
        if self.kind == "case" and not skipped and set(given.criteria) != set(self.criteria):
            raise DataError(f"Every criterion needs pass or fail: {', '.join(self.criteria)}.")
        for name, value in given.criteria.items():
            if name not in self.criteria:
                raise DataError(unknown("criterion", name, self.criteria))
            if not (value in COMPARED if self.kind == "pair" else isinstance(value, bool)):
                raise DataError(f"Criterion '{name}' cannot be {value!r}.")
        if len(given.comment) > LONGEST_COMMENT:
            raise DataError(f"A comment can have {LONGEST_COMMENT:,} characters, found {len(given.comment):,}.")
        return {
            "rating": uuid.uuid4().hex[:16],
            "kind": self.kind,
            "rater": rater,
            "time": round(time.time(), 3),
            "seconds": round(given.seconds, 1),
            "key": turn.item.key,
            "id": turn.item.id,
            "left": turn.left,
            "right": turn.right,
            "repeat": turn.repeat,
            "order": self._order,
            "choice": given.choice,
            "criteria": {} if skipped else given.criteria,
            "critical": given.critical and not skipped,
            "comment": given.comment.strip(),
        }


def preferred(row: Mapping[str, Any]) -> str | None:
    """Who is preferred by a rating of a pair: a contestant's name, `tie`, or None where it was skipped."""
    if row["choice"] in SIDES:
        return str(row[row["choice"]])
    return None if row["choice"] == SKIP else "tie"


def _name(rater: str) -> str:
    name = " ".join(rater.split())
    if not name or len(name) > LONGEST_NAME:
        raise DataError(f"A rater's name has 1 to {LONGEST_NAME} characters, found {len(name)}.")
    return name
