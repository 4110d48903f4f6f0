"""Starts the contenders of a case, lets them work in turns and sums up: medians, ratios and shares of the limit."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import limits
from cases import OURS, Case
from workload import SHAPES, make_adapters, make_base

HERE = Path(__file__).parent
SAME = 1e-3  # relative: figures of contenders that do the same work may differ by rounding
SAME_BFLOAT16 = 0.02  # TRL's own default computes in bfloat16


class Contender:
    """One contender's process."""

    def __init__(self, name: str, case: Case, *, folder: Path, units: int, threads: int) -> None:
        self.name, self.out = name, folder / f"{name}.json"
        self.out.unlink(missing_ok=True)
        told, self._go = os.pipe()
        self._heard, tell = os.pipe()
        command = [
            sys.executable, str(HERE / "contenders.py"), name, "--case", case.work, "--shape", case.shape,
            "--method", case.method, "--units", str(units), "--size", str(case.size), "--told", str(told),
            "--tell", str(tell), "--base", str(folder / case.shape),  "--out", str(self.out), "--folder", str(folder),
            "--born", repr(time.time()), "--megabytes", str(case.megabytes),
        ]  # fmt: skip
        self._errors = (folder / f"{name}.txt").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
            pass_fds=(told, tell),
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        os.close(told)
        os.close(tell)
        self._hear()

    def turn(self) -> None:
        """Let it work for a turn."""
        os.write(self._go, b".")
        self._hear()

    def facts(self) -> dict[str, Any]:
        """What it measured, once it has ended."""
        if self._process.wait() != 0:
            self._fail()
        self.close()
        return dict(json.loads(self.out.read_text(encoding="utf-8")))

    def close(self) -> None:
        """End it and free what it held; a second call does nothing."""
        if self._errors.closed:
            return
        os.close(self._go)
        os.close(self._heard)
        self._errors.close()
        self._process.kill()
        self._process.wait()

    def _hear(self) -> None:
        if not os.read(self._heard, 1):
            self._process.wait()
            self._fail()

    def _fail(self) -> None:
        self._errors.seek(0)
        said = self._errors.read()[-3000:]
        raise SystemExit(f"{self.name} failed:\n{said}")


def run_case(case: Case, *, rounds: int, threads: int, folder: Path) -> dict[str, Any]:
    """All contenders of a case in turns; another one begins each round."""
    prepare(case, folder)
    measured = (in_fresh_processes if case.fresh else in_turns)(case, rounds=rounds, threads=threads, folder=folder)
    check(measured["contenders"])
    return summary(case, **measured)


def prepare(case: Case, folder: Path) -> None:
    """Write the model that the case needs, once."""
    base = folder / case.shape
    if case.shape and not base.exists():
        make_base(base, SHAPES[case.shape])
    if case.work == "adapters":
        make_adapters(base)


def in_turns(case: Case, *, rounds: int, threads: int, folder: Path) -> dict[str, Any]:
    """Every contender is started once and works a turn in each round."""
    units = 1 + rounds * case.size
    started: dict[str, Contender] = {}
    facts: dict[str, dict[str, Any]] = {}
    tops = []
    try:
        for name in case.contenders:
            started[name] = Contender(name, case, folder=folder, units=units, threads=threads)
        for number in range(rounds):
            tops.append(limit(case))
            for name in rotated(case.contenders, number):
                started[name].turn()
                if number == rounds - 1:
                    facts[name] = started[name].facts()
            print(f"  round {number + 1} of {rounds} done", flush=True)
    finally:
        for contender in started.values():
            contender.close()
    return {"contenders": {name: facts[name] for name in case.contenders}, "limits": tops}


def in_fresh_processes(case: Case, *, rounds: int, threads: int, folder: Path) -> dict[str, Any]:
    """Every contender is started anew in each round and ends after its first unit."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in case.contenders}
    for number in range(rounds):
        for name in rotated(case.contenders, number):
            found[name].append(Contender(name, case, folder=folder, units=1, threads=threads).facts())
        print(f"  round {number + 1} of {rounds} done", flush=True)
    contenders = {
        name: {**all_[0], "turns": [{"seconds": facts["first_step_seconds"]} for facts in all_]}
        for name, all_ in found.items()
    }
    return {"contenders": contenders, "limits": [0.0] * rounds}


def rotated(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Another contender begins each round."""
    at = number % len(names)
    return names[at:] + names[:at]


def limit(case: Case) -> float:
    """What the machine could do at most, just now: operations or bytes a second; 0 where no limit is told."""
    if case.limit == "products":
        return limits.products(SHAPES[case.shape])
    return limits.memory() if case.limit == "memory" else 0.0


def check(contenders: dict[str, dict[str, Any]]) -> None:
    """Contenders must find the same losses, scores, labels or tokens: fast work that is other work proves nothing."""
    truth: dict[str, Any] = {}
    for facts in contenders.values():
        truth = {**facts["check"], **truth}
    for name, facts in contenders.items():
        for what, found in facts["check"].items():
            wanted = truth[what]
            bound = SAME_BFLOAT16 if name == "trl" else SAME
            if len(found) != len(wanted) or not all(_same(a, b, bound) for a, b in zip(found, wanted, strict=True)):
                raise SystemExit(f"{name} does other work: its {what} is {found}, not {wanted}.")


def _same(found: Any, wanted: Any, bound: float) -> bool:
    return abs(found - wanted) <= bound * abs(wanted) if isinstance(wanted, float) else found == wanted


def summary(case: Case, *, contenders: dict[str, dict[str, Any]], limits: list[float]) -> dict[str, Any]:
    """Medians over rounds; each ratio is the median of the rounds' own ratios."""
    needed = "flops" if case.limit == "products" else "bytes"
    found: dict[str, Any] = {}
    for name, facts in contenders.items():
        turns = facts["turns"]
        pairs = zip(contenders[OURS]["turns"], turns, strict=True)
        found[name] = {
            "speed": statistics.median(speed(case, turn) for turn in turns),
            "ours_is_times_faster": statistics.median(
                turn["seconds"] / ours["seconds"] * _work(case, ours) / _work(case, turn) for ours, turn in pairs
            ),
            "peak_memory_bytes": facts["peak_memory_bytes"],
            "first_step_seconds": facts["first_step_seconds"],
            "rounds": turns,
        }
        if case.limit:
            shares = (turn[needed] / turn["seconds"] / top for turn, top in zip(turns, limits, strict=True))
            found[name]["share_of_limit"] = statistics.median(shares)
    return {
        "title": case.title,
        "work": case.work,
        "figure": case.figure,
        "limit": case.limit,
        "limits": limits,
        "contenders": found,
    }


def speed(case: Case, turn: dict[str, float]) -> float:
    """The figure of a turn: a count a second, or the seconds of a unit."""
    return turn["seconds"] / case.size if case.figure == "seconds" else turn[case.figure] / turn["seconds"]


def _work(case: Case, turn: dict[str, float]) -> float:
    return 1.0 if case.figure == "seconds" else turn[case.figure]
