"""Training on the model's own answers: the reward rises, going on is bit for bit the same, looks are greedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog, storage
from tunewright.core import rewards as core_rewards
from tunewright.core.errors import DataError, RecipeError, Stopped
from tunewright.core.example import Example, Message
from tunewright.core.parts import Layout
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.models.forest import Row, micro_batches, prompt_length
from tunewright.models.heads import attach_head
from tunewright.models.reference import Reference
from tunewright.models.tunable import TunableModel
from tunewright.stages import rewards, tuned
from tunewright.stages.choose import choose
from tunewright.stages.train import train
from tunewright.training.step import gradients

LAYOUT = Layout(micro_tokens=200, max_tokens=96)
SAYS_E: dict[str, Any] = {"kind": "regex", "pattern": "e"}
KINDS = ["grpo", "ppo", "online_dpo"]


def reward(examples: Any, answers: Any) -> list[float]:
    """How many letters e are in an answer: something to climb that a random model reaches at times."""
    return [answer.count("e") / 4 for answer in answers]


def prompts(model: TunableModel, objective: Any, count: int = 3) -> list[tuple[Example, list[int]]]:
    found = []
    for number in range(count):
        said = [Message(role="user", content=f"question {number}"), Message(role="assistant", content="fee")]
        example = Example(id=f"e{number}", messages=said)
        [row] = objective.encode(example, model.chat, max_tokens=96)
        found.append((example, row.items[: prompt_length(row)]))
    return found


def collected(model: TunableModel, objective: Any, **options: Any) -> Any:
    given: dict[str, Any] = {"reward": reward, "seed": 5, "layout": LAYOUT, "poll": lambda: None, **options}
    return objective.collect(model, prompts(model, objective), **given)


def built(kind: str, **options: Any) -> Any:
    given = {"kind": kind, "reward": SAYS_E, "max_new_tokens": 12, **options}
    return catalog.build("objectives", given)


def test_a_row_is_the_prompt_and_what_was_sampled(open_tiny: Callable[..., TunableModel]) -> None:
    model, objective = open_tiny("llama"), built("grpo", group=4, beta=0.0)
    asked = dict((example.id, ids) for example, ids in prompts(model, objective))
    found = collected(model, objective)
    rows = [row for unit in found.units for row in unit]
    assert [(row.example, row.slot) for row in rows] == [(f"e{n}", s) for n in range(3) for s in range(4)]
    for row in rows:
        assert row.items[: prompt_length(row)] == asked[row.example]
        answer = row.items[prompt_length(row) :]
        assert row.cut == (answer[-1] not in model.chat.stop_ids)
        assert len(answer) == 12 if row.cut else len(answer) <= 13
        assert not any(token in model.chat.stop_ids for token in answer[:-1])
    assert found.figures["ended"] == sum(not row.cut for row in rows) / 12
    assert len({tuple(row.items) for row in rows}) > 6  # a group's answers differ
    again = collected(model, objective)
    assert again.units == found.units
    assert collected(model, objective, seed=6).units != found.units


def ready(model: TunableModel, objective: Any) -> TunableModel:
    """The model under an adapter that is no longer fresh, with the objective's head and its reference."""
    method = catalog.build("methods", "lora")
    method.attach(model.net, seed=1)
    attach_head(model.net, objective.head)
    model.reference = Reference(model, method, lambda: model)
    moved(model)
    return model


