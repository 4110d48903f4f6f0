"""TRL as oracle: on the same answers, advantages and earlier log-probs, loss and gradient are GRPOTrainer's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.models.forest import Row
from tunewright.training.step import gradients

PROMPTS = [[1, 20, 31, 44, 2, 50, 61, 70, 12, 13, 14, 15, 16, 17, 18, 19, 90], [1, 99, 45, 2]]
ANSWERS = [[[30, 40, 50], [60, 2], [30, 40, 70, 80, 2]], [[5], [6, 7, 8, 9, 10, 2], [5, 11, 2]]]
ADVANTAGES = [[1.1, -0.3, -0.8], [0.0, 0.9, -0.9]]
LONGEST = 8


def sampled(slight: float) -> list[Row]:
    """A row for each answer: log-probs when sampled and of the reference a little away from the model's own."""
    draw = torch.Generator().manual_seed(3)
    rows = []
    for number, (prompt, answers, advantages) in enumerate(zip(PROMPTS, ANSWERS, ADVANTAGES, strict=True)):
        for slot, (answer, advantage) in enumerate(zip(answers, advantages, strict=True)):
            weights = [0.0] * len(prompt) + [1.0] * len(answer)
            extra: dict[str, Any] = {"advantage": advantage}
            for name in ("old", "reference"):
                extra[name] = tuple((slight * torch.randn(len(answer), generator=draw) - 5.7).tolist())
            rows.append(Row([*prompt, *answer], weights, f"e{number}", slot=slot, extra=extra))
    return rows


def as_trl(rows: list[Row]) -> dict[str, torch.Tensor]:
    """Prompts padded on the left, answers on the right."""
    longest = max(map(len, PROMPTS))
    made: dict[str, list[Any]] = {
        name: [] for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
    }
    told: dict[str, list[Any]] = {"old_per_token_logps": [], "ref_per_token_logps": []}
    for row in rows:
        start = row.weights.index(1.0)
        prompt, answer = row.items[:start], row.items[start:]
        pad, behind = longest - len(prompt), LONGEST - len(answer)
        made["prompt_ids"].append([0] * pad + prompt)
        made["prompt_mask"].append([0] * pad + [1] * len(prompt))
        made["completion_ids"].append(answer + [0] * behind)
        made["completion_mask"].append([1] * len(answer) + [0] * behind)
        known: Any = row.extra
        told["old_per_token_logps"].append([*known["old"], *[0.0] * behind])
        told["ref_per_token_logps"].append([*known["reference"], *[0.0] * behind])
    tensors = {name: torch.tensor(values) for name, values in (made | told).items()}
    tensors["advantages"] = torch.tensor([row.extra["advantage"] for row in rows if row.extra])
    tensors["num_items_in_batch"] = tensors["completion_mask"].sum()
    return tensors


@pytest.mark.parametrize(
    ("per", "theirs", "temperature"),
    [("sequence", "grpo", 1.0), ("token", "dapo", 1.0), ("constant", "dr_grpo", 1.0), ("sequence", "grpo", 0.7)],
)
def test_grpo_loss_and_gradient(
    open_tiny: Any,
    open_plain: Callable[..., Any],
    gradients_of: Any,
    gap: Any,
    tmp_path: Path,
    per: str,
    theirs: str,
    temperature: float,
) -> None:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, plain, rows = open_tiny("llama"), open_plain("llama"), sampled(0.4)

    def worthless(completions: list[str], **others: Any) -> list[float | None]:
        return [0.0] * len(completions)

    trainer = GRPOTrainer(
        model=plain,
        reward_funcs=worthless,
        args=GRPOConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", beta=0.04, epsilon=0.2,
            loss_type=theirs, max_completion_length=LONGEST, num_generations=3, per_device_train_batch_size=6,
            temperature=temperature, gradient_checkpointing=False, gradient_accumulation_steps=1,
            use_bias_correction_kl=False,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 6),
        processing_class=model.chat.tokenizer,
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    expected = trainer._compute_loss(trainer.model, as_trl(rows))
    expected.backward()
    objective = catalog.build(
        "objectives",
        {
            "kind": "grpo", "reward": "exact", "per": per, "beta": 0.04, "temperature": temperature,
            "max_new_tokens": LONGEST,
        },
    )  # fmt: skip
    for micro_tokens in (10_000, 20):
        model.net.zero_grad(set_to_none=True)
        ours, _, _, metrics = gradients(
            model, objective, [[row] for row in rows], micro_tokens=micro_tokens, share=True
        )
        assert ours == pytest.approx(expected.item(), rel=1e-5)
        assert 0 < metrics["clipped"] < 1
        grads = gradients_of(model.net)
        if micro_tokens == 10_000:
            theirs_grads = gradients_of(plain)
        assert gap(grads, theirs_grads) <= 1e-5
