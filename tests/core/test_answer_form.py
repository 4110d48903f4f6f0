"""Answers that fell into the form of a task are told from answers that only share a word with it."""

from __future__ import annotations

import pytest

from tunewright.core.answer_form import form_of

LABELS = form_of(["card_lost", "refund", "time"], [])


@pytest.mark.parametrize(
    "answer",
    [
        "card_lost", " Card lost.", "Intent: refund", '{"intent": "refund"}', "refund refund", "refund, card-lost",
        "**refund**", "card_lost because of the market", "Time. It is late.",
    ],
)  # fmt: skip
def test_an_answer_in_labels_has_the_form(answer: str) -> None:
    assert LABELS.holds(answer)


@pytest.mark.parametrize("answer", ["", "Time flies like an arrow", "We refund everything", "The sea is wide.", "123"])
def test_a_sentence_does_not(answer: str) -> None:
    assert not LABELS.holds(answer)


def test_keys_that_nearly_all_answers_share_are_the_form() -> None:
    usual = ['{"intent": "a", "reply": "b"}'] * 19
    assert form_of([], [*usual, "no JSON"]).keys == {"intent", "reply"}
    assert not form_of([], [*usual[:5], *["free text"] * 5]).known
    assert not form_of([], []).known
