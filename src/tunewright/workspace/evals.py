"""Evals and their runs in the database: states, who works on a run, the answers that are kept, and what they come to.

A run goes queued -> in_progress -> completed | failed | canceled. Its rows become items when it begins. An item goes
waiting -> answered -> pass | fail | error; what is answered is never asked again, whatever happens to the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from tunewright.core.errors import RunError
from tunewright.workspace import ids, webhooks
from tunewright.workspace.ids import comparable
from tunewright.workspace.tables import Eval, EvalItem, EvalRun

ACTIVE = ("queued", "in_progress")
EVENTS = {"completed": "succeeded", "failed": "failed", "canceled": "canceled"}  # states of the end, as webhooks say it
STATUSES = (*ACTIVE, *EVENTS)
OVER = ("pass", "fail", "error")  # states of an item that has its results
LEASE_SECONDS = 300.0
USAGE = ("invocation_count", "prompt_tokens", "cached_tokens", "completion_tokens")
Usage = dict[str, list[int]]  # by the model's name: numbers as USAGE has them


def find(session: Session, eval_id: str, *, project: str) -> Eval | None:
    """An eval of a project by its id."""
    return session.scalar(select(Eval).where(Eval.id == comparable(eval_id), Eval.project == project))


def find_run(session: Session, eval_id: str, run_id: str, *, project: str) -> EvalRun | None:
    """A run of an eval of a project."""
    ours = (EvalRun.id == comparable(run_id), EvalRun.eval_id == comparable(eval_id), EvalRun.project == project)
    return session.scalar(select(EvalRun).where(*ours))


def find_item(session: Session, run_id: str, item_id: str) -> EvalItem | None:
    """A row of a run that is over."""
    over = (EvalItem.run_id == run_id, EvalItem.id == comparable(item_id), EvalItem.status.in_(OVER))
    return session.scalar(select(EvalItem).where(*over))


def remove(session: Session, eval_id: str) -> list[str]:
    """Take an eval away with all that is of it; the ids of its runs. Who works on one finds nothing more to do."""
    runs = list(session.scalars(select(EvalRun.id).where(EvalRun.eval_id == eval_id)))
    for run_id in runs:
        remove_run(session, run_id)
    session.execute(delete(Eval).where(Eval.id == eval_id))
    return runs


def remove_run(session: Session, run_id: str) -> None:
    """Take a run away with its items."""
    session.execute(delete(EvalItem).where(EvalItem.run_id == run_id))
    session.execute(delete(EvalRun).where(EvalRun.id == run_id))


def cancel(session: Session, run: EvalRun) -> None:
    """End a run; what has its results keeps them. Raises RunError for one that has ended."""
    if not move(session, run.id, to="canceled"):
        raise RunError(f"Run {run.id} cannot be canceled: it is {run.status}. Only runs that wait or run can be.")
    session.refresh(run)


def move(
    session: Session, run_id: str, *, to: str, since: Sequence[str] = ACTIVE, error: dict[str, str] | None = None
) -> bool:
    """Change a run's state if it is in one of those it may come from; whether it was. Of an end the owner's addresses
    are told, and those of its project.
    """
    wanted = update(EvalRun).where(EvalRun.id == run_id, EvalRun.status.in_(since)).values(status=to, error=error)
    project = session.scalar(wanted.returning(EvalRun.project))
    if project is not None and to in EVENTS:
        end = EVENTS[to]
        webhooks.announce(session, f"eval.run.{end}", {"id": run_id}, f"evt_{run_id}_{end}", project=project)
    return project is not None


# --- who works on it ---


def waiting(session: Session) -> list[tuple[str, str]]:
    """Runs that have not ended, oldest first, each with whose key made it."""
    query = select(EvalRun.id, EvalRun.key_id).where(EvalRun.status.in_(ACTIVE)).order_by(EvalRun.number)
    return [(run_id, key_id) for run_id, key_id in session.execute(query)]


def take(session: Session, run_id: str, *, holder: str, is_gone: Callable[[str], bool]) -> EvalRun | None:
    """The run, which is the holder's for LEASE_SECONDS; None where it has ended or another one works on it. is_gone:
    whether a process that held it is known to have ended.
    """
    run = session.scalar(select(EvalRun).where(EvalRun.id == run_id, EvalRun.status.in_(ACTIVE)).with_for_update())
    if run is None or (run.holder not in ("", holder) and run.lease > time.time() and not is_gone(run.holder)):
        return None
    run.holder, run.lease = holder, time.time() + LEASE_SECONDS
    return run


def begin(session: Session, run_id: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Put down the rows of a run, each with its `item` and perhaps its `sample`, unless it was canceled meanwhile."""
    if move(session, run_id, since=("queued",), to="in_progress"):
        values = [
            {"id": ids.new("outputitem_"), "run_id": run_id, "place": place, "item": row["item"],
             "given": row.get("sample"), "created": time.time(), "status": "waiting"}
            for place, row in enumerate(rows)
        ]  # fmt: skip
        session.execute(insert(EvalItem), values)


