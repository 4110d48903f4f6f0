"""embed from rows to a release: a classifier over vectors answers as evaluated, and the server gives the vectors."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai import BadRequestError, OpenAI
from test_heads_to_release import SMALL, encoder  # noqa: F401

from tunewright.core import storage
from tunewright.core.checks import problems
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import flow
from tunewright.stages.answering import Speaker, answer

THINGS, PEOPLE = ("card", "parcel", "lost"), ("ann", "bob")


def labelled() -> list[dict[str, Any]]:
    return [
        {"text": f"where is the {THINGS[n % 3]} of {PEOPLE[n % 2]} , {n} ?", "label": THINGS[n % 3]} for n in range(48)
    ]


def pairs() -> list[dict[str, Any]]:
    return [
        {"query": f"where is the card {n} ?", "positive": f"{n} in oslo", "negative": f"the parcel {n + 1} is lost"}
        for n in range(40)
    ]


def made(folder: Path, rows: list[dict[str, Any]], base: Path, objective: Any = "embed", **changes: Any) -> Recipe:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    values = {"name": "small", "data": {"sources": ["rows.jsonl"]}, "model": str(base), "objective": objective}
    return Recipe.parse({**values, "train": SMALL, "method": "full", **changes}, folder=folder)


def carried(folder: Path, recipe: Recipe) -> tuple[Any, Run]:
    report = flow.run(recipe, runs=folder / "runs", override="a small trial")
    assert {proof.name for proof in report.proofs if not proof.holds} == set()
    return report, Run(folder / "runs" / "small")


@contextmanager
def asked(run: Run) -> Iterator[OpenAI]:
    """The official client in front of a server of the run's newest release."""
    from fastapi.testclient import TestClient

    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.registry import Registry

    registry = Registry([run])
    registry.start()
    with TestClient(build(Front(registry)), base_url="http://127.0.0.1") as http:
        yield OpenAI(base_url="http://127.0.0.1/v1", api_key="none", max_retries=0, http_client=http)


def test_a_labelled_encoder_answers_as_evaluated_and_gives_its_vectors(
    tmp_path: Path,
    encoder: Path,  # noqa: F811
) -> None:
    report, run = carried(tmp_path, made(tmp_path, labelled(), encoder, {"kind": "embed", "sizes": [32, 8]}))
    assert list(report.contestants) == ["tuned"] and report.contestants["tuned"]["exact"]["value"] == 1.0
    table = list(storage.read_jsonl(run.path("evaluate", "answers.jsonl")))
    (tmp_path / "asked.jsonl").write_text("\n".join(json.dumps({"text": row["prompt"]}) for row in table) + "\n")
    answer(run.folder, tmp_path / "asked.jsonl", out=tmp_path / "out.jsonl")
    answers = [row["answer"] for row in storage.read_jsonl(tmp_path / "out.jsonl")]
    assert answers == [row["answers"]["tuned"] for row in table]
    texts = [row["prompt"] for row in table]
    with asked(run) as client:
        said = client.chat.completions.create(model="small", messages=[{"role": "user", "content": texts[0]}])
        assert said.choices[0].message.content == answers[0]
        as_bytes = client.embeddings.create(model="small", input=texts)  # the client asks for base64
        as_numbers = client.embeddings.create(model="small", input=texts, encoding_format="float")
        short = client.embeddings.create(model="small", input=texts[0], dimensions=8).data
        with pytest.raises(BadRequestError, match=r"Vectors of 9 numbers were not trained\. Choose from: 32, 8"):
            client.embeddings.create(model="small", input="a", dimensions=9)
        with pytest.raises(BadRequestError, match="at least one character"):
            client.embeddings.create(model="small", input=[""])
    found = np.array([one.embedding for one in as_bytes.data], np.float32)
    assert np.array_equal(found, np.array([one.embedding for one in as_numbers.data], np.float32))
    assert [one.index for one in as_bytes.data] == list(range(len(texts))) and len(short) == 1
    expected = plainly(run.releases()[-1] / "merged", texts)
    assert np.allclose(found, expected, atol=1e-5)
    cut = expected[0, :8] / np.linalg.norm(expected[0, :8])
    assert np.allclose(short[0].embedding, cut, atol=1e-5)
    assert as_bytes.usage.prompt_tokens == as_bytes.usage.total_tokens > 0


