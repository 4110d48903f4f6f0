"""Looks for faults with every detector, and mends those that the recipe asks for: rows are written anew and looked at
again, so that figures before and after are both measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tunewright.core import storage
from tunewright.core.detecting import Fault, Scene, Seen
from tunewright.core.example import Example
from tunewright.core.recipe import DataOptions, Recipe
from tunewright.core.report import Finding
from tunewright.core.run import Run
from tunewright.data.spool import MOST_LABELS, Spool
from tunewright.stages import sorting
from tunewright.stages.sorting import Poll, Sorted

ROUNDS = 3  # mending one fault may show another
SIDES = ("train", "validation", "test")


@dataclass
class Mended:
    """Rows after all rounds, what is still wrong with them, and what was done."""

    spool: Spool
    num: dict[str, int]  # rows of the spool, of the sources and of each file given for a side
    found: Sorted
    faults: list[Fault]
    notes: dict[str, Any]
    done: dict[str, dict[str, int]] = field(default_factory=dict)  # fix -> rows before, dropped, changed, after
    dropped: list[tuple[str, int, str]] = field(default_factory=list)  # source, line and fix of rows left out


def mended(
    recipe: Recipe,
    run: Run,
    spool: Spool,
    num: dict[str, int],
    sort: Callable[[Spool, Mapping[str, int]], Sorted],
    folder: Path,
) -> Mended:
    """Sort out and look; while there is something to mend, mend it and do so again. `folder`: where further spools are
    made.
    """
    state = _look(recipe, run, spool, num, sort(spool, num))
    for number in range(1, ROUNDS + 1):
        wanted = [fault for fault in state.faults if _asked(fault, recipe.data)]
        if not wanted:
            break
        changed = _apply(wanted, state, recipe.data, folder / f"round-{number}", run)
        if changed is None:
            break
        old, state = state, _look(recipe, run, changed.spool, changed.num, sort(changed.spool, changed.num))
        state.done, state.dropped = changed.done, changed.dropped
        if old.spool is not spool:
            old.spool.__exit__()
    left = {fault.name: len(fault.rows) for fault in state.faults}
    for name, counts in state.done.items():
        counts["after"] = left.get(name, 0)
    return state


def _asked(fault: Fault, data: DataOptions) -> bool:
    can = fault.fix is not None and (len(fault.drop) or fault.change is not None)
    return bool(can) and (fault.name in data.fix or (fault.safe and "safe" in data.fix))


def _look(recipe: Recipe, run: Run, spool: Spool, num: dict[str, int], found: Sorted) -> Mended:
    """Show every row to every detector."""
    label = spool.column("label")
    poll = poller(run)
    scene = Scene(
        data=recipe.data,
        sides=found.sides,
        labels=list(spool.labels),
        label=np.where(label < MOST_LABELS, label, -1),
        asked=found.asked,
        near=found.pairs,
        given=found.given,
        dropped=found.dropped,
        examples=spool.examples,
        poll=poll,
    )
    watches = [detector.watch(scene) for detector in recipe.the_detectors()]
    order = np.sort(np.concatenate(list(found.sides.values())))
    side = np.zeros(len(spool), np.int8)
    for name in SIDES:
        side[found.sides[name]] = SIDES.index(name)
    sides = [SIDES[number] for number in side[order].tolist()]
    examples = spool.examples(order, lambda done: poll("looking for faults", done, len(order)))
    for number, name, example in zip(order.tolist(), sides, examples, strict=True):
        row = Seen(number, name, example)
        for watch in watches:
            watch.see(row)
    faults: list[Fault] = []
    for watch in watches:
        faults += watch.faults()
    return Mended(spool, num, found, faults, dict(scene.notes))


def _apply(faults: list[Fault], state: Mended, data: DataOptions, folder: Path, run: Run) -> Mended | None:
    """The rows written anew, mended; None where nothing came of it."""
    folder.mkdir()
    drop: dict[int, str] = {}
    changes: dict[int, list[tuple[str, Callable[[Example], Example]]]] = {}
    for fault in faults:
        drop.update((int(number), fault.name) for number in fault.drop if int(number) not in drop)
        if fault.change is not None:
            for number in fault.rows:
                changes.setdefault(int(number), []).append((fault.name, fault.change))
    done = {name: dict(counts) for name, counts in state.done.items()}
    for fault in faults:
        done.setdefault(fault.name, {"before": len(fault.rows), "dropped": 0, "changed": 0})
    dropped = list(state.dropped)
    fresh = Spool(folder, state.spool.shares, has_test=state.spool.has_test, has_validation=state.spool.has_validation)
    num, poll = dict.fromkeys(state.num, 0), poller(run)
    ends = np.cumsum(list(state.num.values()))
    whats = list(state.num)
    num_changed = 0
    every = np.arange(len(state.spool))
    for number, example in enumerate(state.spool.examples(every, lambda at: poll("mending", at, len(every)))):
        what = whats[int(np.searchsorted(ends, number, side="right"))]
        if number in drop:
            done[drop[number]]["dropped"] += 1
            name, _, line = example.id.rpartition(":")
            dropped.append((name, int(line), drop[number]))
            continue
        for name, change in changes.get(number, ()):
            after = change(example)
            if after is not example:
                done[name]["changed"] += 1
                num_changed += 1
                example = after
        num[what] += 1
        fresh.add(example, given=what != "sources")
    fresh.close()
    if not num_changed and not drop:
        fresh.__exit__()
        return None
    return Mended(fresh, num, state.found, [], {}, done, dropped)


def findings(state: Mended, files: Mapping[str, str]) -> list[Finding]:
    """Faults as findings."""
    return [
        Finding(
            name=fault.name,
            severity=fault.severity,
            message=fault.message,
            count=len(fault.rows) if fault.count is None else fault.count,
            rows=sorting.places(state.spool, files, np.asarray(fault.rows, np.int64)),
            example=fault.example,
            remedy=fault.remedy,
            fix=fault.fix,
        )
        for fault in state.faults
    ]


def write_rows(state: Mended, found: Iterable[Finding], files: Mapping[str, str], run: Run) -> None:
    """Write data/findings.jsonl: every row of every finding, and those that fixes left out."""

    def lines() -> Iterable[dict[str, Any]]:
        names = {fault.name for fault in state.faults}
        sources = [files[name] for name in state.spool.sources]
        source, line = state.spool.column("source"), state.spool.column("line")
        for fault in state.faults:
            for number in sorted(int(number) for number in fault.rows):
                yield {"finding": fault.name, "source": sources[source[number]], "line": int(line[number])}
        for finding in found:
            if finding.name not in names:
                for place in finding.rows:
                    yield {"finding": finding.name, "source": place.source, "line": place.line}
        for name, number, fix in state.dropped:
            yield {"fixed": fix, "source": files[name], "line": number}

    storage.write_jsonl(run.path("data", "findings.jsonl"), lines(), point="data")


def poller(run: Run) -> Poll:
    """Tells how far a piece of work is, and raises Stopped when asked to."""
    return lambda what, done, total: run.progress("prepare", done=done, total=total, what=what)
