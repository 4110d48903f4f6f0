"""Objectives with a head from rows to a release: proofs hold, and a release answers as it was evaluated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.checks import problems
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages import flow
from tunewright.stages.answering import Speaker, answer

WORDS = ["my", "card", "is", "lost", "where", "the", "parcel", "of", "ann", "and", "bob", "a", "in", "oslo", ",", "?"]
SMALL = {"steps": 120, "batch": 8, "lr": 0.003, "threads": 1, "patience": 0, "dtype": "float32", "device": "cpu",
         "evaluate_every": 40}  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT with whole words as tokens."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *map(str, range(100))]
    plain = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    plain.normalizer = normalizers.Lowercase()
    plain.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=40, initializer_range=0.1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("encoder")
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rows(kind: str) -> list[dict[str, Any]]:
    """Sixty rows that any model can learn."""
    found: list[dict[str, Any]] = []
    for number in range(60):
        what, who = ("card", "parcel")[number % 2], ("Ann", "Bob")[number % 3 == 0]
        text = f"where is the {what} of {who} in Oslo, {number}?"
        start = text.index(who)
        found.append(
            {
                "classify": {"text": text, "label": what},
                "multi": {"text": text, "label": [what, *(["bob"] if who == "Bob" else [])]},
                "regress": {"text": text, "label": 1.5 if what == "card" else 7},
                "tag": {
                    "text": text,
                    "spans": [
                        {"start": start, "end": start + 3, "type": "person"},
                        {"start": text.index("Oslo"), "end": text.index("Oslo") + 4, "type": "place"},
                    ],
                },
                "reward": {"prompt": text, "chosen": "a card", "rejected": "my parcel"},
            }[kind]
        )
    return found


def make(folder: Path, kind: str, base: Path, **changes: Any) -> Recipe:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows(kind))) + "\n")
    options = {"kind": "classify", "multi": True} if kind == "multi" else kind
    values: dict[str, Any] = {"name": "small", "data": {"sources": ["rows.jsonl"]}, "model": str(base)}
    return Recipe.parse(values | {"objective": options, "train": SMALL, "method": "full"} | changes, folder=folder)


def carried(folder: Path, recipe: Recipe) -> tuple[Report, Run]:
    report = flow.run(recipe, runs=folder / "runs", override="a small trial")
    assert {proof.name for proof in report.proofs if not proof.holds} == set()
    return report, Run(folder / "runs" / "small")


def served(run: Run, messages: list[dict[str, str]], **more: Any) -> Any:
    """What the server answers for the run's newest release."""
    from fastapi.testclient import TestClient

    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.registry import Registry

    registry = Registry([run])
    registry.start()
    with TestClient(build(Front(registry)), base_url="http://127.0.0.1") as client:
        return client.post("/v1/chat/completions", json={"model": run.name, "messages": messages, **more}).json()


@pytest.mark.parametrize("kind", ["classify", "multi", "regress", "tag"])
def test_an_encoder_learns_and_its_release_answers_as_evaluated(tmp_path: Path, encoder: Path, kind: str) -> None:
    report, run = carried(tmp_path, make(tmp_path, kind, encoder))
    grader = {"classify": "exact", "multi": "multi_label", "regress": "regression", "tag": "entity_f1"}[kind]
    assert list(report.contestants) == ["tuned"]
    assert report.contestants["tuned"][grader]["value"] > 0.7
    table = list(storage.read_jsonl(run.path("evaluate", "answers.jsonl")))
    asked = [{"text": row["prompt"]} for row in table]
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, asked)) + "\n")
    answer(run.folder, tmp_path / "asked.jsonl", out=tmp_path / "out.jsonl")
    answers = [row["answer"] for row in storage.read_jsonl(tmp_path / "out.jsonl")]
    assert answers == [row["answers"]["tuned"] for row in table]
    told = served(run, [{"role": "user", "content": table[0]["prompt"]}])
    assert told["choices"][0]["message"]["content"] == answers[0] and told["usage"]["completion_tokens"] == 0
    frozen = run.recipe()
    assert frozen.evaluate.against == [] and frozen.the_objective().head is not None


def test_an_encoder_reads_new_tokens_with_rows_of_their_own(tmp_path: Path, encoder: Path) -> None:
    model = {"base": str(encoder), "new_tokens": ["Oslo,"]}
    report, run = carried(tmp_path, make(tmp_path, "classify", encoder, model=model, method="lora"))
    assert report.contestants["tuned"]["exact"]["value"] > 0.7
    adapter = run.releases()[0] / "adapter"
    assert json.loads((adapter / "adapter_config.json").read_text())["trainable_token_indices"]
    row = next(iter(storage.read_jsonl(run.path("evaluate", "answers.jsonl"))))
    told = served(run, [{"role": "user", "content": row["prompt"]}])
    assert told["choices"][0]["message"]["content"] == row["answers"]["tuned"]


