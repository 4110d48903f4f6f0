"""The absolute gate: hand-picked cases, answered by the tuned model, each passed or failed by people or a grader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunewright.core import statistics, storage
from tunewright.core.agreement import krippendorff
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.judging import PEOPLE, Bar, Gate
from tunewright.core.parts import Grader
from tunewright.core.recipe import DataOptions, Recipe
from tunewright.core.run import Run
from tunewright.stages import grading, rating_plan, ratings
from tunewright.stages.asking import Question, ask
from tunewright.stages.desk import desk
from tunewright.stages.lineup import TUNED, Model, asked, conversation

PASSING = "cases of the gate pass"
MOST_CASES = 5_000
SHOWN_FAILURES = 20
Numbers = dict[str, Any]
Row = dict[str, Any]


def answer(recipe: Recipe, run: Run, tuned: Model) -> None:
    """Let the tuned model answer the cases into evaluate/cases.jsonl; grade them where a grader judges. Raises
    DataError, Stopped.
    """
    gate = recipe.evaluate.gate
    if gate is None:
        return
    cases = read_cases(recipe, gate)
    questions = [
        Question(case.id, [message.for_template() for message in case.prompt], len(conversation(case)), case.tools)
        for case in cases
    ]
    texts = ask(
        run,
        "cases",
        questions,
        decode=tuned.decode,
        identity=tuned.identity,
        engine=tuned.engine,
        folder=run.path("evaluate", "gate"),
    ).texts
    table = [
        {"id": case.id, "prompt": asked(case), "expected": case.answer, "answer": text}
        for case, text in zip(cases, texts, strict=True)
    ]
    if gate.by != PEOPLE:
        grader = next(part for part in recipe.the_graders() if part.label == gate.by)
        table = _graded(run, gate, grader, cases, table)
    storage.write_jsonl(run.path("evaluate", "cases.jsonl"), table, point="answers")


def read_cases(recipe: Recipe, gate: Gate) -> list[Example]:
    """The cases of the file, whatever their format; of those that ask the same the first, since they are answered the
    same. Raises DataError where one cannot be read or asks nothing.
    """
    from tunewright.data.intake import Taker, take
    from tunewright.data.sources import read

    given = recipe.data
    first = next((row.values for row in read([gate.cases], limit=1) if row.values is not None), {})
    own = given.fields and set(given.fields.values()) <= set(first)  # they look like the recipe's rows
    options = DataOptions(sources=[gate.cases], system=given.system)
    if own:
        options = options.model_copy(update={"format": given.format, "fields": given.fields})
    cases: list[Example] = []
    intake = take([gate.cases], options, {gate.cases: Path(gate.cases).stem}, Taker(keep=cases.append))
    intake.refuse_if_bad("evaluate.gate.cases", 0.0)
    silent = [case.id for case in cases if not case.prompt]
    if silent or not cases:
        what = f"case {silent[0]} asks nothing" if silent else "there is no case"
        raise DataError(f"evaluate.gate.cases: {what} in {gate.cases}. Give each case a prompt.")
    return list({asked(case): case for case in reversed(cases)}.values())[::-1]


def numbers(recipe: Recipe, run: Run) -> Numbers | None:
    """How the cases fared, as plain values; None where the recipe has no gate. Figures of cases are None before any is
    judged.
    """
    gate = recipe.evaluate.gate
    if gate is None or not run.path("evaluate", "cases.jsonl").exists():
        return None
    table = list(storage.read_jsonl(run.path("evaluate", "cases.jsonl")))
    if gate.by == PEOPLE:
        return _of_people(gate, table, ratings.read(run, "case"))
    judged = [row for row in table if row.get("passed") is not None]
    return _figures(
        gate,
        table,
        {row["id"]: row["passed"] for row in judged},
        {row["id"]: row["critical"] for row in judged if row["critical"] is not None},
    ) | {"doubt": next((row["doubt"] for row in table if row["doubt"]), None)}


def bars(gate: Gate, found: Numbers | None) -> list[Bar]:
    """The share that passes by its exact lower bound; critical failures by their exact upper bound."""
    if found is None or found["judged"] < found["cases"]:
        judged, cases = (found["judged"], found["cases"]) if found else (0, 0)
        waiting = Bar(PASSING, "open", f"{judged} of {cases} cases judged", max(cases - judged, 1))
        return [waiting if gate.by == PEOPLE else replace(waiting, of="cases")]
    if found.get("doubt"):
        return [Bar(PASSING, "open", f"these figures must not decide: {found['doubt']}")]
    share, n = found["share"], found["cases"]
    words = f"{found['passed']} of {n} pass, exact interval {share['low']:.3f} to {share['high']:.3f}"
    wanted = f"{words}; at least {gate.at_least:.3f} asked for"
    holds, broken = share["low"] >= gate.at_least, share["high"] < gate.at_least
    made = [_bar(PASSING, holds, broken, wanted, share, gate.at_least, n)]
    critical = found["critical"]
    if gate.critical is not None and critical is not None:
        words = f"{critical['count']} of {n} are critical, at most {critical['high']:.3f} by the exact upper bound"
        wanted = f"{words}; at most {gate.critical:.3f} asked for"
        holds, broken = critical["high"] <= gate.critical, critical["low"] > gate.critical
        made.append(_bar("critical failures are rare", holds, broken, wanted, critical, gate.critical, n))
    return made


def _bar(label: str, holds: bool, broken: bool, words: str, share: Numbers, bound: float, n: int) -> Bar:
    if holds or broken:
        return Bar(label, "holds" if holds else "broken", words)
    return Bar(label, "open", words, max(cases_for(share["value"], bound) - n, 1), "cases")


def cases_for(share: float, bound: float) -> int:
    """Cases after which the exact interval of a share lies on one side of the bound, if the share stays; at most
    5,000.
    """
    import numpy as np
    from scipy.stats import beta

    n = np.arange(1, MOST_CASES + 1)
    if share > bound:
        right = np.floor(share * n + 1e-4)
        apart = np.where(right > 0, beta.ppf(0.025, right, n - right + 1), 0.0) >= bound
    else:
        right = np.ceil(share * n - 1e-4)
        apart = np.where(right < n, beta.ppf(0.975, right + 1, n - right), 1.0) <= bound
    together = np.flatnonzero(~apart)  # whole numbers make it jump: from where on it stays apart
    return int(min(together[-1] + 2 if len(together) else 1, MOST_CASES))


# --- who passes ---


def _of_people(gate: Gate, table: Sequence[Row], rated: Sequence[Row]) -> Numbers:
    keys = {rating_plan.case_key(row): row["id"] for row in table}
    by_case: dict[str, list[Row]] = {}
    stale = skipped = 0
    for row in rated:
        if row["key"] not in keys or (row["criteria"] and set(row["criteria"]) != set(gate.rubric)):
            stale += 1
        elif row["choice"] == ratings.SKIP:
            skipped += 1
        else:
            by_case.setdefault(keys[row["key"]], []).append(row)
    votes = {id: [all(row["criteria"].values()) for row in rows] for id, rows in by_case.items()}
    passed = {id: 2 * sum(given) > len(given) for id, given in votes.items()}  # a tie is no pass
    critical = {id: any(row["critical"] for row in rows) for id, rows in by_case.items()}
    everything = [row for rows in by_case.values() for row in rows]
    criteria = [
        {"criterion": name, "passed": sum(row["criteria"][name] for row in everything), "n": len(everything)}
        for name in gate.rubric
    ]
    found = krippendorff([[float(one) for one in given] for given in votes.values()])
    raters = Counter(row["rater"] for row in everything)
    return _figures(gate, table, passed, critical) | {
        "criteria": criteria,
        "raters": [{"rater": name, "cases": count} for name, count in sorted(raters.items())],
        "alpha": None if found.value is None else {"value": found.value, "low": found.low, "high": found.high},
        "skipped": skipped,
        "stale": stale,
    }


def _figures(gate: Gate, table: Sequence[Row], passed: dict[str, bool], critical: dict[str, bool]) -> Numbers:
    made: Numbers = {"by": gate.by, "cases": len(table), "judged": len(passed), "passed": sum(passed.values())}
    made["share"] = _exact(sum(passed.values()), len(passed)) if passed else None
    count = sum(critical.values())
    made["critical"] = {"count": count, **_exact(count, len(critical))} if critical else None
    made["failed"] = [id for id, fine in passed.items() if not fine][:SHOWN_FAILURES]
    return made


def _exact(successes: int, n: int) -> Numbers:
    return statistics.clopper_pearson(successes, n).plain(6)


def _graded(run: Run, gate: Gate, grader: Grader, cases: Sequence[Example], table: Sequence[Row]) -> list[Row]:
    """With what the grader says. Where it grades in steps, the lowest grade is a critical failure."""
    texts = [row["answer"] for row in table]
    own = {TUNED: {row["id"]: row["answer"] for row in table}}
    at = desk(run, TUNED, own, grader.label)
    found = grading.sheet(grader, cases, texts, at)
    doubt = " ".join(dict.fromkeys(one for one in (grader.doubt, *at.doubts) if one))
    given = dict(zip(found.rows, found.grades, strict=True)) if found else {}
    steps = grader.paired != "mcnemar"
    return [
        row
        | {
            "passed": given[place].score >= gate.passes if place in given else None,
            "critical": given[place].score <= 0 if place in given and steps else None,
            "why": given[place].why if place in given else "",
            "doubt": doubt,
        }
        for place, row in enumerate(table)
    ]
