"""On a CUDA device everything equals the same work on the CPU. Skipped without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.recipe import ModelOptions, TrainOptions
from tunewright.models import cuda_attention
from tunewright.models.attention import forest_attention
from tunewright.models.attention_plan import ForestPlan
from tunewright.models.engine import Engine
from tunewright.models.forest import Forest
from tunewright.models.opening import open_model
from tunewright.training.step import Stepper

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SHAPES = ["chains", "prompt", "labels", "deep", "twins", "mixed"]
ARCHITECTURES = ["llama", "gpt2", "qwen2", "qwen3", "mistral", "gemma2", "gpt_oss"]


@pytest.fixture(autouse=True)
def whole_float32() -> Iterator[None]:
    """Products of float32 in float32: TF32 rounds its inputs to 10 bits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def opened(folder: Path, device: str, dtype: str = "float32") -> Any:
    return open_model(ModelOptions(base=str(folder)), device=device, dtype=dtype)


def loss_and_gradient(model: Any, rows: list[Any]) -> tuple[float, torch.Tensor]:
    """The loss of the rows and its whole gradient, in float64 on the CPU."""
    loss = model.loss_sum(Forest.build(rows, device=model.device))
    loss.backward()
    named = sorted(model.net.named_parameters())
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for _, p in named]
    return loss.item(), torch.cat([part.detach().double().cpu().flatten() for part in parts])


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient_equal_the_cpu_s(kind: str, shape: str, tiny: Any, random_rows: Any) -> None:
    rows = random_rows(shape)
    truth, gradient = loss_and_gradient(opened(tiny(kind), "cpu"), rows)
    loss, found = loss_and_gradient(opened(tiny(kind), DEVICE), rows)
    assert loss == pytest.approx(truth, rel=1e-6)
    assert float((found - gradient).norm() / gradient.norm()) <= 1e-5


@pytest.mark.parametrize("shape", ["chains", "prompt", "labels"])
def test_bfloat16_is_as_near_to_float32_as_plain_transformers(shape: str, tiny: Any, random_rows: Any) -> None:
    from transformers import AutoModelForCausalLM

    rows = random_rows(shape)
    truth, _ = loss_and_gradient(opened(tiny("llama"), "cpu"), rows)
    net = AutoModelForCausalLM.from_pretrained(tiny("llama"), dtype=torch.bfloat16, attn_implementation="sdpa")
    net.to(DEVICE).eval()
    plain = 0.0
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row.items], device=DEVICE)
            logp = torch.log_softmax(net(input_ids=ids, use_cache=False).logits[0, :-1].float(), -1)
            picked = logp.gather(1, ids[0, 1:, None])[:, 0]
            plain -= float((picked * torch.tensor(row.weights[1:], device=DEVICE)).sum())
    loss, _ = loss_and_gradient(opened(tiny("llama"), DEVICE, "bfloat16"), rows)
    allowed = max(2 * abs(plain - truth), 1e-3 * abs(truth))  # plain rounding may cancel by chance
    assert abs(loss - truth) <= allowed


@pytest.mark.parametrize("method", ["lora", "full", "last_layers"])
def test_training_steps_equal_the_cpu_s(method: str, tiny: Any, random_rows: Any) -> None:
    losses = {}
    for device in ("cpu", DEVICE):
        model, tuned = opened(tiny("llama"), device), catalog.build("methods", method)
        tuned.attach(model.net)
        stepper = Stepper(model, tuned, catalog.build("objectives", "sft"), TrainOptions(lr=1e-3, micro_tokens=256))
        units = [[row] for row in random_rows("mixed", 2)]
        losses[device] = [stepper.take(units, factor=1.0, seed=step).loss for step in range(4)]
    assert losses[DEVICE] == pytest.approx(losses["cpu"], rel=1e-4)
    assert losses[DEVICE][-1] < losses[DEVICE][0]


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma2"])
def test_greedy_answers_equal_the_cpu_s(kind: str, tiny: Any, random_rows: Any) -> None:
    prompts = [row.items for row in random_rows("prompt")]
    answers = [
        [one.ids for one in Engine(opened(tiny(kind), device)).generate(prompts, max_new_tokens=12, stop_ids=[])]
        for device in ("cpu", DEVICE)
    ]
    assert answers[0] == answers[1]


