"""New tokens from a recipe to a release: answers show them, proofs hold, and what is served says what was evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tunewright as tw
from tunewright.core import checks, storage
from tunewright.core.errors import DataError, RecipeError, Stopped
from tunewright.core.recipe import ModelOptions, Recipe
from tunewright.core.run import Run
from tunewright.models.decode import answer
from tunewright.models.engine import Engine
from tunewright.models.release import open_release
from tunewright.stages import flow
from tunewright.stages.train import train

THINGS = ("card", "parcel", "rate", "euro")
TOKENS = ["<order>", "</order>"]
SMALL = {"steps": 80, "batch": 8, "lr": 0.02, "threads": 1, "patience": 0, "dtype": "float32", "device": "cpu",
         "evaluate_every": 40}  # fmt: skip


def make(folder: Path, base: Path, **changes: Any) -> Recipe:
    rows = [
        {"prompt": f"where is my {thing}, {number}?", "completion": f"<order>{thing}</order> it is"}
        for number in range(12)
        for thing in THINGS
    ]
    storage.write_jsonl(folder / "rows.jsonl", rows)
    values: dict[str, Any] = {
        "name": "small",
        "data": {"sources": ["rows.jsonl"]},
        "model": {"base": str(base), "new_tokens": TOKENS},
        "train": SMALL,
        "method": {"kind": "lora", "rank": 8},
        "evaluate": {"graders": ["exact"], "against": ["base"], "max_new_tokens": 24, "guards": []},
    }
    return Recipe.parse(values | changes, folder=folder)


def carried(folder: Path, recipe: Recipe) -> tuple[tw.Report, Run]:
    report = flow.run(recipe, runs=folder / "runs", override="a small trial")
    assert {proof.name: proof.measured for proof in report.proofs if not proof.holds} == {}
    return report, Run(folder / "runs" / recipe.name)


def served(run: Run, asked: str, name: str = "small") -> str:
    """What the server answers for the run's newest release."""
    from fastapi.testclient import TestClient

    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.registry import Registry

    registry = Registry([run])
    registry.start()
    with TestClient(build(Front(registry)), base_url="http://127.0.0.1") as client:
        messages = [{"role": "user", "content": asked}]
        told = client.post("/v1/chat/completions", json={"model": name, "messages": messages}).json()
    return str(told["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("method", "base"),
    [
        ({"kind": "lora", "rank": 8}, "llama"),
        ("full", "qwen2"),
        ({"kind": "bottleneck", "place": "houlsby", "size": 32}, "llama"),
    ],
    ids=["lora", "full", "bottleneck"],
)
def test_answers_hold_new_tokens_and_a_release_says_the_same(
    tmp_path: Path, tiny: Callable[[str], Path], method: Any, base: str
) -> None:
    report, run = carried(tmp_path, make(tmp_path, tiny(base), method=method))
    assert report.contestants["tuned"]["exact"]["value"] > 0.7
    table = list(storage.read_jsonl(run.path("evaluate", "answers.jsonl")))
    assert all("<order>" in row["answers"]["tuned"] for row in table)
    chosen = run.report("choose")
    trained = run.report("train")
    assert chosen is not None and trained is not None
    assert chosen.numbers["trainable_parameters"] == trained.numbers["trainable_parameters"]
    assert served(run, table[0]["prompt"]) == table[0]["answers"]["tuned"]
    [release] = run.releases()
    opened = open_release(release)
    said = answer(
        Engine(opened.model), opened.decode, [[{"role": "user", "content": table[1]["prompt"]}]], adapter=opened.adapter
    )
    assert said[0].text == table[1]["answers"]["tuned"]
    if (release / "merged").exists():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(release / "merged")
        net = AutoModelForCausalLM.from_pretrained(release / "merged")
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": table[1]["prompt"]}], add_generation_prompt=True, return_tensors="pt"
        )
        ids = ids if not hasattr(ids, "input_ids") else ids.input_ids
        new = net.generate(ids, max_new_tokens=24, do_sample=False, eos_token_id=opened.model.chat.stop_ids)[
            0, ids.shape[1] :
        ]
        assert tokenizer.decode(new, skip_special_tokens=True).strip() == table[1]["answers"]["tuned"]


