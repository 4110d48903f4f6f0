"""Encoder-decoders without padding: the same numbers as the transformers library gives for each row with its labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Objective
from tunewright.core.recipe import ModelOptions
from tunewright.models import scoring
from tunewright.models.estimate import facts
from tunewright.models.forest import Row
from tunewright.models.opening import open_model
from tunewright.models.seq2seq_engine import engine_for
from tunewright.models.sequences import Generated
from tunewright.models.tunable import TunableModel
from tunewright.training.encoding import encode
from tunewright.training.step import gradients

KINDS = ["t5", "t5_apart", "mt5", "bart", "pegasus"]
Tiny = Callable[..., TunableModel]


def rows() -> list[Row]:
    """Prompts of several lengths, two of them shared, with answers of several lengths."""
    draw = torch.Generator().manual_seed(3)

    def ids(length: int) -> list[int]:
        return torch.randint(3, 300, (length,), generator=draw).tolist()

    prompts = [ids(7), ids(8), ids(12), ids(3)]
    pairs = [(0, 4), (0, 4), (0, 6), (1, 4), (2, 6), (2, 1), (3, 9)]
    found = []
    for number, (which, length) in enumerate(pairs):
        answer = [*ids(length - 1), 0]
        weights = [0.0] * len(prompts[which]) + [1.0] * length
        found.append(Row([*prompts[which], *answer], weights, f"e{number}"))
    return found


def plain(folder: Path) -> Any:
    from transformers import AutoModelForSeq2SeqLM

    net = AutoModelForSeq2SeqLM.from_pretrained(folder, attn_implementation="eager")
    return net.eval()


def loss_of(net: Any, row: Row) -> torch.Tensor:
    """The library's loss of one row, as a sum over its labels."""
    at = row.weights.index(1.0)
    labels = torch.tensor([row.items[at:]])
    out: torch.Tensor = net(input_ids=torch.tensor([row.items[:at]]), labels=labels).loss * labels.shape[1]
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [True, False])
def test_loss_and_gradients_equal_the_library_row_by_row(
    kind: str, share: bool, tiny: Callable[[str], Path], open_tiny: Tiny
) -> None:
    net, model, made = plain(tiny(kind)), open_tiny(kind), rows()
    net.double()
    model.net.double()
    forest = model.forest(made, share=share)
    theirs = [loss_of(net, row) for row in made]
    with torch.no_grad():
        assert torch.allclose(-model.logprobs(forest), torch.stack(theirs), rtol=1e-6)
    ours = model.loss_sum(forest)
    assert float(ours.detach()) == pytest.approx(float(torch.stack(theirs).sum().detach()), rel=1e-6)
    ours.backward()  # type: ignore[no-untyped-call]
    torch.stack(theirs).sum().backward()  # type: ignore[no-untyped-call]
    expected = dict(net.named_parameters())
    for name, parameter in model.net.named_parameters():  # a bias of keys has no gradient but rounding
        if expected[name].grad is None:  # sinusoids
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        gap = (parameter.grad - expected[name].grad).norm() / expected[name].grad.norm().clamp_min(1e-6)
        assert float(gap) < 1e-5, name


def test_equal_prompts_are_read_once(open_tiny: Tiny) -> None:
    model = open_tiny("t5")
    read: list[int] = []
    net: Any = model.net
    net.get_encoder().register_forward_hook(lambda module, given, out: read.append(len(out.last_hidden_state)))
    model.loss_sum(model.forest(rows()))
    assert sum(read) == 4
    read.clear()
    model.loss_sum(model.forest(rows(), share=False))
    assert sum(read) == 7


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_lora_equals_peft(kind: str, tiny: Callable[[str], Path], open_tiny: Tiny, tmp_path: Path) -> None:
    """An adapter of ours opens in PEFT and makes the same loss and gradients there."""
    from peft import PeftModel

    model, made = open_tiny(kind), rows()
    method = catalog.build("methods", {"kind": "lora", "rank": 4})
    method.attach(model.net, seed=1)
    with torch.no_grad():
        for name, parameter in model.net.named_parameters():
            if ".B." in name:
                parameter.normal_(0.0, 0.1)
    method.save(model.net, tmp_path)
    theirs = PeftModel.from_pretrained(plain(tiny(kind)), tmp_path, is_trainable=True).eval()
    assert theirs.peft_config["default"].task_type == "SEQ_2_SEQ_LM"
    other = torch.stack([loss_of(theirs, row) for row in made]).sum()
    ours = model.loss_sum(model.forest(made))
    assert float(ours.detach()) == pytest.approx(float(other.detach()), rel=1e-5)
    ours.backward()  # type: ignore[no-untyped-call]
    other.backward()  # type: ignore[no-untyped-call]
    expected, found = (
        {n: p.grad for n, p in net.named_parameters() if p.grad is not None} for net in (theirs, model.net)
    )
    assert len(found) == len(expected) > 0
    for name, gradient in found.items():
        path, side = name.split(".A." if ".A." in name else ".B.")[0], "A" if ".A." in name else "B"
        match = expected[f"base_model.model.{path}.lora_{side}.default.weight"]
        assert float((gradient - match).norm() / match.norm().clamp_min(1e-9)) < 1e-4, name


