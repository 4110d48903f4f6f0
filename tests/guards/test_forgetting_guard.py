"""A model that answers everything with a label of its task has forgotten how to answer anything else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.guarding import Conversation, GuardScene, Who
from tunewright.guards.forgetting import OFF_TASK, Forgetting


def scene(tuned: str, labels: Sequence[str]) -> GuardScene:
    """Models that always say the same."""

    def ask(who: Who, conversations: Sequence[Conversation], *, name: str, **options: Any) -> list[str]:
        return [tuned if who == "tuned" else "Paris"] * len(conversations)

    def never(*_: Any) -> Any:
        raise AssertionError("this guard asks and reads nothing else")

    return GuardScene(
        splits={}, labels=labels, answers={}, grade=never, ask=ask, logprobs=never, open=never, folder=Path("unused")
    )


@pytest.mark.parametrize(("said", "state"), [(" Refund\n", "broken"), ("The sea is wide.", "holds")])
def test_labels_for_answers_are_a_collapse(said: str, state: str) -> None:
    found = Forgetting(collapse=0.2).measure(scene(said, ["refund", "delay"]))
    (measure,) = found.measures
    assert (measure.name, measure.n, measure.base) == ("format collapse", len(OFF_TASK), 0.0)
    assert found.state == state
    assert found.samples[0]["tuned"] == said


def test_without_a_bound_it_is_told_and_gates_nothing() -> None:
    assert Forgetting().measure(scene("refund", ["refund"])).state == "told"


def test_free_answers_cannot_collapse_into_labels() -> None:
    assert Forgetting(collapse=0.1).measure(scene("refund", [])).measures == []
