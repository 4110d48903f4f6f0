"""Which rows preference objectives make of examples, and what they leave out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunewright.core import catalog
from tunewright.core.errors import RecipeError
from tunewright.core.example import Example, Message
from tunewright.data.formats import to_example
from tunewright.models.chat import Chat
from tunewright.training.encoding import encode

PAIR = Example(
    id="p",
    messages=[Message(role="user", content="Is it late?"), Message(role="assistant", content="Yes, we are sorry.")],
    rejected=[Message(role="assistant", content="No.")],
)


@pytest.fixture(scope="module")
def chat(tokenizer_of: Callable[..., Any]) -> Chat:
    return Chat(tokenizer_of())


def rows_of(kind: Any, example: Example, chat: Chat, max_tokens: int = 200) -> Any:
    return catalog.build("objectives", kind).encode(example, chat, max_tokens=max_tokens)


def said(row: Any, chat: Chat) -> str:
    return chat.decode([item for item, weight in zip(row.items, row.weights, strict=True) if weight > 0])


@pytest.mark.parametrize("kind", ["dpo", "kto", "orpo", "simpo"])
def test_a_pair_is_its_chosen_and_its_rejected_answer_behind_one_prompt(kind: str, chat: Chat) -> None:
    chosen, rejected = rows_of(kind, PAIR, chat)
    assert (chosen.slot, rejected.slot) == (0, 1)
    assert (said(chosen, chat), said(rejected, chat)) == ("Yes, we are sorry.", "No.")
    start = chosen.weights.index(1.0)
    assert start == rejected.weights.index(1.0) and chosen.items[:start] == rejected.items[:start]
    assert chosen.items[-1] == rejected.items[-1] == chat.end_id


def test_what_does_not_fit_is_cut_off_the_end_or_left_out(chat: Chat) -> None:
    chosen, rejected = rows_of("dpo", PAIR, chat)
    prompt = chosen.weights.index(1.0)
    cut, whole = rows_of("dpo", PAIR, chat, max_tokens=len(rejected.items))
    assert cut.cut and not whole.cut
    assert cut.items == chosen.items[: len(rejected.items)]
    assert rows_of("dpo", PAIR, chat, max_tokens=prompt) == []
    alike = PAIR.model_copy(update={"rejected": [Message(role="assistant", content="Yes, we are not.")]})
    assert rows_of("dpo", alike, chat, max_tokens=prompt + 2) == []  # the words in which they differ are cut off
    objective = catalog.build("objectives", "dpo")
    told = encode([PAIR, alike], objective, chat, max_tokens=prompt + 2)
    assert (told.unlearned, told.cut, told.ids) == (["p"], ["p"], ["p"])


def test_answers_of_several_messages_are_rows_of_one_slot(chat: Chat) -> None:
    row = {
        "prompt": [{"role": "user", "content": "Where is it?"}],
        "chosen": [
            {"role": "assistant", "content": "One moment."},
            {"role": "tool", "content": "berlin"},
            {"role": "assistant", "content": "In Berlin."},
        ],
        "rejected": [{"role": "assistant", "content": "No idea."}],
    }
    example = to_example("preference", row, {}, "p", system="Be kind.")
    assert [message.content for message in example.prompt] == ["Be kind.", "Where is it?"]
    assert example.answer == "One moment."
    assert Example.model_validate(example.to_row()) == example
    rows = rows_of("dpo", example, chat)
    assert [(row.slot, said(row, chat)) for row in rows] == [(0, "One moment."), (0, "In Berlin."), (1, "No idea.")]
    later = rows[1]
    assert "berlin" in chat.decode(later.items[: later.weights.index(1.0)])
    assert catalog.build("objectives", "dpo").counts(rows) == {"dpo": 1}


def test_encoded_together_or_alone_is_the_same(chat: Chat) -> None:
    objective = catalog.build("objectives", "dpo")
    alone = objective.encode(PAIR, chat, max_tokens=200)
    [together] = encode([PAIR], objective, chat, max_tokens=200).units
    assert together == alone


@pytest.mark.parametrize(
    ("value", "slot"), [(True, 0), (False, 1), (1, 0), (0, 1), ("desirable", 0), ("Undesirable", 1), ("-1", 1)]
)
def test_kto_reads_a_judgement_from_its_column(value: Any, slot: int, chat: Chat) -> None:
    example = PAIR.model_copy(update={"rejected": None, "meta": {"thumb": value}})
    kto = {"kind": "kto", "column": "thumb"}
    assert [row.slot for row in rows_of(kto, example, chat)] == [slot]
    part = catalog.build("objectives", kto)
    assert part.lacks(example) is None and part.imitates(example) == (slot == 0)
    assert catalog.build("objectives", "kto").lacks(example) is not None


@pytest.mark.parametrize("options", [{"loss_type": "ipo", "smoothing": 0.1}, {"smoothing": 0.5}, {"beta": 0}])
def test_settings_without_a_meaning_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        catalog.build("objectives", {"kind": "dpo", **options})