def moved(model: TunableModel) -> None:
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.net.parameters():
            if parameter.requires_grad:
                parameter.add_(0.03 * torch.randn(parameter.shape, generator=draw))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_ratio_is_exactly_one(open_tiny: Callable[..., TunableModel], kind: str) -> None:
    objective = built(kind, updates=2)
    model = ready(open_tiny("llama"), objective)
    for rows in micro_batches(collected(model, objective).units, LAYOUT.micro_tokens):
        with model.training():
            forest = model.forest(rows)
            logp_E = model.token_logprobs(forest).index_select(0, forest.entry_K)
        names = ("reference",) if kind == "online_dpo" else ("old", "reference")  # dpo has no ratio
        told = {name: [value for row in rows for value in row.extra[name]] for name in names}  # type: ignore
        assert logp_E.requires_grad and logp_E.tolist() == told.get("old", logp_E.tolist())
        with torch.no_grad(), model.reference.frozen() as frozen:  # type: ignore[union-attr]
            theirs = frozen.token_logprobs(forest).index_select(0, forest.entry_K).tolist()
        assert theirs == told["reference"] != logp_E.tolist()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("grpo", {"per": "sequence"}),
        ("grpo", {"per": "token"}),
        ("grpo", {"per": "constant"}),
        ("ppo", {}),
        ("online_dpo", {}),
    ],
)
def test_micro_batches_change_nothing(open_tiny: Callable[..., TunableModel], kind: str, options: Any) -> None:
    objective = built(kind, updates=2, **options)
    model = ready(open_tiny("llama", double=True), objective)
    units = collected(model, objective).units
    moved(model)
    found = []
    for micro_tokens in (10_000, 30):
        model.net.zero_grad(set_to_none=True)
        loss, _, _, metrics = gradients(model, objective, units, micro_tokens=micro_tokens, share=True)
        grads = torch.cat([p.grad.double().flatten() for p in model.net.parameters() if p.grad is not None])
        found.append((loss, metrics, grads))
    (loss, metrics, grads), (other, others, slices) = found
    assert other == pytest.approx(loss, rel=1e-6) and others == pytest.approx(metrics, rel=1e-6)
    assert float((grads - slices).norm() / grads.norm()) < 1e-6


def test_ppo_pays_the_reward_at_the_end_and_takes_the_price_of_straying_at_each_token(
    open_tiny: Callable[..., TunableModel],
) -> None:
    options = {"kl": 0.5, "whiten": False, "smoothing": 1.0}
    objective = built("ppo", **options)
    model = ready(open_tiny("llama"), objective)
    found = collected(model, objective)
    for [row] in found.units:
        extra: Any = row.extra
        later = extra["reward"]
        for place in range(len(extra["old"]) - 1, -1, -1):  # what is to come: with smoothing 1 that is the return
            later -= 0.5 * (extra["old"][place] - extra["reference"][place])
            assert extra["return"][place] == pytest.approx(later, abs=1e-6)
            assert extra["advantage"][place] == pytest.approx(later - extra["value"][place], abs=1e-6)
    whitened = collected(model, built("ppo", kl=0.5)).units
    every = torch.tensor([value for [row] in whitened for value in row.extra["advantage"]])  # type: ignore[index]
    assert abs(float(every.mean())) < 1e-6 and float(every.std()) == pytest.approx(1.0, abs=1e-5)


# --- the loop ---

Begin = Callable[..., tuple[Recipe, Run]]


