"""Several adapters trained in one process over one base: each is the one it would be alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tunewright as tw
from tunewright.core.errors import NotThere, RecipeError
from tunewright.core.run import Run
from tunewright.models import opening

DEPARTMENTS: dict[str, dict[str, Any]] = {
    "cards": {"method": {"kind": "lora", "rank": 4}, "lr": 0.01, "seed": 1, "threads": 2},
    "loans": {"method": {"kind": "lora", "rank": 2, "dropout": 0.2}, "lr": 0.003, "seed": 2},
    "tops": {"method": {"kind": "last_layers", "layers": 1}, "lr": 0.003, "seed": 3},
    "again": {"method": {"kind": "lora", "rank": 4}, "lr": 0.01, "seed": 1},
}


@pytest.fixture
def recipe_of(tmp_path: Path, tiny: Callable[[str], Path]) -> Callable[[str], Path]:
    """recipe_of(name): the recipe of a department, with data of its own."""

    def made(name: str) -> Path:
        talks = [(f"{name} {n}?", name[: 1 + n % 4]) for n in range(30)]
        rows = [
            {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}
            for asked, answer in talks
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = dict(DEPARTMENTS[name])
        recipe = {
            "name": name,
            "data": {"sources": [f"{name}.jsonl"]},
            "model": str(tiny("llama")),
            "method": options.pop("method"),
            "train": {"epochs": 2, "batch": 8, "dtype": "float32", **options},
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(recipe))
        return tmp_path / f"{name}.json"

    return made


def trained(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    run = Run(folder)
    report = run.report("train")
    assert report is not None
    [file] = run.path("checkpoints", report.numbers["checkpoint"], "model").glob("*.safetensors")
    return load_file(file)


def test_each_is_the_one_it_would_be_alone_and_a_base_is_opened_once(
    recipe_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = [recipe_of(name) for name in DEPARTMENTS]
    threads = torch.get_num_threads()
    outcomes = tw.train_many(recipes[:3], runs=tmp_path / "together")
    assert [outcome.run for outcome in outcomes] == ["cards", "loans", "tops"]
    assert torch.get_num_threads() == threads
    for name, outcome in zip(DEPARTMENTS, outcomes, strict=False):
        assert outcome.report is not None and outcome.report.exit_code == 0
        assert len(outcome.report.proofs) >= 8
        alone = tw.train(tmp_path / f"{name}.json", runs=tmp_path / "alone")
        assert alone.numbers["validation_loss"] == outcome.report.numbers["validation_loss"]
        one, other = trained(tmp_path / "together" / name), trained(tmp_path / "alone" / name)
        assert one.keys() == other.keys()
        for key, tensor in one.items():
            assert torch.equal(tensor, other[key]), key
        ledgers = [(tmp_path / home / name / "ledger.jsonl").read_text() for home in ("together", "alone")]
        assert ledgers[0] == ledgers[1]

    opened: list[str] = []
    open_model = opening.open_model
    monkeypatch.setattr(
        opening, "open_model", lambda options, **rest: opened.append(options.base) or open_model(options, **rest)
    )
    outcomes = tw.train_many([recipes[0], recipes[3]], runs=tmp_path / "third")
    assert all(outcome.report for outcome in outcomes)
    assert len([base for base in opened if base == json.loads(recipes[0].read_text())["model"]]) == 1


def test_one_that_fails_does_not_lose_the_others(
    recipe_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = [recipe_of("cards"), recipe_of("again")]
    values = json.loads(recipes[0].read_text())
    recipes[0].write_text(json.dumps({**values, "model": "no-such-model"}))
    failed, done = tw.train_many(recipes, runs=tmp_path / "runs")
    assert isinstance(failed.error, NotThere) and failed.report is None and failed.run == "cards"
    assert done.report is not None and trained(tmp_path / "runs" / "again")
    assert Run(tmp_path / "runs" / "cards").facts()["state"] == "failed"


def test_all_problems_are_told_before_any_work(recipe_of: Callable[[str], Path], tmp_path: Path) -> None:
    recipes = [recipe_of("cards"), recipe_of("cards"), recipe_of("loans")]
    values = json.loads(recipes[2].read_text())
    recipes[2].write_text(json.dumps({**values, "train": {"epochs": 1, "steps": 2}}))
    with pytest.raises(RecipeError) as refused:
        tw.train_many(recipes, runs=tmp_path / "runs")
    assert any("called 'cards'" in problem for problem in refused.value.problems)
    assert any(problem.startswith("loans: train: give epochs or steps") for problem in refused.value.problems)
    assert not (tmp_path / "runs").exists()


def test_models_beside_each_other_share_weights_and_nothing_else(open_tiny: Any) -> None:
    from tunewright.core import catalog

    base = open_tiny("qwen2")
    one, other = base.beside(), base.beside()
    assert one.is_tied
    before = {name: tensor.clone() for name, tensor in base.net.state_dict().items()}
    method = catalog.build("methods", {"kind": "lora", "rank": 2})
    method.attach(one.net, seed=1)
    assert (
        one.net.model.layers[0].mlp.up_proj.weight.data_ptr() == base.net.model.layers[0].mlp.up_proj.weight.data_ptr()
    )
    with torch.no_grad():
        for name, parameter in one.net.named_parameters():
            if ".B." in name:
                parameter.fill_(0.5)
    method.merge(one.net)
    assert not torch.equal(
        one.net.state_dict()["model.layers.0.mlp.up_proj.weight"], before["model.layers.0.mlp.up_proj.weight"]
    )
    assert other.route is not one.route and all(p.requires_grad for p in other.net.parameters())
    for net in (base.net, other.net):
        for name, tensor in net.state_dict().items():
            assert torch.equal(tensor, before[name]), name
