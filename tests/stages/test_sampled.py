"""Several answers to each test row: drawn, kept, graded as one, and told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from contest_run import LABELS, SIZES, make_run
from rich.console import Console

from tunewright.cli.printing import print_report
from tunewright.core import catalog, checks, judgement, repeated, storage
from tunewright.core.endpoint import ask_once
from tunewright.core.errors import RecipeError, Stopped
from tunewright.core.example import Example
from tunewright.core.parts import Desk
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import contest, failures, grading, page, rating_plan, sampled, suited
from tunewright.stages.compare import compare
from tunewright.stages.evaluate import evaluate

Tiny = Callable[[str], Path]
DRAWS: dict[str, Any] = {"samples": 3, "temperature": 1.0, "labels": False, "graders": ["exact", "rouge"]}
YES = {"kind": "regex", "name": "yes", "pattern": "[a-m]"}  # what a random model says now and then


def rows_of(run: Run, name: str) -> list[dict[str, Any]]:
    return list(storage.read_jsonl(run.path("evaluate", name)))


def example(number: int, answer: str = "yes") -> Example:
    said = [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": answer}]
    return Example.model_validate({"id": f"t:{number}", "messages": said})


def test_each_row_is_answered_several_times_and_graded_by_the_mean(tmp_path: Path, tiny: Tiny) -> None:
    recipe, run = make_run(tmp_path, tiny("llama"), **{**DRAWS, "graders": [YES, "rouge"]}, against=["base"])
    report = evaluate(recipe, run)
    kept = rows_of(run, "answers.tuned.jsonl")
    assert len(kept) == len({(one["id"], one.get("sample", 0)) for one in kept}) == 3 * SIZES["test"]
    assert len({one["text"] for one in kept}) > SIZES["test"]
    table = rows_of(run, "answers.jsonl")
    for one in table:
        said = one["samples"]["tuned"]
        right = [any(letter in "abcdefghijklm" for letter in text) for text in said]
        assert one["answers"]["tuned"] == said[0] and len(said) == 3
        assert one["right"]["tuned"] == {"yes": sum(right)}
        assert one["grades"]["tuned"]["yes"] == pytest.approx(sum(right) / 3)
    assert {one["test"] for one in report.numbers["comparisons"]} == {"bootstrap"}
    counts = [one["right"]["tuned"]["yes"] for one in table]
    told = report.contestants["tuned"]["repeated"]
    assert list(told) == ["yes"] and list(told["yes"]) == ["pass@1", "pass@2", "pass@3", "all 3"]
    assert told["yes"]["pass@1"] == report.contestants["tuned"]["yes"]
    assert told["yes"]["pass@3"]["value"] == pytest.approx(np.mean([count > 0 for count in counts]), abs=1e-6)
    assert told["yes"]["all 3"]["value"] == pytest.approx(np.mean([count == 3 for count in counts]), abs=1e-6)
    pairs = np.mean([1 - math.comb(3 - count, 2) / 3 for count in counts])
    assert told["yes"]["pass@2"]["value"] == pytest.approx(pairs, abs=1e-6)
    assert report.contestants["tuned"]["samples"] == 3
    jsonschema.validate(json.loads(report.model_dump_json()), judgement.schema())
    assert evaluate(recipe.changed("evaluate", samples=2), run).numbers["openings"] == 2  # asked in another way
    assert len(rows_of(run, "answers.tuned.jsonl")) == 3 * SIZES["test"]  # what was answered stays


def test_answers_are_the_same_again_whatever_was_asked_beside_them(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, run = make_run(tmp_path / "one", tiny("llama"), **DRAWS, against=[])
    evaluate(recipe, run)
    whole = {(one["id"], one.get("sample", 0)): one["text"] for one in rows_of(run, "answers.tuned.jsonl")}
    monkeypatch.setattr("tunewright.stages.asking.AT_ONCE", 7)
    recipe, run = make_run(tmp_path / "two", tiny("llama"), **DRAWS, against=[])
    run.listeners.append(lambda event: run.stop.set() if event["event"] == "progress" else None)
    with pytest.raises(Stopped):
        evaluate(recipe, run)
    run.listeners.clear()
    run.stop.clear()
    kept = rows_of(run, "answers.tuned.jsonl")
    assert len(kept) == 7
    evaluate(recipe, run)
    rows = rows_of(run, "answers.tuned.jsonl")
    assert rows[:7] == kept
    assert {(one["id"], one.get("sample", 0)): one["text"] for one in rows} == whole


def test_more_samples_go_on_from_those_that_are_there(tmp_path: Path, tiny: Tiny, model_server: Any) -> None:
    model_server.answer = lambda body: LABELS[body["seed"] % 3]
    server = {"kind": "endpoint", "endpoint": {"url": model_server.url, "model": "big"}}
    recipe, run = make_run(tmp_path, tiny("llama"), **{**DRAWS, "samples": 1}, against=[server])
    evaluate(recipe, run)
    before = rows_of(run, "answers.tuned.jsonl"), rows_of(run, "answers.endpoint.jsonl")
    report = evaluate(recipe.changed("evaluate", samples=4), run)
    after = rows_of(run, "answers.tuned.jsonl"), rows_of(run, "answers.endpoint.jsonl")
    assert [rows[: SIZES["test"]] for rows in after] == list(before)
    assert len(model_server.asked) == 4 * SIZES["test"]
    assert len({(body["seed"], body["messages"][-1]["content"]) for body in model_server.asked}) == 4 * SIZES["test"]
    right = [one["right"]["endpoint"]["exact"] for one in rows_of(run, "answers.jsonl")]
    assert report.contestants["endpoint"]["exact"]["value"] == pytest.approx(sum(right) / 4 / SIZES["test"], abs=1e-6)


def test_a_report_tells_pass_at_k_in_the_terminal_and_on_the_page(tmp_path: Path, tiny: Tiny) -> None:
    recipe, run = make_run(tmp_path, tiny("llama"), **{**DRAWS, "graders": [YES]}, against=["base"])
    report = evaluate(recipe, run)
    report.save(run.path("evaluate"))
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_report(report, console=console)
    text = console.export_text()
    assert "pass@2" in text and "all 3" in text
    storage.write_text(run.path("recipe.yaml"), recipe.to_yaml({}))
    html = page.render(run)
    assert "Several answers to a row, by yes" in html and "pass@2" in html
    assert " of 3 right; the first" in html
    (shown,) = contest.contest(report).repeated  # type: ignore[union-attr]
    assert [name for name, _ in shown.rows] == ["tuned", "base"]


def test_runs_with_several_answers_are_compared_rated_and_looked_at(tmp_path: Path, tiny: Tiny) -> None:
    for name, samples in (("one", 3), ("two", 1)):
        recipe, run = make_run(
            tmp_path / name, tiny("llama"), **{**DRAWS, "samples": samples, "graders": [YES, "bleu"]}
        )
        storage.write_text(run.path("recipe.yaml"), recipe.to_yaml({}))
        evaluate(recipe, run).save(run.path("evaluate"))
    runs = [tmp_path / name / "runs" / "tiny" for name in ("one", "two")]
    report = compare(*runs)
    own = Run(runs[0]).report("evaluate")
    assert own is not None
    first = next(iter(report.contestants.values()))
    for grader in ("yes", "bleu"):
        assert first[grader] == own.contestants["tuned"][grader]
    assert {one["test"] for one in report.numbers["comparisons"]} == {"bootstrap"}
    table = rating_plan.answers_of(Run(runs[0]))
    assert all(row["answers"]["tuned"] == row["samples"]["tuned"][0] for row in table)
    assert own.numbers["failures"]["rows"] == SIZES["test"]


def test_totals_of_a_row_are_the_mean_of_its_answers() -> None:
    rows = [example(number) for number in range(4)]
    said = [["yes", "no"], ["yes", "yes"], ["no", "no"], ["yes", "so be it"]]
    for kind in ("exact", "label_f1", "bleu", "rouge"):
        grader = catalog.build("graders", kind)
        found = sampled.sheet(grader, rows, said, Desk(ask=ask_once))
        flat = grading.sheet(
            grader, [row for row in rows for _ in range(2)], [text for texts in said for text in texts]
        )
        assert found is not None and flat is not None
        assert [one.score for one in found.grades] == pytest.approx(
            np.array([one.score for one in flat.grades]).reshape(4, 2).mean(axis=1)
        )
        assert found.grader.value(found.tally.sum(axis=0)) == pytest.approx(grader.value(flat.tally.sum(axis=0)))
        assert [one.id for one in found.examples] == ["t:0", "t:1", "t:2", "t:3"]
        assert found.answers == ["yes", "yes", "no", "yes"]
        assert found.summary() == flat.summary()
    analysed = failures.of_sheets({"tuned": found})
    assert analysed.texts == ["yes", "yes", "no", "yes"]


def test_a_row_that_could_be_graded_in_part_has_the_mean_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.graders.exact import Exact

    def graded(self: Exact, examples: Any, answers: Any, desk: Any) -> Any:
        return [
            None if answer == "?" else self.grade(one, answer) for one, answer in zip(examples, answers, strict=True)
        ]

    monkeypatch.setattr(Exact, "grade_all", graded)
    rows = [example(number) for number in range(3)]
    found = sampled.sheet(Exact(), rows, [["?", "yes", "no"], ["?", "?", "?"], ["yes"] * 3], Desk(ask=ask_once))
    assert found is not None
    assert found.scores == {0: 0.5, 2: 1.0} and found.answers == ["yes", "yes"]
    assert sampled.num_right(found) == {0: (1, 2), 2: (3, 3)}
    told = sampled.figures(found, None)
    assert told["pass@2"]["n"] == 2 and told["all 3"]["n"] == 1  # of two answers nothing is known about three


def test_pairs_are_judged_sample_by_sample() -> None:
    from tunewright.stages.asking import Answered

    rows = [example(0), example(1)]
    answered = {
        "tuned": Answered(texts=["a", "b"], samples=[["a", "c"], ["b", "d"]]),
        "base": Answered(texts=["x", "y"]),
    }
    assert sampled.by_id(rows, answered) == {
        "tuned": {"t:0": "a", "t:0#2": "c", "t:1": "b", "t:1#2": "d"},
        "base": {"t:0": "x", "t:0#2": "x", "t:1": "y", "t:1#2": "y"},
    }


def test_a_pairwise_judge_holds_each_sample_against_its_own_partner() -> None:
    from tunewright.core.endpoint import Endpoint, Question, Reply
    from tunewright.graders.judge import Judge

    asked: list[str] = []

    def ask(endpoint: Endpoint, questions: Any) -> list[Reply]:
        asked.extend(str(question.messages[-1]["content"]) for question in questions)
        return [Reply(json.dumps({"better": "A" if _before(one, "good", "bad") else "B"})) for one in questions]

    def _before(question: Question, first: str, second: str) -> bool:
        text = str(question.messages[-1]["content"])
        return first in text and (second not in text or text.index(first) < text.index(second))

    endpoint = Endpoint(url="http://x/v1", model="judge")
    judge = Judge(endpoint=endpoint, mode="pairwise", criteria={"true": "It is so."}, reference=False)
    others = {"t:0": "bad one", "t:0#2": "bad two", "t:1": "bad three", "t:1#2": "good four"}
    desk = Desk(ask=ask, answers={"base": others})
    found = sampled.sheet(
        judge, [example(0), example(1)], [["good one", "good two"], ["good three", "good four"]], desk
    )
    assert found is not None
    assert found.scores == {0: 1.0, 1: 0.75}  # the last pair is alike, which is a tie
    assert any("good two" in text and "bad two" in text for text in asked)
    assert not any("good two" in text and "bad one" in text for text in asked)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 4}, "4 answers are all alike at temperature 0"),
        ({"samples": 4, "temperature": 0.7, "objective": "classify"}, "labels are weighed and heads compute"),
        ({"samples": 4, "temperature": 0.7, "format": "labels"}, "labels are weighed and heads compute"),
        ({"samples": 4, "temperature": 0.7}, None),
        ({"samples": 1, "format": "labels"}, None),
    ],
)
def test_where_answers_would_be_alike_samples_are_refused(
    tmp_path: Path, change: dict[str, Any], said: str | None
) -> None:
    storage.write_text(tmp_path / "rows.jsonl", "")
    values = {"name": "a", "data": {"sources": [str(tmp_path / "rows.jsonl")], "format": change.pop("format", "auto")}}
    objective = {"objective": change.pop("objective", "sft")}
    found = checks.problems(Recipe.parse({**values, **objective, "evaluate": change}, folder=tmp_path))
    assert [one for one in found if one.startswith("evaluate.samples")] == [
        one for one in found if said and said in one
    ]
    assert bool(said) == any("evaluate.samples" in one for one in found)


def test_labels_that_only_the_data_tells_are_refused_before_training_and_before_asking(
    tmp_path: Path, tiny: Tiny
) -> None:
    recipe, run = make_run(tmp_path, tiny("llama"), labels=True, samples=3, temperature=0.5)
    with pytest.raises(RecipeError, match="labels are weighed"):
        suited.refuse_samples(recipe, {"labels": {"fraud": {}}})
    suited.refuse_samples(recipe, {"labels": {}})
    with pytest.raises(RecipeError, match="labels are weighed"):
        evaluate(recipe, run)
    assert not run.path("evaluate", "answers.tuned.jsonl").exists()


def test_powers_of_two_lead_to_the_number_of_samples() -> None:
    assert [repeated.ks(num) for num in (1, 2, 3, 8, 10)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8], [1, 2, 4, 8, 10]]
