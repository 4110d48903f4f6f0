"""The formulas of policy gradients against values from the papers' equations, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from tunewright.objectives import _policy

REWARDS = torch.tensor([1.0, 0, 0, 1, 1, 0, 0, 0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("kind", "right", "wrong"), [("grpo", 1.20738, -0.72443), ("dr_grpo", 0.625, -0.375), ("rloo", 5 / 7, -3 / 7)]
)
def test_advantages_of_a_group(kind: str, right: float, wrong: float) -> None:
    expected = torch.where(REWARDS > 0, right, wrong).double()
    assert torch.allclose(_policy.group_advantages(REWARDS, kind), expected, atol=5e-6)


def test_rloo_is_the_distance_to_the_mean_of_the_others() -> None:
    rewards = torch.tensor([0.3, -1.0, 2.5], dtype=torch.float64)
    expected = [0.3 - (-1.0 + 2.5) / 2, -1.0 - (0.3 + 2.5) / 2, 2.5 - (0.3 - 1.0) / 2]
    assert _policy.group_advantages(rewards, "rloo").tolist() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["grpo", "dr_grpo", "rloo"])
def test_equal_rewards_teach_nothing(kind: str) -> None:
    assert not _policy.group_advantages(torch.full((4,), 0.7, dtype=torch.float64), kind).any()


def test_the_clip_takes_the_worse_of_both() -> None:
    ratio, advantage = torch.tensor([1.5, 0.5, 1.5, 0.5]), torch.tensor([1.0, 1, -1, -1])
    loss, clipped = _policy.clipped(ratio.log(), torch.zeros(4), advantage, low=0.2, high=0.2)
    assert torch.allclose(-loss, torch.tensor([1.2, 0.5, -1.5, -0.8]), atol=1e-6)
    assert clipped.tolist() == [True, False, False, True]
    higher, _ = _policy.clipped(ratio.log(), torch.zeros(4), advantage, low=0.2, high=0.4)
    assert torch.allclose(-higher, torch.tensor([1.4, 0.5, -1.5, -0.8]), atol=1e-6)


def test_where_the_clip_holds_no_gradient_flows() -> None:
    logp = torch.tensor([0.5, 0.1], requires_grad=True)
    loss, _ = _policy.clipped(logp, torch.zeros(2), torch.ones(2), low=0.2, high=0.2)
    loss.sum().backward()
    assert logp.grad is not None
    assert logp.grad.tolist() == pytest.approx([0.0, -float(torch.tensor(0.1).exp())])


def test_generalised_advantages() -> None:
    rewards, values = torch.tensor([0.0, 0, 1]), torch.tensor([0.2, 0.4, 0.6])
    assert _policy.gae(rewards, values, discount=1.0, smoothing=0.95).tolist() == pytest.approx([0.751, 0.58, 0.4])
    # with smoothing 1 they are the return minus the value
    assert _policy.gae(rewards, values, discount=1.0, smoothing=1.0).tolist() == pytest.approx([0.8, 0.6, 0.4])
    assert _policy.gae(rewards, values, discount=0.5, smoothing=0.0).tolist() == pytest.approx([0.0, -0.1, 0.4])


def test_k3_is_never_negative_and_right_in_the_mean() -> None:
    assert float(_policy.k3(torch.tensor(0.0), torch.tensor(0.3))) == pytest.approx(0.0498588)  # e^.3 - .3 - 1
    assert float(_policy.k3(torch.tensor(0.3), torch.tensor(0.0))) == pytest.approx(0.040818, abs=1e-6)
    policy, reference = (torch.tensor(p, dtype=torch.float64).log() for p in ([0.7, 0.2, 0.1], [0.3, 0.3, 0.4]))
    mean = (policy.exp() * _policy.k3(policy, reference)).sum()
    assert float(mean) == pytest.approx(float((policy.exp() * (policy - reference)).sum()))


def test_a_value_that_moved_too_far_gains_nothing() -> None:
    value = torch.tensor([0.5, 0.1, -0.5], requires_grad=True)
    loss = _policy.value_loss(value, torch.zeros(3), torch.ones(3), clip=0.2)
    assert loss.tolist() == pytest.approx([0.5 * 0.8**2, 0.5 * 0.9**2, 0.5 * 1.5**2])
    loss.sum().backward()
    assert value.grad is not None and value.grad.tolist() == pytest.approx([0.0, -0.9, -1.5])
