"""Logistic regression over fixed vectors."""

from __future__ import annotations

import torch

STEPS = 500  # of L-BFGS, at most
TOLERANCE = 1e-6  # largest gradient at which it ends


def logistic(
    vectors_ND: torch.Tensor, labels_N: torch.Tensor, *, classes: int, strength: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (C D) and biases (C) of multinomial logistic regression, in float64.

    Minimises half the squared norm of the weights plus `strength` times the summed negative log-likelihood (nats), as
    Fan et al. 2008 (LIBLINEAR, section 2.1) and scikit-learn's C; biases are not held small.
    """
    vectors_ND = vectors_ND.double()
    weight_CD = torch.zeros(classes, vectors_ND.shape[1], dtype=torch.float64, device=vectors_ND.device)
    bias_C = torch.zeros(classes, dtype=torch.float64, device=vectors_ND.device)
    with torch.inference_mode(False), torch.enable_grad():
        known_ND = vectors_ND.detach().clone()
        weight_CD.requires_grad_()
        bias_C.requires_grad_()
        search = torch.optim.LBFGS(
            [weight_CD, bias_C],
            max_iter=STEPS,
            tolerance_grad=TOLERANCE,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

        def cost() -> torch.Tensor:
            search.zero_grad()
            logits_NC = known_ND @ weight_CD.T + bias_C
            nll = torch.nn.functional.cross_entropy(logits_NC, labels_N, reduction="sum")
            total = weight_CD.square().sum() / 2 + strength * nll
            total.backward()  # type: ignore[no-untyped-call]
            return total

        search.step(cost)  # type: ignore[no-untyped-call]
    return weight_CD.detach(), (bias_C - bias_C.mean()).detach()
