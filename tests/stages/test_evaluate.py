"""The whole stage with a tiny real model: figures, files, going on after a stop, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tunewright.core import judgement, storage
from tunewright.core.errors import DataError, RunError, Stopped
from tunewright.core.goal import Goal
from tunewright.core.recipe import Recipe
from tunewright.core.report import ProofResult, Report
from tunewright.core.run import Run
from tunewright.stages.asking import Question, fit
from tunewright.stages.evaluate import evaluate

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
LABELS = ["fraud", "rates", "delivery"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of one layer with a byte tokenizer and a context of 192 tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    words = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=192,
        eos_token_id=0,
    )
    folder = tmp_path_factory.mktemp("base")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def row(number: int, label: str, *, name: str = "q") -> dict[str, Any]:
    words = f"{label} question {number}" if number % 2 else f"about {label}, {number}"
    said = [{"role": "user", "content": words}, {"role": "assistant", "content": label}]
    return {
        "id": f"{name}:{number}",
        "messages": said,
        "label": label,
        "meta": {"source": "hand" if number % 3 else "made", "choices": LABELS, "place": LABELS.index(label)},
    }


def make_run(
    folder: Path, base: Path, *, labels: bool = True, num_test: int = 36, **evaluate: Any
) -> tuple[Recipe, Run]:
    """A run whose training is done: the 'tuned' model is the base with other weights."""
    import torch

    from tunewright.stages import tuned

    values = {
        "name": "tiny",
        "data": {"sources": [str(folder / "rows.jsonl")]},
        "model": str(base),
        "method": "full",
        "train": {"dtype": "float32", "device": "cpu"},
        "evaluate": {"graders": ["exact", "label_f1"], "max_new_tokens": 4, **evaluate},
    }
    recipe = Recipe.parse(values, folder=folder)
    run = Run.begin(recipe, runs=folder / "runs")
    for split, size in (("train", 12), ("validation", 3), ("test", num_test)):
        storage.write_jsonl(
            run.path("data", f"{split}.jsonl"), [row(i, LABELS[i % 3], name=split) for i in range(size)]
        )
    known = {label: {"test": num_test // 3} for label in LABELS} if labels else {}
    Report(stage="prepare", run="tiny", numbers={"labels": known}).save(run.path("prepare"))
    model = tuned.open_base(recipe, run)
    torch.manual_seed(1)
    method = recipe.the_method()
    method.attach(model.net)
    for parameter in model.net.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    trained = run.path("checkpoints", "step-000001", "model")
    trained.mkdir(parents=True)
    method.save(model.net, trained)
    Report(stage="train", run="tiny", numbers={"checkpoint": "step-000001"}).save(run.path("train"))
    return recipe, run


def rows_of(run: Run, name: str) -> list[dict[str, Any]]:
    return list(storage.read_jsonl(run.path("evaluate", name)))


def test_a_label_task_is_measured_from_end_to_end(tmp_path: Path, base: Path) -> None:
    goal = {"grader": "exact", "at_least": 0.99, "beat": ["base"]}
    recipe, run = make_run(tmp_path, base, slice="source", goal=goal)
    report = evaluate(recipe, run)
    assert list(report.contestants) == ["tuned", "base", "few_shot"]
    for figures in report.contestants.values():
        for grader in ("exact", "label_f1"):
            found = figures[grader]
            assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
            assert found["n"] == 36
        assert set(figures["slices"]) == {"hand", "made"}
        assert figures["slices"]["made"]["exact"]["n"] == 12
        assert figures["seconds"] > 0
    table = rows_of(run, "answers.jsonl")
    assert len(table) == 36
    assert set(table[0]) == {"id", "prompt", "expected", "slice", "answers", "confidences", "grades"}
    assert table[0]["prompt"] == "about fraud, 0"
    assert all(answer in LABELS for one in table for answer in one["answers"].values())
    assert all(1 / 3 <= share <= 1 for one in table for share in one["confidences"].values())
    for kept in rows_of(run, "answers.tuned.jsonl"):
        assert sum(kept["alternatives"].values()) == pytest.approx(1 - kept["confidence"], abs=0.02)
    mean = sum(one["grades"]["tuned"]["exact"] for one in table) / 36
    assert report.contestants["tuned"]["exact"]["value"] == pytest.approx(mean, abs=1e-6)
    pairs = {(one["grader"], one["against"]) for one in report.numbers["comparisons"]}
    assert pairs == {(grader, other) for grader in ("exact", "label_f1") for other in ("base", "few_shot")}
    assert sum(sum(got.values()) for got in report.numbers["confusion"].values()) == 36
    assert report.numbers["samples"]
    assert report.verdict == "NO-GO"
    assert "exact is" in str(report.reason)
    jsonschema.validate(json.loads(report.model_dump_json()), judgement.schema())
    report.save(run.path("evaluate"))


def test_the_answers_are_those_of_the_model_asked_alone(tmp_path: Path, base: Path) -> None:
    from tunewright.models.decode import answer
    from tunewright.models.engine import Engine
    from tunewright.stages import tuned

    recipe, run = make_run(tmp_path, base, num_test=6, against=["base"])
    evaluate(recipe, run)
    for name, model in (("tuned", tuned.open_tuned(recipe, run)), ("base", tuned.open_base(recipe, run))):
        engine = Engine(model)
        for one in rows_of(run, "answers.jsonl"):
            alone = answer(engine, tuned.decode_of(recipe, run), [[{"role": "user", "content": one["prompt"]}]])
            assert alone[0].text == one["answers"][name]


def test_a_stopped_evaluation_goes_on_where_it_was(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunewright.stages.asking.AT_ONCE", 8)
    recipe, run = make_run(tmp_path, base, labels=False, against=["base"])
    run.listeners.append(lambda event: run.stop.set() if event["event"] == "progress" else None)
    with pytest.raises(Stopped):
        evaluate(recipe, run)
    kept = rows_of(run, "answers.tuned.jsonl")
    assert len(kept) == 8
    run.listeners.clear()
    run.stop.clear()
    first = evaluate(recipe, run)
    again = rows_of(run, "answers.tuned.jsonl")
    assert again[:8] == kept
    assert len(again) == 36
    assert len({one["id"] for one in again}) == 36

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("every answer is kept: no model should be opened")

    monkeypatch.setattr("tunewright.stages.tuned.open_tuned", never)
    monkeypatch.setattr("tunewright.stages.tuned.open_base", never)
    second = evaluate(recipe, run)
    assert second.contestants == first.contestants


def test_answers_of_another_model_are_asked_again(tmp_path: Path, base: Path) -> None:
    recipe, run = make_run(tmp_path, base, num_test=6, against=["base"])
    evaluate(recipe, run)
    before = rows_of(run, "answers.tuned.jsonl"), rows_of(run, "answers.base.jsonl")
    Report(stage="train", run="tiny", numbers={"checkpoint": "step-000001", "loss": 1}).save(run.path("train"))
    evaluate(recipe, run)
    after = rows_of(run, "answers.tuned.jsonl"), rows_of(run, "answers.base.jsonl")
    assert {one["key"] for one in before[0]}.isdisjoint(one["key"] for one in after[0])
    assert before[1] == after[1]


def test_a_broken_proof_is_a_no_go(tmp_path: Path, base: Path) -> None:
    recipe, run = make_run(tmp_path, base, num_test=6, against=[])
    assert evaluate(recipe, run).verdict == "GO"
    proof = ProofResult(name="merge", claim="merged equals adapter", measured=1, bound=0.1, holds=False)
    Report(stage="train", run="tiny", numbers={"checkpoint": "step-000001"}, proofs=[proof]).save(run.path("train"))
    report = evaluate(recipe, run)
    assert report.verdict == "NO-GO"
    assert "'merge'" in str(report.reason)


def test_findings_warn_of_no_goal(tmp_path: Path, base: Path) -> None:
    recipe, run = make_run(tmp_path, base, num_test=6, against=[])
    report = evaluate(recipe, run)
    assert {one.name for one in report.findings} == {"no goal"}
    assert report.next == f"tunewright deploy {run.folder}"
    assert "slices" not in report.contestants["tuned"]


def test_shown_examples_are_dropped_where_the_context_is_short(tmp_path: Path, base: Path) -> None:
    recipe, run = make_run(tmp_path, base, num_test=6, against=[{"kind": "few_shot", "k": 8}])
    report = evaluate(recipe, run)
    found = next(one for one in report.findings if one.name == "shortened prompts")
    assert found.count == 6
    kept = rows_of(run, "answers.few_shot.jsonl")
    assert all(0 < one["dropped"] < 16 and one["dropped"] % 2 == 0 for one in kept)
    assert all(one["prompt_tokens"] <= 192 - len("delivery") - 1 for one in kept)


def test_a_question_longer_than_the_context_counts_as_wrong(tmp_path: Path, base: Path) -> None:
    recipe, run = make_run(tmp_path, base, num_test=6, against=["base"])
    long = row(99, "fraud")
    long["messages"][0]["content"] = "please " * 60
    storage.write_jsonl(run.path("data", "test.jsonl"), [row(i, LABELS[i % 3]) for i in range(5)] + [long])
    report = evaluate(recipe, run)
    assert {one.name for one in report.findings} >= {"too long"}
    last = rows_of(run, "answers.jsonl")[-1]
    assert last["answers"] == {"tuned": "", "base": ""}
    assert last["grades"]["tuned"]["exact"] == 0


def test_a_text_task_reports_corpus_figures(tmp_path: Path, base: Path) -> None:
    recipe, run = make_run(tmp_path, base, labels=False, num_test=6, graders=["rouge", "bleu"], against=["base"])
    report = evaluate(recipe, run)
    assert "signature" in report.numbers["summaries"]["bleu"]["tuned"]
    assert report.numbers["decode"]["kind"] == "generate"
    assert {one["test"] for one in report.numbers["comparisons"]} == {"bootstrap"}
    assert report.contestants["tuned"]["completion_tokens"] <= 6 * 4


def test_a_grader_without_anything_to_grade_is_refused_when_it_decides(tmp_path: Path, base: Path) -> None:
    graders = [{"kind": "exact", "field": "intent"}]
    recipe, run = make_run(
        tmp_path, base, num_test=6, graders=graders, against=[], goal={"grader": "exact", "at_least": 0.5}
    )
    with pytest.raises(DataError, match="Grader 'exact' has nothing to grade"):
        evaluate(recipe, run)


def test_a_test_set_that_asks_nothing_gives_a_warning_or_a_refusal(tmp_path: Path, base: Path) -> None:
    recipe, run = make_run(tmp_path, base, num_test=6)
    storage.write_jsonl(run.path("data", "test.jsonl"), [{"id": "t:1", "text": "once upon a time"}])
    report = evaluate(recipe, run)
    assert (report.verdict, [one.name for one in report.findings]) == ("GO", ["nothing graded"])
    with pytest.raises(DataError, match="the goal cannot be measured"):
        evaluate(recipe.changed("evaluate", goal={"grader": "exact", "at_least": 0.5}), run)


def test_messages_are_dropped_from_the_front_in_whole_exchanges() -> None:
    shown = [
        {"role": role, "content": f"{role}{number}"} for number in range(3) for role in ("user", "assistant", "tool")
    ]
    lead, own = [{"role": "system", "content": "s"}], [{"role": "user", "content": "question"}]
    question = Question("q", lead + shown + own, 1)
    for room, dropped in ((11, 0), (10, 3), (8, 3), (5, 6), (4, 9), (2, 9)):
        messages, count = fit(question, len, room=room, most=2)
        assert count == dropped
        assert messages == lead + shown[dropped:] + own
    assert fit(question, len, room=1, most=2)[0] == lead + own  # the question alone may use the answer's room
    assert fit(question, len, room=1, most=1)[0] is None


def test_a_budget_is_held_against_what_was_measured_and_told_where_nothing_was(tmp_path: Path, base: Path) -> None:
    recipe, run = make_run(tmp_path, base, num_test=6, against=["base"], budget={"cost_per_1000": 1.0})
    report = evaluate(recipe, run)
    assert report.numbers["budget"] == {"latency": None, "cost_per_1000": 1.0}
    told = [one.name for one in report.findings]
    assert ("budget" in told) == (report.contestants["tuned"].get("cost_per_1000") is None)


def test_openings_and_frozen_hashes_stand_in_the_report(tmp_path: Path, base: Path) -> None:
    recipe, run = make_run(tmp_path, base, num_test=6, against=["base"], openings=1)
    for _ in range(2):  # the same asked again is no new opening
        report = evaluate(recipe, run)
        assert report.numbers["openings"] == 1
    assert set(report.numbers["frozen"]["graders"]) == {"exact", "label_f1"}
    other = recipe.changed("evaluate", graders=["exact"])
    with pytest.raises(RunError, match="seals it after 1"):
        evaluate(other, run)
    assert evaluate(other.changed("evaluate", openings=2), run).numbers["openings"] == 2


def test_rows_of_a_cluster_are_drawn_together(tmp_path: Path, base: Path) -> None:
    goal = {"grader": "exact", "beat": ["base"], "also": [{"grader": "label_f1", "at_least": 0.1}]}
    recipe, run = make_run(tmp_path, base, num_test=12, against=["base"], clusters="source", goal=goal)
    report = evaluate(recipe, run)
    assert report.numbers["clusters"] == 2
    assert {one["test"] for one in report.numbers["comparisons"]} == {"cluster bootstrap"}
    assert "label_f1" in str(report.reason)
    assert report.numbers["changes"]
    with pytest.raises(DataError, match=r"no test row has a column 'customer'\. Columns: choices, place, source"):
        evaluate(recipe.changed("evaluate", clusters="customer"), run)


def test_options_and_expected_answers_are_weighed_by_each_contestants_model(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunewright.stages import likelihood, lineup, perplexity

    graders = ["exact", "choice", {"kind": "choice", "name": "by_length", "per_character": True}, "perplexity"]
    recipe, run = make_run(tmp_path, base, graders=graders, num_test=12)
    report = evaluate(recipe, run)
    for name, figures in report.contestants.items():
        assert figures["choice"] == figures["exact"], "labels are chosen by the same log-probs"
        told = report.numbers["summaries"]["choice"][name]
        assert told["accuracy_by_sum"] == pytest.approx(figures["choice"]["value"], abs=1e-6)
        assert told["accuracy_per_character"] == pytest.approx(figures["by_length"]["value"], abs=1e-6)
        spoken = report.numbers["summaries"]["perplexity"][name]
        assert figures["perplexity"]["value"] == pytest.approx(1 / spoken["perplexity"], abs=1e-6)
    for row in rows_of(run, "answers.jsonl"):
        for grades in row["grades"].values():
            assert grades["choice"] == grades["exact"]
    own = lineup.models(recipe, run)
    for who in ("tuned", "base"):
        sums, counts = perplexity.logprobs(own[who].engine().model, run.split("test"))
        value = report.contestants[who]["perplexity"]["value"]
        assert value == pytest.approx(2.718281828459045 ** (sums.sum() / counts.sum()), abs=1e-5)
    assert len({figures["perplexity"]["value"] for figures in report.contestants.values()}) == 3

    test = run.split("test")
    remembered = likelihood.remembered(run, "tuned")
    assert remembered is not None and likelihood.remembered(run, "nobody") is None
    told = [one[0].total for one in remembered(test, [[example.answer or ""] for example in test]) if one]
    assert told == pytest.approx(perplexity.logprobs(own["tuned"].engine().model, test)[0].tolist(), abs=1e-4)

    def never(*_: Any) -> None:
        raise AssertionError("weighed again")

    monkeypatch.setattr(likelihood, "_weighed", never)
    assert evaluate(recipe, run).contestants["few_shot"]["choice"] == report.contestants["few_shot"]["choice"]


def test_what_cannot_be_weighed_is_refused_with_a_sentence(tmp_path: Path, base: Path) -> None:
    recipe, run = make_run(tmp_path, base, graders=[{"kind": "choice", "options": "chices"}], num_test=6, against=[])
    with pytest.raises(DataError, match=r"in the column 'chices', which row test:0 lacks.*choices, place, source"):
        evaluate(recipe, run)
    recipe, run = make_run(
        tmp_path / "two", base, graders=[{"kind": "choice", "right": "index"}], num_test=6, against=[]
    )
    with pytest.raises(DataError, match=r"no right option in row test:0.*'fraud', right: index"):
        evaluate(recipe, run)


def test_a_contestant_without_a_model_here_is_left_out_of_what_weighs(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunewright.stages import likelihood, page

    weigh = likelihood.logprobs
    monkeypatch.setattr(likelihood, "logprobs", lambda run, one: None if one.name == "base" else weigh(run, one))
    recipe, run = make_run(tmp_path, base, graders=["exact", "perplexity"], num_test=6, slice="source")
    report = evaluate(recipe, run)
    assert "perplexity" in report.contestants["tuned"] and "perplexity" not in report.contestants["base"]
    assert {one["against"] for one in report.numbers["comparisons"] if one["grader"] == "perplexity"} == {"few_shot"}
    report.save(run.path("evaluate"))
    assert "perplexity" in page.render(run)
    goal = Goal.model_validate({"grader": "perplexity", "beat": ["base"]})
    with pytest.raises(DataError, match="'base' has none here"):
        evaluate(recipe.changed("evaluate", goal=goal), run)
