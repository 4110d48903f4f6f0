"""The card of a release is what the Hub reads, says what the verdict rests on, and shows no row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from written_run import MESSAGES, make_run

from tunewright.core import storage
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import model_card

ABOUT: dict[str, Any] = {
    "release": 1, "formats": ["adapter", "merged"], "override": None, "base": "nano", "new_tokens": [], "root": None,
    "verdict": "GO", "method": {"kind": "lora", "rank": 16}, "decode": {"kind": "generate", "system": "Read."},
    "packages": {"tunewright": "0.1.0", "torch": "2.13.0"},
}  # fmt: skip


def made(folder: Path, text: str = "", **about: Any) -> tuple[Recipe, Run, str]:
    """A run with its card. text: more lines of its recipe."""
    run = make_run(folder)
    judged = run.report("evaluate")
    assert judged is not None
    storage.write_text(run.path("recipe.yaml"), run.path("recipe.yaml").read_text(encoding="utf-8") + text)
    recipe = run.recipe()
    told = ABOUT | {"scores": judged.contestants["tuned"]} | about
    return recipe, run, model_card.card(recipe, run, judged, told, license="apache-2.0")


def test_the_hub_reads_results_with_their_intervals(tmp_path: Path) -> None:
    more = "deploy: {card: {language: [en], tags: [bank], use: Sorting messages., limits: No advice.}}\n"
    _, run, text = made(tmp_path, more)
    card = ModelCard(text)
    data = card.data
    assert (data.license, data.language, data.library_name) == ("apache-2.0", ["en"], "transformers")
    assert data.tags == ["tunewright", "lora", "sft", "bank"]
    assert data.pipeline_tag == "text-generation" and "base_model" not in data.to_dict()
    found = {result.metric_name: result for result in data.eval_results}
    assert set(found) == {"intent", "response"}
    scores = run.report("evaluate").contestants["tuned"]
    for name, kind in (("intent", "accuracy"), ("response", "rouge")):
        figure = scores[name]
        assert (found[name].metric_type, found[name].metric_value) == (kind, figure["value"])
        assert found[name].metric_args == {
            "confidence": 0.95,
            "low": figure["low"],
            "high": figure["high"],
            "rows": 222,
        }
    assert "model-index" in text.split("---")[1]
    assert "Sorting messages." in card.text and "- No advice." in card.text


def test_it_says_what_the_verdict_rests_on(tmp_path: Path) -> None:
    _, _, text = made(tmp_path)
    assert "Verdict: **GO**. intent is 0.932" in text
    assert "| tuned | 0.932 (0.896 to 0.961) | 0.641 (0.613 to 0.663) |" in text
    assert "| intent | at least 0.850 | 0.932 (0.896 to 0.961), 222 rows | holds |" in text
    assert "| forgetting: labels off the task | 0 | 0.02 | 0.02 (0 to 0.11) | at most 0.2 | holds |" in text
    assert "The test set was opened 2 times" in text
    assert "1,086 train, 235 validation, 222 test" in text
    assert "with `lora` and the objective `sft`" in text


def test_it_shows_no_row_and_no_folder_of_the_machine(tmp_path: Path) -> None:
    _, _, text = made(tmp_path, base="/home/ada/models/small")
    assert not re.search(r"/home|/tmp|General Inquiry|What is the capital", text)
    assert not any(message[:20] in text for message, _ in MESSAGES)
    assert "`small`" in text


@pytest.mark.parametrize(
    ("about", "library", "base"),
    [
        ({"base": "acme/small-1b", "formats": ["adapter"]}, "peft", "acme/small-1b"),
        ({"base": "nano", "formats": ["adapter"], "method": {"kind": "bottleneck"}}, "tunewright", None),
    ],
)
def test_library_and_base_are_those_of_what_is_released(
    tmp_path: Path, about: dict[str, Any], library: str, base: str | None
) -> None:
    _, _, text = made(tmp_path, **about)
    data = ModelCard(text).data
    assert (data.library_name, data.get("base_model")) == (library, base)
    assert ("PeftModel" in text) == (library == "peft")


def test_rows_of_the_hub_are_named_and_an_override_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    text = run.path("recipe.yaml").read_text(encoding="utf-8").replace("/home/ada/bank/train.jsonl", "hub:acme/desk@v1")
    storage.write_text(run.path("recipe.yaml"), text)
    judged = run.report("evaluate")
    assert judged is not None
    about = ABOUT | {"scores": judged.contestants["tuned"], "override": "a rehearsal", "verdict": "NO-GO"}
    card = model_card.card(run.recipe(), run, judged, about)
    assert ModelCard(card).data.datasets == ["acme/desk"]
    assert ModelCard(card).data.license == "unknown"
    assert "Released against the verdict: a rehearsal" in card
