"""The kernels for CUDA devices see what the plan's masks see; one is taken only where it agrees and is faster.

Without a GPU: FlexAttention as it runs uncompiled, FlashAttention's call by what it is defined to give.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

from tunewright.core import catalog
from tunewright.models import attention, cuda_attention, tunable
from tunewright.models.attention import forest_attention
from tunewright.models.attention_plan import ForestPlan
from tunewright.models.forest import Forest

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without")
BRANCHING = ["prompt", "labels", "deep", "mixed"]


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is chosen yet; and FlexAttention may go backward on a CPU too, as it does uncompiled."""
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda q, k, v: None)
    monkeypatch.setattr(cuda_attention, "_taken", {})
    monkeypatch.setattr(cuda_attention, "_record", {})


@pytest.fixture
def flex_is_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not the plan takes no time."""
    monkeypatch.setattr(
        cuda_attention, "_seconds", lambda attend, drawn: 1.0 if getattr(attend, "func", 0) else 0.1
    )  # fmt: skip


def drawn(forest: Forest, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, heads, forest.num_tokens, 16, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()
        for heads in (4, 2, 2)
    ]


def worked(attend: Any, given: list[torch.Tensor]) -> list[torch.Tensor]:
    out = attend(*given)
    return [out, *torch.autograd.grad(out, given, torch.linspace(-1, 1, out.numel()).view(out.shape).to(out))]


@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("shape", ["chains", "twins", *BRANCHING])
def test_the_mask_function_sees_what_the_plan_s_masks_see(shape: str, window: int | None, random_rows: Any) -> None:
    forest = Forest.build(random_rows(shape, 3), min_share=1)
    plan = ForestPlan(forest, dtype=torch.float32)
    size = forest.num_tokens
    seen = create_mask(cuda_attention.sees(plan, window), None, None, size, size, device="cpu")[0, 0]
    inside = torch.zeros(size, size, dtype=torch.bool)
    for tree in forest.trees:
        mask = plan._masked([tree], window or 0).mask
        assert mask is not None
        inside[tree[0] : tree[1], tree[0] : tree[1]] = mask[0, 0] == 0
        if window is not None:  # the plan's masks let everybody see the first token of a padded line, dropped or not
            inside[tree[0] : tree[1], tree[0]] &= torch.from_numpy(forest.depth[tree[0] : tree[1]]) < window
    assert torch.equal(seen, inside)


@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("shape", BRANCHING)
def test_flex_attention_is_the_plan(shape: str, window: int | None, random_rows: Any) -> None:
    forest = Forest.build([*random_rows(shape, 3), *random_rows(shape, 4)], min_share=1)
    plan = ForestPlan(forest, dtype=torch.float64)
    flex = cuda_attention._flex(plan, torch.float64, window, 0.3)
    assert flex is not None and cuda_attention._varlen(plan, torch.bfloat16, window, 0.3) is None
    given = drawn(forest)
    truth = worked(lambda q, k, v: forest_attention(q, k, v, plan, scaling=0.3, window=window), given)
    for one, other in zip(worked(flex, given), truth, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_a_block_mask_is_made_once_a_forest(random_rows: Any) -> None:
    plan = ForestPlan(Forest.build(random_rows("deep")), dtype=torch.float64)
    flex = cuda_attention._flex(plan, torch.float64, None, None)
    assert flex is not None
    flex(*drawn(plan.forest))
    first = plan.made["flex None"]
    again = cuda_attention._flex(plan, torch.float64, None, None)
    assert again is not None
    again(*drawn(plan.forest))
    assert plan.made["flex None"] is first


def test_new_forests_are_not_compiled_anew(random_rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for the first length, once for any: as torch.compile traces it, whatever the backend."""
    from torch._dynamo.testing import CompileCounter

    flex, create = cuda_attention._as_they_are()
    count = CompileCounter()
    compiled = torch.compile(flex, dynamic=True, fullgraph=True, backend=count)
    monkeypatch.setattr(cuda_attention, "_as_they_are", lambda: (compiled, create))
    for seed in range(4):
        plan = ForestPlan(Forest.build(random_rows("prompt", seed)), dtype=torch.float64)
        attend = cuda_attention._flex(plan, torch.float64, None, None)
        assert attend is not None
        with torch.no_grad():
            attend(*drawn(plan.forest))
    assert count.frame_count <= 2


def by_definition(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, starts: torch.Tensor, also: torch.Tensor,
    most: int, longest: int, *, scale: float, window_size: tuple[int, int], enable_gqa: bool,
) -> torch.Tensor:  # fmt: skip
    """Attention over parts of a line (NHD); a window (before, 0) sees that many tokens before one, and itself."""
    assert torch.equal(starts, also) and starts.dtype == torch.int32 and enable_gqa
    assert most == longest == int(starts.diff().max()) and window_size[1] == 0
    out = []
    for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        at = torch.arange(b - a)
        back = at[:, None] - at[None, :]
        mask = (back >= 0) & ((back <= window_size[0]) | (window_size[0] < 0))
        parts = [part[a:b].transpose(0, 1)[None].float() for part in (q, k, v)]
        out.append(attention.sdpa(*parts, attn_mask=mask, scale=scale, enable_gqa=True)[0].transpose(0, 1))
    return torch.cat(out).to(q.dtype)


