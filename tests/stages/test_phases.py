"""Phases: child runs one after the other, going on wherever they were stopped, shown and judged as one run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tunewright as tw
from tunewright.core import storage
from tunewright.core.errors import RunError, Stopped
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import continual, flow, phases, showing, tuned

LABELS = ("card", "fees", "access")
WORDS = ["card", "money", "fee", "rate", "account", "branch", "phone", "code", "block", "send", "lost", "late"]


def rows(count: int, word: str) -> list[dict[str, str]]:
    return [{"text": f"{word} {WORDS[n % 12]} {n}", "label": LABELS[n % 3]} for n in range(count)]


def write_recipe(folder: Path, base: Path, **changes: Any) -> Path:
    """Two label tasks in sequence, each with rows of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in ("bank", "shop"):
        storage.write_jsonl(folder / f"{task}.jsonl", rows(24, task))
    values = {
        "name": "two",
        "model": str(base),
        "method": {"kind": "lora", "rank": 4},
        "train": {"epochs": 1, "batch": 4, "lr": 0.01, "micro_tokens": 256, "threads": 1, "save_every": 2,
                  "evaluate_every": 2, "patience": 0},
        "evaluate": {"graders": ["exact"], "against": ["base"]},
        "phases": [
            {"name": "bank", "data": {"sources": ["bank.jsonl"], "format": "labels"}},
            {"name": "shop", "data": {"sources": ["shop.jsonl"], "format": "labels"},
             "retention": {"kind": "replay", "share": 0.25}},
        ],
        **changes,
    }  # fmt: skip
    storage.write_json(folder / "recipe.json", values)
    return folder / "recipe.json"


@pytest.fixture(scope="module")
def done(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, tw.Report]:
    """A recipe with two phases, carried to its release: its path, the runs, the report. The last test adds to it."""
    folder = tmp_path_factory.mktemp("phases")
    recipe = write_recipe(folder, tiny("llama"))
    return recipe, folder / "runs", tw.run(recipe, runs=folder / "runs")


def test_each_phase_is_a_run_that_starts_from_the_one_before(done: Any) -> None:
    _, runs, report = done
    run = Run.open("two", runs=runs)
    bank, shop = phases.children_of(run)
    assert (bank.name, shop.name) == ("01-bank", "02-shop")
    for child in (bank, shop):
        assert [child.report(stage) is not None for stage in ("prepare", "choose", "train", "evaluate")] == [
            True
        ] * 3 + [False]
        assert child.facts()["state"] == "done"
        assert child.path("report.html").exists()
    assert shop.recipe().model.start == str(bank.folder.resolve())
    assert shop.recipe().retention == [{"kind": "replay", "share": 0.25, "runs": [str(bank.folder.resolve())]}]
    assert report.verdict == "GO" and len(run.releases()) == 1
    assert [one["name"] for one in report.numbers["train"]["phases"]] == ["bank", "shop"]
    assert {proof.name.split(":")[0] for proof in report.proofs} == {"bank", "shop", "split"}
    assert run.recipe().data.sources == shop.recipe().data.sources, "left out: the last phase's"


def test_the_second_phase_begins_where_the_first_ended(done: Any) -> None:
    import torch

    from tunewright.models.forest import Forest, Row

    run = Run.open("two", runs=done[1])
    bank, shop = phases.children_of(run)
    probe = Forest.build([Row([5, 9, 30, 41, 7], [0.0, 1.0, 1.0, 1.0, 1.0], "p")])
    with torch.no_grad():
        ended = tuned.open_tuned(bank.recipe(), bank).token_logprobs(probe)
        begins = tuned.open_base(shop.recipe(), shop).token_logprobs(probe)
        last = tuned.open_tuned(shop.recipe(), shop).token_logprobs(probe)
        whole = tuned.open_tuned(run.recipe(), run).token_logprobs(probe)
    assert torch.allclose(ended, begins, atol=1e-5)
    assert torch.equal(last, whole) and not torch.allclose(last, begins, atol=1e-4)


