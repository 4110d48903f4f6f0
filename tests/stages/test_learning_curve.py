"""The learning curve: trained as child runs that are never lost, told with an interval, refused where it can't tell."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tunewright as tw
from tunewright.core import storage
from tunewright.core.choosing import LearningCurve
from tunewright.core.errors import DataError, NotThere, RecipeError, Stopped
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import curve_trainings, learning_curve

LABELS = ("card", "fees", "access")


def rows(count: int, *, seed: int = 0, noise: float = 0.0) -> list[dict[str, str]]:
    """Labelled texts with a telling word of many: a classifier learns more words from more rows."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        label = draw.choice(LABELS)
        telling = f"{label}{int(draw.paretovariate(0.4)) % 5000}"
        words = [telling, *(f"word{draw.randrange(300)}" for _ in range(4))]
        draw.shuffle(words)
        found.append({"text": " ".join(words), "label": draw.choice(LABELS) if draw.random() < noise else label})
    return found


def write_recipe(folder: Path, base: Path, training: list[dict[str, str]], num_graded: int, **changes: Any) -> Path:
    storage.write_jsonl(folder / "train.jsonl", training)
    storage.write_jsonl(folder / "validation.jsonl", rows(num_graded, seed=1))
    values = {
        "name": "curve",
        "data": {
            "sources": ["train.jsonl"],
            "validation": "validation.jsonl",
            "split": {"train": 1, "validation": 0, "test": 0},
        },
        "model": str(base),
        "method": {"kind": "lora", "rank": 2},
        "train": {"epochs": 1, "batch": 8, "lr": 0.01, "threads": 1},
        "evaluate": {"graders": ["exact"]},
        **changes,
    }
    storage.write_json(folder / "recipe.json", values)
    return folder / "recipe.json"


def proxy(**options: Any) -> dict[str, Any]:
    return {"choose": {"learning_curve": {"model": "proxy", **options}}}


def test_each_point_is_a_child_run_and_a_stop_loses_none(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunewright.core.run.PROGRESS_SECONDS", 0)  # every event is heard
    recipe = write_recipe(tmp_path, tiny("llama"), rows(64), 20)
    tw.choose(recipe, runs=tmp_path / "runs")
    run = Run(tmp_path / "runs" / "curve")
    given, filled = Recipe.load(run.path("recipe.given.yaml")), run.recipe()
    on = curve_trainings.bench(LearningCurve(points=4, draws=1), given, filled, run)
    small, large = curve_trainings.parts(on)[:2]
    assert (small.size, large.size) == (16, 32) and set(small.rows) < set(large.rows)

    def stop_once_graded(event: dict[str, Any]) -> None:
        if list(run.path("children").glob("curve-*/evaluate/report.json")):
            run.stop.set()

    run.listeners = [stop_once_graded]
    with pytest.raises(Stopped):
        curve_trainings.train_all(on, [small, large])
    kept = {path: path.stat().st_mtime_ns for path in run.path("children").glob("curve-*/evaluate/report.json")}
    assert len(kept) == 1

    run.listeners = []
    run.stop.clear()
    trained = curve_trainings.train_all(on, [small, large])
    children = sorted(run.path("children").glob("curve-*"))
    assert [int(child.name.split("-")[1]) for child in children] == [16, 32]
    assert all(path.stat().st_mtime_ns == kept[path] for path in kept), "what was graded is not trained again"
    assert [len(list(storage.read_jsonl(child / "data" / "train.jsonl"))) for child in children] == [16, 32]
    assert not any(list(child.glob("checkpoints/step-*")) for child in children), "weights are not kept"
    graded = {row["id"] for row in storage.read_jsonl(children[0] / "data" / "test.jsonl")}
    assert graded == {example.id for example in run.split("validation")}, "never the test rows"
    assert [len(one.sheet.rows) for one in trained] == [20, 20]
    frozen = Run(children[0]).recipe()
    assert (frozen.train.lr, frozen.train.patience, frozen.method) == (0.01, 0, filled.method)


@pytest.fixture(scope="module")
def told(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tw.Report]:
    folder = tmp_path_factory.mktemp("told")
    goal = {"graders": ["exact"], "goal": {"grader": "exact", "at_least": 0.9}}
    recipe = write_recipe(folder, tiny("llama"), rows(1600), 600, evaluate=goal, **proxy())
    return folder, tw.choose(recipe, runs=folder / "runs")


def test_twice_the_data_is_told_with_an_interval_that_holds_what_comes(told: Any) -> None:
    from tunewright.data.proxy import Proxy

    curve = told[1].numbers["learning_curve"]
    assert curve["refused"] == [] and curve["proxy"] and "proxy" in curve["model"]
    assert [point["rows"] for point in curve["points"]] == [100, 200, 400, 800, 1600]
    assert [len(point["draws"]) for point in curve["points"]] == [2, 2, 2, 2, 1]
    gain = curve["gain"]
    assert gain["rows"] == 3200 and 0 <= gain["low"] < gain["value"] < gain["high"]
    assert curve["sentence"].startswith(f"Twice the data (3,200 rows) would give {gain['value']:+.3f} exact (80 %")
    assert curve["goal"]["rows"] is None or curve["goal"]["rows"] > 1600
    assert curve["back_test"]["foretold"]["low"] < curve["back_test"]["measured"] + 0.02

    more, graded = rows(1600) + rows(1600, seed=2), rows(600, seed=1)
    learned = Proxy().learn([row["text"] for row in more], [row["label"] for row in more])
    answers = learned.answers([row["text"] for row in graded])
    came = sum(a == row["label"] for a, row in zip(answers, graded, strict=True)) / 600
    assert gain["low"] - 0.015 <= came - curve["points"][-1]["value"] <= gain["high"] + 0.015


def test_the_curve_is_a_finding_and_a_picture(told: Any) -> None:
    folder, report = told
    finding = next(one for one in report.findings if one.name == "learning_curve")
    assert finding.severity == "info" and "not your model: Twice the data" in finding.message
    again = tw.choose(folder / "recipe.json", changes=["choose.learning_curve=null"], runs=folder / "runs")
    assert again.numbers["learning_curve"] == report.numbers["learning_curve"], "stays while rows and settings do"
    page = (folder / "runs" / "curve" / "report.html").read_text(encoding="utf-8")
    assert 'class="band"' in page and "foretold" in page and "NaN" not in page and "not your model" in page


def test_labels_without_sense_are_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny("llama"), rows(400, noise=1.0), 300, **proxy())
    report = tw.choose(recipe, runs=tmp_path / "runs")
    curve = report.numbers["learning_curve"]
    assert curve["gain"] is None and "did not rise by more than noise" in curve["sentence"]
    assert "cannot be told" in curve["sentence"]
    assert next(one for one in report.findings if one.name == "learning_curve").severity == "warning"