def test_last_layers_are_those_of_the_decoder(open_tiny: Tiny) -> None:
    tops = {"t5": ("decoder.block.1.", "decoder.final_layer_norm."), "bart": ("model.decoder.layers.1.",)}
    for kind, names in tops.items():
        net = open_tiny(kind).net
        catalog.build("methods", {"kind": "last_layers", "layers": 1}).attach(net)
        trained = [name for name, parameter in net.named_parameters() if parameter.requires_grad]
        assert trained and all(name.startswith(names) for name in trained), trained


@pytest.mark.parametrize("kind", KINDS)
def test_answers_equal_those_of_the_library(kind: str, tiny: Callable[[str], Path], open_tiny: Tiny) -> None:
    net, model = plain(tiny(kind)), open_tiny(kind)
    prompts = [row.items[: row.weights.index(1.0)] for row in rows()]
    engine = engine_for(model, max_live=4)
    made: list[Generated] = engine.generate(prompts, max_new_tokens=8, logprobs=True)
    for prompt, ours in zip(prompts, made, strict=True):
        with torch.no_grad():
            said = net.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False, num_beams=1)
        theirs = said[0, 1:].tolist()
        assert ours.ids == (theirs[: theirs.index(0)] if 0 in theirs else theirs)
        row = Row([*prompt, *ours.ids], [0.0] * len(prompt) + [1.0] * len(ours.ids), "e")
        if ours.ids:
            with torch.no_grad():
                again = float(model.logprobs(model.forest([row])))
            assert sum(ours.logprobs) == pytest.approx(again, rel=1e-4)
    assert not engine.live and not engine.waiting


def test_an_answer_begins_as_the_settings_force_it(tiny: Callable[[str], Path], open_tiny: Tiny) -> None:
    net, model = plain(tiny("bart")), open_tiny("bart")
    for settings in (net.generation_config, model.net.generation_config):
        assert settings is not None
        settings.forced_bos_token_id = 1
    prompt = rows()[0].items[:7]
    theirs = net.generate(torch.tensor([prompt]), max_new_tokens=4, do_sample=False, num_beams=1)[0, 1:].tolist()
    assert engine_for(model).generate([prompt], max_new_tokens=4)[0].ids == theirs and theirs[0] == 1


def test_an_answer_does_not_depend_on_its_neighbours(open_tiny: Tiny) -> None:
    model = open_tiny("t5")
    prompts = [row.items[: row.weights.index(1.0)] for row in rows()]
    together = engine_for(model).generate(prompts, max_new_tokens=6, temperature=1.0, seed=5)
    for number, prompt in enumerate(prompts):
        alone = engine_for(model).generate([prompt], max_new_tokens=6, temperature=1.0, seed=5 + number)
        assert alone[0].ids == together[number].ids


