"""A forest gives the loss and the gradient of its rows computed alone by the transformers library."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright.models.attention_plan import ForestPlan
from tunewright.models.forest import Forest, Row

SHAPES = ["chains", "prompt", "labels", "deep", "twins", "mixed"]
ARCHITECTURES = ["llama", "gpt2", "qwen2", "qwen3", "mistral", "gemma2", "gpt_oss"]


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient_in_float32(
    shape: str, open_tiny: Any, open_plain: Any, random_rows: Any, row_by_row: Any, gradients_of: Any, gap: Any
) -> None:
    rows = random_rows(shape)
    model, plain = open_tiny("llama"), open_plain("llama")
    alone = -row_by_row(plain, rows).sum()
    alone.backward()
    truth = gradients_of(plain)
    for min_share in (1, 16):
        loss = model.loss_sum(Forest.build(rows, min_share=min_share))
        loss.backward()
        assert loss.item() == pytest.approx(alone.item(), rel=1e-6)
        assert gap(gradients_of(model.net), truth) <= 1e-5


def without_rounding(net: Any) -> None:
    """The library's RMSNorm computes in float32 whatever it is given; here it keeps its input's format."""
    for module in net.modules():
        if type(module).__name__.endswith("RMSNorm"):

            def forward(x: torch.Tensor, module: Any = module) -> torch.Tensor:
                return module.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)

            module.forward = forward


@pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES if kind not in ("gemma2", "gpt_oss")])
def test_every_parameter_s_gradient_in_float64(
    kind: str, open_tiny: Any, open_plain: Any, random_rows: Any, row_by_row: Any, gradients_of: Any
) -> None:
    rows = random_rows("mixed", 1)[::3]
    model, plain = open_tiny(kind, double=True), open_plain(kind, double=True)
    without_rounding(model.net)
    without_rounding(plain)
    alone = -row_by_row(plain, rows).sum()
    alone.backward()
    truth = gradients_of(plain)
    loss = model.loss_sum(Forest.build(rows, min_share=4))
    loss.backward()
    assert loss.item() == pytest.approx(alone.item(), rel=1e-10)
    for name, gradient in gradients_of(model.net).items():
        scale = truth[name].abs().max().clamp_min(1e-3)
        assert float((gradient - truth[name]).abs().max() / scale) <= 1e-10, name


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_logprobs_and_gradient_of_every_architecture_in_float32(
    kind: str, open_tiny: Any, open_plain: Any, random_rows: Any, row_by_row: Any, gradients_of: Any, gap: Any
) -> None:
    rows = random_rows("mixed", 2)[::3]
    model, plain = open_tiny(kind), open_plain(kind)
    alone = row_by_row(plain, rows)
    together = model.logprobs(Forest.build(rows))
    assert torch.allclose(together, alone, rtol=1e-5, atol=1e-4)
    alone.sum().backward()
    together.sum().backward()
    assert gap(gradients_of(model.net), gradients_of(plain)) <= 1e-5


@pytest.mark.parametrize("seed", range(20))
def test_any_rows_over_a_small_alphabet(seed: int, open_tiny: Any, open_plain: Any, row_by_row: Any) -> None:
    """Short rows over three letters share beginnings in every way there is."""
    draw = torch.Generator().manual_seed(seed)

    def drawn(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=draw))

    rows = []
    for number in range(drawn(1, 25)):
        items = [drawn(0, 3) for _ in range(drawn(2, 20))]
        rows.append(Row(items, [0.0] + [float(drawn(0, 3)) for _ in items[1:]], str(number)))
    with torch.no_grad():
        alone = row_by_row(open_plain("llama"), rows)
        together = open_tiny("llama").logprobs(Forest.build(rows, min_share=drawn(1, 6)))
    assert torch.allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_the_shapes_reach_every_way_of_computing_attention(random_rows: Any) -> None:
    kinds = set()
    for shape in SHAPES:
        plan = ForestPlan(Forest.build(random_rows(shape), min_share=1), dtype=torch.float32)
        kinds |= {block.kind for block in plan.blocks(None)}
    long = [Row([*range(250), *[9 + n] * 150], [0.0] * 400, str(n)) for n in range(4)]
    kinds |= {block.kind for block in ForestPlan(Forest.build(long), dtype=torch.float32).blocks(None)}
    assert kinds == {"chain", "padded", "masked", "nodes"}


def test_long_nodes_equal_rows_alone(
    open_tiny: Any, open_plain: Any, row_by_row: Any, gradients_of: Any, gap: Any
) -> None:
    draw = torch.Generator().manual_seed(0)
    prompt = torch.randint(0, 300, (250,), generator=draw).tolist()
    rows = []
    for number in range(4):
        ending = torch.randint(0, 300, (150,), generator=draw).tolist()
        rows.append(Row([*prompt, *ending], [0.0] * 250 + [1.0] * 150, str(number)))
    forest = Forest.build(rows)
    assert [block.kind for block in ForestPlan(forest, dtype=torch.float32).blocks(None)] == ["nodes"]
    model, plain = open_tiny("llama"), open_plain("llama")
    alone = -row_by_row(plain, rows).sum()
    alone.backward()
    loss = model.loss_sum(forest)
    loss.backward()
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)
    assert gap(gradients_of(model.net), gradients_of(plain)) <= 1e-5


def test_a_document_s_loss_has_no_gradient_to_another_document(open_tiny: Any) -> None:
    one = Row([5 + n % 100 for n in range(60)], [0.0] + [1.0] * 59, "one")
    two = Row([150 + n % 100 for n in range(70)], [0.0] + [0.0] * 69, "two")
    model = open_tiny("llama")
    forest = Forest.build([one, two])
    assert forest.positions_N.tolist() == [*range(60), *range(70)]
    model.loss_sum(forest).backward()
    embedding = model.net.get_input_embeddings().weight.grad
    assert embedding[5:65].abs().sum() > 0
    assert embedding[150:250].abs().max() == 0


def test_rows_of_different_adapters_share_no_node() -> None:
    items = list(range(40))
    forest = Forest.build([Row(items, [0.0] * 40, "a", adapter="x"), Row(items, [0.0] * 40, "b", adapter="y")])
    assert forest.num_tokens == 80
    assert forest.adapters == [("x", 40), ("y", 40)]
