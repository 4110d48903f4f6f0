"""F16 to F18, F26: accumulation, packing, empty micro-batches, and losses that are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from small_job import TOTAL, Job

from tunewright.core import storage
from tunewright.core.errors import RunError
from tunewright.core.parts import Loss
from tunewright.models.forest import Forest, Row, micro_batches
from tunewright.models.tunable import TunableModel
from tunewright.objectives.sft import Sft
from tunewright.training.step import gradients


def chains(lengths: Sequence[int], *, seed: int = 0) -> list[list[Row]]:
    """Units of one row each, of unequal lengths; about half of the tokens are learned."""
    draw = torch.Generator().manual_seed(seed)
    units = []
    for number, length in enumerate(lengths):
        items = torch.randint(3, 290, (length,), generator=draw).tolist()
        weights = [0.0] * (length // 2) + [1.0] * (length - length // 2)
        units.append([Row(items, weights, f"e{number}")])
    return units


def taken(model: TunableModel, units: list[list[Row]], micro_tokens: int) -> tuple[float, torch.Tensor]:
    """Loss and gradient of one step, in one long vector."""
    model.net.zero_grad(set_to_none=True)
    loss, _, _, _ = gradients(model, Sft(), units, micro_tokens=micro_tokens, share=True)
    return loss, torch.cat([p.grad.flatten() for p in model.net.parameters() if p.grad is not None])


LENGTHS = [9, 70, 14, 33, 52, 11, 25, 40]


@pytest.mark.parametrize("lengths", [LENGTHS, LENGTHS[:5], LENGTHS[:1]], ids=["whole", "short last batch", "one row"])
@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_accumulation_changes_no_gradient(open_tiny: Callable[..., Any], lengths: list[int], double: bool) -> None:
    model, units = open_tiny(double=double), chains(lengths)
    model.net.requires_grad_(True)
    whole_loss, whole = taken(model, units, 10_000)
    assert len(micro_batches(units, 10_000)) == 1
    for micro_tokens in (1, 60, 100, 140):
        loss, gradient = taken(model, units, micro_tokens)
        assert loss == pytest.approx(whole_loss, rel=1e-6)
        assert float((gradient - whole).norm() / whole.norm()) <= (1e-10 if double else 1e-5)
    assert len(micro_batches(units, 1)) == len(lengths)


def test_a_step_is_divided_by_its_own_learned_tokens(open_tiny: Callable[..., Any]) -> None:
    model, units = open_tiny(), chains(LENGTHS[:3])
    loss, _ = taken(model, units, 40)
    with torch.no_grad():
        alone = [float(model.loss_sum(Forest.build(unit))) for unit in units]
    assert loss == pytest.approx(sum(alone) / sum(row.num_learned for unit in units for row in unit), rel=1e-6)


def test_a_micro_batch_without_learned_tokens_adds_nothing(open_tiny: Callable[..., Any]) -> None:
    model, units = open_tiny(), chains([30, 45, 20])
    model.net.requires_grad_(True)
    nothing = [Row(units[1][0].items, [0.0] * 45, "nothing")]
    loss, gradient = taken(model, [units[0], units[2]], 40)
    for order in ([nothing, units[0], units[2]], [units[0], nothing, units[2]], [units[0], units[2], nothing]):
        assert len(micro_batches(order, 40)) >= 2
        with_it, its_gradient = taken(model, order, 40)
        assert with_it == pytest.approx(loss, rel=1e-6)
        assert float((its_gradient - gradient).norm() / gradient.norm()) <= 1e-6
    only, _, _, _ = gradients(model, Sft(), [nothing], micro_tokens=40, share=True)
    assert only == 0.0


def test_packed_documents_do_not_see_each_other(open_tiny: Callable[..., Any]) -> None:
    model = open_tiny()
    one, two = (unit[0] for unit in chains([40, 60]))
    other = Row([(item + 7) % 290 for item in one.items], one.weights, "other")
    with torch.no_grad():
        packed, beside_other = (model.logprobs(Forest.build([first, two])) for first in (one, other))
        alone = [float(model.logprobs(Forest.build([row]))[0]) for row in (one, two)]
    assert packed.tolist() == pytest.approx(alone, rel=1e-5)
    assert float(packed[1]) == float(beside_other[1])
    assert float(packed[0]) != float(beside_other[0])
    positions = Forest.build([one, two]).positions_N.tolist()
    assert sorted(positions) == sorted([*range(40), *range(60)])


# --- losses that are not finite ---


def spoil(monkeypatch: pytest.MonkeyPatch, steps: set[int], how: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Spoils the objective's loss in these steps of a session's training; validation is left alone."""

    def prepare(session: Any) -> None:
        loss = Sft.loss

        def spoiled(self: Sft, model: TunableModel, forest: Forest) -> Loss:
            right = loss(self, model, forest)
            if model.route.training and session.state.step + 1 in steps:
                return Loss({name: (how(value), weight) for name, (value, weight) in right.terms.items()})
            return right

        monkeypatch.setattr(Sft, "loss", spoiled)

    return prepare


class _EndlessSlope(torch.autograd.Function):
    """A finite loss whose gradient is not."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradient: torch.Tensor) -> torch.Tensor:
        return gradient[0] * math.inf


HOW: dict[str, Callable[[Any], Any]] = {
    "nan": lambda value: value * math.nan,
    "inf": lambda value: value + math.inf,
    "gradient": _EndlessSlope.apply,
}


def assert_finite(job: Job) -> None:
    """No checkpoint holds a number that is not finite."""
    from safetensors.torch import load_file

    for path in job.run.path("checkpoints").rglob("*.safetensors"):
        assert all(bool(tensor.isfinite().all()) for tensor in load_file(path).values()), path


@pytest.mark.parametrize("how", sorted(HOW))
def test_a_loss_that_is_not_finite_skips_the_step_and_names_its_rows(
    job: Job, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.go_on(spoil(monkeypatch, {2, 3, 6, 7}, HOW[how]))
    ledger = {row["step"]: row["ids"] for row in job.outcome()["ledger"]}
    assert {event["step"]: event["ids"] for event in job.run.events("skip")} == {n: ledger[n] for n in (2, 3, 6, 7)}
    assert [event["step"] for event in job.run.events("step")] == [1, 4, 5, 8, 9, 10, 11, TOTAL]
    assert job.outcome()["state"]["skipped"] == [2, 3, 6, 7]
    assert_finite(job)


def test_the_third_in_a_row_stops_at_the_last_good_checkpoint(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"3 steps in a row \(step 9, examples train:.*last good checkpoint is kept"):
        job.go_on(spoil(monkeypatch, {7, 8, 9}, HOW["nan"]))
    newest = job.checkpoints()[-1]
    assert storage.damage(newest) is None
    assert newest.name == "step-000008"  # saved by the schedule in the midst of the bad steps: the weights of step 6
    assert_finite(job)
    monkeypatch.undo()
    with pytest.raises(RunError, match="--fresh"):
        job.go_on(spoil(monkeypatch, {9}, HOW["nan"]))  # the count of bad steps is part of what a checkpoint remembers