def test_few_rows_are_too_few_sizes(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny("llama"), rows(90), 150, **proxy())
    curve = tw.choose(recipe, runs=tmp_path / "runs").numbers["learning_curve"]
    assert curve["refused"] == ["3 sizes of training sets are too few for a law of three numbers (4)"]


def test_cleaning_is_compared_with_adding(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    training = rows(1600)
    draw = random.Random(5)
    wrong = sorted(draw.sample(range(1600), 400))
    for number in wrong:
        training[number]["label"] = LABELS[(LABELS.index(training[number]["label"]) + 1) % 3]
    recipe = write_recipe(tmp_path, tiny("llama"), training, 600, **proxy(without="suspects.jsonl"))
    storage.write_jsonl(tmp_path / "suspects.jsonl", [{"id": f"train:{number + 1}"} for number in wrong])
    report = tw.choose(recipe, runs=tmp_path / "runs")
    cleaning = report.numbers["learning_curve"]["cleaning"]
    assert 390 <= cleaning["left_out"] <= 400
    assert 0 < cleaning["low"] < cleaning["value"] < cleaning["high"]
    assert cleaning["sentence"].startswith(f"Leaving out {cleaning['left_out']} rows")
    if not report.numbers["learning_curve"]["refused"]:
        assert "as much as about" in cleaning["sentence"] or "more than any number" in cleaning["sentence"]
    run = Run(tmp_path / "runs" / "curve")
    places = [{"finding": "label_errors", "source": str(tmp_path / "train.jsonl"), "line": n + 1} for n in wrong]
    assert learning_curve._left_out(str(tmp_path / "suspects.jsonl"), run) == {
        f"train:{number + 1}" for number in wrong
    }
    storage.write_jsonl(run.path("data", "findings.jsonl"), places)
    assert learning_curve._left_out("label_errors", run) == {f"train:{number + 1}" for number in wrong}
    (tmp_path / "suspects.jsonl").write_text("elsewhere:1\n")
    with pytest.raises(DataError, match="none of the 1 rows"):
        tw.choose(recipe, runs=tmp_path / "runs")


def test_what_cannot_have_a_curve_is_told_at_once(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    def problem(**changes: Any) -> str:
        recipe = write_recipe(tmp_path, tiny("llama"), rows(20), 20, **changes)
        with pytest.raises((RecipeError, DataError, NotThere)) as told:
            tw.choose(recipe, runs=tmp_path / "runs")
        return str(told.value)

    assert "Unknown file or finding 'nowhere.jsonl'" in problem(**proxy(without="nowhere.jsonl"))
    assert "a recipe with phases has no curve" in problem(phases=[{"name": "one"}], **proxy())
    assert "greater than or equal to 4" in problem(**proxy(points=2))
    chats = [{"prompt": f"Say {n}", "completion": f"It is {n} again"} for n in range(120)]
    storage.write_jsonl(tmp_path / "chats.jsonl", chats)
    assert "a proxy learns labels" in problem(data={"sources": ["chats.jsonl"]}, **proxy())


def test_the_option_curve_keeps_the_options_of_the_recipe(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny("llama"), rows(20), 20, **proxy())
    assert learning_curve.asking(recipe, None, tmp_path) == []
    assert learning_curve.asking(recipe, ["choose.learning_curve=false"], tmp_path)[1:] == [
        "choose.learning_curve=true"
    ]
    plain = write_recipe(tmp_path, tiny("llama"), rows(20), 20)
    assert learning_curve.asking(plain, ["train.epochs=2"], tmp_path) == [
        "train.epochs=2",
        "choose.learning_curve=true",
    ]