def test_replayed_rows_are_in_the_ledger(done: Any) -> None:
    bank, shop = phases.children_of(Run.open("two", runs=done[1]))
    ledger = list(storage.read_jsonl(shop.path("ledger.jsonl")))
    earlier = [name for row in ledger for name in row.get("earlier", [])]
    assert len(earlier) == round(len(ledger) * 4 / 3)
    assert set(earlier) <= {example.id for example in bank.split("train")}
    assert all("loss_replay" in event for event in shop.events("step"))


def test_a_second_run_keeps_everything(done: Any) -> None:
    recipe, runs, report = done
    events: list[dict[str, Any]] = []
    again = tw.run(recipe, runs=runs, listeners=[events.append])
    assert {event["event"] for event in events} == {"stage_kept"}
    assert again.verdict == report.verdict


def test_page_overview_and_proofs_cover_the_phases(done: Any) -> None:
    run = Run.open("two", runs=done[1])
    page = run.path("report.html").read_text()
    assert 'href="children/01-bank/report.html"' in page and "sft with lora, keeping by replay" in page
    assert "tuned in 2 phases: bank, shop." in page
    shown = showing.overview("two", runs=done[1]).numbers["phases"]
    assert [(one["name"], one["state"], one["objective"]) for one in shown] == [
        ("bank", "done", "sft"),
        ("shop", "done", "sft"),
    ]
    assert all(one["after"] < one["before"] for one in shown)
    proved = flow.prove("two", runs=done[1], names=["mask", "split"])
    assert [proof.name for proof in proved.proofs] == [
        "bank: mask",
        "bank: split",
        "shop: mask",
        "shop: split",
        "split",
    ]
    assert proved.exit_code == 0


def test_a_stop_anywhere_goes_on_to_the_same_weights(done: Any, tiny: Any, tmp_path: Path) -> None:
    recipe, runs, _ = done
    other = tmp_path / "runs"
    stops = [("stage_begins", "bank"), ("step", "bank"), ("step", "shop")]
    for kind, phase in stops:

        def listen(event: dict[str, Any], kind: str = kind, phase: str = phase) -> None:
            if event["event"] == kind and event.get("phase") == phase and event.get("step", 3) == 3:
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(Stopped) as stopped:
            tw.train(recipe, runs=other, listeners=[listen])
        assert stopped.value.exit_code == 75
        assert Run.open("two", runs=other).facts()["state"] == "stopped"
    tw.train(recipe, runs=other)
    for first, second in zip(
        phases.children_of(Run.open("two", runs=other)), phases.children_of(Run.open("two", runs=runs)), strict=False
    ):
        files = [
            child.path("checkpoints", child.report("train").numbers["checkpoint"], "model", "adapter_model.safetensors")
            for child in (first, second)
        ]
        assert storage.sha256(files[0]) == storage.sha256(files[1])


def test_rows_that_ask_what_the_outer_test_asks_are_not_learned(tiny: Any, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny("llama"), data={"sources": ["bank.jsonl"], "test": "test.jsonl"})
    storage.write_jsonl(tmp_path / "test.jsonl", [*rows(24, "bank")[:3], *rows(24, "shop")[:4]])
    values = storage.read_json(recipe)
    values["phases"][0].pop("data")
    storage.write_json(recipe, values)
    report = tw.train(recipe, runs=tmp_path / "runs", changes=["train.steps=1", "train.epochs=null"])
    assert report.exit_code == 0
    _, shop = phases.children_of(Run.open("two", runs=tmp_path / "runs"))
    prepared = shop.report("prepare")
    assert prepared is not None
    # of the four, those that the split puts on the test side of this phase stay there
    [found] = [one for one in prepared.findings if one.name == "twins_of_held_out"]
    asked = {example.messages[0].content for example in shop.split("train", "validation")}
    assert not asked & {row["text"] for row in rows(24, "shop")[:4]}
    assert found.count == prepared.numbers["rows"]["twins_dropped"] > 0