def open_items(session: Session, run_id: str, *, limit: int) -> Sequence[EvalItem]:
    """The next rows of a run that have no results."""
    found: list[EvalItem] = []
    for status in ("answered", "waiting"):  # one at a time: each is found in order in the index
        query = select(EvalItem).where(EvalItem.run_id == run_id, EvalItem.status == status).order_by(EvalItem.number)
        found += session.scalars(query.limit(limit - len(found)))
    return found


# --- what is kept ---


@dataclass(frozen=True)
class Graded:
    """What the criteria say of an item. status: pass, fail or error."""

    number: int
    status: str
    results: list[dict[str, Any]] = field(default_factory=list)


def keep_answer(session: Session, run_id: str, number: int, sample: dict[str, Any]) -> None:
    """Put down what was answered to a row, once. The run stays its holder's."""
    session.execute(update(EvalRun).where(EvalRun.id == run_id).values(lease=time.time() + LEASE_SECONDS))
    first = (EvalItem.number == number, EvalItem.status == "waiting")
    session.execute(update(EvalItem).where(*first).values(sample=sample, status="answered"))


def keep_results(session: Session, run_id: str, graded: Sequence[Graded], usage: Usage) -> None:
    """Put down what the criteria say of some items, and count it, unless the run has ended. usage: of the models that
    answered and graded.
    """
    run = session.scalar(select(EvalRun).where(EvalRun.id == run_id, EvalRun.status.in_(ACTIVE)).with_for_update())
    if run is None:
        return
    counted = []
    for one in graded:
        first = (EvalItem.number == one.number, EvalItem.status == "answered")
        values = {"status": one.status, "results": one.results, "created": time.time()}
        if session.execute(update(EvalItem).where(*first).values(**values).returning(EvalItem.number)).first():
            counted.append(one)
    run.tallies = tallied(run.tallies, counted, usage)


def tallied(before: Mapping[str, Any], graded: Sequence[Graded], usage: Usage) -> dict[str, Any]:
    """Counts of a run with some more items: `status` by state, `criteria` by name as [passed, failed], `usage` by model
    as USAGE. Of an item with an error only the criteria that have a value count.
    """
    status = dict.fromkeys(OVER, 0) | before.get("status", {})
    criteria = {name: list(counts) for name, counts in before.get("criteria", {}).items()}
    spent = {name: list(counts) for name, counts in before.get("usage", {}).items()}
    for one in graded:
        status[one.status] += 1
        for result in one.results:
            if "error" not in result:
                criteria.setdefault(result["name"], [0, 0])[not result["passed"]] += 1
    for name, counts in usage.items():
        spent[name] = [sum(pair) for pair in zip(spent.get(name, [0] * len(USAGE)), counts, strict=True)]
    return {"status": status, "criteria": criteria, "usage": spent}
