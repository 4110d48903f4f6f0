"""What the machine itself can do: the two limits that speeds are held against, measured anew in every round."""

from __future__ import annotations

import time
from collections.abc import Callable

from workload import Shape

READ_BYTES = 2**29  # far larger than any cache


def products(
    shape: Shape, *, tokens: int = 2048, seconds: float = 1.0, device: str = "cpu", dtype: str = "float32"
) -> float:
    """Operations a second of the layers' own matrix products, run back to back by torch's own product or by oneDNN's,
    whichever is the faster.
    """
    import torch

    made = {"device": device, "dtype": getattr(torch, dtype)}
    inputs = {size: torch.randn(tokens, size, **made) for size in {a for a, _ in shape.matrices}}
    weights = [torch.randn(a, b, **made) for a, b in shape.matrices]

    def work() -> None:
        for weight in weights:
            torch.mm(inputs[weight.shape[0]], weight)
        if device == "cuda":
            torch.cuda.synchronize()

    def by_one_dnn() -> None:
        for weight in weights:
            torch.ops.mkldnn._linear_pointwise(inputs[weight.shape[0]], weight.t(), None, "none", [], "")

    fastest = _fastest(work, seconds)
    if device == "cpu" and dtype == "float32" and torch.backends.mkldnn.is_available():
        fastest = min(fastest, _fastest(by_one_dnn, seconds))
    return sum(2.0 * tokens * a * b for a, b in shape.matrices) / fastest


def memory(*, seconds: float = 1.0) -> float:
    """Bytes a second that can be read from memory: the better of a sum and of a matrix times a vector."""
    import torch

    matrix = torch.ones(READ_BYTES // 4 // 4096, 4096)
    vector = torch.ones(4096)
    return READ_BYTES / min(_fastest(matrix.sum, seconds / 2), _fastest(lambda: torch.mv(matrix, vector), seconds / 2))


def _fastest(work: Callable[[], object], seconds: float) -> float:
    best = float("inf")
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best
