"""Jobs that were exported from OpenAI become recipes that pass the check, and nothing is lost silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import NotThere, RunError
from tunewright.core.recipe import Recipe
from tunewright.stages import starting
from tunewright.stages.migrating import migrate

GRADER = {"type": "string_check", "name": "same", "input": "{{sample.output_text}}",
          "reference": "{{item.reference_answer}}", "operation": "eq"}  # fmt: skip
ASKED = [{"role": "user", "content": "hi"}]
SAID = [{"role": "assistant", "content": "ho"}]
ROWS = {
    "supervised": {"messages": ASKED + SAID},
    "dpo": {"input": {"messages": ASKED}, "preferred_output": SAID,
            "non_preferred_output": [{"role": "assistant", "content": "no"}]},
    "reinforcement": {"messages": ASKED, "reference_answer": "ho"},
}  # fmt: skip


def job(id: str, method: str = "supervised", **others: Any) -> dict[str, Any]:
    """A job as client.fine_tuning.jobs.list() gives it."""
    own: dict[str, Any] = {"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}}
    own |= {"grader": GRADER} if method == "reinforcement" else {}
    return {
        "id": f"ftjob-{id}", "object": "fine_tuning.job", "created_at": 1, "model": "gpt-4o-mini-2024-07-18",
        "fine_tuned_model": f"ft:gpt-4o-mini-2024-07-18:acme:{id}:x1", "training_file": f"file-{id}", "seed": 7,
        "validation_file": None, "status": "succeeded", "organization_id": "org-1", "result_files": [],
        "method": {"type": method, method: own}, "hyperparameters": None, "metadata": None, **others,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a training file for each method."""
    monkeypatch.chdir(tmp_path)
    exported = tmp_path / "exported"
    exported.mkdir()
    for method, row in ROWS.items():
        (exported / f"file-{method}.jsonl").write_text(f"{json.dumps(row)}\n" * 20)
    return exported


def write(folder: Path, *jobs: dict[str, Any], how: str = "list") -> None:
    if how == "lines":
        (folder / "jobs.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in jobs))
    else:
        whole: Any = {"list": {"object": "list", "data": jobs}, "array": jobs, "one": jobs[0]}[how]
        (folder / "jobs.json").write_text(json.dumps(whole))


def test_what_several_jobs_have_in_common_is_told_once(folder: Path) -> None:
    write(folder, *(job(f"{n}", training_file="file-supervised") for n in range(5)), job("own", model="nano"))
    told = [one.message for one in migrate(folder).findings if "model" in one.message]
    assert [message.partition(": ")[0] for message in told] == ["0.yaml, 1.yaml, 2.yaml and 2 more"]


@pytest.mark.parametrize("how", ["list", "array", "lines"])
def test_every_method_becomes_a_recipe_that_passes_the_check(folder: Path, how: str) -> None:
    write(folder, *(job(method, method) for method in ROWS), how=how)
    report = migrate(folder)
    made = {one["job"]: one for one in report.numbers["recipes"]}
    assert [made[f"ftjob-{method}"]["objective"] for method in ROWS] == ["sft", "dpo", "grpo"]
    for method in ROWS:
        starting.check(made[f"ftjob-{method}"]["recipe"])
        recipe = Recipe.load(made[f"ftjob-{method}"]["recipe"])
        assert (recipe.name, recipe.train.epochs, recipe.train.batch, recipe.train.seed) == (method, 2, None, 7)
        assert recipe.data.sources == [str(folder / f"file-{method}.jsonl")]


def test_older_jobs_have_their_numbers_outside(folder: Path) -> None:
    given = {"n_epochs": 3, "learning_rate_multiplier": 0.5, "batch_size": 4}
    write(folder, job("supervised", method=None) | {"method": None, "hyperparameters": given}, how="one")
    migrate(folder)
    train = Recipe.load("recipes/supervised.yaml").train
    assert (train.epochs, train.lr_multiplier, train.batch) == (3, 0.5, 4)


def test_files_under_their_own_names_are_found_by_the_list_of_files(folder: Path) -> None:
    (folder / "file-supervised.jsonl").rename(folder / "train.jsonl")
    (folder / "val.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    listed = [{"object": "file", "id": "file-supervised", "filename": "train.jsonl"},
              {"object": "file", "id": "file-v", "filename": "val.jsonl"}]  # fmt: skip
    (folder / "files.json").write_text(json.dumps({"object": "list", "data": listed}))
    write(folder, job("supervised", validation_file="file-v"))
    migrate(folder)
    data = Recipe.load("recipes/supervised.yaml").data
    assert (data.sources, data.validation) == ([str(folder / "train.jsonl")], str(folder / "val.jsonl"))


def test_what_cannot_be_is_told_and_the_rest_is_made(folder: Path) -> None:
    broken = job("reinforcement", "reinforcement")
    broken["method"]["reinforcement"]["grader"] = {"type": "endpoint"}
    write(folder, broken, job("lost", status="failed", metadata={"team": "x"}), job("supervised"), job("supervised"))
    report = migrate(folder)
    assert [one["job"] for one in report.numbers["not_made"]] == ["ftjob-reinforcement"]
    told = {finding.severity: finding.message for finding in report.findings}
    assert "endpoint" in told["problem"] or "file-lost" in told["problem"]
    text = Path("recipes/lost.yaml").read_text()
    for left in ("file-lost", "gpt-4o-mini", "status = failed", "metadata"):
        assert left in text.partition("# Not carried over")[2]
    assert len(report.numbers["recipes"]) == 2  # the same job twice is one


def test_two_jobs_of_one_suffix_are_two_recipes(folder: Path) -> None:
    one, two = job("supervised"), job("supervised") | {"id": "ftjob-2"}
    write(folder, one, two)
    migrate(folder)
    assert {path.name for path in Path("recipes").iterdir()} == {"supervised.yaml", "supervised-2.yaml"}
    assert Recipe.load("recipes/supervised-2.yaml").name == "supervised-2"


def test_no_recipe_is_overwritten(folder: Path) -> None:
    write(folder, job("dpo", "dpo"), job("supervised"))
    Path("recipes").mkdir()
    Path("recipes/supervised.yaml").write_text("mine")
    with pytest.raises(RunError, match="not overwritten"):
        migrate(folder)
    assert [path.name for path in Path("recipes").iterdir()] == ["supervised.yaml"]
    assert Path("recipes/supervised.yaml").read_text() == "mine"


def test_an_export_without_jobs_or_without_a_folder_is_told(folder: Path) -> None:
    with pytest.raises(NotThere, match="no fine-tuning job"):
        migrate(folder)
    with pytest.raises(NotThere, match="no folder"):
        migrate("nowhere")


@pytest.mark.parametrize("id", ["../../x", "a\nname: evil", "", None, 3.5])
def test_ids_of_an_export_are_never_paths_nor_yaml(folder: Path, id: Any) -> None:
    write(folder, job("supervised", training_file=id), job("supervised") | {"id": id}, job("dpo", "dpo"))
    report = migrate(folder)
    assert [one["job"] for one in report.numbers["recipes"]] == ["ftjob-dpo"]
    assert [one["job"] for one in report.numbers["not_made"]] == ["ftjob-supervised"]
