"""Attention over a forest on a CUDA device: other kernels than the plan of models/attention.py, taken where they are
measured to agree with it and to be faster.

Shape letters: H heads, G key/value heads, N tokens, D head size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tunewright.models.attention_plan import ForestPlan

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # 1HND, 1GND, 1GND -> 1NHD
Candidate = Callable[..., Attention | None]

RUNS = 3
BLOCK = 128  # tokens of a side of the blocks in which FlexAttention looks for masks
CLEARLY_FASTER = 1.05  # a smaller gain is within the noise of a few runs
NEAR = 2.0  # times the error that the plan itself makes in half precision
NEAR_FLOAT32 = 1e-5

_taken: dict[str, str] = {}
_record: dict[str, dict[str, Any]] = {}


def record() -> dict[str, dict[str, Any]]:
    """What was chosen in this process and why, by shape: `taken`, `milliseconds` of each, `left_out` with reasons."""
    return dict(_record)


def chosen(
    plan: ForestPlan,
    query: torch.Tensor,
    key: torch.Tensor,
    *,
    window: int | None,
    scaling: float | None,
    present: Callable[[torch.dtype], Attention],
) -> Attention | None:
    """The attention to take for a forest instead of the plan; None for the plan. Measured at the first of its shape.

    present: the plan in a number format.
    """
    candidates = {
        name: made
        for name, make in CANDIDATES.items()
        if (made := make(plan, query.dtype, window, scaling)) is not None
    }
    if not candidates:
        return None
    shape = _shape(plan, query, key, window)
    if shape not in _taken:
        _taken[shape] = _measured(shape, candidates, query, key, present)
    if _taken[shape] == "plan":
        return None
    return partial(_guarded, shape, candidates[_taken[shape]], present(query.dtype))


def _guarded(
    shape: str, attention: Attention, plan: Attention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """A compiler that gives up later, at another length, hands these forests back to the plan."""
    try:
        return attention(query, key, value)
    except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
        _taken[shape] = "plan"
        _record[shape] |= {"taken": "plan", "given_up": _told(error)}
        return plan(query, key, value)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"


def _shape(plan: ForestPlan, query: torch.Tensor, key: torch.Tensor, window: int | None) -> str:
    """Forests that are alike: sizes are told by powers of two."""
    what = "chains" if plan.only_chains else "trees"
    size = 2 ** (query.shape[2] - 1).bit_length()
    heads = f"{query.shape[1]}/{key.shape[1]} heads of {query.shape[3]}"
    return f"{what} up to {size} tokens, {heads}, {query.dtype}{', window' if window else ''}"


# --- candidates: None where they do not apply ---


def _flex(plan: ForestPlan, dtype: torch.dtype, window: int | None, scaling: float | None) -> Attention | None:
    """FlexAttention (Dong et al. 2024, arXiv 2412.05496) over forests with more than chains: blocks of 128 x 128 in
    which nobody sees anybody are passed over. Not for a single block, of which there is nothing to pass over.
    """
    if plan.only_chains or plan.forest.num_tokens <= BLOCK:
        return None

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        flex, create = _compiled() if query.is_cuda else _as_they_are()
        name = f"flex {window}"
        if name not in plan.made:
            size = query.shape[2]
            plan.made[name] = create(sees(plan, window), None, None, size, size, device=query.device)
        gqa = query.shape[1] != key.shape[1]
        out: torch.Tensor = flex(query, key, value, block_mask=plan.made[name], scale=scaling, enable_gqa=gqa)
        return out.transpose(1, 2)

    return attend


def _varlen(plan: ForestPlan, dtype: torch.dtype, window: int | None, scaling: float | None) -> Attention | None:
    """FlashAttention over chains of any lengths in one call, in half precision."""
    if not plan.only_chains or dtype not in (torch.bfloat16, torch.float16):
        return None

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        from torch.nn.attention.varlen import varlen_attn

        starts, longest = chain_starts(plan)
        q, k, v = (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
        before = -1 if window is None else window - 1
        also: dict[str, Any] = {}
        if (shared := query.shape[1] // key.shape[1]) > 1:
            if "enable_gqa" in signature(varlen_attn).parameters:
                also["enable_gqa"] = True
            else:  # torch before 2.12
                k, v = (part.repeat_interleave(shared, 1) for part in (k, v))
        out = varlen_attn(q, k, v, starts, starts, longest, longest, scale=scaling, window_size=(before, 0), **also)
        assert isinstance(out, torch.Tensor)
        return out[None]

    return attend


CANDIDATES: dict[str, Candidate] = {"flex": _flex, "varlen": _varlen}


def sees(plan: ForestPlan, window: int | None) -> Callable[..., torch.Tensor]:
    """FlexAttention's mask: which token q sees which token k (models/forest.py), within a window of depths."""
    end = torch.from_numpy(plan.forest.subtree_end).to(plan.forest.device)
    depth, far = plan.forest.positions_N, window or 0

    def whole(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return (k <= q) & (q < end[k])

    def windowed(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return (k <= q) & (q < end[k]) & (depth[q] - depth[k] < far)

    return whole if window is None else windowed


def chain_starts(plan: ForestPlan) -> tuple[torch.Tensor, int]:
    """Where the chains start, and where the last one ends (int32); the longest."""
    if "starts" not in plan.made:
        trees = plan.forest.trees
        starts = torch.tensor([*(start for start, _ in trees), trees[-1][1]], dtype=torch.int32)
        plan.made["starts"] = starts.to(plan.forest.device), max(stop - start for start, stop in trees)
    found: tuple[torch.Tensor, int] = plan.made["starts"]
    return found


@cache
def _compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Compiled once for all lengths. With `fullgraph` too many recompilations raise; without, they would fall back
    silently to a version that holds every score.
    """
    flex, create = _as_they_are()
    return torch.compile(flex, dynamic=True, fullgraph=True), torch.compile(create, dynamic=True)


def _as_they_are() -> tuple[Callable[..., Any], Callable[..., Any]]:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    return flex_attention, create_block_mask


# --- the measurement ---


def _measured(
    shape: str,
    candidates: dict[str, Attention],
    query: torch.Tensor,
    key: torch.Tensor,
    present: Callable[[torch.dtype], Attention],
) -> str:
    """The fastest that agrees, on drawn numbers, forward and backward; kept in the record."""
    drawn = _drawn(query, key)
    # hooks that do nothing: whoever counts what is saved for the backward pass must not count these trials
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x),
    ):
        truth = _worked(present(torch.float32), [part.float() for part in drawn])
        plan = present(query.dtype)
        if query.dtype == torch.float32:
            bound = NEAR_FLOAT32
        else:
            bound = NEAR * _gap(_worked(plan, drawn), truth)
        seconds = {"plan": _seconds(plan, drawn)}
        left_out: dict[str, str] = {}
        for name, attention in candidates.items():
            try:
                gap = _gap(_worked(attention, drawn), truth)
                if gap <= bound:
                    seconds[name] = _seconds(attention, drawn)
                else:
                    left_out[name] = f"differs by {gap:.1e}, allowed are {bound:.1e}"
            except Exception as error:  # a kernel that this device or this build lacks is no reason to stop
                left_out[name] = _told(error)
    fastest = min(seconds, key=lambda name: seconds[name])
    taken = fastest if seconds["plan"] > CLEARLY_FASTER * seconds[fastest] else "plan"
    milliseconds = {name: round(1000 * value, 3) for name, value in seconds.items()}
    _record[shape] = {"taken": taken, "milliseconds": milliseconds, "left_out": left_out}
    return taken


def _drawn(query: torch.Tensor, key: torch.Tensor) -> list[torch.Tensor]:
    """Query, key, value and the gradient that comes back, from a generator of their own."""
    draw = torch.Generator(query.device).manual_seed(0)
    of_heads, of_groups = query.shape, key.shape
    shapes = [of_heads, of_groups, of_groups, (1, of_heads[2], of_heads[1], of_heads[3])]
    return [torch.randn(shape, generator=draw, device=query.device).to(query.dtype) for shape in shapes]


def _worked(attention: Attention, drawn: list[torch.Tensor]) -> list[torch.Tensor]:
    """The result and the three gradients."""
    *given, upstream = drawn
    inputs = [part.detach().requires_grad_() for part in given]
    out = attention(*inputs)
    return [out.detach(), *torch.autograd.grad(out, inputs, upstream)]


def _gap(found: list[torch.Tensor], truth: list[torch.Tensor]) -> float:
    """The largest relative difference of result and gradients."""
    pairs = zip(found, truth, strict=True)
    return max(float((one.float() - other).norm() / other.norm()) for one, other in pairs)


def _seconds(attention: Attention, drawn: list[torch.Tensor]) -> float:
    """The fastest of a few runs, forward and backward."""
    device, fastest = drawn[0].device, float("inf")
    for _ in range(RUNS):
        if device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            _worked(attention, drawn)
            end.record()
            torch.cuda.synchronize(device)
            fastest = min(fastest, begin.elapsed_time(end) / 1000)
        else:
            started = time.perf_counter()
            _worked(attention, drawn)
            fastest = min(fastest, time.perf_counter() - started)
    return fastest
