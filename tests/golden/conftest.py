"""The oracle: plain transformers forward passes, one row at a time, and autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch

    from tunewright.models.forest import Row


@pytest.fixture(scope="session")
def open_plain(tiny: Callable[[str], Path]) -> Callable[..., Any]:
    """open_plain(kind): the tiny model as transformers opens it, with the library's own attention."""

    def opened(kind: str = "llama", *, double: bool = False) -> Any:
        from transformers import AutoModelForCausalLM

        attention = "eager" if kind in ("gemma2", "gpt_oss") else "sdpa"
        net = AutoModelForCausalLM.from_pretrained(tiny(kind), attn_implementation=attention, dtype="float32").eval()
        return net.double() if double else net

    return opened


@pytest.fixture(scope="session")
def row_by_row() -> Callable[..., torch.Tensor]:
    """row_by_row(net, rows): for each row alone, the sum of weight * log-prob of its tokens; R, differentiable."""

    def logprobs(net: Any, rows: Sequence[Row]) -> torch.Tensor:
        import torch

        out = []
        for row in rows:
            logits = net(input_ids=torch.tensor([row.items]), use_cache=False).logits[0, :-1]
            logp = torch.log_softmax(logits, -1).gather(1, torch.tensor(row.items)[1:, None])[:, 0]
            out.append((logp * torch.tensor(row.weights[1:], dtype=logp.dtype)).sum())
        return torch.stack(out)

    return logprobs


@pytest.fixture(scope="session")
def gradients_of() -> Callable[[Any], dict[str, torch.Tensor]]:
    """gradients_of(net): the gradient of each parameter by name, in float64; they are cleared afterwards."""

    def taken(net: Any) -> dict[str, torch.Tensor]:
        import torch

        found = {
            n: torch.zeros_like(p).double() if p.grad is None else p.grad.double() for n, p in net.named_parameters()
        }
        net.zero_grad(set_to_none=True)
        return found

    return taken


@pytest.fixture(scope="session")
def gap() -> Callable[..., float]:
    """gap(a, b): norm of the difference of two gradients, relative to b's norm."""

    def relative(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
        import torch

        assert a.keys() == b.keys()
        one, two = (torch.cat([part[name].flatten() for name in sorted(part)]) for part in (a, b))
        return float((one - two).norm() / two.norm())

    return relative
