"""Two-stage tuning (ProMoT): a root is learned first and stays, fixed, while later phases learn weights."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tunewright as tw
from tunewright.core import checks, storage
from tunewright.core.errors import RecipeError, Stopped
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.models import roots
from tunewright.models.forest import Row
from tunewright.models.release import open_release
from tunewright.stages import flow, phases, tuned

LABELS = ("card", "fees", "access")
WORDS = ["card", "money", "fee", "rate", "account", "branch", "phone", "code", "block", "send", "lost", "late"]
PROMPT = {"name": "prompt", "method": {"kind": "prompt", "tokens": 6}, "train": {"lr": 0.1}}


def write_recipe(folder: Path, base: Path, *stages: dict[str, Any], **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"text": f"please {WORDS[n % 12]} {WORDS[n * 7 % 12]} {n}", "label": LABELS[n % 3]} for n in range(32)]
    storage.write_jsonl(folder / "train.jsonl", rows)
    values = {
        "name": "two",
        "model": str(base),
        "data": {"sources": ["train.jsonl"], "format": "labels"},
        "train": {"epochs": 1, "batch": 4, "lr": 0.01, "micro_tokens": 256, "threads": 1, "save_every": 2,
                  "evaluate_every": 2, "patience": 0},
        "evaluate": {"graders": ["exact"], "against": ["base"], "guards": []},
        "phases": list(stages),
        **changes,
    }  # fmt: skip
    storage.write_json(folder / "recipe.json", values)
    return folder / "recipe.json"


def tables(folder: Path) -> torch.Tensor:
    """The root in a folder, as PEFT's layout has it."""
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")["prompt_embeddings"]


