"""base sends the task's own prompt; few_shot puts solved training examples before it."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.core import catalog
from tunewright.core.example import Example, Message
from tunewright.core.parts import Contestant


def contestant(options: str | dict[str, Any]) -> Contestant:
    found: Contestant = catalog.build("contestants", options)
    return found


def solved(id: str, question: str, answer: str, system: str | None = "Sort the message.") -> Example:
    lead = [Message(role="system", content=system)] if system else []
    said = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return Example(id=id, messages=lead + said, label=answer)


TRAINING = [
    solved("t1", "my card was stolen in the market", "fraud"),
    solved("t2", "where is my new card", "delivery"),
    solved("t3", "what is the exchange rate for euros", "rates"),
    solved("t4", "someone stole the card from my bag", "fraud"),
    solved("t5", "which currencies can I exchange", "rates"),
    solved("t6", "the parcel with my card has not arrived", "delivery"),
]


def test_base_sends_the_question_alone() -> None:
    asked = solved("q", "hello", "greeting")
    assert contestant("base").prompts([asked], TRAINING) == [
        [{"role": "system", "content": "Sort the message."}, {"role": "user", "content": "hello"}]
    ]


def test_training_weights_are_not_sent() -> None:
    turns = [
        Message(role="user", content="a"),
        Message(role="assistant", content="b", weight=0),
        Message(role="user", content="c"),
        Message(role="assistant", content="d"),
    ]
    sent = contestant("base").prompts([Example(id="q", messages=turns)], [])[0]
    assert [message["content"] for message in sent] == ["a", "b", "c"]
    assert all("weight" not in message for message in sent)


def test_similar_shows_the_nearest_last_and_the_system_message_once() -> None:
    sent = contestant({"kind": "few_shot", "k": 2}).prompts([solved("q", "my card got stolen", "fraud")], TRAINING)[0]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert sent[2]["content"] == sent[4]["content"] == "fraud"
    assert sent[3]["content"] == "my card was stolen in the market"
    assert sent[-1]["content"] == "my card got stolen"


def test_similar_finds_misspelt_words_by_their_parts() -> None:
    sent = contestant({"kind": "few_shot", "k": 1}).prompts([solved("q", "exchangee curency", "rates")], TRAINING)[0]
    assert sent[2]["content"] == "rates"


def test_fixed_shows_the_same_of_every_label_to_all() -> None:
    asked = [solved("q1", "one", "fraud"), solved("q2", "two", "rates")]
    part = contestant({"kind": "few_shot", "k": 3, "pick": "fixed"})
    first, second = part.prompts(asked, TRAINING)
    assert first[:-1] == second[:-1]
    assert {message["content"] for message in first if message["role"] == "assistant"} == {"fraud", "delivery", "rates"}
    assert part.prompts(asked, TRAINING[::-1]) == [first, second]  # the order of the rows does not matter


def test_another_seed_shows_other_fixed_examples() -> None:
    asked = [solved("q1", "one", "fraud")]
    shown = [
        contestant({"kind": "few_shot", "k": 2, "pick": "fixed", "seed": seed}).prompts(asked, TRAINING)[0]
        for seed in range(4)
    ]
    assert any(one != shown[0] for one in shown)


@pytest.mark.parametrize("pick", ["similar", "fixed"])
def test_fewer_training_examples_than_k_are_all_shown(pick: str) -> None:
    sent = contestant({"kind": "few_shot", "k": 9, "pick": pick}).prompts([solved("q", "hi", "x", None)], TRAINING[:2])[
        0
    ]
    assert len(sent) == 2 * 2 + 1
    assert contestant({"kind": "few_shot", "pick": pick}).prompts([solved("q", "hi", "x", None)], [])[0] == [
        {"role": "user", "content": "hi"}
    ]


def test_similar_is_quick_enough_for_thousands_of_rows() -> None:
    import time

    words = ["card", "stolen", "rate", "euro", "parcel", "exchange", "transfer", "pending", "identity", "refund"]
    training = [solved(f"t{i}", " ".join(words[(i * j) % len(words)] for j in range(1, 9)), "x") for i in range(3000)]
    asked = [solved(f"q{i}", " ".join(words[(i + j * j) % len(words)] for j in range(8)), "x") for i in range(200)]
    started = time.process_time()
    contestant("few_shot").prompts(asked, training)
    assert time.process_time() - started < 5
