"""An encoder-decoder from rows to a release: proofs hold, it learns its rows, and serves what was evaluated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.errors import RecipeError
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import flow
from tunewright.stages.answering import Speaker, answer

SAID = {
    "Where is my card?": "In the market.",
    "Is it blocked?": "Yes, this morning.",
    "Which fees?": "None.",
    "When does it arrive?": "On Monday.",
}
SMALL = {"steps": 60, "batch": 8, "threads": 1, "patience": 0, "dtype": "float32", "device": "cpu",
         "evaluate_every": 30}  # fmt: skip


def make(folder: Path, base: Path, rows: list[dict[str, Any]], **changes: Any) -> Recipe:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    values: dict[str, Any] = {
        "name": "small",
        "data": {"sources": ["rows.jsonl"]},
        "model": str(base),
        "train": SMALL | {"lr": 0.01},
        "method": {"kind": "lora", "rank": 8},
    }
    for key, value in changes.items():
        values[key] = values.get(key, {}) | value if isinstance(value, dict) and key != "method" else value
    return Recipe.parse(values, folder=folder)


def asked_and_said() -> list[tuple[str, str]]:
    """Forty rows that any model can learn."""
    whats, people = ("card", "parcel"), ("Ann", "Bob", "Eve")
    return [(f"Where is the {whats[n % 2]} of {people[n % 3]}, {n}?", whats[n % 2]) for n in range(40)]


def served(run: Run, path: str, **asked: Any) -> Any:
    """What the server answers for the run's newest release."""
    from fastapi.testclient import TestClient

    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.registry import Registry

    registry = Registry([run])
    registry.start()
    with TestClient(build(Front(registry)), base_url="http://127.0.0.1") as client:
        return client.post(f"/v1/{path}", json={"model": run.name, **asked}).json()


@pytest.mark.parametrize(("kind", "method"), [("t5", "lora"), ("t5_apart", "full"), ("bart", "lora")])
def test_four_rows_are_learned_and_released(
    kind: str, method: str, tmp_path: Path, tiny: Callable[[str], Path]
) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    rows = [{"prompt": question, "completion": said} for question, said in SAID.items()]
    recipe = make(
        tmp_path,
        tiny(kind),
        rows,
        method={"kind": "lora", "rank": 8} if method == "lora" else "full",
        data={"split": {"train": 1, "validation": 0, "test": 0}},
        train={"batch": 4, "lr": 0.02 if method == "lora" else 0.005, "steps": 100},
    )
    report = flow.run(recipe, runs=tmp_path / "runs", override="a small trial")
    run = Run(tmp_path / "runs" / "small")
    assert {proof.name for proof in report.proofs if not proof.holds} == set()
    speaker = Speaker.open(run.folder)
    told = speaker.answer([[{"role": "user", "content": question}] for question in SAID])
    assert [one.text for one in told] == list(SAID.values()) and {one.finish for one in told} == {"stop"}
    merged = run.releases()[-1] / "merged"
    net, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(merged), AutoTokenizer.from_pretrained(merged)
    for question, said in SAID.items():
        ids = net.generate(**tokenizer(question, return_tensors="pt", return_token_type_ids=False), max_new_tokens=20)
        assert tokenizer.decode(ids[0], skip_special_tokens=True) == said
    estimated = run.report("choose").numbers["trainable_parameters"]  # type: ignore[union-attr]
    assert estimated == run.report("train").numbers["trainable_parameters"]  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", ["completion", "label"])
def test_a_release_answers_and_serves_as_it_was_evaluated(
    shape: str, tmp_path: Path, tiny: Callable[[str], Path]
) -> None:
    asked = "text" if shape == "label" else "prompt"
    rows = [{asked: question, shape: said} for question, said in asked_and_said()]
    report = flow.run(make(tmp_path, tiny("t5"), rows), runs=tmp_path / "runs", override="a small trial")
    run = Run(tmp_path / "runs" / "small")
    assert {proof.name for proof in report.proofs if not proof.holds} == set()
    assert list(report.contestants) == ["tuned", "base", "few_shot"]
    assert report.contestants["tuned"]["exact"]["value"] >= 0.8
    table = list(storage.read_jsonl(run.path("evaluate", "answers.jsonl")))
    (tmp_path / "asked.jsonl").write_text("\n".join(json.dumps({asked: row["prompt"]}) for row in table) + "\n")
    answer(run.folder, tmp_path / "asked.jsonl", out=tmp_path / "out.jsonl")
    answers = [row["answer"] for row in storage.read_jsonl(tmp_path / "out.jsonl")]
    assert answers == [row["answers"]["tuned"] for row in table]
    told = served(run, "chat/completions", messages=[{"role": "user", "content": table[0]["prompt"]}])
    assert told["choices"][0]["message"]["content"] == answers[0]
    if shape == "completion":
        told = served(run, "completions", prompt=table[0]["prompt"], temperature=0)
        assert told["choices"][0]["text"] == answers[0] and told["choices"][0]["finish_reason"] == "stop"
    assert run.recipe().train.store_frozen is False and run.recipe().train.checkpoint_layers == 0


def test_what_an_encoder_decoder_cannot_do_is_refused_before_training(
    tmp_path: Path, tiny: Callable[[str], Path]
) -> None:
    rows = [{"text": question, "label": said} for question, said in asked_and_said()]
    changes: list[tuple[dict[str, Any], str]] = [
        ({"objective": "classify"}, "which cannot learn objective 'classify'"),
        ({"objective": {"kind": "sft", "learn": "all"}}, "which says answers only"),
        ({"objective": {"kind": "sft", "noise": 5}}, "whose embeddings get no noise"),
        ({"train": {"checkpoint_layers": 1}}, "whose layers are not computed again"),
        ({"train": {"store_frozen": True}}, "store_frozen: true is not possible"),
    ]
    for number, (change, told) in enumerate(changes):
        options = {key: value for key, value in change.items() if key != "objective"}
        recipe = make(tmp_path, tiny("t5"), rows, name=f"try-{number}", **options)
        recipe = recipe.model_copy(update={"objective": change.get("objective", "sft")})
        with pytest.raises(RecipeError, match=told):
            flow.run(recipe, runs=tmp_path / "runs")


def test_a_better_answer_is_preferred(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    rows = [
        {"prompt": question, "chosen": f"the {said}", "rejected": "I do not know"}
        for question, said in asked_and_said()
    ]
    recipe = make(tmp_path, tiny("t5"), rows, objective="dpo")
    report = flow.run(recipe, runs=tmp_path / "runs", override="a small trial")
    assert {proof.name for proof in report.proofs if not proof.holds} == set()
    trained = Run(tmp_path / "runs" / "small").report("train")
    assert trained is not None and trained.numbers["metrics"]["test"]["accuracy"] == 1.0


def test_answers_that_the_tokenizer_cannot_spell_are_told(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    from tokenizers import normalizers
    from transformers import AutoTokenizer

    folder = tmp_path / "base"
    shutil.copytree(tiny("t5"), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\n", " ")
    tokenizer.save_pretrained(folder)
    rows = [{"prompt": question, "completion": f"the\n{said}"} for question, said in asked_and_said()]
    report = flow.run(make(tmp_path, folder, rows, train={"steps": 2}), runs=tmp_path / "runs", override="a trial")
    assert {proof.name for proof in report.proofs if not proof.holds} == set()
    found = next(finding for finding in report.findings if finding.name == "unsaid")
    assert found.count and f"{found.count} of {found.count} measured rows" in found.message
