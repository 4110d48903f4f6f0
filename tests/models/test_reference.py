"""The reference: what the model said when the phase started, whatever became of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog, storage
from tunewright.core.recipe import TrainOptions
from tunewright.models.forest import Forest, Row
from tunewright.models.reference import Reference, Values
from tunewright.models.tunable import TunableModel
from tunewright.training.step import Stepper

PROMPT = [(7 * n) % 290 for n in range(40)]
UNITS = [
    [Row([*PROMPT, *answer], [0.0] * 40 + [1.0] * len(answer), f"e{k}", slot=s) for s, answer in enumerate(answers)]
    for k, answers in enumerate([([5, 6, 7], [8, 9]), ([11, 12], [13]), ([21, 22, 23, 24], [5, 6, 7])])
]
ROWS = [row for unit in UNITS for row in unit]


class Opened:
    """A trained-to-be model, its reference, and how many copies of the base were opened for it."""

    def __init__(self, method: dict[str, Any], open_tiny: Callable[..., TunableModel]) -> None:
        self.base, self.model, self.copies = open_tiny("llama"), open_tiny("llama"), 0
        part = catalog.build("methods", method)
        part.attach(self.model.net, seed=1)
        self.stepper = Stepper(
            self.model, part, catalog.build("objectives", "sft"), TrainOptions(lr=1e-2, micro_tokens=99)
        )

        def open_base() -> TunableModel:
            self.copies += 1
            return open_tiny("llama")

        self.reference = Reference(self.model, part, open_base)

    def train(self) -> None:
        for step in range(3):
            self.stepper.take(UNITS, factor=1.0, seed=step)

    @torch.no_grad()
    def of_the_base(self) -> torch.Tensor:
        return self.base.logprobs(Forest.build(ROWS))


@pytest.fixture(params=catalog.kinds("methods"))
def opened(
    request: pytest.FixtureRequest, open_tiny: Callable[..., TunableModel], part_options: dict[str, dict[str, Any]]
) -> Opened:
    return Opened({"kind": request.param, **part_options.get(request.param, {})}, open_tiny)


def test_values_are_the_base_s_at_step_0_and_stay_so_while_training(opened: Opened) -> None:
    reference, wanted = opened.reference, opened.of_the_base()
    reference.compute(UNITS, micro_tokens=60, untouched=True)
    before = reference.logprobs(Forest.build(ROWS))
    assert torch.allclose(before, wanted, rtol=1e-5)
    opened.train()
    with torch.no_grad():
        assert not torch.allclose(opened.model.logprobs(Forest.build(ROWS)), wanted, atol=0.01)
    assert torch.equal(reference.logprobs(Forest.build(ROWS)), before)
    assert opened.copies == 0


def test_values_computed_after_training_are_still_the_base_s(opened: Opened) -> None:
    opened.train()
    opened.reference.compute(UNITS[:2], micro_tokens=1000, untouched=False)
    found = opened.reference.logprobs(Forest.build(ROWS))  # two rows of them were not in the pass
    assert torch.allclose(found, opened.of_the_base(), rtol=1e-5)
    assert not found.requires_grad
    with opened.reference.frozen() as model, torch.no_grad():
        assert torch.allclose(model.logprobs(Forest.build(ROWS)), opened.of_the_base(), rtol=1e-5)


def test_rows_that_were_not_in_the_pass_are_computed_once(open_tiny: Callable[..., TunableModel]) -> None:
    opened = Opened({"kind": "full"}, open_tiny)
    for _ in range(2):
        opened.reference.logprobs(Forest.build(ROWS))
    assert opened.copies == 1
    assert all(value is not None for value in opened.reference.values.of(ROWS))


def test_a_method_that_can_be_switched_off_always_is(open_tiny: Callable[..., TunableModel]) -> None:
    opened = Opened({"kind": "lora"}, open_tiny)
    opened.train()  # as a method would that changes the model by being attached
    opened.reference.compute(UNITS, micro_tokens=1000, untouched=True)
    assert torch.allclose(opened.reference.logprobs(Forest.build(ROWS)), opened.of_the_base(), rtol=1e-5)


def test_the_weights_of_a_row_belong_to_its_value(open_tiny: Callable[..., TunableModel]) -> None:
    opened = Opened({"kind": "lora"}, open_tiny)
    half = Row(ROWS[0].items, [weight / 2 for weight in ROWS[0].weights], "half")
    one, other = opened.reference.logprobs(Forest.build([ROWS[0], half])).tolist()
    assert other == pytest.approx(one / 2)


def test_saved_values_come_back_and_others_do_not(open_tiny: Callable[..., TunableModel], tmp_path: Path) -> None:
    reference = Opened({"kind": "lora"}, open_tiny).reference
    reference.compute(UNITS, micro_tokens=1000, untouched=True)
    reference.values.save(tmp_path / "reference", key="one", dtype="float32")
    again = Values.load(tmp_path / "reference", "one")
    assert again is not None and again.of(ROWS) == reference.values.of(ROWS)
    assert again.of([Row([1, 2], [0.0, 1.0], "other")]) == [None]
    assert Values.load(tmp_path / "reference", "another") is None
    (tmp_path / "reference" / "logprobs.bin").write_bytes(b"")
    assert storage.damage(tmp_path / "reference") is not None
    assert Values.load(tmp_path / "reference", "one") is None


def test_a_stop_in_the_pass_leaves_nothing_behind(open_tiny: Callable[..., TunableModel]) -> None:
    reference = Opened({"kind": "lora"}, open_tiny).reference

    def poll(done: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reference.compute(UNITS, micro_tokens=1, untouched=True, poll=poll)
    assert reference.values.of(ROWS[:1]) == [None]


def test_chosen_and_rejected_share_their_prompt_in_the_pass(
    open_tiny: Callable[..., TunableModel], monkeypatch: Any
) -> None:
    opened = Opened({"kind": "lora"}, open_tiny)
    sizes: list[int] = []
    plain = opened.model.logprobs

    def counted(forest: Forest) -> torch.Tensor:
        sizes.append(forest.num_tokens)
        return plain(forest)

    monkeypatch.setattr(opened.model, "logprobs", counted)
    opened.reference.compute(UNITS[:1], micro_tokens=1000, untouched=True)
    assert sizes == [40 + 3 + 2]
