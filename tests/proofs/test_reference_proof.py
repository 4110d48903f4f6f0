"""The proof that the reference has not moved decides in float64 where float32 is too coarse."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.example import Example, Message
from tunewright.models.tunable import TunableModel
from tunewright.proofs.reference import Reference

EXAMPLE = Example(id="a", messages=[Message(role="user", content="one two"), Message(role="assistant", content="yes")])


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_an_adapter_that_starts_from_the_base_is_compared_in_float64_throughout(
    start: str, open_tiny: Callable[..., TunableModel]
) -> None:
    method = catalog.build("methods", {"kind": "lora", "rank": 4, "start": start})

    def as_trained() -> TunableModel:
        model = open_tiny()
        method.attach(model.net)
        return model

    subject: Any = SimpleNamespace(
        method=method,
        objective=catalog.build("objectives", "sft"),
        examples=[EXAMPLE],
        max_tokens=200,
        seed=0,
        open_base=open_tiny,
        open_as_trained=as_trained,
    )
    start_gap, moved = Reference._gaps(subject, torch.float64)
    assert start_gap < 1e-12
    assert moved == 0.0
