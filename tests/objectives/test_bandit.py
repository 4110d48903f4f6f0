"""A bandit whose best answers the policy hardly ever gives: learning from one's own answers must win, as published.

After the didactic problem of Tajwar et al. 2024 (arXiv 2404.14367): a categorical policy, a reward that peaks where the
policy starts with little probability, and for offline objectives answers drawn before training. Their order: on the
policy's own answers (GRPO, online DPO), then offline comparisons (DPO, IPO), then likelihood (RWR, SFT on the best
of several). RWR's weights are exp(reward / 0.3); at 0.1 they leave only the best answer of all, and it overtakes DPO.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tunewright.models.forest import Row
from tunewright.objectives import _policy
from tunewright.objectives.dpo import Dpo

ANSWERS, STEPS, BATCH, DRAWN, SEEDS = 100, 200, 32, 200, 2
PLACES = torch.arange(ANSWERS, dtype=torch.float32)
START = -0.5 * ((PLACES - 25) / 10) ** 2  # logits of the policy before training: around answer 25
REWARD = torch.exp(-0.5 * ((PLACES - 65) / 15) ** 2)  # the best is answer 65, four deviations away
# what the policy learns moves near answers together, as a network's would
FEATURES = torch.exp(-0.5 * ((PLACES[:, None] - torch.arange(0, ANSWERS + 1, 5)) / 6) ** 2)

Draw = Callable[[torch.Tensor | None, int], torch.Tensor]
Loss = Callable[[torch.Tensor, Draw], torch.Tensor]


def expected_reward(logits: torch.Tensor) -> float:
    return float((logits.softmax(-1) * REWARD).sum())


def trained(loss: Loss, seed: int) -> float:
    """The expected reward after training with a loss of (log-probs of all answers, a way to draw answers)."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.zeros(FEATURES.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=0.1)
    before = torch.multinomial(START.softmax(-1), DRAWN, replacement=True, generator=generator)

    def draw(of: torch.Tensor | None, count: int) -> torch.Tensor:
        """Answers of a policy, or (None) of those drawn before training."""
        if of is None:
            return before[torch.randint(DRAWN, (count,), generator=generator)]
        return torch.multinomial(of.softmax(-1), count, replacement=True, generator=generator)

    for _ in range(STEPS):
        optimizer.zero_grad()
        loss((START + FEATURES @ weights).log_softmax(-1), draw).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return expected_reward(START + FEATURES @ weights.detach())


def pairs_loss(logp: torch.Tensor, first: torch.Tensor, second: torch.Tensor, loss_type: str) -> torch.Tensor:
    """The mean loss of dpo over pairs of answers, the better one chosen; pairs of one worth are left out."""
    better = REWARD[first] > REWARD[second]
    chosen, rejected = torch.where(better, first, second), torch.where(better, second, first)
    kept = [(int(a), int(b)) for a, b in zip(chosen, rejected, strict=True) if a != b]
    if not kept:
        return 0 * logp.sum()
    rows = [
        Row([0, item], [0.0, 1.0], str(number), slot=slot)
        for number, pair in enumerate(kept)
        for slot, item in enumerate(pair)
    ]
    items = torch.tensor([row.items[1] for row in rows])
    found = Dpo(beta=0.1, loss_type=loss_type).compared(logp[items], START.log_softmax(-1)[items], rows)
    [(total, _)] = found.terms.values()
    return total / max(1, len(kept))


def grpo(logp: torch.Tensor, draw: Draw) -> torch.Tensor:
    chosen = draw(logp.detach(), BATCH)
    advantage = _policy.group_advantages(REWARD[chosen], "grpo")
    return _policy.clipped(logp[chosen], logp[chosen].detach(), advantage, low=0.2, high=0.2)[0].mean()


def online_dpo(logp: torch.Tensor, draw: Draw) -> torch.Tensor:
    first, second = draw(logp.detach(), BATCH).view(2, -1)
    return pairs_loss(logp, first, second, "sigmoid")


def offline(loss_type: str) -> Loss:
    def loss(logp: torch.Tensor, draw: Draw) -> torch.Tensor:
        first, second = draw(None, BATCH).view(2, -1)
        return pairs_loss(logp, first, second, loss_type)

    return loss


def reward_weighted(logp: torch.Tensor, draw: Draw) -> torch.Tensor:
    chosen = draw(None, BATCH)
    weights = (REWARD[chosen] / 0.3).softmax(-1)
    return -(weights * logp[chosen]).sum()


def best_of_several(logp: torch.Tensor, draw: Draw) -> torch.Tensor:
    several = draw(None, BATCH).view(4, -1)
    chosen = several.gather(0, REWARD[several].argmax(0, keepdim=True))[0]
    return -logp[chosen].mean()


@pytest.fixture(scope="module")
def rewards() -> dict[str, float]:
    losses: dict[str, Loss] = {
        "grpo": grpo, "online_dpo": online_dpo, "dpo": offline("sigmoid"), "ipo": offline("ipo"),
        "rwr": reward_weighted, "best": best_of_several,
    }  # fmt: skip
    return {name: sum(trained(loss, seed) for seed in range(SEEDS)) / SEEDS for name, loss in losses.items()}


def test_the_order_is_the_published_one(rewards: dict[str, float]) -> None:
    assert all(reward > expected_reward(START) + 0.02 for reward in rewards.values())
    assert min(rewards["grpo"], rewards["online_dpo"]) > 0.5 + max(rewards["dpo"], rewards["ipo"])
    assert min(rewards["dpo"], rewards["ipo"]) > 0.03 + max(rewards["rwr"], rewards["best"])