def test_documents_first_then_answers(tiny: Any, tmp_path: Path) -> None:
    storage.write_jsonl(tmp_path / "documents.jsonl", [{"text": f"{word} is a word of banks. " * 4} for word in WORDS])
    first = {
        "name": "domain", "objective": "pretrain", "method": "full", "train": {"max_tokens": 32},
        "data": {"sources": ["documents.jsonl"], "format": "text"},
    }  # fmt: skip
    kept = {"kind": "replay", "share": 0.5, "rows": 4, "runs": [{"phase": "domain"}]}
    data = {"sources": ["shop.jsonl"], "format": "labels"}
    recipe = write_recipe(
        tmp_path, tiny("llama"), data=data, phases=[first, {"name": "answer", "retention": [kept, "anchor"]}]
    )
    report = tw.run(recipe, runs=tmp_path / "runs")
    assert report.verdict == "GO" and "continual" not in report.numbers["evaluate"]
    _, answer = phases.children_of(Run.open("two", runs=tmp_path / "runs"))
    assert [one["method"] for one in report.numbers["train"]["phases"]] == ["full", "lora"]
    read_again = {name for row in storage.read_jsonl(answer.path("ledger.jsonl")) for name in row["earlier"]}
    assert len(read_again) == 4 and all(name.startswith("documents:") for name in read_again)
    assert all(event["loss_anchor"] >= -1e-6 for event in answer.events("step"))
    assert storage.read_json(tmp_path / "runs/two/releases/001/manifest.json")["base"] == str(answer.path("base"))


def test_transfer_is_the_paper_s() -> None:
    found = continual.transfer([0.1, 0.2, 0.3], [[0.9, 0.3, 0.2], [0.6, 0.8, 0.5], [0.5, 0.7, 1.0]])
    assert found.average == pytest.approx((0.5 + 0.7 + 1.0) / 3)
    assert found.backward == pytest.approx(((0.5 - 0.9) + (0.7 - 0.8)) / 2)
    assert found.forward == pytest.approx(((0.3 - 0.2) + (0.5 - 0.3)) / 2)


def test_a_sequence_of_tasks_has_a_matrix(done: Any) -> None:
    report = done[2]
    found = report.numbers["evaluate"]["continual"]
    assert found["tasks"] == ["bank", "shop"] and found["graders"] == ["exact", "exact"]
    assert len(found["matrix"]) == 2 and all(len(row) == 2 for row in found["matrix"])
    assert found["backward"] == pytest.approx(found["matrix"][1][0] - found["matrix"][0][0], abs=1e-6)
    assert found["matrix"][1][1] == pytest.approx(report.contestants["tuned"]["exact"]["value"], abs=1e-6)
    assert "Backward transfer" in Run.open("two", runs=done[1]).path("report.html").read_text()


def test_no_matrix_where_none_is_wanted(done: Any) -> None:
    run = Run.open("two", runs=done[1])
    recipe = Recipe.load(run.path("recipe.yaml"))
    assert len(continual.tasks(recipe, run)) >= 2
    assert continual.tasks(recipe.changed("evaluate", matrix=False), run) == []


def test_a_begun_phase_is_not_changed_but_others_may_follow(done: Any) -> None:
    recipe, runs, _ = done
    with pytest.raises(RunError, match=r"Run '01-bank' was begun with other settings.*train\.lr: 0\.01 -> 0\.02"):
        tw.run(recipe, runs=runs, changes=["train.lr=0.02"])
    values = storage.read_json(recipe)
    values["phases"].append({"name": "more", "train": {"steps": 2}})
    values["data"] = values["phases"][1]["data"]
    storage.write_json(recipe.with_name("three.json"), values)
    report = tw.train(recipe.with_name("three.json"), runs=runs)
    assert [one["name"] for one in report.numbers["phases"]] == ["bank", "shop", "more"]
    assert Run.open("two", runs=runs).path("children", "03-more", "train", "report.json").exists()
