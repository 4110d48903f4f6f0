"""The proofs of packing and accumulation measure something whatever the length of the prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunewright.core import catalog
from tunewright.core.example import Example, Message
from tunewright.core.parts import Subject
from tunewright.core.report import ProofResult
from tunewright.proofs import _gradients
from tunewright.training.step import gradients

MOST = 2000


def example(number: int, repeats: int) -> Example:
    said = [
        Message(role="user", content=f"{number} " + "much to read " * repeats),
        Message(role="assistant", content=f"answer {number}"),
    ]
    return Example(id=f"e{number}", messages=said)


@pytest.fixture
def subject(open_tiny: Callable, tmp_path: Path) -> Subject:
    """Two short probes and two whose prompts alone are longer than a probe may be."""
    return Subject(
        method=catalog.build("methods", "full"), objective=catalog.build("objectives", "sft"),
        examples=[example(n, repeats) for n, repeats in enumerate((1, 90, 2, 95))],
        max_tokens=MOST, micro_tokens=MOST, folder=tmp_path, open_chat=lambda: open_tiny().chat, encoded=list,
        open_base=open_tiny, gradients=gradients,
    )  # fmt: skip


def test_long_prompts_lose_their_beginnings_and_short_ones_nothing(subject: Subject) -> None:
    whole = [subject.objective.encode(one, subject.open_chat(), max_tokens=MOST)[0] for one in subject.examples]
    found = [rows[0] for rows in _gradients.probes(subject)]
    assert [len(row.items) for row in whole][1] > _gradients.PROBE_TOKENS < [len(row.items) for row in whole][3]
    for row, full in zip(found, whole, strict=True):
        assert row.items == full.items[-_gradients.PROBE_TOKENS :] and row.num_learned == full.num_learned > 0


@pytest.mark.parametrize("kind", ["packing", "accumulation"])
@pytest.mark.parametrize("short", [True, False])
def test_the_proofs_hold_with_long_prompts(kind: str, short: bool, subject: Subject) -> None:
    probes = subject.examples if short else subject.examples[1::2]
    result: ProofResult = catalog.build("proofs", kind).prove(Subject(**{**vars(subject), "examples": probes}))
    assert result.holds and f"{len(probes)} examples" in result.measured