def said(model: Any, rows: list[Row]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.logprobs(model.forest(rows))
    return found


PROBES = [Row([5, 9, 30 + n, 41, 7], [0.0, 1.0, 1.0, 1.0, 1.0], "p") for n in range(3)]


@pytest.fixture(scope="module")
def done(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, tw.Report]:
    """A prompt, then all weights, then an adapter behind it: its path, the runs, the report."""
    folder = tmp_path_factory.mktemp("stages")
    recipe = write_recipe(
        folder,
        tiny("llama"),
        PROMPT,
        {"name": "weights", "method": "full"},
        {"name": "more", "method": {"kind": "lora", "rank": 4}, "retention": ["anchor", {"kind": "replay"}]},
    )
    return recipe, folder / "runs", tw.run(recipe, runs=folder / "runs")


def test_the_root_stays_bit_for_bit_through_all_phases(done: Any) -> None:
    _, runs, report = done
    assert report.verdict == "GO" and all(proof.holds for proof in report.proofs)
    run = Run.open("two", runs=runs)
    prompt, weights, more = phases.children_of(run)
    learned = tables(tuned.trained_folder(prompt))
    assert learned.shape[0] == 6
    for folder in (weights.path("base"), more.path("base"), run.path("releases", "001", "merged")):
        assert torch.equal(tables(folder / "root"), learned)
    for child in (weights, more):
        assert roots.FIXED in storage.read_json(child.path("train", "frozen.json"))
        assert not list(tuned.trained_folder(child).rglob("*root*"))
        choice = child.report("choose")
        assert choice is not None and choice.numbers["model"]["root"] == 6
        assert choice.numbers["model"]["context"] == 512 - 6
    kinds = [one["method"] for one in report.numbers["train"]["phases"]]
    assert kinds == ["prompt", "full", "lora"]


def test_each_phase_begins_where_the_one_before_ended(done: Any) -> None:
    children = phases.children_of(Run.open("two", runs=done[1]))
    ended = [said(tuned.open_tuned(child.recipe(), child), PROBES) for child in children]
    begun = [said(tuned.open_base(child.recipe(), child), PROBES) for child in children]
    for before, after in zip(ended, begun[1:], strict=False):
        assert torch.allclose(before, after, atol=1e-5)
    assert not torch.allclose(ended[0], ended[1], atol=1e-3) and not torch.allclose(begun[0], begun[1], atol=1e-3)


def test_the_release_is_the_tuned_model_and_can_leave_the_root_out(done: Any) -> None:
    run = Run.open("two", runs=done[1])
    release = run.path("releases", "001")
    truth = said(tuned.open_tuned(run.recipe(), run), PROBES)

    def named(opened: Any) -> list[Row]:
        return [Row(row.items, row.weights, row.example, adapter=opened.adapter) for row in PROBES]

    opened, alone = open_release(release), open_release(release, alone=True)
    assert opened.manifest["root"] == 6
    assert torch.allclose(said(opened.model, named(opened)), truth, atol=1e-5)
    assert torch.allclose(said(alone.model, PROBES), said(tuned.open_base(*tuned.final(run.recipe(), run)), PROBES))
    assert not torch.allclose(said(alone.model, named(alone)), truth, atol=1e-3)
    assert "root/" in (release / "README.md").read_text()


def test_a_stop_in_the_later_phase_goes_on_to_the_same_weights(done: Any, tmp_path: Path) -> None:
    recipe, runs, _ = done
    other = tmp_path / "runs"

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event.get("phase") == "weights" and event["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        tw.train(recipe, runs=other, listeners=[listen])
    shutil.rmtree(Run.open("two", runs=other).path("children", "02-weights", "base"))
    tw.train(recipe, runs=other)
    for first, second in zip(
        *(phases.children_of(Run.open("two", runs=place)) for place in (runs, other)), strict=True
    ):
        [one], [same] = (list(tuned.trained_folder(child).glob("*.safetensors")) for child in (first, second))
        assert storage.sha256(one) == storage.sha256(same)


def test_a_changed_root_breaks_the_proof(done: Any, tmp_path: Path) -> None:
    shutil.copytree(done[1], tmp_path / "runs")
    run = Run.open("two", runs=tmp_path / "runs").path("children", "02-weights")
    config = run / "base" / "root"
    from safetensors.torch import save_file

    save_file({"prompt_embeddings": tables(config) + 1e-6}, config / "adapter_model.safetensors")
    [proof] = flow.prove(str(run), names=["reference"]).proofs
    assert not proof.holds and "1 of 1 frozen tensors changed" in proof.measured


def test_a_prefix_and_only_the_top_layers_which_frozen_ones_are_stored_for(tiny: Any, tmp_path: Path) -> None:
    for name, first in {"prompt": PROMPT, "keys": {"name": "keys", "method": {"kind": "prefix", "tokens": 6}}}.items():
        top = {"name": "top", "method": {"kind": "last_layers", "layers": 1}, "train": {"epochs": 3}}
        recipe = write_recipe(tmp_path / name, tiny("llama"), first, top)
        report = tw.run(recipe, runs=tmp_path / name / "runs-True")
        assert report.verdict == "GO" and all(proof.holds for proof in report.proofs)
        tw.train(recipe, runs=tmp_path / name / "runs-False", changes=["train.store_frozen=false"])
        losses = []
        for stores in (True, False):
            runs = tmp_path / name / f"runs-{stores}"
            child = phases.children_of(Run.open("two", runs=runs))[1]
            assert child.recipe().train.store_frozen is stores
            losses.append([event["loss"] for event in child.events("step")])
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_answers_of_its_own_behind_a_fixed_prompt(tiny: Any, tmp_path: Path) -> None:
    reward = {"kind": "regex", "pattern": "[a-m]$"}  # of an untuned model's letters about half
    objective = {"kind": "grpo", "reward": [reward], "group": 4, "max_new_tokens": 3}
    low = {"name": "rewarded", "method": {"kind": "lora", "rank": 4}, "objective": objective, "train": {"steps": 3}}
    report = tw.train(write_recipe(tmp_path, tiny("llama"), PROMPT, low), runs=tmp_path / "runs")
    assert [(proof.name, proof.measured) for proof in report.proofs if not proof.holds] == []


def test_a_second_root_is_refused_before_anything_is_trained(tiny: Any, done: Any, tmp_path: Path) -> None:
    again = {"name": "again", "method": {"kind": "prefix", "tokens": 4}}
    path = write_recipe(tmp_path, tiny("llama"), PROMPT, {"name": "weights", "method": "full"}, again)
    [problem] = checks.problems(Recipe.load(path))
    assert problem.startswith("phase 'again': method: a root is learned here, but that of phase 'prompt' stands")
    apart = write_recipe(
        tmp_path, tiny("llama"), PROMPT, {"name": "weights", "method": "full"}, again | {"from": "base"}
    )
    assert checks.problems(Recipe.load(apart)) == []
    start = str(Run.open("two", runs=done[1]).folder)
    single = write_recipe(tmp_path, tiny("llama"), model={"from": start}, method={"kind": "prompt", "tokens": 4})
    with pytest.raises(RecipeError, match="the 6 tokens that an earlier training learned stand before every row"):
        tw.train(single, runs=tmp_path / "runs")


def test_a_run_goes_on_from_a_prompt_that_another_library_could_have_written(
    tiny: Any, done: Any, tmp_path: Path
) -> None:
    prompt = phases.children_of(Run.open("two", runs=done[1]))[0]
    kept = tuned.trained_folder(prompt)
    for name, start in {"of-run": str(prompt.folder), "of-folder": str(kept)}.items():
        model = {"from": start, "base": str(tiny("llama"))} if name == "of-folder" else {"from": start}
        path = write_recipe(tmp_path / name, tiny("llama"), model=model, method={"kind": "lora", "rank": 4})
        assert tw.run(path, runs=tmp_path / name / "runs").verdict == "GO"
        run = Run.open("two", runs=tmp_path / name / "runs")
        assert torch.equal(tables(run.path("base", "root")), tables(kept))
        assert torch.equal(tables(run.path("releases", "001", "merged", "root")), tables(kept))
