"""On a CUDA device everything equals the same work on the CPU. Skipped without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.recipe import ModelOptions, TrainOptions
from tunewright.models.engine import Engine
from tunewright.models.forest import Forest
from tunewright.models.tunable import open_model
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