def test_a_stopped_training_goes_on_to_the_same_rows(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    from safetensors.torch import load_file

    recipe = make(tmp_path, tiny("qwen2"), train=SMALL | {"steps": 8, "save_every": 2, "evaluate_every": 4})
    found = []
    for name in ("whole", "stopped"):
        for stage in (flow.prepare, flow.choose):
            stage(recipe.model_copy(update={"name": name}), runs=tmp_path / "runs")
        run = Run(tmp_path / "runs" / name)
        if name == "stopped":
            run.listeners.append(lambda row, run=run: run.stop.set() if row.get("step") == 3 else None)  # type: ignore[misc]
            with pytest.raises(Stopped):
                train(run.recipe(), run)
            run.listeners.clear()
            run.stop.clear()
        train(run.recipe(), run)
        found.append(load_file(run.path("checkpoints", "step-000008", "model", "adapter_model.safetensors")))
    assert any(key.endswith("trainable_tokens_delta") for key in found[0])
    assert found[0].keys() == found[1].keys()
    assert all((tensor == found[1][key]).all() for key, tensor in found[0].items())


def test_phases_train_the_rows_on_that_an_earlier_one_added(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    phases = [
        {"name": "first", "method": {"kind": "lora", "rank": 4}},
        {"name": "again", "method": {"kind": "last_layers", "layers": 1}},
        {"name": "kept", "method": {"kind": "lora", "rank": 2}, "model": {"new_tokens": []}},
        {"name": "more", "method": {"kind": "lora", "rank": 2}, "model": {"new_tokens": [*TOKENS, "<end>"]}},
    ]
    short = SMALL | {"steps": 30}
    report, run = carried(tmp_path, make(tmp_path, tiny("llama"), phases=phases, train=short))
    children = [Run(folder) for folder in sorted(run.path("children").iterdir())]
    counted = [child.report("train").numbers["trainable_parameters"] for child in children]  # type: ignore[union-attr]
    assert counted[3] - counted[2] == 3 * 32 * 2, "of embedding and head; none where no new tokens are named"
    assert report.contestants["tuned"]["exact"]["value"] > 0.7
    [release] = run.releases()
    assert storage.read_json(release / "manifest.json")["new_tokens"] == [*TOKENS, "<end>"]
    row = next(iter(storage.read_jsonl(run.path("evaluate", "answers.jsonl"))))
    assert served(run, row["prompt"]) == row["answers"]["tuned"]


def test_a_root_learned_with_new_tokens_is_handed_on_with_them(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    phases = [
        {"name": "root", "method": {"kind": "prompt", "tokens": 3}},
        {"name": "weights", "method": {"kind": "lora", "rank": 8}},
    ]
    report, run = carried(tmp_path, make(tmp_path, tiny("llama"), phases=phases))
    assert report.contestants["tuned"]["exact"]["value"] > 0.7
    row = next(iter(storage.read_jsonl(run.path("evaluate", "answers.jsonl"))))
    assert served(run, row["prompt"]) == row["answers"]["tuned"]
    assert served(run, row["prompt"], name="small:001:weights")


def test_a_recipe_goes_on_from_a_released_adapter(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    _, run = carried(tmp_path, make(tmp_path, tiny("qwen2")))
    adapter = run.releases()[0] / "adapter"
    model = {"from": str(adapter), "new_tokens": TOKENS}
    recipe = make(tmp_path, tiny("qwen2"), name="on", model=model, train=SMALL | {"steps": 5})
    report, _ = carried(tmp_path, recipe)
    assert report.contestants["tuned"]["exact"]["value"] > 0.7
    assert report.contestants["base"]["exact"]["value"] > 0.7, "what it starts from says them already"
    bare = tmp_path / "bare"  # as PEFT alone would leave it
    bare.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (bare / name).write_bytes((adapter / name).read_bytes())
    again = make(tmp_path, tiny("qwen2"), name="bare", model=model | {"from": str(bare)}, train=SMALL | {"steps": 5})
    report, _ = carried(tmp_path, again)
    assert report.contestants["base"]["exact"]["value"] > 0.7


def test_ewc_refuses_a_matrix_that_has_grown_since(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    phases = [
        {"name": "first", "retention": []},
        {"name": "more", "model": {"new_tokens": [*TOKENS, "<end>"]}, "retention": "ewc"},
    ]
    recipe = make(tmp_path, tiny("qwen2"), phases=phases, method="full", train=SMALL | {"steps": 4})
    with pytest.raises(RecipeError, match="has another size than in an earlier training"):
        flow.run(recipe, runs=tmp_path / "runs")


def test_bad_new_tokens_are_all_told_before_anything_is_spent(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    model = {"base": str(tiny("llama")), "new_tokens": ["<a>", "<a>", " <b>", ""]}
    told = checks.problems(make(tmp_path, tiny("llama"), model=model))
    assert [one for one in told if one.startswith("model.new_tokens: '<a>' is there 2 times")]
    assert [one for one in told if one.startswith("model.new_tokens: ' <b>' is empty or has spaces")]
    with pytest.raises(RecipeError, match=r"tokens of their own for '<\|im_end\|>' already"):
        known = {"base": str(tiny("llama")), "new_tokens": ["<x>", "<|im_end|>"]}
        flow.run(make(tmp_path, tiny("llama"), model=known), runs=tmp_path / "runs")
    again = {"base": str(tmp_path / "grown"), "new_tokens": TOKENS}
    from tunewright.models.opening import open_model

    open_model(ModelOptions(base=str(tiny("llama")), new_tokens=tuple(TOKENS))).save(tmp_path / "grown")
    with pytest.raises(RecipeError, match="tokens of their own for '<order>', '</order>' already"):
        flow.run(make(tmp_path, tiny("llama"), name="again", model=again), runs=tmp_path / "runs")


def test_choose_tells_what_new_tokens_cost_and_which_never_come(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    model = {"base": str(tiny("llama")), "new_tokens": [*TOKENS, "<never>"]}
    recipe = make(tmp_path, tiny("llama"), model=model)
    flow.prepare(recipe, runs=tmp_path / "runs")
    found = {one.name: one.message for one in flow.choose(recipe, runs=tmp_path / "runs").findings}
    assert "3 new tokens, ids 300 to 302: their rows are 192 of the" in found["new tokens"]
    assert found["unseen tokens"].startswith("<never>:")


def test_an_answer_held_to_a_grammar_may_hold_new_tokens(tiny: Callable[[str], Path]) -> None:
    pytest.importorskip("llguidance")
    from tunewright.models.constraints import one_of
    from tunewright.models.opening import open_model

    model = open_model(ModelOptions(base=str(tiny("llama")), new_tokens=("[order]", "<order>")))
    prompt = model.chat.prompt_ids([{"role": "user", "content": "say [order]"}])
    [said] = Engine(model).generate([prompt], max_new_tokens=40, grammar=one_of(["[order]card"]))
    assert model.chat.decode(said.ids) == "[order]card" and model.chat.new.ids.start in said.ids  # type: ignore[union-attr]
    with pytest.raises(DataError, match="holds <order>, one token here"):
        Engine(model).generate([prompt], max_new_tokens=40, grammar=one_of(["<order>card"]))


def test_an_encoder_decoder_says_new_tokens_where_it_is_served(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    _, run = carried(tmp_path, make(tmp_path, tiny("bart"), train=SMALL | {"steps": 120}))
    row = next(iter(storage.read_jsonl(run.path("evaluate", "answers.jsonl"))))
    assert "<order>" in row["answers"]["tuned"]
    assert served(run, row["prompt"]) == row["answers"]["tuned"]


@pytest.mark.parametrize("method", ["lora", {"kind": "last_layers", "layers": 1}, {"kind": "prompt", "tokens": 3}])
@pytest.mark.parametrize(
    "objective", ["dpo", {"kind": "grpo", "reward": "exact", "group": 2, "max_new_tokens": 6}, "distill"]
)
def test_other_objectives_learn_new_tokens_too(
    tmp_path: Path, tiny: Callable[[str], Path], objective: Any, method: Any
) -> None:
    storage.write_jsonl(
        tmp_path / "pairs.jsonl",
        [
            {
                "prompt": f"where is my {thing}, {n}?",
                "chosen": f"<order>{thing}</order>",
                "rejected": f"{thing} <order>",
            }
            for n in range(6)
            for thing in THINGS
        ],
    )
    changes: dict[str, Any] = {"method": method, "train": SMALL | {"steps": 4}}
    if objective == "distill":
        from tunewright.models.opening import open_model

        open_model(ModelOptions(base=str(tiny("qwen2")), new_tokens=tuple(TOKENS))).save(tmp_path / "teacher")
        objective = {"kind": "distill", "teacher": str(tmp_path / "teacher")}
    if objective == "dpo":
        changes["data"] = {"sources": ["pairs.jsonl"]}
    changes["evaluate"] = {"graders": ["exact"], "against": [], "max_new_tokens": 8}
    _, run = carried(tmp_path, make(tmp_path, tiny("llama"), objective=objective, **changes))
    assert run.report("train").numbers["trainable_parameters"] > 2 * 32 * 2  # type: ignore[union-attr]


def test_a_teacher_without_the_tokens_is_refused(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    objective = {"kind": "distill", "teacher": str(tiny("qwen2"))}
    with pytest.raises(RecipeError, match=r"has another tokenizer than .* with model\.new_tokens"):
        flow.run(make(tmp_path, tiny("llama"), objective=objective), runs=tmp_path / "runs")
