"""Advice follows the evidence: a bar that is reached, facts no row holds, rows that teach more, errors of form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import catalog
from tunewright.core.example import Example, Message
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import advice, evidence, grading
from tunewright.stages.advice import Weighed
from tunewright.stages.advising import advise
from tunewright.stages.evidence import Share

Tiny = Callable[[str], Path]
EXACT = catalog.build("graders", "exact")


def solved(number: int, question: str, answer: str, *, label: bool = False) -> Example:
    said = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return Example(id=f"r:{number}", messages=said, label=answer if label else None)


ROWS = [solved(number, f"question {number}", "yes") for number in range(100)]


def sheet(num_right: int) -> grading.Sheet:
    found = grading.sheet(EXACT, ROWS, ["yes"] * num_right + ["no"] * (100 - num_right))
    assert found is not None
    return found


def weighed(values: dict[str, int], **options: Any) -> Weighed:
    sheets = {name: sheet(value) for name, value in values.items()}
    best = max(values, key=lambda name: values[name], default=None)
    facts: dict[str, Any] = dict(
        at_least=None,
        clusters=None,
        proxy=[],
        novelty=None,
        supported=None,
        over_documents=False,
        labels=False,
        tuning={},
    )
    facts["form"] = evidence.errors_of_form(sheets[best], []) if best else None
    return Weighed(grader="exact", best=best, sheets=sheets, reading={"retrieval"}, **{**facts, **options})


CASES: list[tuple[dict[str, int], dict[str, Any], tuple[str, bool]]] = [
    ({"base": 40, "prompt": 97}, {"at_least": 0.8}, ("prompting", True)),
    ({"base": 40, "retrieval": 97}, {"at_least": 0.8}, ("retrieval", True)),
    ({"base": 40, "prompt": 84}, {"at_least": 0.8}, ("tuning", False)),
    ({"base": 40, "prompt": 50}, {"at_least": 0.8}, ("tuning", True)),
    ({"base": 40, "retrieval": 60}, {"at_least": 0.8, "over_documents": True}, ("retrieval", True)),
    ({"base": 40, "retrieval": 60}, {"at_least": 0.8}, ("tuning", True)),  # over training rows: only more examples
    ({"base": 40}, {"novelty": Share(60, 100)}, ("retrieval", True)),
    ({"base": 40}, {"novelty": Share(35, 100)}, ("retrieval", False)),
    ({"base": 40}, {"novelty": Share(8, 10)}, ("tuning", False)),  # too few names to lean on
    ({"base": 40}, {"proxy": [(50, sheet(60)), (100, sheet(80))]}, ("tuning", True)),
    ({"base": 40, "prompt": 90}, {"proxy": [(100, sheet(60))]}, ("prompting", True)),
    ({"base": 70}, {"form": (Share(25, 30), {"no JSON": 25})}, ("tuning", True)),
    ({"base": 70}, {"form": (Share(1, 30), {})}, ("prompting", False)),
    ({}, {}, ("tuning", False)),
]


@pytest.mark.parametrize(("values", "options", "expected"), CASES)
def test_advice_follows_the_evidence(
    values: dict[str, int], options: dict[str, Any], expected: tuple[str, bool]
) -> None:
    found = advice.advised(weighed(values, **options))
    assert (found.what, found.sure) == expected
    assert found.because
    json.dumps(weighed(values, **options).told())


def test_the_best_of_many_must_be_better_to_reach_the_bar() -> None:
    one = weighed({"base": 88})
    many = weighed({"base": 88, **{f"p{number}": 10 for number in range(9)}})
    assert many.surely("base") < one.surely("base") == pytest.approx(0.8019, abs=0.001)


def test_names_and_numbers_that_no_row_holds_are_new() -> None:
    training = [solved(0, "Where is the office?", "The office is in Lyon, at number 12.")]
    rows = [
        solved(1, "Where is it?", "It is in Lyon."),
        solved(2, "Where is the Bonn desk?", "The desk in Bonn opens at 9:30."),
    ]
    assert evidence.names("It moved to New York in 1999.") >= {"new york", "1999"}
    found = evidence.novelty(training, rows)
    assert found == Share(1, 2)  # lyon and 9:30 are needed beyond the questions


@pytest.mark.parametrize(
    ("expected", "answer", "kind"),
    [
        ('{"a": 1}', "a is 1", "no JSON"),
        ("nine", "It opens at nine in the morning", "words around the right answer"),
        ("nine", "", "empty"),
        ("It opens at nine on weekdays", "ten", "far too short"),
        ("nine o'clock", "ten o'clock", None),
    ],
)
def test_errors_of_form_are_told_from_errors_of_content(expected: str, answer: str, kind: str | None) -> None:
    graded = grading.sheet(EXACT, [solved(0, "when?", expected)], [answer])
    assert graded is not None
    share, kinds = evidence.errors_of_form(graded, [])
    assert (share.count, share.of) == (int(kind is not None), 1)
    assert list(kinds) == ([kind] if kind else [])


def test_passages_hold_the_answer_or_its_names() -> None:
    rows = [solved(0, "when?", "At nine."), solved(1, "where?", "It is in Bonn.")]
    found = evidence.supported(rows, ["We open at nine. When?", "The office moved to Bonn."])
    assert found["answers"] == Share(1, 2)
    assert found["names"].count >= 1


def test_a_classifier_shows_that_rows_teach() -> None:
    words = {"fraud": "stolen card", "rates": "euro fees"}
    rows = [solved(n, f"{list(words.values())[n % 2]} {n}", list(words)[n % 2], label=True) for n in range(60)]
    points = evidence.learned(EXACT, rows[:40], rows[40:])
    assert [count for count, _ in points] == [10, 20, 40]
    assert float(EXACT.value(points[-1][1].tally.sum(axis=0))) == 1.0


def write_rows(folder: Path, *, size: int = 90) -> None:
    words = ["stolen card", "euro fees", "late parcel"]
    labels = ["fraud", "rates", "delivery"]
    rows = [{"text": f"{words[n % 3]} {n}", "label": labels[n % 3]} for n in range(size)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def values_of(folder: Path, base: Path, **options: Any) -> Recipe:
    write_rows(folder)
    search = {"kind": "prompt", "search": {"candidates": 3, "rows": 8, "shots": [0]}}
    split = {"train": 0.5, "validation": 0.3, "test": 0.2}
    return Recipe.parse(
        {
            "name": "desk",
            "data": {"sources": ["rows.jsonl"], "split": split},
            "model": str(base),
            "evaluate": {"against": [search], **options},
        },
        folder=folder,
    )


def test_advise_asks_the_untuned_on_validation_rows_and_trains_nothing(tmp_path: Path, tiny: Tiny) -> None:
    recipe = values_of(tmp_path, tiny("llama"), hour_price=1)
    report = advise(recipe, runs=tmp_path / "runs")
    run = Run(tmp_path / "runs" / "desk")
    assert report.exit_code == 0
    assert next(iter(report.contestants)) == "base" and {"prompt", "few_shot"} <= set(report.contestants)
    assert report.numbers["advice"] == "tuning" and report.numbers["sure"]  # what a random model answers is no better
    assert report.numbers["evidence"]["proxy"][-1]["value"] == 1.0
    assert report.numbers["tuning"]["seconds"] >= 0 and report.numbers["tuning"]["cost"] is not None
    assert {one.name for one in report.findings} == {"few rows", "no bar"}
    assert report.next == f"tunewright run {run.folder}"
    assert json.loads(run.path("advise", "report.json").read_text())["numbers"] == json.loads(
        json.dumps(report.numbers)
    )
    assert "kind: prompt" in run.path("advise", "prompt.yaml").read_text()
    assert run.report("train") is None and run.report("evaluate") is None
    asked = {one.id for one in run.split("validation")}
    answered = [json.loads(line) for line in run.path("advise", "answers.base.jsonl").read_text().splitlines()]
    assert {one["id"] for one in answered} == asked == {id for id in asked if id not in _ids(run, "test")}
    tried = [
        json.loads(line)["id"]
        for path in run.path("advise", "contestants").rglob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert tried and set(tried) <= _ids(run, "train")
    again = advise(recipe, runs=tmp_path / "runs")
    assert again.numbers == report.numbers and again.contestants == report.contestants


def _ids(run: Run, side: str) -> set[str]:
    return {one.id for one in run.split(side)}


def test_a_prompt_that_is_good_enough_is_the_advice(tmp_path: Path, tiny: Tiny, model_server: Any) -> None:
    words = {"stolen": "fraud", "euro": "rates", "late": "delivery"}
    model_server.answer = lambda body: words[str(body["messages"][-1]["content"]).split()[0]]
    server = {"kind": "endpoint", "endpoint": {"url": model_server.url, "model": "big"}}
    goal = {"grader": "exact", "at_least": 0.7}
    recipe = values_of(tmp_path, tiny("llama"), graders=["exact"], goal=goal)
    recipe = recipe.changed("evaluate", against=[*(recipe.evaluate.against or []), server])
    report = advise(recipe, runs=tmp_path / "runs")
    assert (report.numbers["advice"], report.numbers["sure"]) == ("prompting", True)
    assert report.numbers["best"] == "endpoint"


def test_the_command_prints_the_advice_and_ends_well(
    tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from tunewright.cli import app

    monkeypatch.chdir(tmp_path)
    recipe = values_of(tmp_path, tiny("llama"))
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml({}))
    done = CliRunner().invoke(app(), ["advise", "recipe.yaml", "--rows", "12", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["numbers"]["rows"] == 12
    shown = CliRunner().invoke(app(), ["advise", "recipe.yaml", "--rows", "12"])
    assert "tuning" in shown.stdout and "best untuned contestant" in shown.stdout