@pytest.mark.parametrize("window", [None, 7])
def test_chains_in_one_call_are_the_plan(window: int | None, random_rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", by_definition)
    forest = Forest.build(random_rows("chains"))
    plan = ForestPlan(forest, dtype=torch.float32)
    varlen = cuda_attention._varlen(plan, torch.bfloat16, window, 0.3)
    assert varlen is not None and cuda_attention._flex(plan, torch.bfloat16, window, 0.3) is None
    assert cuda_attention._varlen(plan, torch.float32, window, 0.3) is None  # half precision alone
    given = drawn(forest, torch.float32)
    truth = worked(lambda q, k, v: forest_attention(q, k, v, plan, scaling=0.3, window=window), given)
    for one, other in zip(worked(varlen, given), truth, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.usefixtures("flex_is_fastest")
def test_what_agrees_and_is_faster_is_taken_and_what_is_wrong_is_not(
    random_rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flex = cuda_attention._flex
    plan = ForestPlan(Forest.build(random_rows("deep")), dtype=torch.bfloat16, measured=True)
    given = drawn(plan.forest, torch.bfloat16)

    def wrong(*about: Any) -> Any:
        right = flex(*about)
        assert right is not None
        return lambda q, k, v: right(q, k, v * 1.05)

    def lacking(*about: Any) -> Any:
        def attend(*given: Any) -> Any:
            raise RuntimeError("no such kernel\nhere")

        return attend

    monkeypatch.setattr(cuda_attention, "CANDIDATES", {"wrong": wrong, "lacking": lacking})
    assert torch.equal(
        forest_attention(*given, plan, scaling=None),  # type: ignore[misc]
        forest_attention(*given, ForestPlan(plan.forest, dtype=torch.bfloat16), scaling=None),  # type: ignore[misc]
    )
    [told] = cuda_attention.record().values()
    assert told["taken"] == "plan" and told["left_out"]["lacking"] == "RuntimeError: no such kernel"
    assert "differs by" in told["left_out"]["wrong"]
    cuda_attention._taken.clear()
    monkeypatch.setattr(cuda_attention, "CANDIDATES", {"wrong": wrong, "flex": flex})
    forest_attention(*given, plan, scaling=None)  # type: ignore[misc]
    [told] = cuda_attention.record().values()
    assert told["taken"] == "flex" and set(told["milliseconds"]) == {"plan", "flex"}
    assert "flex None" in plan.made


def test_a_gain_within_the_noise_changes_nothing(random_rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_attention, "_seconds", lambda attend, drawn: 1.0 if getattr(attend, "func", 0) else 0.97)
    plan = ForestPlan(Forest.build(random_rows("deep")), dtype=torch.float32, measured=True)
    forest_attention(*drawn(plan.forest, torch.float32), plan, scaling=None)  # type: ignore[misc]
    assert [told["taken"] for told in cuda_attention.record().values()] == ["plan"]


def test_a_compiler_that_gives_up_hands_back_to_the_plan(random_rows: Any) -> None:
    from torch._dynamo.exc import FailOnRecompileLimitHit

    def gives_up(*given: Any) -> Any:
        raise FailOnRecompileLimitHit("too many lengths")

    plan = ForestPlan(Forest.build(random_rows("deep")), dtype=torch.float32)
    given = drawn(plan.forest, torch.float32)
    cuda_attention._record["shape"] = {"taken": "flex"}
    out = cuda_attention._guarded("shape", gives_up, lambda q, k, v: q, *given)
    assert out is given[0] and cuda_attention.record()["shape"]["taken"] == "plan"
    assert "too many lengths" in cuda_attention.record()["shape"]["given_up"]


@pytest.mark.usefixtures("flex_is_fastest")
@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2"])
def test_training_through_it_with_layers_computed_again(
    kind: str, open_tiny: Any, random_rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first forest is measured inside a layer whose saved tensors are counted; draws stay what they were."""

    def trained(model: Any) -> tuple[float, torch.Tensor, torch.Tensor]:
        catalog.build("methods", "full").attach(model.net)
        torch.manual_seed(7)
        loss = model.loss_sum(Forest.build(random_rows("mixed", 1)[::4]))
        loss.backward()
        return loss.item(), torch.cat([p.grad.flatten() for p in model.net.parameters()]), torch.rand(1)

    loss, gradient, drawn_next = trained(open_tiny(kind))
    monkeypatch.setattr(
        tunable, "ForestPlan", lambda forest, **options: ForestPlan(forest, **{**options, "measured": True})
    )
    model = open_tiny(kind)
    model.checkpoint_layers = 2
    found, found_gradient, found_next = trained(model)
    assert {told["taken"] for told in cuda_attention.record().values()} == {"flex"}
    assert found == pytest.approx(loss, rel=1e-5)
    assert float((found_gradient - gradient).norm() / gradient.norm()) <= 1e-5
    assert torch.equal(found_next, drawn_next)
