"""Products are the same sums whichever library makes them."""

from __future__ import annotations

import pytest
import torch

from tunewright.models import products

SIZES = [(1, 64, 48), (1, 64, 10), (5, 64, 48), (100, 256, 192), (129, 256, 96), (300, 256, 192), (0, 8, 4)]


@pytest.fixture(params=[False, True], ids=["mkl", "onednn"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("this build has no oneDNN")
    monkeypatch.setattr(products, "one_dnn_knows_more", lambda: request.param)


def near(found: torch.Tensor, truth: torch.Tensor) -> bool:
    return found.dtype == torch.float32 and bool((found - truth).norm() <= 1e-6 * truth.norm().clamp_min(1e-9))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), SIZES)
def test_product_is_float64_s_rounded(rows: int, inputs: int, outputs: int, turned: bool, bias: bool) -> None:
    draw = torch.Generator().manual_seed(rows)
    x, b = torch.randn(rows, inputs, generator=draw), torch.randn(outputs, generator=draw) if bias else None
    weight = torch.randn(outputs, inputs, generator=draw)
    if turned:
        x, weight = x.t().contiguous().t(), weight.t().contiguous().t()
    truth = torch.nn.functional.linear(x.double(), weight.double(), None if b is None else b.double())
    assert near(products.product(x, weight, b), truth)
    total = torch.randn(rows, outputs, generator=draw)
    wanted = total.double() + x.double() @ weight.double().t()
    products.add_product(total, x, weight.t())
    assert near(total, wanted)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("rows", [1, 5, 300])
def test_gradients_pass_where_they_are_asked_for(rows: int) -> None:
    x, weight = torch.randn(rows, 256, requires_grad=True), torch.randn(192, 256, requires_grad=True)
    products.product(x, weight).sum().backward()
    assert x.grad is not None and torch.allclose(x.grad, weight.sum(0).expand_as(x), atol=1e-4)
    assert weight.grad is not None and torch.allclose(weight.grad, x.sum(0).expand_as(weight), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_formats_keep_theirs(dtype: torch.dtype) -> None:
    x, weight = torch.randn(200, 256).to(dtype), torch.randn(192, 256).to(dtype)
    assert torch.equal(products.product(x, weight), torch.nn.functional.linear(x, weight))
