"""GGUF from a recipe to a release: llama.cpp is asked whether it says the same, and bad formats are told early."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.errors import DataError, ProofBroken
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import flow

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

SMALL = {"steps": 12, "batch": 8, "lr": 0.01, "threads": 1, "patience": 0, "dtype": "float32", "device": "cpu"}


def make(folder: Path, base: Path, formats: list[Any]) -> Recipe:
    rows = [
        {"prompt": f"where is my {thing}, {n}?", "completion": f"{thing} {n}"} for n in range(12) for thing in "abc"
    ]
    storage.write_jsonl(folder / "rows.jsonl", rows)
    values = {
        "name": "small",
        "data": {"sources": ["rows.jsonl"]},
        "model": {"base": str(base)},
        "train": SMALL,
        "method": {"kind": "lora", "rank": 4},
        "evaluate": {"graders": ["exact"], "against": [], "guards": [], "max_new_tokens": 8},
        "deploy": {"formats": formats},
    }
    return Recipe.parse(values, folder=folder)


def test_a_release_holds_a_file_that_says_the_same(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    recipe = make(tmp_path, tiny("llama"), ["adapter", "merged", {"kind": "gguf", "type": "f16"}])
    report = flow.run(recipe, runs=tmp_path / "runs", override="a small trial")
    run = Run(tmp_path / "runs" / "small")
    deployed = run.report("deploy")
    assert deployed is not None
    (proof,) = deployed.proofs
    assert proof.name == "export" and proof.holds and "f16" in str(proof.measured)
    assert "export" in {proof.name for proof in report.proofs}
    (release,) = run.releases()
    assert {path.name for path in release.iterdir()} >= {"adapter", "merged", "gguf"}
    assert (release / "gguf" / "model.gguf").read_bytes()[:4] == b"GGUF"
    assert (release / "gguf" / "tokenizer.json").exists()
    assert storage.damage(release) is None


def served(run: Run, kind: str) -> list[str]:
    """What a server answers with an engine, for the rows that were asked in evaluation."""
    from fastapi.testclient import TestClient

    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.registry import Registry
    from tunewright.workspace.config import EngineOptions

    registry = Registry([run], engine=EngineOptions(kind=kind, parallel=2))  # type: ignore[arg-type]
    registry.start()
    answers = []
    with TestClient(build(Front(registry)), base_url="http://127.0.0.1") as client:
        for row in list(storage.read_jsonl(run.path("evaluate", "answers.jsonl")))[:4]:
            messages = [{"role": "user", "content": row["prompt"]}]
            told = client.post("/v1/chat/completions", json={"model": run.name, "messages": messages}).json()
            answers.append(told["choices"][0]["message"]["content"].rstrip("\ufffd"))
        assert client.get("/v1/models").status_code == 200
        lost = client.post("/v1/chat/completions", json={"model": "llama", "messages": messages})
        assert lost.status_code == 404
    return answers


def test_llama_cpp_serves_what_was_evaluated(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    recipe = make(tmp_path, tiny("llama"), [{"kind": "gguf", "type": "f32"}])
    flow.run(recipe, runs=tmp_path / "runs", override="a small trial")
    run = Run(tmp_path / "runs" / "small")
    evaluated = [row["answers"]["tuned"] for row in storage.read_jsonl(run.path("evaluate", "answers.jsonl"))][:4]
    assert served(run, "llama.cpp") == [answer.rstrip("\ufffd") for answer in evaluated]
    with pytest.raises(DataError, match="holds GGUF alone"):
        served(run, "tunewright")


def test_a_file_that_says_something_else_is_not_released(
    tmp_path: Path, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunewright.models import gguf_files

    # the classic slip: queries and keys in the transformers library's order
    monkeypatch.setattr(gguf_files, "_interleaved", lambda values, heads: values)
    recipe = make(tmp_path, tiny("llama"), ["adapter", {"kind": "gguf", "type": "f32"}])
    with pytest.raises(ProofBroken, match="more bits, or leave it out"):
        flow.run(recipe, runs=tmp_path / "runs", override="a small trial")
    assert Run(tmp_path / "runs" / "small").releases() == []


def test_a_base_that_cannot_be_written_is_told_before_the_training(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    recipe = make(tmp_path, tiny("gpt2"), ["adapter", "gguf"])
    with pytest.raises(DataError, match="'gpt2' cannot be written as GGUF"):
        flow.choose(recipe, runs=tmp_path / "runs")
