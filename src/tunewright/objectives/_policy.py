"""Losses and advantages of policy gradients, on plain tensors: nothing here knows of a model.

Shape letters: G answers of a group, T tokens of an answer, E tokens of all rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SPREAD = 1e-4  # keeps a group whose rewards hardly differ from being blown up


def group_advantages(rewards_G: torch.Tensor, kind: str) -> torch.Tensor:
    """How much better each answer is than the others to the same prompt.

    grpo: distance from the mean in standard deviations (Shao et al. 2024, arXiv 2402.03300, section 4.1.2). dr_grpo:
    without the deviation, which favours prompts that are nearly always or nearly never answered (Liu et al. 2025, arXiv
    2503.20783). rloo: distance from the mean of the others (Ahmadian et al. 2024, arXiv 2402.14740, eq. 8).
    """
    centred = rewards_G - rewards_G.mean()
    if kind == "dr_grpo":
        return centred
    if kind == "rloo":
        return centred * (len(rewards_G) / (len(rewards_G) - 1))
    assert kind == "grpo", kind
    return centred / (rewards_G.std() + SPREAD)


def gae(rewards_T: torch.Tensor, values_T: torch.Tensor, *, discount: float, smoothing: float) -> torch.Tensor:
    """Generalised advantage estimates of an answer's tokens (Schulman et al. 2015, arXiv 1506.02438, eq. 16).

    values_T: before each token; after the last one the value is 0.
    """
    out = rewards_T.new_empty(len(rewards_T))
    later, after = 0.0, 0.0
    for place in range(len(rewards_T) - 1, -1, -1):
        surprise = float(rewards_T[place]) + discount * after - float(values_T[place])
        later = surprise + discount * smoothing * later
        out[place], after = later, float(values_T[place])
    return out


def clipped(
    logp_E: torch.Tensor, old_E: torch.Tensor, advantage_E: torch.Tensor, *, low: float, high: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """PPO's clipped objective of each token, negated (Schulman et al. 2017, arXiv 1707.06347, eq. 7), and where the
    clip took hold.

    The ratio to the old policy counts within [1 - low, 1 + high].
    """
    import torch

    ratio_E = (logp_E - old_E).exp()
    free_E, held_E = ratio_E * advantage_E, ratio_E.clamp(1 - low, 1 + high) * advantage_E
    return -torch.minimum(free_E, held_E), (held_E < free_E).detach()


def k3(logp_E: torch.Tensor, reference_E: torch.Tensor) -> torch.Tensor:
    """An unbiased estimate of the KL divergence to the reference that is never negative (arXiv 2402.03300, eq. 4)."""
    gap_E = reference_E - logp_E
    return gap_E.exp() - gap_E - 1


def value_loss(value_E: torch.Tensor, old_E: torch.Tensor, return_E: torch.Tensor, *, clip: float) -> torch.Tensor:
    """Half the squared error, where a value that moved further than `clip` from the old one gains nothing by it."""
    import torch

    near_E = old_E + (value_E - old_E).clamp(-clip, clip)
    return 0.5 * torch.maximum((value_E - return_E).square(), (near_E - return_E).square())