def plainly(folder: Path, texts: list[str]) -> np.ndarray:
    """Mean vectors by the transformers library."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    net: Any = AutoModel.from_pretrained(folder).eval()
    found = []
    for text in texts:
        with torch.no_grad():
            hidden = net(input_ids=torch.tensor([tokenizer(text).input_ids])).last_hidden_state[0]
        found.append(torch.nn.functional.normalize(hidden.mean(0), dim=0).numpy())
    return np.array(found)


def test_pairs_on_a_causal_net_are_measured_by_retrieval_and_answer_nothing(
    tmp_path: Path, tiny: Callable[[str], Path]
) -> None:
    goal = {"grader": "accuracy@1", "at_least": 0.01}
    recipe = made(tmp_path, pairs(), tiny("llama"), method="lora", train=SMALL | {"steps": 20}, evaluate={"goal": goal})
    report, run = carried(tmp_path, recipe)
    figure = report.contestants["tuned"]["accuracy@1"]
    assert figure["n"] > 0 and report.verdict == "GO" and report.next == f"tunewright serve {run.folder}"
    trained = run.report("train")
    assert trained is not None
    after = made(tmp_path, pairs(), tiny("llama"), "sft", model={"base": str(tiny("llama")), "from": str(run.folder)})
    assert "learned to make vectors" in problems(after)[0] and "'sft' has nothing to go on from" in problems(after)[0]
    told = trained.numbers["metrics"]["test"]
    assert told["accuracy@1"] == pytest.approx(figure["value"]) and told["accuracy@1"] <= told["mrr"] <= 1
    with pytest.raises(DataError, match="makes vectors of texts and answers nothing"):
        Speaker.open(run.folder).answer([[{"role": "user", "content": "where is the card?"}]])
    with asked(run) as client:
        with pytest.raises(BadRequestError, match="answers nothing"):
            client.chat.completions.create(model="small", messages=[{"role": "user", "content": "a"}])
        with pytest.raises(BadRequestError, match="answers a message as a whole"):
            client.completions.create(model="small", prompt="a")
        vector = client.embeddings.create(model="small", input="where is the card?").data[0].embedding
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_other_releases_make_no_vectors(tmp_path: Path, encoder: Path) -> None:  # noqa: F811
    _, run = carried(tmp_path, made(tmp_path, labelled(), encoder, "classify"))
    with asked(run) as client, pytest.raises(BadRequestError, match="Model 'small:001' makes no vectors"):
        client.embeddings.create(model="small", input="a")


def test_what_cannot_be_is_refused_before_training(tmp_path: Path, encoder: Path) -> None:  # noqa: F811
    found = problems(made(tmp_path, labelled(), encoder, train=SMALL | {"batch": 1}))
    assert len(found) == 1 and "a step needs at least 2 examples, found 1" in found[0]
    recipe = made(tmp_path, pairs(), encoder, evaluate={"graders": ["exact"]})
    with pytest.raises(RecipeError, match=r"'embed' has no answers to grade; its figure is 'accuracy@1'"):
        flow.run(recipe, runs=tmp_path / "runs")
    bare = [{"text": row["text"]} for row in labelled()]
    with pytest.raises(DataError, match="needs 'messages' in every example"):
        flow.run(made(tmp_path, bare, encoder, name="bare"), runs=tmp_path / "runs")


def test_base64_is_little_endian_float32(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    _, run = carried(tmp_path, made(tmp_path, pairs(), tiny("llama"), train=SMALL | {"steps": 2}))
    with asked(run) as client:
        raw = client.with_options().post(
            "/embeddings", body={"model": "small", "input": "a", "encoding_format": "base64"}, cast_to=object
        )
        numbers = client.embeddings.create(model="small", input="a", encoding_format="float").data[0].embedding
    told: Any = raw
    assert np.array_equal(np.frombuffer(base64.b64decode(told["data"][0]["embedding"]), "<f4"), np.float32(numbers))
