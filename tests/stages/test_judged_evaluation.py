"""A whole evaluation with a judge on a server: replies are kept, faults survived, and only a checked judge decides."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_evaluate import base, make_run, rows_of  # noqa: F401

from tunewright.core import checks
from tunewright.core.errors import RecipeError, Stopped
from tunewright.core.example import Example
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.stages import rewards
from tunewright.stages.evaluate import evaluate


def judge(server: Any, **options: Any) -> dict[str, Any]:
    return {
        "kind": "judge",
        "endpoint": {"url": server.url, "model": "j", "at_once": 2},
        "criteria": {"accurate": "It is true."},
        **options,
    }


def answer_of(body: dict[str, Any], name: str = "answer") -> str:
    found = re.search(rf"<{name} (\w+)>\n(.*?)\n</{name} \1>", body["messages"][1]["content"], re.DOTALL)
    assert found is not None
    return found.group(2)


def by_letter(body: dict[str, Any]) -> str:
    """Likes answers that begin with f or d."""
    return json.dumps({"reason": "its letter", "scores": {"accurate": 5 if answer_of(body)[0] in "fd" else 1}})


def labels(folder: Path, *, agree: bool = True) -> Path:
    """Answers that people judged, as the judge does (or at random)."""
    path = folder / "labels.jsonl"
    rows = [
        {"prompt": f"ask {n}", "answer": ("fraud", "rates")[n % 2], "verdict": (n % 2 == 0) if agree else n % 4 < 2}
        for n in range(60)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_grades_reasons_and_costs_are_in_the_report(tmp_path: Path, base: Path, model_server: Any) -> None:  # noqa: F811
    model_server.answer = by_letter
    recipe, run = make_run(tmp_path, base, num_test=12, against=["base"], graders=["exact", judge(model_server)])
    report = evaluate(recipe, run)
    table = rows_of(run, "answers.jsonl")
    for name in ("tuned", "base"):
        expected = [float(row["answers"][name][0] in "fd") for row in table]
        assert [row["grades"][name]["judge"] for row in table] == expected
        assert report.contestants[name]["judge"]["value"] == pytest.approx(sum(expected) / 12)
    assert table[0]["why"]["judge"]["tuned"].endswith("its letter")
    told = report.numbers["summaries"]["judge"]["tuned"]
    assert told["replies"] == 12 and told["refused"] == told["unreadable"] == 0
    json.dumps(report.model_dump())
    Report.model_validate(report.model_dump())


def test_nothing_is_asked_twice_after_a_stop(tmp_path: Path, base: Path, model_server: Any) -> None:  # noqa: F811
    model_server.answer = by_letter
    recipe, run = make_run(tmp_path, base, num_test=12, against=[], graders=[judge(model_server)])
    model_server.faults = [(429, {"retry-after": "0"}, "slow down")] * 2
    seen = 0

    def stop_soon(body: dict[str, Any]) -> str:
        nonlocal seen
        seen += 1
        if seen == 3:
            run.stop.set()
        return by_letter(body)

    model_server.answer = stop_soon
    with pytest.raises(Stopped):
        evaluate(recipe, run)
    before = len(model_server.asked)
    assert 5 <= before < 14  # two refused, three and those under way answered
    run.stop.clear()
    model_server.answer = by_letter
    evaluate(recipe, run)
    assert len({json.dumps(body) for body in model_server.asked}) == 12
    assert len(model_server.asked) == 12 + 2  # those that were told to come again came again
    evaluate(recipe, run)
    assert len(model_server.asked) == 12 + 2


def test_a_refused_question_is_told_and_left_out(tmp_path: Path, base: Path, model_server: Any) -> None:  # noqa: F811
    model_server.answer = by_letter
    recipe, run = make_run(tmp_path, base, num_test=12, against=["base"], graders=[judge(model_server)])
    evaluate(recipe, run)  # answers of the models are kept
    run.path("evaluate", "replies.judge.jsonl").unlink()
    asked = len(model_server.asked)

    def refuse_some(body: dict[str, Any]) -> str:
        return "" if "about" in answer_of(body, "request") else by_letter(body)

    model_server.answer = refuse_some
    report = evaluate(recipe, run)
    assert len(model_server.asked) > asked
    silent = [finding for finding in report.findings if finding.name == "not judged"]
    assert silent and silent[0].count == 6
    assert report.contestants["tuned"]["judge"]["n"] == 6
    assert report.numbers["comparisons"][0]["wins"] + report.numbers["comparisons"][0]["losses"] <= 6


def test_only_a_checked_judge_may_decide(tmp_path: Path, base: Path, model_server: Any) -> None:  # noqa: F811
    model_server.answer = by_letter
    goal = {"grader": "judge", "at_least": 0.0}
    values = {
        "name": "x",
        "data": {"sources": [str(tmp_path)]},
        "evaluate": {"graders": [judge(model_server)], "goal": goal},
    }
    found = checks.problems(Recipe.parse(values, folder=tmp_path))
    assert found == [
        "evaluate.goal.grader: 'judge': a judging model decides only when people have checked it. Give it 'calibrate', "
        "a file with at least 50 answers that people judged, or let another grader decide."
    ]
    told = {}
    for agree in (True, False):
        folder = tmp_path / str(agree)
        folder.mkdir()
        graders = [judge(model_server, calibrate=labels(folder, agree=agree).name)]
        recipe, run = make_run(folder, base, num_test=12, against=["base"], graders=graders, goal=goal)
        assert checks.problems(recipe)[1:] == []  # but for the rows, which were made by hand
        report = evaluate(recipe, run)
        told[agree] = report
        report.save(run.path("evaluate"))
    assert told[True].verdict == "GO"
    assert told[False].verdict == "NEED MORE"
    assert told[False].numbers["need"] is None
    assert "kappa is -0.00" in str(told[False].reason) or "kappa is 0.00" in str(told[False].reason)
    assert told[False].next is not None and told[False].next.startswith("Do what the reason says")
    assert told[True].numbers["summaries"]["judge"]["tuned"]["calibration"]["kappa"]["value"] == 1


def test_pairs_are_compared_with_the_base(tmp_path: Path, base: Path, model_server: Any) -> None:  # noqa: F811
    model_server.answer = lambda body: json.dumps(
        {"better": "1" if answer_of(body, "answer-1") > answer_of(body, "answer-2") else "2"}
    )
    graders = [judge(model_server, mode="pairwise")]
    recipe, run = make_run(tmp_path, base, num_test=12, against=["base", "few_shot"], graders=graders)
    report = evaluate(recipe, run)
    assert report.contestants["base"]["judge"]["value"] == 0.5
    for row in rows_of(run, "answers.jsonl"):
        mine, other = row["answers"]["tuned"], row["answers"]["base"]
        assert row["grades"]["tuned"]["judge"] == (0.5 if mine == other else float(mine > other))


def test_a_judge_can_reward(model_server: Any, tmp_path: Path) -> None:
    model_server.answer = by_letter
    values = {
        "name": "x",
        "data": {"sources": [str(tmp_path)]},
        "objective": {"kind": "grpo", "reward": [judge(model_server)]},
    }
    reward = rewards.build(Recipe.parse(values, folder=tmp_path))
    rows = [Example(id=str(n), messages=[{"role": "user", "content": "?"}]) for n in range(3)]  # type: ignore[list-item]
    assert reward(rows, ["fraud", "rates", "delivery"]) == [1.0, 0.0, 1.0]
    assert reward.most == 1.0


def test_a_judge_compares_with_contestants_that_are_there(tmp_path: Path, model_server: Any) -> None:
    values = {
        "name": "x",
        "data": {"sources": [str(tmp_path)]},
        "evaluate": {"graders": [judge(model_server, mode="pairwise", against="few")], "against": ["base", "few_shot"]},
    }
    assert checks.problems(Recipe.parse(values, folder=tmp_path)) == [
        "evaluate.graders.judge: against: Unknown contestant 'few'. Did you mean 'few_shot'? "
        "Choose from: base, few_shot."
    ]
    values["evaluate"]["graders"] = [judge(model_server, scal=3)]  # type: ignore[index]
    with pytest.raises(RecipeError, match="Did you mean 'scale'"):
        checks.check(Recipe.parse(values, folder=tmp_path))
