"""TRL as oracle: the loss of the same batch, completion only, is SFTTrainer's; so is its gradient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.example import Example, Message
from tunewright.training.step import gradients

CHATS = [
    ("Where is my card?", "It is on its way."),
    ("Where is my parcel, please? I have waited for weeks.", "We are sorry. It comes on Monday."),
    ("Fees?", "None."),
]


def test_sft_loss_and_gradient(
    open_tiny: Any, open_plain: Callable[..., Any], gradients_of: Any, gap: Any, tmp_path: Path
) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    model, plain = open_tiny("llama"), open_plain("llama")
    said = [
        [Message(role="user", content=question), Message(role="assistant", content=answer)]
        for question, answer in CHATS
    ]
    objective = catalog.build("objectives", "sft")
    units = [objective.encode(Example(id=str(n), messages=m), model.chat, max_tokens=512) for n, m in enumerate(said)]
    rows = [row for unit in units for row in unit]
    data = Dataset.from_list(
        [{"input_ids": row.items, "completion_mask": [int(w) for w in row.weights]} for row in rows]
    )
    trainer = SFTTrainer(
        model=plain,
        args=SFTConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", per_device_train_batch_size=len(rows),
            gradient_checkpointing=False, completion_only_loss=True, max_length=None,
        ),
        train_dataset=data,
        processing_class=model.chat.tokenizer,
    )  # fmt: skip
    batch = next(iter(trainer.get_train_dataloader()))
    assert int((batch["labels"] != -100).sum()) == sum(row.num_learned for row in rows)
    theirs = trainer.compute_loss(trainer.model, batch)
    theirs.backward()
    ours, *_ = gradients(model, objective, units, micro_tokens=10_000, share=True)
    assert ours == pytest.approx(theirs.item(), rel=1e-6)
    assert gap(gradients_of(model.net), gradients_of(plain)) <= 1e-5
    assert torch.isfinite(theirs)
