"""Rows of new tokens with every method: they alone change in the vocabulary, and come back as they were saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tunewright.core import catalog
from tunewright.core.errors import CannotMerge, DataError, RecipeError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Method
from tunewright.core.recipe import ModelOptions, TrainOptions
from tunewright.models import adapters, estimate, new_rows, new_tokens
from tunewright.models.engine import Engine
from tunewright.models.forest import Row
from tunewright.models.opening import open_chat, open_model
from tunewright.models.own_weights import digests
from tunewright.models.tunable import TunableModel
from tunewright.training.encoding import encode
from tunewright.training.step import Stepper

TOKENS = ("<order>", "</order>")
SAID = [("where is my card", "<order>card</order>"), ("and the parcel?", "<order>parcel</order> today")]
KINDS = ("llama", "qwen2", "gpt2", "gemma2")  # untied; tied; tied with other names; with changed logits
WHOLE = ("full", "gradual")  # train the base's own rows too, in the end
CELLS = [(kind, "llama") for kind in catalog.kinds("methods")]
CELLS += [(kind, base) for kind in ("lora", "full", "gradual", "last_layers", "prompt") for base in KINDS[1:]]


def grown(tiny: Callable[[str], Path], base: str) -> TunableModel:
    return open_model(ModelOptions(base=str(tiny(base)), new_tokens=TOKENS))


def attached(model: TunableModel, method: Method) -> TunableModel:
    method.attach(model.net, seed=1)
    new_rows.attach(model.net, thaws=method.thaws)
    return model


def probe(model: TunableModel) -> torch.Tensor:
    """Log-probs of a row with both new tokens in it, read and said."""
    first = model.chat.new.first  # type: ignore[union-attr]
    ids = [(13 * n) % 290 for n in range(20)]
    row = Row([*ids[:5], first, *ids[5:12], first + 1, first, *ids[12:]], [0.0] + [1.0] * 22, "probe")
    with torch.no_grad():
        return model.token_logprobs(model.forest([row]))


@dataclass
class Trained:
    """One method on one base after a few steps."""

    method: Method
    base: str
    model: TunableModel
    before: torch.Tensor
    frozen: dict[str, str]
    rows_before: dict[str, torch.Tensor]


def rows_of(model: TunableModel) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.net.named_parameters() if new_rows.is_of_rows(name)}


@pytest.fixture(scope="module", params=CELLS, ids=["-".join(cell) for cell in CELLS])
def trained(
    request: pytest.FixtureRequest, tiny: Callable[[str], Path], part_options: dict[str, dict[str, Any]]
) -> Trained:
    kind, base = request.param
    method = catalog.build("methods", {"kind": kind, **part_options.get(kind, {})})
    model = grown(tiny, base)
    method.quantise(model.net)
    before = probe(model)
    attached(model, method)
    frozen, rows_before = digests(model.net), rows_of(model)
    objective = catalog.build("objectives", "sft")
    examples = [
        Example(id=str(n), messages=[Message(role="user", content=q), Message(role="assistant", content=a)])
        for n, (q, a) in enumerate(SAID)
    ]
    units = encode(examples, objective, model.chat, max_tokens=128).units
    stepper = Stepper(model, method, objective, TrainOptions(lr=1e-2, micro_tokens=60))
    for step in range(5):
        method.at(model.net, step=step + 1, total=5, per_epoch=1)
        assert stepper.take(units, factor=1.0, seed=step).taken
    return Trained(method, base, model, before, frozen, rows_before)


def test_new_rows_train_and_no_other_row_of_a_frozen_base_does(trained: Trained) -> None:
    model, rows = trained.model, rows_of(trained.model)
    now = digests(model.net, set(trained.frozen))
    assert {name: now[name] for name in trained.frozen} == trained.frozen
    matrices = dict(new_tokens.matrices(model.net))
    expected = 0 if trained.method.kind == "full" else len(matrices)
    assert len(rows) == expected
    for name, value in rows.items():
        assert value.shape == (2, 32)
        assert (value != trained.rows_before[name]).any(1).all(), "each token is read and said"
    if trained.method.kind not in WHOLE:
        assert not any(matrix.weight.requires_grad for matrix in matrices.values())


def test_what_is_saved_comes_back_and_holds_rows_alone(
    trained: Trained, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    method, model = trained.method, trained.model
    method.save(model.net, tmp_path)
    new_rows.save(model.net, tmp_path)
    found = {key: t for file in tmp_path.glob("*.safetensors") for key, t in load_file(file).items()}
    rows = [t for key, t in found.items() if key.endswith(".trainable_tokens_delta")]
    assert [tuple(t.shape) for t in rows] == [(2, 32)] * len(rows_of(model))
    if method.kind not in WHOLE:
        assert not any(len(t) > 300 and t.dim() == 2 for t in found.values()), "no whole vocabulary is saved"
    again = grown(tiny, trained.base)
    method.quantise(again.net)
    method.load(attached(again, method).net, tmp_path)
    new_rows.load(again.net, tmp_path)
    torch.testing.assert_close(probe(again), probe(model), atol=1e-5, rtol=0)


def test_merged_it_is_a_plain_model_with_the_same_words(trained: Trained, tiny: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    method = trained.method
    if method.quantised:
        pytest.skip("merged into the base as it was before: held by the merge proof")
    method.save(trained.model.net, tmp_path / "saved")
    new_rows.save(trained.model.net, tmp_path / "saved")
    again = attached(grown(tiny, trained.base), method)
    method.load(again.net, tmp_path / "saved")
    new_rows.load(again.net, tmp_path / "saved")
    if not method.mergeable:
        with pytest.raises(CannotMerge):
            method.merge(again.net)
        return
    method.merge(again.net)
    new_rows.merge(again.net)
    again.save(tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = tokenizer.encode("pay <order>card</order>", add_special_tokens=False)
    assert {*again.chat.new.ids} <= {*ids} and tokenizer.decode(
        ids, skip_special_tokens=True
    ) == "pay <order>card</order>"
    row = Row([1, *ids, 2], [0.0] + [1.0] * (len(ids) + 1), "one")
    with torch.no_grad():
        logp = torch.log_softmax(plain(torch.tensor([row.items])).logits[0, :-1], -1)
        ours = trained.model.token_logprobs(trained.model.forest([row]))
    theirs = logp.gather(1, torch.tensor(row.items[1:])[:, None])[:, 0]
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def test_switched_off_it_is_the_base_with_new_tokens_at_their_start(trained: Trained) -> None:
    try:
        with trained.method.off(trained.model.net):
            torch.testing.assert_close(probe(trained.model), trained.before, atol=1e-5, rtol=0)
    except CannotMerge:
        assert not trained.method.has_adapter
    else:
        assert not torch.equal(probe(trained.model), trained.before)


def test_the_estimate_counts_what_trains(trained: Trained, tiny: Callable[[str], Path]) -> None:
    new = trained.model.chat.new
    facts = estimate.facts(str(tiny(trained.base)), new_tokens=new.ids)
    plain = estimate.facts(str(tiny(trained.base)))
    matrices = 1 if trained.base != "llama" else 2
    assert facts.parameters - plain.parameters == 2 * 32 * matrices
    counted = estimate.work(facts, trained.method).trainable
    if trained.method.kind != "gradual":  # whose matrices train beside, later
        assert counted == sum(p.numel() for p in trained.model.net.parameters() if p.requires_grad)
        assert counted - estimate.work(plain, trained.method).trainable == 2 * 32 * matrices


# --- gradients ---


@pytest.mark.parametrize("base", KINDS)
def test_gradients_of_rows_are_those_of_the_whole_matrix(base: str, tiny: Callable[[str], Path]) -> None:
    """The same model with its whole vocabulary trained is the oracle."""
    apart, whole = grown(tiny, base), grown(tiny, base)
    for model in (apart, whole):
        model.net.double().requires_grad_(False)
    new_rows.attach(apart.net)
    apart.net.double()
    for _, matrix in new_tokens.matrices(whole.net):
        matrix.requires_grad_(True)
    ids = apart.chat.new.ids  # type: ignore[union-attr]
    rows = [Row([5, ids[0], 9, 8, ids[1], 7], [0.0, 1.0, 0.5, 1.0, 1.0, 1.0], "a"), Row([5, 6, 4], [0.0, 1, 1], "b")]

    losses: list[Callable[[TunableModel], torch.Tensor]] = [
        lambda model: model.loss_sum(model.forest(rows), smoothing=0.1),
        lambda model: model.logprobs(model.forest(rows)).exp().sum(),
    ]
    for loss in losses:
        values = [loss(model) for model in (apart, whole)]
        torch.testing.assert_close(*values)
        for model, value in zip((apart, whole), values, strict=True):
            model.net.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in apart.net.parameters() if p.requires_grad]
        expected = [matrix.weight.grad[ids[0] : ids[1] + 1] for _, matrix in new_tokens.matrices(whole.net)]  # type: ignore[index, union-attr]
        assert len(gradients) == len(expected)
        for mine, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(mine, other)


# --- starts ---


def test_a_row_begins_as_the_mean_of_its_pieces(tiny: Callable[[str], Path]) -> None:
    base, model = open_model(ModelOptions(base=str(tiny("llama")))), grown(tiny, "llama")
    for (_, before), (_, after) in zip(new_tokens.matrices(base.net), new_tokens.matrices(model.net), strict=True):
        for token, text in zip(model.chat.new.ids, TOKENS, strict=True):  # type: ignore[union-attr]
            pieces = base.chat.tokenizer.encode(text, add_special_tokens=False)
            assert len(pieces) > 2
            torch.testing.assert_close(after.weight[token], before.weight[pieces].mean(0))  # type: ignore[index]
        assert torch.equal(after.weight[: len(before.weight)], before.weight)  # type: ignore[index, arg-type]


def test_spare_rows_of_a_base_are_used_before_it_grows(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    roomy = open_model(ModelOptions(base=str(tiny("qwen2"))))
    roomy.net.resize_token_embeddings(320, mean_resizing=False)
    roomy.save(tmp_path)
    model = open_model(ModelOptions(base=str(tmp_path), new_tokens=TOKENS))
    assert model.net.config.vocab_size == 320 and model.chat.new.ids.stop < 320  # type: ignore[union-attr]
    assert estimate.facts(str(tmp_path), new_tokens=model.chat.new.ids).parameters == model.num_parameters  # type: ignore[union-attr]


def test_opening_twice_gives_the_same_model(tiny: Callable[[str], Path]) -> None:
    torch.manual_seed(1)
    one, drawn = grown(tiny, "llama"), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn), "opening draws nothing from the process's generator"
    other = grown(tiny, "llama")
    assert all(torch.equal(a, b) for a, b in zip(one.net.parameters(), other.net.parameters(), strict=True))
    assert one.chat.digest == other.chat.digest != open_chat(ModelOptions(base=str(tiny("llama")))).digest


# --- PEFT, and several adapters ---


def released(method: Method, tiny: Any, base: str, folder: Path, seed: int = 0) -> Path:
    """An adapter with rows of its own, somewhere."""
    model = attached(grown(tiny, base), method)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.net.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    method.export(model.net, folder)
    new_rows.save(model.net, folder)
    model.chat.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("base", KINDS)
def test_peft_opens_a_lora_with_new_tokens_with_equal_logits(
    base: str, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = released(catalog.build("methods", "lora"), tiny, base, tmp_path)
    net = AutoModelForCausalLM.from_pretrained(tiny(base))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    net.resize_token_embeddings(len(tokenizer))
    theirs = PeftModel.from_pretrained(net, str(folder)).eval()
    ours = grown(tiny, base)
    ours.load_adapter("one", folder)
    ids = tokenizer.encode("pay <order>card</order> now", add_special_tokens=False)
    with torch.no_grad():
        expected = theirs(torch.tensor([ids])).logits[0]
        forest = ours.forest([Row(ids, [0.0] * len(ids), "a", "one")])
        said = ours.logits(ours.hidden(forest), [("one", len(ids))])
    torch.testing.assert_close(said, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("kind", ["lora", "bottleneck", "prompt"])
def test_adapters_with_rows_of_their_own_answer_in_one_batch(
    kind: str, plain: bool, tiny: Callable[[str], Path], tmp_path: Path, part_options: dict[str, dict[str, Any]]
) -> None:
    method = catalog.build("methods", {"kind": kind, **part_options.get(kind, {})})
    model = grown(tiny, "llama")
    for number, name in enumerate(("one", "two")):
        model.load_adapter(name, released(method, tiny, "llama", tmp_path / name, seed=number))
    first = model.chat.new.first  # type: ignore[union-attr]
    prompts = [[5, first, 9 + n, first + 1] for n in range(6)]
    names = ["one", "two", "", "two", "one", ""]
    together = Engine(model, plain=plain).generate(
        prompts, max_new_tokens=8, adapters=names, stop_ids=[], logprobs=True
    )
    for prompt, name, answer in zip(prompts, names, together, strict=True):
        [alone] = Engine(model, plain=not plain).generate(
            [prompt], max_new_tokens=8, adapters=[name], stop_ids=[], logprobs=True
        )
        assert alone.ids == answer.ids
        assert alone.logprobs == pytest.approx(answer.logprobs, abs=1e-4)
    model.drop_adapter("one")
    model.drop_adapter("two")
    assert not rows_of(model)


def test_an_adapter_with_new_tokens_needs_a_base_that_has_them(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = released(catalog.build("methods", "lora"), tiny, "llama", tmp_path)
    plain = open_model(ModelOptions(base=str(tiny("llama"))))
    with pytest.raises(DataError, match=r"holds rows of 2 new tokens.*Give model\.new_tokens"):
        plain.load_adapter("one", folder)
    assert not plain.adapters and not rows_of(plain)
    with pytest.raises(DataError, match="do not add up"):
        from tunewright.models.compose import compose

        compose(tmp_path / "both", [f"{folder}:0.5", f"{folder}:0.5"])
    model = grown(tiny, "llama")
    adapters.merge_into(model.net, folder)
    assert not rows_of(model)


# --- what is refused ---


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("<|im_start|>",), "tokens of their own for '<|im_start|>' already"),
        (("e", "<order>"), "tokens of their own for 'e' already"),
    ],
)
def test_what_is_one_token_already_is_no_new_token(texts: tuple[str, ...], said: str, tiny: Any) -> None:
    with pytest.raises(RecipeError) as caught:
        open_chat(ModelOptions(base=str(tiny("llama")), new_tokens=texts))
    assert said in str(caught.value)


def test_tokens_that_were_added_before_are_found_again(tiny: Any, tmp_path: Path) -> None:
    grown(tiny, "llama").save(tmp_path)
    chat = open_chat(ModelOptions(base=str(tmp_path), new_tokens=(*TOKENS, "<end>")))
    assert chat.new is not None and chat.new.known == TOKENS
    assert [bool(pieces) for pieces in chat.new.pieces] == [False, False, True]
    with pytest.raises(RecipeError, match="one behind the other"):
        open_chat(ModelOptions(base=str(tmp_path), new_tokens=(TOKENS[0], "<end>")))


def test_a_tuner_that_trains_tokens_itself_is_refused(tiny: Any) -> None:
    options = {"kind": "peft", "tuner": "TRAINABLE_TOKENS", "options": {"token_indices": [3]}}
    with pytest.raises(RecipeError, match=r"model\.new_tokens: the method puts something of its own in the place of"):
        attached(grown(tiny, "llama"), catalog.build("methods", options))


# --- encoder-decoders ---


@pytest.mark.parametrize("base", ["t5", "t5_apart", "bart", "pegasus"])
@pytest.mark.parametrize("kind", ["lora", "full", "last_layers"])
def test_an_encoder_decoder_reads_and_says_new_tokens(
    base: str, kind: str, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    method = catalog.build("methods", kind)
    model, bare = grown(tiny, base), open_model(ModelOptions(base=str(tiny(base))))
    for (_, old), (_, new) in zip(new_tokens.matrices(bare.net), new_tokens.matrices(model.net), strict=True):
        assert torch.equal(new.weight[:-2], old.weight)  # type: ignore[index, arg-type]
    before = dict(model.net.named_parameters())[
        "model.shared.weight" if base in ("bart", "pegasus") else "shared.weight"
    ]
    start = before.detach().clone()
    attached(model, method)
    objective, ids = catalog.build("objectives", "sft"), model.chat.new.ids  # type: ignore[union-attr]
    example = Example(
        id="1",
        messages=[
            Message(role="user", content="the <order>card</order>"),
            Message(role="assistant", content="<order>a</order> b"),
        ],
    )
    units = encode([example], objective, model.chat, max_tokens=64).units
    [row] = units[0]
    assert {*ids} <= {*row.items[: row.weights.index(1.0)]} and {*ids} <= {*row.items[row.weights.index(1.0) :]}
    rows_before = rows_of(model)
    stepper = Stepper(model, method, objective, TrainOptions(lr=1e-2, micro_tokens=60))
    for step in range(3):
        assert stepper.take(units, factor=1.0, seed=step).taken
    rows = rows_of(model)
    apart = base == "t5_apart"
    assert len(rows) == (0 if kind == "full" else 2 if apart else 1)
    assert all((value != rows_before[name]).any(1).all() for name, value in rows.items())
    assert torch.equal(before, start) == (kind != "full")

    def said(one: TunableModel) -> torch.Tensor:
        with torch.no_grad():
            return one.token_logprobs(one.forest([row]))

    ours = said(model)
    method.save(model.net, tmp_path / "saved")
    new_rows.save(model.net, tmp_path / "saved")
    again = attached(grown(tiny, base), method)
    method.load(again.net, tmp_path / "saved")
    new_rows.load(again.net, tmp_path / "saved")
    torch.testing.assert_close(said(again), ours, atol=1e-5, rtol=0)
    method.merge(again.net)
    new_rows.merge(again.net)
    again.save(tmp_path / "merged")
    plain = open_model(ModelOptions(base=str(tmp_path / "merged")))
    assert plain.chat.digest == model.chat.digest
    torch.testing.assert_close(said(plain), ours, atol=2e-5, rtol=0)
