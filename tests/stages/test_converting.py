"""Configs of other tools become recipes that pass the check, and no key is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import conversions
import pytest
import yaml

from tunewright.core.errors import NotThere, RecipeError, RunError
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages import prepare, starting
from tunewright.stages.converting import convert

Made = tuple[Report, Recipe]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows, from which everything is called."""
    conversions.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def made(desk: Path) -> Callable[..., Made]:
    """Convert a text; the recipe must pass the check."""

    def made(text: str, name: str = "theirs.yaml") -> Made:
        (desk / name).write_text(text, encoding="utf-8")
        report = convert(desk / name, desk / "ours" / "recipe.yaml")
        starting.check(desk / "ours" / "recipe.yaml")
        return report, Recipe.load(desk / "ours" / "recipe.yaml")

    return made


BY_TOOL = {
    "LLaMA-Factory": conversions.LLAMA_FACTORY,
    "Axolotl": conversions.AXOLOTL,
    "TRL": conversions.TRL,
    "Soup": {"dpo": conversions.SOUP},
    "torchtune": {"lora": conversions.TORCHTUNE},
}
ALL = [
    pytest.param(tool, text, id=f"{tool}-{name}") for tool, configs in BY_TOOL.items() for name, text in configs.items()
]


def flat(config: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in config.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"}
    return found


@pytest.mark.parametrize(("tool", "text"), ALL)
def test_every_key_is_carried_over_or_told_with_a_reason(
    tool: str, text: str, made: Callable[..., Made], desk: Path
) -> None:
    report, recipe = made(text)
    assert report.numbers["from"] == tool
    config = yaml.safe_load(text)
    keys = flat(config) if tool in ("Soup", "torchtune") else {str(key) for key in config}
    carried, left = set(report.numbers["carried"]), set(report.numbers["not_carried"])
    assert keys <= carried | left
    assert not carried & left
    told = [finding for finding in report.findings if finding.name == "not_carried_over"]
    assert len(told) == len(left)
    footer = (desk / "ours" / "recipe.yaml").read_text().partition("# Not carried over from")[2]
    assert all(f"#   {key}" in footer for key in left)
    assert not [one.message for one in told if "nothing like it" in one.message]
    run = Run.begin(recipe, runs=desk / "runs")
    counts = prepare.prepare(recipe, run).numbers["rows"]
    assert (counts["read"], counts["quarantined"]) == (conversions.MANY, 0)


def picked(recipe: Recipe) -> dict[str, Any]:
    train = recipe.train
    return {"epochs": train.epochs, "batch": train.batch, "lr": train.lr, "warmup": train.warmup, "seed": train.seed}


COMMON = {"epochs": 2, "batch": 8, "lr": 1e-4, "warmup": 0.1, "seed": 7}


def test_a_lora_of_llama_factory(made: Callable[..., Made], desk: Path) -> None:
    report, recipe = made(conversions.LLAMA_FACTORY["sft-lora"])
    assert recipe.name == "llama3-8b-lora-sft"
    assert recipe.data.sources == [str(desk / "data" / "alpaca.jsonl")]
    assert (recipe.data.format, recipe.data.fields, recipe.data.limit) == ("instruction", {}, 1000)
    assert recipe.data.split.model_dump(include={"train", "validation", "test"}) == {
        "train": 0.75, "validation": 0.1, "test": 0.15,
    }  # fmt: skip
    assert recipe.method == {"kind": "lora", "rank": 8, "alpha": 16, "targets": "all"}
    assert picked(recipe) == COMMON
    assert (recipe.train.schedule, recipe.train.max_tokens, recipe.train.evaluate_every) == ("cosine", 512, 500)
    assert report.numbers["usual"] == ["method.alpha", "train.weight_decay"]
    assert any("template = llama3" in one.message and "chat template" in one.message for one in report.findings)


def test_preferences_of_llama_factory(made: Callable[..., Made], desk: Path) -> None:
    _, pairs = made(conversions.LLAMA_FACTORY["dpo"])
    assert pairs.objective == {"kind": "dpo", "beta": 0.2, "loss_type": "hinge"}
    assert pairs.method == {"kind": "lora", "rank": 8, "alpha": 32, "targets": ["q_proj", "v_proj"]}
    assert pairs.data.format == "preference"
    (desk / "ours" / "recipe.yaml").unlink()
    _, judged = made(conversions.LLAMA_FACTORY["kto"])
    assert judged.objective == {"kind": "kto", "beta": 0.3, "desirable": 1.5, "column": "good"}
    assert judged.data.format == "chat"


@pytest.mark.parametrize(("loss", "objective"), [
    ("sigmoid", {"kind": "dpo", "beta": 0.2, "loss_type": "sigmoid"}),
    ("ipo", {"kind": "dpo", "beta": 0.2, "loss_type": "ipo"}), ("orpo", {"kind": "orpo", "weight": 0.2}),
    ("simpo", {"kind": "simpo", "beta": 0.2, "gamma": 0.5}), ("kto_pair", {"kind": "kto", "beta": 0.2}),
])  # fmt: skip
def test_losses_of_pairs(loss: str, objective: dict[str, Any], made: Callable[..., Made]) -> None:
    _, recipe = made(conversions.LLAMA_FACTORY["dpo"].replace("hinge", loss))
    assert recipe.objective == objective


def test_other_methods_of_llama_factory(made: Callable[..., Made], desk: Path) -> None:
    _, full = made(conversions.LLAMA_FACTORY["full"])
    assert (full.method, full.data.fields) == ("full", {"instruction": "q", "output": "a"})
    (desk / "ours" / "recipe.yaml").unlink()
    _, frozen = made(conversions.LLAMA_FACTORY["freeze"])
    assert frozen.method == {"kind": "last_layers", "layers": 1}
    assert frozen.objective == {"kind": "sft", "learn": "all", "noise": 5}
    (desk / "ours" / "recipe.yaml").unlink()
    _, documents = made(conversions.LLAMA_FACTORY["pretrain"])
    assert (documents.objective, documents.data.format) == ("pretrain", "text")


def test_configs_of_axolotl(made: Callable[..., Made], desk: Path) -> None:
    _, recipe = made(conversions.AXOLOTL["sft-lora"])
    assert recipe.method == {"kind": "lora", "rank": 32, "alpha": 16, "dropout": 0.05, "targets": "all"}
    assert picked(recipe) == {**COMMON, "lr": 2e-4, "seed": 0}
    assert (recipe.train.optimizer, recipe.train.max_tokens, recipe.name) == ("adamw_8bit", 512, "sft")
    expected = {
        "dpo": {"kind": "dpo", "beta": 0.2}, "kto": {"kind": "kto", "beta": 0.1, "desirable": 1.2, "undesirable": 1.0},
        "pretrain": "pretrain", "full": "sft", "columns": {"kind": "sft", "learn": "all"},
    }  # fmt: skip
    for name, objective in expected.items():
        (desk / "ours" / "recipe.yaml").unlink()
        _, recipe = made(conversions.AXOLOTL[name])
        assert recipe.objective == objective
        assert (recipe.method == "full") == (name in ("pretrain", "full"))
    assert recipe.data.fields == {"instruction": "q", "output": "a"}


def test_configs_of_trl(made: Callable[..., Made], desk: Path) -> None:
    report, recipe = made(conversions.TRL["grpo"])
    assert recipe.objective == {
        "kind": "grpo", "group": 4, "max_new_tokens": 16, "beta": 0.0, "per": "constant",
        "reward": [{"kind": "exact", "weight": 1.0},
                   {"kind": "regex", "pattern": r"^<think>[\s\S]*</think>[\s\S]*$", "weight": 0.5}],
    }  # fmt: skip
    problems = [one.message for one in report.findings if one.severity == "problem"]
    assert len(problems) == 1
    assert "mine.length_reward" in problems[0]
    assert recipe.data.format == "prompts"
    (desk / "ours" / "recipe.yaml").unlink()
    _, recipe = made(conversions.TRL["dpo"])
    assert recipe.objective == {"kind": "dpo", "beta": 0.2, "loss_type": "ipo"}
    assert recipe.method == {"kind": "lora", "rank": 16, "alpha": 32, "dropout": 0.05, "targets": ["q_proj", "v_proj"]}
    (desk / "ours" / "recipe.yaml").unlink()
    _, recipe = made(conversions.TRL["kto"])
    assert (recipe.method, recipe.objective) == ("full", {"kind": "kto", "beta": 0.1, "desirable": 1.1})


def test_command_lines_in_scripts(made: Callable[..., Made], desk: Path) -> None:
    script = """#!/bin/bash
export MODEL=nano
# trl dpo --model_name_or_path other
CUDA_VISIBLE_DEVICES=0 trl sft --model_name_or_path $MODEL \\
    --dataset_name data/chat.jsonl --learning-rate 1e-4 --use_peft \\
    --lora_target_modules q_proj v_proj --max_steps=50 --warmup_steps 5 --output_dir out
"""
    report, recipe = made(script, "train.sh")
    assert (recipe.objective, recipe.train.steps, recipe.train.lr, recipe.train.warmup) == ("sft", 50, 1e-4, 0.1)
    assert isinstance(recipe.method, dict)
    assert recipe.method["targets"] == ["q_proj", "v_proj"]
    (desk / "ours" / "recipe.yaml").unlink()
    (desk / "base.yaml").write_text(conversions.LLAMA_FACTORY["sft-lora"])
    report, recipe = made("llamafactory-cli train base.yaml learning_rate=1e-5 lora_rank=4\n", "go.sh")
    assert report.numbers["from"] == "LLaMA-Factory"
    assert isinstance(recipe.method, dict)
    assert (recipe.train.lr, recipe.method["rank"]) == (1e-5, 4)
    (desk / "ours" / "recipe.yaml").unlink()
    (desk / "base.yaml").write_text(conversions.TRL["dpo"])
    _, recipe = made("accelerate launch trl/scripts/dpo.py --config base.yaml --beta 0.5\n", "dpo.sh")
    assert recipe.objective == {"kind": "dpo", "beta": 0.5, "loss_type": "ipo"}


def test_rows_of_the_hub_keep_their_name_and_split(desk: Path) -> None:
    text = conversions.LLAMA_FACTORY["sft-lora"].replace("dataset: alpaca", "dataset: hub")
    (desk / "theirs.yaml").write_text(text)
    report = convert(desk / "theirs.yaml", desk / "a.yaml")
    assert Recipe.load(desk / "a.yaml").data.sources == ["hub:owner/rows"]
    assert "dataset hub: subset" in report.numbers["not_carried"]
    trl = conversions.TRL["sft"].replace("data/chat.jsonl", "trl-lib/Capybara\ndataset_train_split: train")
    (desk / "trl.yaml").write_text(trl)
    convert(desk / "trl.yaml", desk / "b.yaml")
    assert Recipe.load(desk / "b.yaml").data.sources == ["hub:trl-lib/Capybara:train"]


@pytest.mark.parametrize(("text", "sentence"), [
    ("a: 1\nb: 2\n", r"not recognised.*keys are a, b"),
    ("name: x\ndata: {sources: [rows.jsonl]}\n", "is a recipe already"),
    ("- 1\n", "neither keys nor a command line"),
    ("", "neither keys nor a command line"),
    ("a: [1\n", "not readable as YAML"),
    ("stage: sft\ndataset: alpaca\n", "names no model"),
    ("stage: sft\nmodel_name_or_path: nano\n", "names no data"),
    ("stage: sftt\nmodel_name_or_path: nano\ndataset: alpaca\n", "Did you mean 'sft'"),
    ("stage: sft\nmodel_name_or_path: nano\ndataset: alpacca\n", "Did you mean 'alpaca'"),
    ("stage: sft\nmodel_name_or_path: nano\ndataset: alpaca\nlearning_rate: fast\n", "learning_rate: a number"),
    ("stage: sft\nmodel_name_or_path: nano\ndataset: alpaca\nlora_rank: 1.5\n", "lora_rank: a whole number"),
    ("base_model: nano\n", "names no data"),
    ("base_model: nano\ndatasets: [{type: alpaca}]\n", "each entry needs a path"),
    ("base_model: nano\nrl: magic\ndatasets: [{path: data/chat.jsonl}]\n", "Unknown objective 'magic'"),
])  # fmt: skip
def test_what_cannot_be_converted_is_one_sentence(text: str, sentence: str, desk: Path) -> None:
    (desk / "theirs.yaml").write_text(text)
    with pytest.raises(RecipeError, match=sentence) as error:
        convert(desk / "theirs.yaml", desk / "recipe.yaml")
    assert "\n" not in str(error.value)
    assert not (desk / "recipe.yaml").exists()


def test_nothing_is_overwritten_and_a_missing_config_is_said(desk: Path) -> None:
    (desk / "recipe.yaml").write_text("mine")
    (desk / "theirs.yaml").write_text(conversions.SOUP)
    with pytest.raises(RunError):
        convert(desk / "theirs.yaml", desk / "recipe.yaml")
    with pytest.raises(NotThere):
        convert(desk / "none.yaml", desk / "other.yaml")
    (desk / "theirs.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not text in UTF-8"):
        convert(desk / "theirs.yaml", desk / "other.yaml")


def test_several_data_sets_must_agree_on_their_columns(desk: Path) -> None:
    text = conversions.LLAMA_FACTORY["full"].replace("dataset: named", "dataset: named,alpaca")
    (desk / "theirs.yaml").write_text(text)
    report = convert(desk / "theirs.yaml", desk / "recipe.yaml")
    problem = next(one for one in report.findings if one.severity == "problem")
    assert "dataset alpaca: columns" in problem.message
    assert len(json.loads(json.dumps(report.numbers))["carried"]) > 5
