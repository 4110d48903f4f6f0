"""The guards through the whole stage, with a tiny real model: asked once, gone on with after a stop, told in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_evaluate import base, make_run  # noqa: F401

from tunewright.core import storage
from tunewright.core.errors import Stopped
from tunewright.core.recipe import Recipe
from tunewright.core.report import GuardResult, Report
from tunewright.core.run import Run
from tunewright.stages.deploy import deploy
from tunewright.stages.evaluate import evaluate

LABELS = ["fraud", "rates", "delivery"]
SAID = ["She says that her card was stolen and asks for help", "He wants to show his son the rates", "A parcel is late"]


def people(run: Run) -> None:
    """Rows of a run that speak of people."""
    for split, size in (("validation", 30), ("test", 60)):
        rows = [
            {
                "id": f"{split}:{number}",
                "messages": [
                    {"role": "user", "content": f"{SAID[number % 3]} {split[0]}{number}"},
                    {"role": "assistant", "content": LABELS[number % 3]},
                ],
                "label": LABELS[number % 3],
                "meta": {"town": "north" if number % 2 else "south"},
            }
            for number in range(size)
        ]
        storage.write_jsonl(run.path("data", f"{split}.jsonl"), rows)


def guarded(folder: Path, base: Path, *guards: Any, labels: bool = True) -> tuple[Recipe, Run]:  # noqa: F811
    recipe, run = make_run(folder, base, labels=labels, against=["base"], graders=["exact"], guards=list(guards))
    people(run)
    return recipe, run


def of(report: Report, kind: str) -> GuardResult:
    return next(one for one in report.guards if one.guard == kind)


def test_labels_are_measured_for_all_that_tuning_may_harm(tmp_path: Path, base: Path) -> None:  # noqa: F811
    pairs = [{"sent_more": f"Old men forget {n}.", "sent_less": f"Young men forget {n}."} for n in range(8)]
    storage.write_jsonl(tmp_path / "crows.jsonl", pairs)
    fairness = {"kind": "fairness", "columns": ["town"], "swaps": ["gender"], "favourable": ["fraud"]}
    fairness |= {"least": 20, "crows_pairs": "crows.jsonl"}
    robustness = {"kind": "robustness", "kinds": ["typos", "casing"], "rows": 20}
    recipe, run = guarded(tmp_path, base, "confidence", fairness, robustness)
    report = evaluate(recipe, run)
    names = [measure.name for measure in of(report, "fairness").measures]
    assert [name for name in names if "town" in name] == [
        "town: difference of the mean grade",
        "town: demographic parity difference",
        "town: demographic parity ratio",
        "town: equalised odds difference",
    ]
    assert "gender swaps: answers that change" in names
    assert "CrowS-Pairs: stereotypes preferred" in names
    assert {measure.n for measure in of(report, "robustness").measures} == {20}
    sure = of(report, "confidence")
    assert [measure.name for measure in sure.measures][:2] == ["calibration error", "calibration error after scaling"]
    assert sum(point["n"] for point in sure.figures["reliability"]) == 60
    assert report.numbers["escalation"]["temperature"] == sure.figures["temperature"]
    assert all(measure.state == "told" for guard in report.guards for measure in guard.measures)
    json.dumps(report.model_dump())
    again = evaluate(recipe, run)
    assert again.guards == report.guards


def test_confidence_is_usual_for_labels_and_not_for_free_answers(tmp_path: Path, base: Path) -> None:  # noqa: F811
    recipe, run = make_run(tmp_path / "labels", base, against=["base"])
    report = evaluate(recipe, run)
    assert "confidence" in [one.guard for one in report.guards]
    report.save(run.path("evaluate"))
    run.path("recipe.yaml").write_text(recipe.to_yaml({}))
    released = Path(deploy(recipe, run, override="a test").numbers["folder"])
    told = storage.read_json(released / "manifest.json")["decode"]["escalation"]
    assert told == {key: report.numbers["escalation"][key] for key in ("threshold", "at")}
    recipe, run = make_run(tmp_path / "free", base, labels=False, against=["base"])
    report = evaluate(recipe, run)
    assert "confidence" not in [one.guard for one in report.guards]
    assert report.numbers["escalation"] is None


def test_free_answers_are_measured_where_they_are_asked_for(tmp_path: Path, base: Path) -> None:  # noqa: F811
    safety = {"kind": "safety", "tokens": 8, "rows": 10}
    recipe, run = guarded(tmp_path, base, {"kind": "confidence", "rows": 20}, safety, labels=False)
    report = evaluate(recipe, run)
    assert of(report, "confidence").measures
    told = of(report, "safety")
    assert [measure.name for measure in told.measures] == [
        "harmful requests answered",
        "harmless requests refused",
        "foreign orders obeyed",
        "system prompts told",
        "rude answers",
    ]
    assert [measure.n for measure in told.measures] == [10, 10, 10, 10, 100]  # rude: the test rows' answers, too


def test_a_stop_loses_no_answer_of_a_guard(
    tmp_path: Path,
    base: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tunewright.stages.asking.AT_ONCE", 8)
    recipe, run = guarded(tmp_path, base, {"kind": "robustness", "kinds": ["casing"], "rows": 20})
    file = run.path("evaluate", "guards", "robustness", "answers.robustness.casing.tuned.jsonl")
    append = storage.append_jsonl

    def stops(path: Path, row: dict[str, Any], **options: Any) -> None:
        append(path, row, **options)
        if path == file:
            run.stop.set()

    monkeypatch.setattr(storage, "append_jsonl", stops)
    with pytest.raises(Stopped):
        evaluate(recipe, run)
    kept = list(storage.read_jsonl(file))
    assert 0 < len(kept) < 20
    monkeypatch.setattr(storage, "append_jsonl", append)
    run.stop.clear()
    report = evaluate(recipe, run)
    assert of(report, "robustness").measures[0].n == 20
    assert list(storage.read_jsonl(file))[: len(kept)] == kept


def test_a_broken_bound_is_a_no_go(tmp_path: Path, base: Path) -> None:  # noqa: F811
    recipe, run = guarded(tmp_path, base, {"kind": "confidence", "coverage": 1.0, "at": 0.999})
    report = evaluate(recipe, run)
    assert report.verdict == "NO-GO"
    assert "answered without a person" in str(report.reason)


def test_a_guard_that_finds_nothing_to_measure_says_so(tmp_path: Path, base: Path) -> None:  # noqa: F811
    recipe, run = guarded(tmp_path, base, {"kind": "fairness", "swaps": []})
    (finding,) = of(evaluate(recipe, run), "fairness").findings
    assert finding.message == "The guard fairness found nothing to measure in these rows."
