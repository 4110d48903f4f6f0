"""One optimizer step, and going on from a checkpoint bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog, storage
from tunewright.core.errors import DataError, RunError
from tunewright.core.example import Example, Message
from tunewright.core.recipe import TrainOptions
from tunewright.models.forest import Row
from tunewright.training import checkpoints
from tunewright.training.encoding import encode
from tunewright.training.sampler import ShuffledEpochs, draw_seed
from tunewright.training.step import Stepper, validation_loss

UNITS = [[Row([(k * n) % 290 for n in range(1, 20 + k)], [0.0] * 9 + [1.0] * (10 + k), f"e{k}")] for k in range(7)]
ABOUT = {"recipe": "r", "training_data": "d"}


def stepper_of(model: Any, method: Any = "full", objective: Any = "sft", **options: Any) -> Stepper:
    part = catalog.build("methods", method)
    part.attach(model.net, seed=1)
    return Stepper(
        model, part, catalog.build("objectives", objective), TrainOptions(**{"lr": 1e-3, "micro_tokens": 50, **options})
    )


def weights(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in model.net.parameters()])


@pytest.mark.parametrize("clip", [1e9, 0.5])
def test_a_step_is_pytorch_s_adamw_on_the_mean_loss(clip: float, open_tiny: Any, tiny: Any) -> None:
    from transformers import AutoModelForCausalLM

    model = open_tiny("llama")
    stepper = stepper_of(model, weight_decay=0.1, clip=clip)
    plain = AutoModelForCausalLM.from_pretrained(tiny("llama"), dtype="float32").eval()
    groups = [
        {"params": [p for p in plain.parameters() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in plain.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.5 * 1e-3, betas=(0.9, 0.999), eps=1e-8)
    count = sum(unit[0].num_learned for unit in UNITS)
    for step in range(3):
        result = stepper.take(UNITS, factor=0.5, seed=step)
        optimizer.zero_grad()
        total = 0.0
        for [row] in UNITS:
            labels = torch.tensor([[i if w else -100 for i, w in zip(row.items, row.weights, strict=True)]])
            loss = plain(input_ids=torch.tensor([row.items]), labels=labels).loss * (row.num_learned / count)
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), clip)
        optimizer.step()
        assert result.loss == pytest.approx(total, rel=1e-5)
        assert result.grad_norm == pytest.approx(norm.item(), rel=1e-4)
    theirs = torch.cat([p.detach().flatten() for p in plain.parameters()])
    assert torch.allclose(weights(model), theirs, atol=2e-5)


def test_a_step_that_is_not_finite_leaves_weights_and_state_alone(open_tiny: Any) -> None:
    model = open_tiny("llama")
    stepper = stepper_of(model)
    stepper.take(UNITS, factor=1.0, seed=0)
    before = weights(model)
    state = [value.clone() for held in stepper.optimizer.state.values() for value in held.values()]

    def broken(*args: Any, **options: Any) -> Any:
        for parameter in stepper.parameters:
            parameter.grad = torch.full_like(parameter, float("nan"))
        return float("inf"), {}, 0, {}

    assert not stepper.take(UNITS, factor=1.0, seed=1, gradients=broken).taken
    assert torch.equal(weights(model), before)
    now = [value for held in stepper.optimizer.state.values() for value in held.values()]
    assert all(torch.equal(a, b) for a, b in zip(state, now, strict=True))
    assert stepper.take(UNITS, factor=1.0, seed=2).taken


def test_what_a_step_counts(open_tiny: Any) -> None:
    prompt = list(range(40))
    units = [[Row([*prompt, 50 + n], [0.0] * 40 + [1.0], str(n))] for n in range(3)]
    result = stepper_of(open_tiny("llama"), micro_tokens=500).take(units, factor=1.0, seed=0)
    assert (result.tokens, result.forest_tokens, result.learned_tokens) == (123, 43, 3.0)


def test_noise_and_dropout_compute_rows_apart_unless_shared_on_request(open_tiny: Any) -> None:
    noisy, dropping = {"kind": "sft", "noise": 5}, {"kind": "lora", "dropout": 0.1}
    assert not stepper_of(open_tiny("llama"), objective=noisy).share
    assert not stepper_of(open_tiny("llama"), method=dropping).share
    assert stepper_of(open_tiny("llama"), objective=noisy, share=True).share
    assert stepper_of(open_tiny("llama")).share


@pytest.mark.parametrize(
    ("method", "objective"),
    [("full", "sft"), ({"kind": "lora", "dropout": 0.2}, {"kind": "sft", "noise": 5}), ("last_layers", "pretrain")],
)
def test_resumed_is_bit_for_bit_what_was_never_stopped(
    method: Any, objective: Any, open_tiny: Any, tmp_path: Path
) -> None:
    sampler = ShuffledEpochs(len(UNITS), batch=3, seed=0, steps=8)

    def go(stepper: Stepper, first: int, last: int) -> None:
        for number in range(first, last + 1):
            members = [UNITS[m] for m in sampler.step(number).members]
            stepper.take(members, factor=1.0, seed=draw_seed(0, number))

    whole = open_tiny("llama")
    go(stepper_of(whole, method, objective), 1, 8)
    half = open_tiny("llama")
    stepper = stepper_of(half, method, objective)
    go(stepper, 1, 4)
    part = catalog.build("methods", method)
    checkpoints.save(
        tmp_path, method=part, net=half.net, optimizer=stepper.optimizer, state={"step": 4}, about=ABOUT, keep=set()
    )
    found = checkpoints.newest(tmp_path, about=ABOUT, warn=lambda message: None)
    assert found is not None and found.step == 4
    resumed = open_tiny("llama")
    again = stepper_of(resumed, method, objective)
    part.load(resumed.net, found.model)
    checkpoints.load_optimizer(found, again.optimizer)
    go(again, 5, 8)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.fixture
def saved(open_tiny: Any, tmp_path: Path) -> Path:
    """Checkpoints of steps 1 to 4, of which 1 is to be kept."""
    model = open_tiny("llama")
    stepper = stepper_of(model, "lora")
    for step in range(1, 5):
        stepper.take(UNITS[:2], factor=1.0, seed=step)
        checkpoints.save(
            tmp_path, method=catalog.build("methods", "lora"), net=model.net, optimizer=stepper.optimizer,
            state={"step": step}, about=ABOUT, keep={1, 3},
        )  # fmt: skip
    return tmp_path


def test_predecessors_go_but_those_to_be_kept(saved: Path) -> None:
    assert sorted(folder.name for folder in saved.iterdir()) == ["step-000001", "step-000003", "step-000004"]


def test_a_damaged_checkpoint_is_passed_over_and_named(saved: Path) -> None:
    file = saved / "step-000004" / "optimizer.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    (saved / ".step-000005.abc.tmp").mkdir()
    told: list[str] = []
    found = checkpoints.newest(saved, about=ABOUT, warn=told.append)
    assert found is not None and found.step == 3
    assert len(told) == 1 and "step-000004" in told[0] and "optimizer.safetensors" in told[0]
    assert not list(saved.glob(".step-*"))


def test_another_recipe_or_other_data_is_refused(saved: Path) -> None:
    with pytest.raises(RunError, match="another training data"):
        checkpoints.newest(saved, about={**ABOUT, "training_data": "other"}, warn=lambda message: None)


def test_a_checkpoint_holds_no_pickle(saved: Path) -> None:
    kinds = {file.suffix for file in saved.rglob("*") if file.is_file()}
    assert kinds == {".json", ".safetensors"}
    assert storage.damage(saved / "step-000004") is None


def test_validation_draws_nothing_and_does_not_depend_on_micro_tokens(open_tiny: Any) -> None:
    model = open_tiny("llama")
    objective = catalog.build("objectives", {"kind": "sft", "noise": 50})
    polled: list[int] = []
    losses = [
        validation_loss(model, objective, UNITS, micro_tokens=size, poll=lambda: polled.append(1))
        for size in (20, 70, 10**5)
    ]
    assert losses[0] == pytest.approx(losses[2], rel=1e-6) and losses[1] == pytest.approx(losses[2], rel=1e-6)
    assert len(polled) > 3


def chat_example(number: int, answer: str) -> Example:
    return Example(
        id=f"e{number}", messages=[Message(role="user", content="q"), Message(role="assistant", content=answer)]
    )


def test_rows_without_room_for_an_answer_are_named_and_left_out(open_tiny: Any) -> None:
    chat = open_tiny("llama").chat
    sft = catalog.build("objectives", "sft")
    room = len(chat.prompt_ids([{"role": "user", "content": "q"}]))
    found = encode([chat_example(0, "a"), chat_example(1, "a long answer to it")], sft, chat, max_tokens=room + 3)
    assert found.ids == ["e0", "e1"] and found.unlearned == [] and found.cut == ["e1"]
    long = Example(id="e2", messages=[Message(role="user", content="q" * 99), Message(role="assistant", content="a")])
    found = encode([chat_example(0, "a"), long], sft, chat, max_tokens=room + 3)
    assert found.ids == ["e0"] and found.unlearned == ["e2"]
    with pytest.raises(DataError, match="None of the 1 examples"):
        encode([long], sft, chat, max_tokens=room + 3)


def test_examples_of_the_wrong_shape_are_refused(open_tiny: Any) -> None:
    with pytest.raises(DataError, match=r"'pretrain' needs 'text' in every example; 1 of 1 lack it. First: e0"):
        encode([chat_example(0, "a")], catalog.build("objectives", "pretrain"), open_tiny("llama").chat, max_tokens=64)


def test_pieces_of_a_document_learn_every_token_exactly_once(open_tiny: Any) -> None:
    chat = open_tiny("llama").chat
    text = "Where is the parcel with my new card? " * 5
    found = encode([Example(id="d", text=text)], catalog.build("objectives", "pretrain"), chat, max_tokens=20)
    rows = [row for unit in found.units for row in unit]
    assert found.ids[:2] == ["d#0", "d#1"] and all(len(row.items) <= 20 for row in rows)
    learned = [item for row in rows for item, weight in zip(row.items, row.weights, strict=True) if weight]
    assert learned == chat.text_ids(text)[1:]
