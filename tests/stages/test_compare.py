"""Runs are compared on the rows they share, from kept answers: figures, paired tests, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from tunewright.cli import compare as command
from tunewright.core import storage
from tunewright.core.errors import DataError, NotThere, RunError
from tunewright.core.recipe import Recipe
from tunewright.core.report import GuardResult, Measure, Report
from tunewright.core.run import Run
from tunewright.stages import compare_page
from tunewright.stages.compare import compare

SECRET = "my account is 4711"


def make_run(
    folder: Path,
    name: str,
    right: range,
    *,
    rows: range = range(60),
    graders: list[Any] | None = None,
    scores: dict[int, float] | None = None,
    **values: Any,
) -> Run:
    """A run as evaluation leaves it: its model answers the rows of `right` as expected, and others otherwise.

    scores: grades of a judge, by row.
    """
    given = {"name": name, "data": {"sources": [str(folder / "rows.jsonl")]}, "method": {"kind": "lora", "rank": 8}}
    graders = graders or ["exact", {"kind": "label_f1", "name": "f1"}]
    recipe = Recipe.parse({**given, "evaluate": {"graders": graders, "against": []}, **values}, folder=folder)
    run = Run.begin(recipe, runs=folder / "runs")
    storage.write_text(run.path("recipe.yaml"), recipe.to_yaml({}))
    test, table = [], []
    for place, number in enumerate(rows):
        expected = ("card", "loan", "rates")[number % 3]
        said = [{"role": "user", "content": f"{SECRET}, question {number}"}, {"role": "assistant", "content": expected}]
        test.append({"id": f"test:{place}", "messages": said, "label": expected})
        answer = expected if number in right else "other"
        grades = {"tuned": {"judged": scores[number]} if scores else {}}
        table.append({"id": f"test:{place}", "prompt": said[0]["content"], "expected": expected, "slice": None}
                     | {"answers": {"tuned": answer, "base": "card"}, "grades": grades})  # fmt: skip
    storage.write_jsonl(run.path("data", "test.jsonl"), test)
    storage.write_jsonl(run.path("evaluate", "answers.jsonl"), table)
    lost = Measure(name="collapse", value=len(right) / 1000, low=0.0, high=0.1, bound=0.2)
    figures = {"tuned": {"exact": {"value": 0.5}, "latency_p95": len(right) / 100, "cost_per_1000": 1.5}}
    guards = [GuardResult(guard="forgetting", question="What was lost?", measures=[lost])]
    numbers = {"grader": "exact", "rows": len(rows)}
    judged = Report(stage="evaluate", run=name, verdict="GO", contestants=figures, numbers=numbers, guards=guards)
    judged.save(run.path("evaluate"))
    Report(stage="train", run=name, numbers={"steps": len(right), "training_seconds": 61.0}).save(run.path("train"))
    return run


def test_pairs_are_tested_on_the_same_rows_and_corrected(tmp_path: Path) -> None:
    for name, right in (("a", range(50)), ("b", range(10, 40)), ("c", range(8, 40))):
        make_run(tmp_path, name, right)
    report = compare("a", "b", "c", runs=tmp_path / "runs")
    assert report.numbers["rows"] == {
        "common": 60,
        "same": True,
        "by_run": {"a": 60, "b": 60, "c": 60},
        "ids_reused": 0,
    }
    exact = {(one["first"], one["second"]): one for one in report.numbers["comparisons"] if one["grader"] == "exact"}
    assert {pair: (one["wins"], one["losses"]) for pair, one in exact.items()} == {
        ("a", "b"): (20, 0), ("a", "c"): (18, 0), ("b", "c"): (0, 2),
    }  # fmt: skip
    p = {pair: binomtest(one["wins"], one["wins"] + one["losses"], 0.5).pvalue for pair, one in exact.items()}
    assert {pair: one["p"] for pair, one in exact.items()} == pytest.approx(p, rel=1e-4)
    assert exact["a", "b"]["p_holm"] == pytest.approx(3 * p["a", "b"], rel=1e-4)
    assert exact["a", "c"]["p_holm"] == pytest.approx(2 * p["a", "c"], rel=1e-4)
    assert report.numbers["winners"]["exact"] == {"beats": {"a": ["b", "c"], "b": [], "c": []}, "unbeaten": ["a"]}
    assert report.contestants["a"]["exact"]["value"] == pytest.approx(50 / 60, abs=1e-6)
    assert list(report.numbers["winners"]) == ["exact", "f1"]
    assert report.exit_code == 0
    json.dumps(report.model_dump())


def test_guards_costs_and_recipes_stand_side_by_side(tmp_path: Path) -> None:
    make_run(tmp_path, "a", range(50))
    make_run(tmp_path, "b", range(30), method={"kind": "lora", "rank": 4})
    numbers = compare("a", "b", runs=tmp_path / "runs").numbers
    assert numbers["recipes"] == [{"key": "method.rank", "values": {"a": 8, "b": 4}}]
    (guard,) = numbers["guards"]
    assert (guard["guard"], guard["runs"]["b"]["value"], guard["runs"]["b"]["state"]) == ("forgetting", 0.03, "holds")
    assert numbers["training"][0] == {"key": "steps", "words": "steps", "values": {"a": 50, "b": 30}}


def test_a_run_that_its_own_evaluation_turned_down_is_named_beside_the_winner(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a", range(50))
    make_run(tmp_path, "b", range(30))
    judged = run.report("evaluate")
    assert judged is not None
    judged.model_copy(update={"verdict": "NO-GO"}).save(run.path("evaluate"))
    report = compare("a", "b", runs=tmp_path / "runs")
    assert compare_page.answer(report).startswith("By exact, on 60 test rows, a beats b")
    assert compare_page.answer(report).endswith(". By its own evaluation NO-GO: a.")
    assert compare_page.training_cells(report.numbers)[0] == ("verdict of its own run", ["NO-GO", "GO"])


def test_other_test_sets_are_compared_on_what_they_share(tmp_path: Path) -> None:
    make_run(tmp_path, "a", range(50), rows=range(60))
    make_run(tmp_path, "b", range(20, 50), rows=range(20, 90))  # its ids begin with other rows
    report = compare("a", "b", runs=tmp_path / "runs")
    assert report.numbers["rows"]["common"] == 40 and not report.numbers["rows"]["same"]
    assert report.numbers["rows"]["ids_reused"] == 60
    assert report.contestants["a"]["exact"]["n"] == 40
    assert [one.name for one in report.findings] == ["other test rows", "reused ids"]
    assert report.numbers["comparisons"][0]["wins"] == 0


def test_a_grader_that_would_ask_keeps_its_grades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.graders.exact import Exact

    def refuse(self: Exact, examples: Any, answers: Any, desk: Any) -> Any:
        raise AssertionError("asked again")

    monkeypatch.setattr(Exact, "asks", True)
    monkeypatch.setattr(Exact, "grade_all", refuse)
    judge = [{"kind": "exact", "name": "judged"}]
    make_run(tmp_path, "a", range(60), graders=judge, scores=dict.fromkeys(range(60), 1.0))
    make_run(tmp_path, "b", range(60), graders=judge, scores={n: float(n < 15) for n in range(60)})
    found = compare("a", "b", runs=tmp_path / "runs").contestants
    assert (found["a"]["judged"]["value"], found["b"]["judged"]["value"]) == (1.0, 0.25)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "a", range(50))
    make_run(tmp_path, "other-rows", range(50), rows=range(100, 130))
    make_run(tmp_path, "other-grader", range(50), graders=[{"kind": "exact", "field": "intent"}])
    Run.begin(Recipe.parse({"name": "raw", "data": {"sources": ["r"]}}, folder=tmp_path), runs=tmp_path / "runs")
    for names, error, words in (
        (["a"], RunError, "needs two runs"),
        (["a", str(tmp_path / "runs" / "a")], RunError, "each another one"),
        (["a", "raw"], NotThere, "has not been evaluated"),
        (["a", "nobody"], NotThere, "There is no run 'nobody'"),
        (["a", "other-rows"], DataError, "share no test row"),
        (["a", "other-grader"], DataError, "no grader in common"),
    ):
        with pytest.raises(error, match=words):
            compare(*names, runs=tmp_path / "runs")


def test_a_release_stands_for_its_run_while_the_answers_are_its_own(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a", range(50))
    make_run(tmp_path, "b", range(30))
    scores = run.report("evaluate").contestants["tuned"]
    for number, told in (("001", {"exact": {"value": 0.1}}), ("002", scores)):
        with storage.new_folder(run.path("releases", number), about={"scores": told, "run": "a"}) as folder:
            (folder / "README.md").write_text("A release.\n")
    assert list(compare("a:002", "b", runs=tmp_path / "runs").contestants) == ["a", "b"]
    with pytest.raises(RunError, match="earlier evaluation"):
        compare("a:001", "b", runs=tmp_path / "runs")


def test_the_page_shows_it_and_the_command_prints_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path, "a", range(50))
    make_run(tmp_path, "b", range(10, 40))
    page, runs = tmp_path / "out" / "compared.html", tmp_path / "runs"
    command.compare(["a", "b"], html=page, runs=runs)
    printed = capsys.readouterr().out
    assert "a beats b by 0.333" in printed and "forgetting: collapse" in printed
    text = page.read_text(encoding="utf-8")
    assert "a beats b by 0.333" in text and SECRET in text
    assert not re.search(r"<script|https?://|@import", text)
    command.compare(["a", "b"], runs=runs, as_json=True)
    assert json.loads(capsys.readouterr().out)["numbers"]["grader"] == "exact"
    monkeypatch.setattr("tunewright.core.private.is_private", lambda folder: True)
    assert compare("a", "b", runs=runs).numbers["samples"] == []
