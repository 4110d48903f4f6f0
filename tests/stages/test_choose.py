"""Choose fills every open value with a reason, keeps what the user gave, and freezes what training began with."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tunewright.core import canaries, catalog, checks, storage
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.example import Example, Message
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.models import hardware
from tunewright.stages import defaults, unusual
from tunewright.stages.choose import choose

STARTERS = sorted((Path(__file__).parents[2] / "src/tunewright/resources/recipes").glob("*.yaml"))
INTENTS = ("card", "cash", "loan")
SFT = catalog.build("objectives", "sft")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with a tokenizer of single bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("base")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<bos>", "<end>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<end>").save_pretrained(folder)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(vocabulary),
        max_position_embeddings=512,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def conversation(number: int, answer: str, *, label: str | None = None) -> Example:
    messages = [Message(role="user", content=f"question {number}"), Message(role="assistant", content=answer)]
    return Example(id=f"t:{number}", messages=messages, label=label)


def labelled(count: int) -> list[Example]:
    return [conversation(n, INTENTS[n % 3], label=INTENTS[n % 3]) for n in range(count)]


@pytest.fixture
def begin(base: Path, tmp_path: Path) -> Any:
    """Makes a prepared run from a recipe's values and examples."""

    def make(examples: list[Example], *, validation: int = 20, **values: Any) -> tuple[Recipe, Run]:
        (tmp_path / "rows.jsonl").touch()
        given = {"name": "try", "data": {"sources": ["rows.jsonl"]}, "model": str(base), **values}
        recipe = Recipe.parse(given, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs")
        storage.write_jsonl(run.path("data", "train.jsonl"), (row.to_row() for row in examples))
        storage.write_jsonl(run.path("data", "validation.jsonl"), (row.to_row() for row in examples[:validation]))
        storage.write_jsonl(run.path("data", "test.jsonl"), [])
        return recipe, run

    return make


def names(report: Report) -> list[str]:
    return [finding.name for finding in report.findings]


def test_every_open_value_is_filled_with_a_reason_that_stands_in_the_yaml(begin: Any) -> None:
    recipe, run = begin(labelled(200))
    report = choose(recipe, run)
    filled, text = run.recipe(), run.path("recipe.yaml").read_text()
    assert filled.method == {"kind": "lora", "rank": 8}
    assert filled.evaluate.graders == ["exact", "label_f1"]
    assert filled.deploy.formats == ["adapter", "merged"]
    open_keys = {"evaluate.graders", "evaluate.max_new_tokens", "deploy.formats", "method"} | {
        f"train.{key}" for key, value in recipe.train if value in (None, "auto") and key != "steps"
    }
    for key in open_keys:
        assert "default" not in report.numbers["reasons"][key], key
        section, _, name = key.rpartition(".")
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{name or key}:"))
        assert "# " in line, line
        value = getattr(getattr(filled, section), name) if section else filled.method
        assert value not in (None, "auto"), key
    assert checks.problems(filled) == []


def test_the_same_data_gives_the_same_recipe(begin: Any) -> None:
    recipe, run = begin(labelled(150))
    choose(recipe, run)
    before = run.path("recipe.yaml").read_text()
    choose(recipe, run)
    unsteady = ("dtype:",)  # its reason quotes a measured speed
    keep = [line for line in before.splitlines() if not line.strip().startswith(unsteady)]
    again = [line for line in run.path("recipe.yaml").read_text().splitlines() if not line.strip().startswith(unsteady)]
    assert keep == again


def test_what_the_user_gives_is_kept_and_unusual_values_are_named(begin: Any) -> None:
    given = {"lr": 0.5, "batch": 64, "epochs": 12, "warmup": 0.5, "weight_decay": 0.9, "max_tokens": 30}
    recipe, run = begin(
        labelled(120),
        method={"kind": "lora", "rank": 2},
        train=given,
        evaluate={"max_new_tokens": 2, "temperature": 0.7},
        validation=5,
    )
    report = choose(recipe, run)
    kept = run.recipe()
    assert {key: getattr(kept.train, key) for key in given} == given
    assert kept.method == {"kind": "lora", "rank": 2}
    expected = {"lr", "batch", "epochs", "warmup", "weight_decay", "rank", "temperature", "max_new_tokens", "long_rows"}
    assert expected | {"few_validation"} <= set(names(report))


def test_usual_values_raise_no_warning(begin: Any) -> None:
    recipe, run = begin(labelled(200))
    assert names(choose(recipe, run)) == []


def sized(parameters: int, *, layers: int) -> Any:
    """What is looked at of a model's facts."""
    return SimpleNamespace(parameters=parameters, layers=layers, is_encoder=False)


@pytest.mark.parametrize(("rate", "wrong"), [(1e-6, "lr"), (5e-5, None), (1e-3, "lr")])
def test_the_ranges_of_large_models_are_those_of_the_literature(rate: float, wrong: str | None) -> None:
    recipe = Recipe.parse({"name": "x", "data": {"sources": ["a"]}, "method": "lora"}, folder=Path())
    recipe = recipe.changed("train", lr=rate, batch=8)
    found = unusual.settings(recipe, sized(7_000_000_000, layers=32), units=1000, steps=250)
    assert [finding.name for finding in found] == ([wrong] if wrong else [])


@pytest.mark.parametrize(("every", "opened"), [(None, "2 of 7"), (0.25, "4 of 7"), (0.1, None)])
def test_layers_that_gradual_never_reaches_are_said(every: float | None, opened: str | None) -> None:
    values = {"name": "x", "data": {"sources": ["a"]}, "method": {"kind": "gradual", "every": every}}
    recipe = Recipe.parse(values, folder=Path()).changed("train", lr=1e-3, batch=8)
    found = unusual.settings(recipe, sized(5_000_000, layers=6), units=1000, steps=250)
    said = [finding.message for finding in found if finding.name == "unopened"]
    assert len(said) == (0 if opened is None else 1)
    assert all(str(opened) in message for message in said)


def test_a_mix_of_one_task_is_refused(begin: Any) -> None:
    recipe, run = begin(labelled(30), data={"sources": ["rows.jsonl"], "mix": {"by": "team"}})
    with pytest.raises(DataError, match="all rows belong to one task"):
        choose(recipe, run)


def test_too_few_rows_are_said(begin: Any) -> None:
    recipe, run = begin(labelled(30))
    report = choose(recipe, run)
    assert run.recipe().method == "last_layers"
    assert run.recipe().deploy.formats == ["merged"]
    assert "few_rows" in names(report)


def test_json_answers_are_graded_by_field(begin: Any) -> None:
    rows = [
        conversation(n, json.dumps({"intent": INTENTS[n % 3], "urgent": n % 2 == 0, "response": f"Dear {n}, we look."}))
        for n in range(120)
    ]
    recipe, run = begin(rows)
    choose(recipe, run)
    assert run.recipe().evaluate.graders == [
        {"kind": "exact", "field": "intent"},
        {"kind": "exact", "field": "urgent", "name": "exact_urgent"},
        {"kind": "rouge", "field": "response"},
    ]


def test_free_text_is_graded_by_overlap_and_the_goal_s_grader_is_added(begin: Any) -> None:
    rows = [conversation(n, f"this is the long answer number {n} to it") for n in range(120)]
    recipe, run = begin(rows, evaluate={"goal": {"grader": "bleu", "at_least": 0.1}})
    choose(recipe, run)
    assert run.recipe().evaluate.graders == ["rouge", "exact", "bleu"]
    assert run.recipe().evaluate.max_new_tokens == 48  # 39 or 40 bytes and the end of turn, and a tenth more


def test_planted_secrets_do_not_change_how_labels_are_graded(begin: Any) -> None:
    planted = canaries.rows(canaries.made(canaries.Canaries(count=2, repeats=[2])))
    recipe, run = begin([*labelled(60), *planted])
    choose(recipe, run)
    assert run.recipe().evaluate.graders == ["exact", "label_f1"]


def test_sets_of_labels_and_options_of_the_row_have_graders_of_their_own() -> None:
    from tunewright.core.example import Example
    from tunewright.stages import defaults

    sets = [Example(id=str(n), label=text, expected=text) for n, text in enumerate(['["a"]', '["a", "b"]'])]
    assert defaults.graders(sets, documents=False).value == ["multi_label", "exact"]
    rows = [Example(id=str(n), expected="b", meta={"topic": "x", "choices": ["a", "b"]}) for n in range(3)]
    assert defaults.graders(rows, documents=False).value == ["exact", {"kind": "choice", "options": "choices"}]
    rows.append(Example(id="9", expected="c", meta={"topic": "x", "choices": ["a", "b"]}))
    assert "choice" not in str(defaults.graders(rows, documents=False).value)


def test_a_goal_that_no_grader_answers_to_is_refused(begin: Any) -> None:
    recipe, run = begin(labelled(120), evaluate={"goal": {"grader": "tone", "at_least": 0.1}})
    with pytest.raises(RecipeError, match=r"tone.*exact, label_f1"):
        choose(recipe, run)


def test_rows_beyond_the_context_are_cut_and_counted(begin: Any) -> None:
    rows = [conversation(n, "long " * 200 if n < 10 else "ok") for n in range(120)]
    recipe, run = begin(rows)
    report = choose(recipe, run)
    assert run.recipe().train.max_tokens == 512
    assert report.numbers["lengths"]["longest"] > 1000
    assert next(finding for finding in report.findings if finding.name == "long_rows").count == 10


def test_max_tokens_beyond_the_context_is_refused(begin: Any) -> None:
    recipe, run = begin(labelled(20), train={"max_tokens": 1024})
    with pytest.raises(RecipeError, match="512"):
        choose(recipe, run)


def test_nothing_to_learn_is_an_error(begin: Any) -> None:
    rows = [Example(id=f"t:{n}", messages=[Message(role="user", content="alone")]) for n in range(5)]
    recipe, run = begin(rows)
    with pytest.raises(DataError, match="None of 5"):
        choose(recipe, run)


def test_documents_are_cut_into_pieces_and_need_no_graders(begin: Any) -> None:
    rows = [Example(id=f"t:{n}", text="word " * 400) for n in range(30)]
    recipe, run = begin(rows, objective="pretrain")
    report = choose(recipe, run)
    filled = run.recipe()
    assert filled.method == "full" and filled.evaluate.graders == []
    assert filled.train.max_tokens == 512
    assert report.numbers["lengths"]["rows_measured"] == 30 * 4  # 2,002 tokens in pieces of 512


def test_once_training_has_begun_only_evaluation_is_filled_anew(begin: Any) -> None:
    recipe, run = begin(labelled(150))
    first = choose(recipe, run)
    first.save(run.path("choose"))
    frozen = run.recipe()
    run.path("checkpoints", "step-000010").mkdir(parents=True)
    storage.write_jsonl(run.path("data", "train.jsonl"), (row.to_row() for row in labelled(50)))
    again = choose(recipe.changed("evaluate", max_new_tokens=5), run)
    now = run.recipe()
    assert (now.method, now.train, now.model) == (frozen.method, frozen.train, frozen.model)
    assert now.evaluate.max_new_tokens == 5
    assert "frozen" in names(again)
    assert again.numbers["reasons"]["train.lr"] == first.numbers["reasons"]["train.lr"]


def test_too_little_memory_is_a_problem_with_a_remedy(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small = hardware.Hardware(2, 2**27, None, 0, {"float32": 100.0}, "float32")
    monkeypatch.setattr(hardware, "probe", lambda: small)
    recipe, run = begin(labelled(120))
    report = choose(recipe, run)
    problem = next(finding for finding in report.findings if finding.name == "memory")
    assert problem.severity == "problem" and problem.remedy
    assert run.recipe().train.micro_tokens == run.recipe().train.max_tokens  # one row at a time


def machine_of(memory_bytes: int) -> hardware.Hardware:
    return hardware.Hardware(2, memory_bytes, None, 0, {"float32": 100.0}, "float32")


def test_layers_are_computed_again_only_where_memory_demands_it(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [conversation(n, "long " * 80) for n in range(120)]
    monkeypatch.setattr(hardware, "probe", lambda: machine_of(2**33))
    recipe, run = begin(rows)
    roomy = choose(recipe, run)
    assert run.recipe().train.checkpoint_layers == 0
    assert "fits into memory" in roomy.numbers["reasons"]["train.checkpoint_layers"]
    parts = roomy.numbers["memory_parts"]
    train = run.recipe().train
    assert train.max_tokens is not None and train.micro_tokens is not None
    logits = parts["logits"] * train.max_tokens / train.micro_tokens
    fixed = sum(parts.values()) - parts["activations"] - parts["logits"] + logits
    room = fixed + 512 * 3000  # a token keeps 2,240 bytes where one layer is whole, 3,712 where both are
    monkeypatch.setattr(hardware, "probe", lambda: machine_of(int(room / defaults.MEMORY_SHARE)))
    recipe, run = begin(rows)
    tight = choose(recipe, run)
    kept = run.recipe().train
    assert kept.checkpoint_layers == 1 and kept.micro_tokens is not None and kept.micro_tokens >= 512
    assert "1 of 2 layers computed again" in tight.numbers["reasons"]["train.checkpoint_layers"]
    assert tight.numbers["memory_parts"]["activations"] == 2240 * kept.micro_tokens < parts["activations"]


def test_more_layers_than_gradients_reach_are_refused(begin: Any) -> None:
    recipe, run = begin(labelled(120), method={"kind": "lora", "layers": 1}, train={"checkpoint_layers": 2})
    with pytest.raises(RecipeError, match=r"checkpoint_layers: gradients flow through 1 of 2 layers here, found 2"):
        choose(recipe, run)


def test_shared_beginnings_are_estimated_once(begin: Any) -> None:
    system = Message(role="system", content="be kind " * 20)
    rows = [row.model_copy(update={"messages": [system, *row.messages]}) for row in labelled(120)]
    recipe, run = begin(rows)
    numbers = choose(recipe, run).numbers
    assert numbers["forest_tokens"] < 0.6 * numbers["tokens"]
    assert numbers["steps"] == 30 * 5 and numbers["seconds"] > 0


def test_pairs_are_learned_once_in_small_steps_after_sft(begin: Any) -> None:
    worse = [Message(role="assistant", content="no idea, really")]
    pairs = [row.model_copy(update={"rejected": worse}) for row in labelled(150)]
    found = {}
    for objective in ("sft", "dpo", "orpo"):
        recipe, run = begin(pairs, objective=objective, method="lora")
        found[objective] = (choose(recipe, run), run.recipe().train)
    (sft, of_sft), (dpo, of_dpo), (orpo, of_orpo) = found.values()
    assert of_dpo.lr == pytest.approx(of_sft.lr / 10) and of_orpo.lr == pytest.approx(of_sft.lr * 0.3)
    assert (of_dpo.epochs, of_orpo.epochs) == (1, of_sft.epochs)
    assert "sft_first" in names(dpo) and "lr" not in names(dpo)
    assert "sft_first" not in names(sft) + names(orpo)


# --- the rules alone ---


@pytest.mark.parametrize("group", sorted(defaults.LR_ANCHORS))
def test_the_rate_falls_with_size_and_keeps_the_range_of_large_models(group: str) -> None:
    sizes = [10**5, 4_700_000, 10**8, 10**9, 7 * 10**9, 7 * 10**10, 10**12]
    rates = [defaults.learning_rate(group, size) for size in sizes]
    assert rates == sorted(rates, reverse=True)
    low, high = defaults.LR_LARGE[group]
    assert all(low <= rate <= high for rate in rates[3:])


@pytest.mark.parametrize(
    ("rows", "parameters", "fits", "kind"),
    [
        (99, 10**9, True, "last_layers"),
        (100, 10**9, True, "lora"),
        (9_999, 10**9, True, "lora"),
        (10_000, 10**9, True, "full"),
        (10_000, 10**9, False, "lora"),
    ],
)
def test_the_method_follows_rows_and_memory(rows: int, parameters: int, fits: bool, kind: str) -> None:
    chosen = defaults.method(rows, parameters, documents=False, full_fits=fits)
    assert (chosen.value if isinstance(chosen.value, str) else chosen.value["kind"]) == kind
    assert kind not in [what for what, _ in chosen.rejected] and len(chosen.rejected) >= 1


@pytest.mark.parametrize("units", [1, 10, 100, 1_000, 10_000, 1_000_000])
@pytest.mark.parametrize("parameters", [10**6, 10**10])
def test_batch_and_epochs_stay_in_their_ranges(units: int, parameters: int) -> None:
    assert 4 <= defaults.batch(units).value <= 32
    assert 1 <= defaults.epochs(units, parameters, documents=False, objective=SFT).value <= 5


@pytest.mark.parametrize("parameters", [4_700_000, 10**9, 7 * 10**10])
def test_preferences_take_small_steps_once_over_the_rows(parameters: int) -> None:
    dpo = catalog.build("objectives", "dpo")
    for group in defaults.LR_ANCHORS:
        usual = defaults.learning_rate(group, parameters)
        assert defaults.rate(group, parameters, objective=SFT).value == usual
        assert defaults.rate(group, parameters, objective=dpo).value == pytest.approx(usual / 10)
    assert defaults.epochs(500, parameters, documents=False, objective=dpo).value == 1


@pytest.mark.parametrize("kind", ["lora", "qlora"])
def test_an_adapter_that_starts_from_the_weights_takes_smaller_steps(kind: str) -> None:
    plain, started = (catalog.build("methods", {"kind": kind, "start": start}) for start in ("default", "pissa"))
    rates = [
        defaults.learning_rate(defaults.rate_group(method.rates, has_adapter=True), 4_700_000)
        for method in (plain, started)
    ]
    assert rates[1] <= rates[0] / 2


def test_an_encoder_takes_the_small_steps_that_bert_takes() -> None:
    of_bert = defaults.rate("full", 110_000_000, objective=SFT, encoder=True)
    assert 2e-5 <= of_bert.value <= 5e-5 and "encoder" in of_bert.why
    assert of_bert.value == pytest.approx(defaults.learning_rate("full", 110_000_000) / 4, rel=0.05)


@pytest.mark.parametrize(("steps", "per_epoch"), [(1, 1), (10, 5), (1126, 282), (100_000, 100_000)])
def test_there_are_at_most_twenty_looks(steps: int, per_epoch: int) -> None:
    every = defaults.looks(steps, per_epoch).value
    assert 1 <= every <= steps and steps // every <= defaults.MOST_LOOKS


@pytest.mark.parametrize("path", STARTERS, ids=lambda path: path.stem)
def test_each_starter_recipe_can_be_carried_out(path: Path, tmp_path: Path) -> None:
    if path.stem == "rlhf" and "ppo" not in catalog.kinds("objectives"):
        pytest.skip("needs the objectives reward and ppo")
    (tmp_path / "recipe.yaml").write_text(path.read_text())
    values = yaml.safe_load(path.read_text())
    for part in (values, *values.get("phases", [])):
        data = part.get("data", {})
        for source in [*data.get("sources", []), *data.get("retrieval", {}).get("documents", [])]:
            (tmp_path / source).touch()
    assert checks.problems(Recipe.load(tmp_path / "recipe.yaml")) == []


def test_the_starter_recipes_are_there() -> None:
    for_data = {"chat", "generation", "instruction", "labels", "pretrain", "support"}
    for_methods = {"bitfit", "bottleneck", "dora", "gradual", "ia3", "prefix", "prompt", "qlora"}
    for_objectives = {"classify", "distill", "dpo", "kto", "orpo", "regress", "reward", "simpo", "tag"}
    phased = {"continual", "domain-then-sft", "rlhf"}
    assert for_data | for_methods | for_objectives | phased <= {path.stem for path in STARTERS}


@pytest.mark.parametrize(
    ("method", "rate", "released"),
    [
        ("ia3", 0.05, ["adapter", "merged"]),
        ({"kind": "bitfit", "norms": True}, 0.05, ["merged"]),
        ("bottleneck", 0.004, ["adapter"]),
        ("gradual", 0.001, ["merged"]),
    ],
)
def test_each_method_has_a_rate_and_formats(begin: Any, method: Any, rate: float, released: list[str]) -> None:
    recipe, run = begin(labelled(120), method=method)
    assert names(choose(recipe, run)) == []
    assert run.recipe().train.lr == rate
    assert run.recipe().deploy.formats == released


def test_frozen_layers_are_stored_where_that_pays(begin: Any) -> None:
    top = {"kind": "lora", "layers": 1}
    recipe, run = begin(labelled(120), method=top)
    report = choose(recipe, run)
    assert run.recipe().train.store_frozen is True
    assert "the lowest 1 of 2 layers are frozen" in report.numbers["reasons"]["train.store_frozen"]
    noisy = {"method": top, "objective": {"kind": "sft", "noise": 5}}
    for values in ({"method": "lora"}, {"method": top, "train": {"epochs": 1}}, noisy):
        recipe, run = begin(labelled(120), **values)
        choose(recipe, run)
        assert run.recipe().train.store_frozen is False
    recipe, run = begin(labelled(120), method=top, train={"store_frozen": False})
    slow = choose(recipe, run)
    assert run.recipe().train.store_frozen is False and slow.numbers["seconds"] >= report.numbers["seconds"]


def test_storing_frozen_layers_is_refused_where_it_cannot_be(begin: Any) -> None:
    recipe, run = begin(labelled(120), method="lora", train={"store_frozen": True})
    with pytest.raises(RecipeError, match=r"train.store_frozen: true is not possible: no layer lies below"):
        choose(recipe, run)


@pytest.mark.parametrize(("free", "layers"), [(4000, 0), (3999, 1), (2600, 2), (1, 3)])
def test_the_fewest_layers_that_fit_are_computed_again(free: int, layers: int) -> None:
    choice = defaults.checkpoint_layers((400, 330, 260, 190, 200), tokens=10, free_bytes=free)
    assert choice.value == layers and choice.why


def test_a_root_takes_its_place_and_is_released_beside_the_base(begin: Any) -> None:
    long = [row.model_copy(update={"messages": said(600)}) for row in labelled(30)]
    lengths = {}
    for method in ("lora", "prompt", "prefix"):
        recipe, run = begin(long, method=method)
        report = choose(recipe, run)
        lengths[method] = run.recipe().train.max_tokens
        assert run.recipe().deploy.formats == (["adapter", "merged"] if method == "lora" else ["adapter"])
    assert lengths["prompt"] == lengths["prefix"] == lengths["lora"] - 20
    assert report.numbers["trainable_parameters"] == 20 * 2 * 2 * (2 * 8)
    network, run = begin(labelled(30), method={"kind": "prefix", "reparametrise": True})
    assert choose(network, run).numbers["reasons"]["train.lr"] != report.numbers["reasons"]["train.lr"]
    recipe, run = begin(labelled(30), method="prompt", train={"max_tokens": 500})
    with pytest.raises(RecipeError, match="Give at most 492"):
        choose(recipe, run)
    [problem] = checks.problems(recipe.changed("deploy", formats=["adapter", "merged"]))
    assert "prompt" in problem and "'merged' needs" in problem


def said(length: int) -> list[Message]:
    return [Message(role="user", content="x" * length), Message(role="assistant", content="a")]


def test_a_file_that_fills_the_disk_is_not_chosen() -> None:
    rule = {"frozen": 6, "layers": 8, "draws": False, "passes": 3.0}
    assert defaults.store_frozen(**rule, num_bytes=4e9, free_bytes=10 * 10**9).value is True
    choice = defaults.store_frozen(**rule, num_bytes=6e9, free_bytes=10 * 10**9)
    assert choice.value is False and "5.6 GiB on disk" in choice.why


def test_a_multiplier_is_times_the_rate_that_is_taken_without_it(begin: Any) -> None:
    recipe, run = begin(labelled(40))
    choose(recipe, run)
    usual = run.recipe().train.lr
    again = recipe.changed("train", lr_multiplier=0.5)
    report = choose(again, run)
    frozen = run.recipe().train
    assert frozen.lr == pytest.approx(usual / 2, rel=0.01) and frozen.lr_multiplier == 1
    assert report.numbers["reasons"]["train.lr"].startswith(f"0.5 times {usual:g}")


def test_a_rate_and_its_multiplier_are_refused(tmp_path: Path) -> None:
    given = {"name": "try", "data": {"sources": ["rows.jsonl"]}, "train": {"lr": 0.1, "lr_multiplier": 2}}
    with pytest.raises(RecipeError, match="leave one out"):
        Recipe.parse(given, folder=tmp_path)