def test_label_scores_equal_the_cpu_s(tiny: Any, random_rows: Any) -> None:
    from tunewright.models import scoring

    prompts = [row.items for row in random_rows("prompt")]
    endings = [row.items for row in random_rows("twins")]
    truth = scoring.scores(opened(tiny("llama"), "cpu"), prompts, endings)
    found = scoring.scores(opened(tiny("llama"), DEVICE), prompts, endings)
    assert torch.tensor(found) == pytest.approx(torch.tensor(truth), rel=1e-5)
    assert scoring.best(opened(tiny("llama"), DEVICE), prompts, endings) == [row.index(max(row)) for row in truth]


@pytest.mark.parametrize("window", [None, 32])
@pytest.mark.parametrize("name", sorted(cuda_attention.CANDIDATES))
@pytest.mark.parametrize("shape", SHAPES)
def test_other_kernels_are_as_near_to_float32_as_the_plan(
    shape: str, name: str, window: int | None, random_rows: Any
) -> None:
    forest = Forest.build([*random_rows(shape, 3), *random_rows(shape, 4)], device=DEVICE)
    plan, exact = ForestPlan(forest, dtype=torch.bfloat16), ForestPlan(forest, dtype=torch.float32)
    attend = cuda_attention.CANDIDATES[name](plan, torch.bfloat16, window, 0.125)
    if attend is None:
        pytest.skip(f"{name} is not for {shape}")
    query, key = (torch.empty(1, heads, forest.num_tokens, 64, device=DEVICE, dtype=torch.bfloat16) for heads in (8, 2))
    drawn = cuda_attention._drawn(query, key)
    truth = cuda_attention._worked(
        lambda q, k, v: forest_attention(q, k, v, exact, scaling=0.125, window=window), [part.float() for part in drawn]
    )
    own = cuda_attention._worked(lambda q, k, v: forest_attention(q, k, v, plan, scaling=0.125, window=window), drawn)
    found = cuda_attention._worked(attend, drawn)
    assert cuda_attention._gap(found, truth) <= cuda_attention.NEAR * cuda_attention._gap(own, truth)


@pytest.mark.parametrize("shape", ["chains", "deep"])
def test_the_choice_is_recorded_and_changes_no_loss(shape: str, tiny: Any, random_rows: Any) -> None:
    losses = {}
    for plain in (False, True):
        model = open_model(ModelOptions(base=str(tiny("llama")), plain=plain), device=DEVICE, dtype="bfloat16")
        losses[plain], _ = loss_and_gradient(model, random_rows(shape, 1))
    assert losses[False] == pytest.approx(losses[True], rel=1e-2)
    assert any(
        shape_told.startswith("chains" if shape == "chains" else "trees") for shape_told in cuda_attention.record()
    )


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit"])
def test_layers_computed_again_and_each_optimizer_on_a_gpu(optimizer: str, tiny: Any, random_rows: Any) -> None:
    losses = {}
    for device, again in ((DEVICE, 0), (DEVICE, 2), ("cpu", 0)):
        model, tuned = opened(tiny("llama"), device), catalog.build("methods", {"kind": "lora", "dropout": 0.1})
        model.checkpoint_layers = again
        tuned.attach(model.net)
        options = TrainOptions(lr=1e-3, micro_tokens=256, optimizer=optimizer)
        stepper = Stepper(model, tuned, catalog.build("objectives", "sft"), options)
        units = [[row] for row in random_rows("mixed", 2)]
        losses[device, again] = [stepper.take(units, factor=1.0, seed=step).loss for step in range(3)]
    assert losses[DEVICE, 2] == pytest.approx(losses[DEVICE, 0], rel=1e-6)
    assert losses["cpu", 0][0] == pytest.approx(losses[DEVICE, 0][0], rel=1e-4)  # dropout draws differ, B is still zero