def test_a_text_longer_than_an_encoder_reads_loses_its_end(tmp_path: Path, encoder: Path) -> None:
    _, run = carried(tmp_path, make(tmp_path, "tag", encoder))
    speaker = Speaker.open(run.folder)
    text = "where is Ann? " * 30
    found = json.loads(speaker.answer([[{"role": "user", "content": text}]])[0].text)
    assert "Ann" in {one["text"] for one in found} and all(one["end"] < 200 for one in found)


def test_a_causal_net_is_measured_against_its_base(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    recipe = make(tmp_path, "classify", tiny("llama"), method="lora", evaluate={"against": ["base"]})
    report, run = carried(tmp_path, recipe)
    assert list(report.contestants) == ["tuned", "base"]
    assert report.contestants["tuned"]["exact"]["value"] >= 0.8
    speaker = Speaker.open(run.folder)
    given = speaker.answer([[{"role": "user", "content": "where is the card of Ann?"}]], with_scores=True)[0]
    shares = speaker.shares(given)
    told = served(run, [{"role": "user", "content": "where is the card of Ann?"}], logprobs=True)["choices"][0]
    assert told["message"]["content"] == given.text
    assert told["tunewright"]["scores"] == pytest.approx(given.scores, abs=1e-5)
    refused = served(run, [{"role": "user", "content": "a"}], temperature=0.7)
    assert "or what its head says; 'temperature' cannot change that" in refused["error"]["message"]
    assert given.text == shares[0][0] and sum(share for _, share in shares) == pytest.approx(1, abs=1e-5)
    from tunewright.models.release import open_release

    merged = run.releases()[-1]
    assert {path.name for path in merged.iterdir()} >= {"adapter", "merged"}
    beside = open_release(merged)
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.opening import open_model

    folded = open_model(ModelOptions(base=str(merged / "merged")))
    ids = folded.chat.prompt_ids([{"role": "user", "content": "where is the card of Ann?"}])
    from tunewright.models.forest import Row

    row = [Row(ids, [0.0] * (len(ids) - 1) + [1.0], "a")]
    theirs = beside.model.outputs(
        beside.model.forest([Row(ids, row[0].weights, "a", beside.adapter)]), adapter=beside.adapter
    )
    assert folded.outputs(folded.forest(row)).allclose(theirs, atol=1e-4)


def test_a_reward_model_tells_how_often_it_is_right(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    goal = {"grader": "pair_accuracy", "at_least": 0.5}
    recipe = make(tmp_path, "reward", tiny("llama"), method="lora", evaluate={"goal": goal})
    report, run = carried(tmp_path, recipe)
    figure = report.contestants["tuned"]["pair_accuracy"]
    assert figure["value"] == 1.0 and figure["low"] < 1 and figure["n"] > 0 and report.verdict == "GO"
    speaker = Speaker.open(run.folder)
    asked = [{"role": "user", "content": "where is the card?"}]
    good, bad = (
        float(speaker.answer([[*asked, {"role": "assistant", "content": text}]])[0].text)
        for text in ("a card", "my parcel")
    )
    assert good > bad
    with pytest.raises(DataError, match="the last message must be the assistant's"):
        speaker.answer([asked])


def test_what_an_encoder_cannot_do_is_refused_before_training(tmp_path: Path, encoder: Path) -> None:
    for kind, objective in (("classify", "sft"), ("reward", "reward")):
        recipe = make(tmp_path, kind, encoder, objective=objective, name=objective)
        with pytest.raises(
            RecipeError, match=rf"is an encoder \(BertForMaskedLM\): it reads and says nothing.*'{objective}'"
        ):
            flow.run(recipe, runs=tmp_path / "runs")
    recipe = make(tmp_path, "classify", encoder, evaluate={"against": ["base"]})
    with pytest.raises(RecipeError, match="cannot be asked before tuning"):
        flow.run(recipe, runs=tmp_path / "runs")


def test_nobody_is_there_to_beat_where_the_base_cannot_be_asked(tmp_path: Path, encoder: Path) -> None:
    found = problems(make(tmp_path, "tag", encoder, evaluate={"against": ["base"]}))
    assert len(found) == 1 and "cannot be asked for what objective 'tag' teaches" in found[0]
    goal = {"grader": "exact", "at_least": 0.5}
    found = problems(make(tmp_path, "reward", encoder, evaluate={"graders": ["exact"], "goal": goal}))
    assert "its figure is 'pair_accuracy'" in found[0] and "Choose from: pair_accuracy" in found[1]