@pytest.fixture
def begin(tmp_path: Path, tiny: Callable[[str], Path]) -> Begin:
    """begin(name, objective, **train): a run whose data is prepared and whose recipe is complete."""

    def made(name: str, objective: dict[str, Any], *, answers: bool = True, **train: Any) -> tuple[Recipe, Run]:
        values = {
            "name": name,
            "data": {"sources": ["rows.jsonl"]},
            "model": str(tiny("llama")),
            "method": "lora",
            "objective": {"max_new_tokens": 8, "reward": SAYS_E, **objective},
            "evaluate": {"max_new_tokens": 8, "graders": ["exact"]},
            "train": {
                "steps": 6, "batch": 3, "lr": 0.01, "max_tokens": 96, "micro_tokens": 200, "evaluate_every": 3,
                "save_every": 4, "dtype": "float32", "device": "cpu", "patience": 0, **train,
            },
        }  # fmt: skip
        recipe = Recipe.parse(values, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs")
        for split, count in (("train", 9), ("validation", 4), ("test", 2)):
            rows = [
                {
                    "id": f"{split}:{n}",
                    "messages": [
                        {"role": "user", "content": f"{split} {n}"},
                        *([{"role": "assistant", "content": "fee"}] if answers else []),
                    ],
                    **({} if answers else {"num_answer_messages": 0}),
                }
                for n in range(count)
            ]
            storage.write_jsonl(run.path("data", f"{split}.jsonl"), rows)
        return recipe, run

    return made


def weights_of(run: Run, report: Report) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    folder = run.path("checkpoints", report.numbers["checkpoint"], "model")
    return {
        f"{file.name}:{key}": value for file in folder.glob("*.safetensors") for key, value in load_file(file).items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_reward_rises(begin: Begin, kind: str) -> None:
    options: dict[str, Any] = {"ppo": {"kl": 0.0, "updates": 2}, "online_dpo": {"updates": 3}}
    objective, rate = {"kind": kind, "group": 8, **options.get(kind, {})}, 0.03 if kind == "grpo" else 0.01
    recipe, run = begin("job", objective, steps=24, evaluate_every=12, lr=rate)
    report = train(recipe, run)
    assert report.exit_code == 0
    steps = list(run.events("step"))
    first, last = (sum(row["reward"] for row in part) / 4 for part in (steps[:4], steps[-4:]))
    assert last > first + 0.2
    for row in steps:
        assert 0 <= row["ended"] <= 1 and 1 <= row["answer_tokens"] <= 9
        assert row["sampling_seconds"] > 0 and row["learning_seconds"] > 0
    looks = list(run.events("validation"))
    assert [row["step"] for row in looks] == [0, 12, 24]
    assert all(row["loss"] == pytest.approx(1 - row["reward"]) for row in looks)
    assert looks[-1]["reward"] > looks[0]["reward"]
    assert report.numbers["metrics"]["validation"]["reward"] == pytest.approx(1 - report.numbers["validation_loss"])


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_alone_are_learned_from_as_those_with_answers(begin: Begin, kind: str) -> None:
    found = []
    for name, answers in (("with", True), ("alone", False)):
        recipe, run = begin(name, {"kind": kind}, answers=answers, watch=False)
        report = train(recipe, run)
        assert report.exit_code == 0
        found.append(([row["reward"] for row in run.events("step")], weights_of(run, report)))
    (rewards, weights), (others, alone) = found
    assert rewards == others, "no answer of the rows is learned"
    assert all(torch.equal(tensor, alone[name]) for name, tensor in weights.items())


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_gone_on_is_bit_for_bit_the_same(begin: Begin, kind: str) -> None:
    recipe, whole = begin("whole", {"kind": kind, "updates": 2})
    truth = train(recipe, whole)
    recipe, run = begin("stopped", {"kind": kind, "updates": 2})

    def listen(row: dict[str, Any]) -> None:
        if row["event"] == "step" and row["step"] == 2:
            run.stop.set()

    run.listeners.append(listen)
    with pytest.raises(Stopped):
        train(recipe, run)
    run.stop.clear()
    report = train(recipe, run)
    for name, tensor in weights_of(whole, truth).items():
        assert torch.equal(tensor, weights_of(run, report)[name]), name
    keys = ("step", "loss", "lr", "grad_norm", "tokens", "reward")
    assert [[row[k] for k in keys] for row in run.events("step")] == [
        [row[k] for k in keys] for row in whole.events("step")
    ]


def test_what_cannot_be_is_refused_in_a_sentence(begin: Begin, tmp_path: Path) -> None:
    from tunewright.core import checks

    def told(objective: Any, **changes: Any) -> str:
        recipe, _ = begin("refused", {"kind": "grpo"})
        recipe = recipe.model_copy(update={"objective": objective}).changed("data", **changes)
        words = ("objective", "grpo", "online_dpo")
        return " ".join(problem for problem in checks.problems(recipe) if any(word in problem for word in words))

    assert told({"kind": "grpo", "reward": "exact"}) == ""
    assert "grpo.reward" in told("grpo") and "name a grader" in told("grpo")
    assert "nothing to be compared with" in told({"kind": "grpo", "reward": "exact", "group": 1})
    assert "documents" in told({"kind": "grpo", "reward": "exact"}, format="text")
    assert "use 'tag'" in told({"kind": "ppo", "reward": "exact"}, format="entities")
    assert "makes no pair" in told({"kind": "online_dpo", "reward": "exact", "group": 1})
    assert "'exactly'" in told({"kind": "grpo", "reward": "exactly"})
    assert "there is no run" in told({"kind": "grpo", "reward": {"run": "runs/nowhere"}})
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "run.json").write_text("{}")
    bare = told({"kind": "grpo", "reward": {"run": str(tmp_path / "bare"), "weight": 2}})
    assert bare.startswith("objective.reward: run: ") and "holds no recipe.yaml" in bare
    assert "weight" in told({"kind": "grpo", "reward": {"kind": "exact", "weight": "much"}})
    assert "two parts are called 'regex'" in told({"kind": "grpo", "reward": [SAYS_E, {**SAYS_E, "weight": 2}]})


def test_a_reward_is_the_weighted_sum_of_its_graders(begin: Begin) -> None:
    recipe, run = begin("sum", {"kind": "grpo", "reward": ["exact", {**SAYS_E, "weight": -0.5}]})
    found = rewards.build(recipe)
    examples = list(run.split("train"))[:3]
    assert found(examples, ["fee", "he", "no"]) == [0.5, -0.5, 0.0]
    assert found.most == 1.0
    with pytest.raises(DataError, match="the field 'total' of an expected answer"):
        fielded = recipe.model_copy(
            update={"objective": {"kind": "grpo", "reward": {"kind": "exact", "field": "total"}}}
        )
        rewards.refuse_without_answers(fielded, examples)


def test_a_reward_model_rewards_what_its_release_would(begin: Begin, tmp_path: Path) -> None:
    judge, judged = begin("judge", {"kind": "grpo"}, steps=2, max_tokens=120)
    judge = judge.model_copy(update={"objective": "reward"})
    worse = {"rejected": [{"role": "assistant", "content": "no"}]}
    for split in ("train", "validation"):
        rows = [example.to_row() | worse for example in judged.split(split)]
        storage.write_jsonl(judged.path("data", f"{split}.jsonl"), rows)
    storage.write_text(judged.path("recipe.yaml"), judge.to_yaml({}))
    train(judge, judged).save(judged.path("train"))
    recipe, run = begin("job", {"kind": "grpo", "group": 2, "reward": {"run": str(judged.folder)}}, steps=1)
    found = rewards.build(recipe)
    examples = list(run.split("train"))[:2]
    model = tuned.open_tuned(judge, judged)
    expected = []
    for example, answer in zip(examples, ["fee", "no"], strict=True):
        whole = example.model_copy(update={"messages": [*example.prompt, Message(role="assistant", content=answer)]})
        turn = model.chat.turns(whole)[-1]
        row = Row([*turn.prompt, *turn.answer], [0.0] * len(turn.prompt) + [1.0] * len(turn.answer), example.id)
        expected.append(float(model.outputs(model.forest([row]))[0, 0]))
    assert found(examples, ["fee", "no"]) == pytest.approx(expected, rel=1e-4)
    assert found.most is None
    assert train(recipe, run).exit_code == 0
    storage.write_text(run.path("recipe.yaml"), recipe.to_yaml({}))
    with pytest.raises(RecipeError, match="was trained with objective 'grpo'"):
        core_rewards.parts({"run": str(run.folder)})


def test_runs_of_reward_models_are_found_beside_the_recipe(tmp_path: Path) -> None:
    values = {"name": "a", "data": {"sources": ["rows.jsonl"]}}
    reward = [{"run": "runs/judge"}, "exact"]
    recipe = Recipe.parse({**values, "objective": {"kind": "grpo", "reward": reward}}, folder=tmp_path)
    assert recipe.objective["reward"][0] == {"run": str(tmp_path / "runs" / "judge")}  # type: ignore[index]
    with pytest.raises(RecipeError):
        recipe.the_objective().the_reward()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_choose_makes_room_for_answers_that_are_yet_to_come(begin: Begin, kind: str) -> None:
    recipe, run = begin("job", {"kind": kind, "max_new_tokens": 40})
    open_ended = recipe.changed("train", max_tokens=None, lr=None).changed("evaluate", max_new_tokens=None)
    choose(open_ended, run)
    chosen = run.recipe()
    longest = max(len(row.items) for row in map(encoded_prompt(recipe, run), run.split("train")))
    assert chosen.train.max_tokens is not None and longest + 40 <= chosen.train.max_tokens <= longest + 40 + 16
    assert chosen.train.store_frozen is False
    assert chosen.evaluate.max_new_tokens == 8  # by the rows' own answers: these are graded, whatever learns beside
    assert chosen.train.lr == 8e-4


def encoded_prompt(recipe: Recipe, run: Run) -> Callable[[Example], Row]:
    """The row of an example's prompt alone."""
    model, objective = tuned.open_base(recipe, run), recipe.the_objective()

    def prompt(example: Example) -> Row:
        [row] = objective.encode(example, model.chat, max_tokens=500)
        return Row(row.items[: prompt_length(row)], [0.0] * prompt_length(row), example.id)

    return prompt
