"""Gradients do not depend on how a step is cut into micro-batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.models.forest import Row, micro_batches
from tunewright.training.step import gradients

BUDGETS = (8, 64, 200, 700, 10**6)


def units_of(rows: list[Row]) -> list[list[Row]]:
    """Examples of one or two rows, one example without a learned token, and a last one that is short."""
    unlearned = Row([7] * 150, [0.0] * 150, "unlearned")
    short = Row([8, 9], [0.0, 1.0], "short")
    return [*[rows[i : i + 1 + i % 2] for i in range(0, len(rows) - 1, 2)], [unlearned], [short]]


@pytest.mark.parametrize("share", [True, False])
def test_loss_and_gradient_for_every_budget(
    share: bool, open_tiny: Any, random_rows: Any, gradients_of: Any, gap: Any
) -> None:
    objective = catalog.build("objectives", "sft")
    model = open_tiny("llama")
    units = units_of(random_rows("mixed", 3)[::2])
    found = []
    for budget in BUDGETS:
        loss, terms, _, _ = gradients(model, objective, units, micro_tokens=budget, share=share)
        assert terms["nll"] == pytest.approx(loss, rel=1e-6)
        found.append((loss, gradients_of(model.net)))
    assert len({len(micro_batches(units, budget, share=share)) for budget in BUDGETS}) > 2
    for loss, gradient in found[:-1]:
        assert loss == pytest.approx(found[-1][0], rel=1e-6)
        assert gap(gradient, found[-1][1]) <= 1e-5


def test_the_mean_is_over_all_learned_tokens(
    open_tiny: Any, open_plain: Any, random_rows: Any, row_by_row: Any, gradients_of: Any, gap: Any
) -> None:
    """Rows of very unequal length: a mean of means would weigh the short ones too heavily."""
    units = units_of(random_rows("mixed", 4)[::3])
    rows = [row for unit in units for row in unit]
    model, plain = open_tiny("llama"), open_plain("llama")
    truth = -row_by_row(plain, rows).sum() / sum(sum(row.weights) for row in rows)
    truth.backward()
    loss, *_ = gradients(model, catalog.build("objectives", "sft"), units, micro_tokens=100, share=True)
    assert loss == pytest.approx(truth.item(), rel=1e-6)
    assert gap(gradients_of(model.net), gradients_of(plain)) <= 1e-5


def test_a_step_without_a_learned_token_is_zero_not_nan(open_tiny: Any) -> None:
    model = open_tiny("llama")
    loss, terms, _, _ = gradients(
        model, catalog.build("objectives", "sft"), [[Row([5] * 20, [0.0] * 20, "a")]], micro_tokens=64, share=True
    )
    assert loss == 0.0 and terms == {"nll": 0.0}
    assert all(p.grad is None or not p.grad.any() for p in model.net.parameters())


def test_every_row_is_in_exactly_one_micro_batch_and_units_stay_whole(random_rows: Any) -> None:
    units = units_of(random_rows("mixed", 5))
    for budget in BUDGETS:
        batches = micro_batches(units, budget)
        assert sorted(row.example for batch in batches for row in batch) == sorted(
            row.example for unit in units for row in unit
        )
        for unit in units:
            assert sum(all(row in batch for row in unit) for batch in batches) >= 1


def test_gradient_of_a_micro_batch_without_learned_tokens_is_finite(open_tiny: Any) -> None:
    """The first micro-batch holds no learned token, the second does; nothing is divided by zero."""
    model = open_tiny("llama")
    units = [[Row([3] * 60, [0.0] * 60, "none")], [Row([4] * 60, [0.0] + [1.0] * 59, "some")]]
    loss, *_ = gradients(model, catalog.build("objectives", "sft"), units, micro_tokens=60, share=True)
    alone, *_ = gradients(model, catalog.build("objectives", "sft"), units[1:], micro_tokens=60, share=True)
    assert loss == pytest.approx(alone, rel=1e-6)
    assert all(torch.isfinite(p.grad).all() for p in model.net.parameters() if p.grad is not None)