def test_labels_are_scored_as_rows(open_tiny: Tiny) -> None:
    model = open_tiny("bart")
    prompts = [row.items[: row.weights.index(1.0)] for row in rows()]
    endings = [model.chat.answer_ids(label) for label in ("card", "parcel", "a")]
    found = scoring.scores(model, prompts, endings)
    for prompt, of_prompt in zip(prompts, found, strict=True):
        for ending, score in zip(endings, of_prompt, strict=True):
            row = Row([*prompt, *ending], [0.0] * len(prompt) + [1.0] * len(ending), "e")
            with torch.no_grad():
                assert score == pytest.approx(float(model.logprobs(model.forest([row]))), rel=1e-5)
    assert scoring.best(model, prompts, endings) == [row.index(max(row)) for row in found]


def test_texts_are_framed_as_the_tokenizer_frames_them(open_tiny: Tiny) -> None:
    for kind in ("t5", "bart"):
        chat = open_tiny(kind).chat
        told = [Message(role="user", content="Where is <|endoftext|> it?"), Message(role="assistant", content="Here.")]
        turn = chat.turns(Example(id="e", messages=told))[-1]
        frame = [1] if kind == "bart" else []
        assert turn.prompt == chat.prompt_ids(told[:1]) and turn.prompt.count(0) == 1  # a user's own end ends nothing
        assert turn.prompt[: len(frame)] == frame and turn.prompt[-1] == 0
        assert turn.answer == [*frame, *chat.tokenizer.encode("Here.", add_special_tokens=False), 0]
        assert chat.decode(turn.prompt) == "Where is <|endoftext|> it?"
        several = [Message(role="system", content="Be kind."), *told, Message(role="user", content="Thanks")]
        text = "Be kind.\n\nUser: Where is <|endoftext|> it?\nAssistant: Here.\nUser: Thanks"
        assert chat.decode(chat.prompt_ids(several)) == text
        with pytest.raises(DataError, match="calls no tools"):
            chat.prompt_ids(told[:1], [{"type": "function"}])


@pytest.mark.parametrize("kind", ["sft", "dpo", "distill"])
def test_micro_batches_change_nothing(kind: str, open_tiny: Tiny) -> None:
    """And DPO's two answers under one prompt are computed as two rows alone."""
    from tunewright.models.reference import Reference

    teacher = {"teacher": "other", "mix": 0.5} if kind == "distill" else {}
    objective: Objective = catalog.build("objectives", {"kind": kind, **teacher})
    method = catalog.build("methods", {"kind": "lora", "rank": 4})
    model = open_tiny("t5")
    told = [
        Example(
            id=str(n),
            messages=[Message(role="user", content=f"Where is parcel {n}?"), Message(role="assistant", content="Here")],
            rejected=[Message(role="assistant", content="I know not" * n)],
        )
        for n in range(1, 4)
    ]
    units = encode(told, objective, model.chat, max_tokens=128).units
    method.attach(model.net, seed=1)
    model.net.double()
    with torch.no_grad():
        for name, parameter in model.net.named_parameters():
            if ".B." in name:
                parameter.normal_(0.0, 0.1)
    model.others = {"teacher": open_tiny("t5_apart", double=True)}
    model.reference = Reference(model, method, lambda: open_tiny("t5"))
    trained = [p for p in model.net.parameters() if p.requires_grad]

    def measured(micro_tokens: int, share: bool) -> tuple[float, torch.Tensor]:
        for parameter in trained:
            parameter.grad = None
        loss = gradients(model, objective, units, micro_tokens=micro_tokens, share=share)[0]
        return loss, torch.cat([p.grad.flatten() for p in trained if p.grad is not None])

    loss, whole = measured(10**6, True)
    for micro_tokens, share in ((1, True), (10**6, False)):
        other, parts = measured(micro_tokens, share)
        assert other == pytest.approx(loss, rel=1e-6)
        assert float((parts - whole).norm() / whole.norm()) < 1e-5


def test_kinds_that_are_not_known_are_refused(tmp_path: Path, open_tiny: Tiny) -> None:
    from transformers import MBartConfig

    MBartConfig(d_model=32).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    for opened in (lambda: open_model(ModelOptions(base=str(tmp_path))), lambda: facts(str(tmp_path))):
        with pytest.raises(DataError, match="'mbart' is an encoder-decoder of a kind that is not known here"):
            opened()
    model = open_tiny("t5")
    with pytest.raises(DataError, match="a teacher of the student's kind"):
        model.distilled_sum(model.forest(rows()), open_tiny("llama"), temperature=1.0, mix=0.5)
