"""Twins, contradictions, spellings."""

from __future__ import annotations

import random
import unicodedata

import pytest
from looking import look

from tunewright.core.example import Example
from tunewright.data.clean import normalise, twin_key
from tunewright.data.formats import to_example


def labelled(*rows: tuple[str, str]) -> list[Example]:
    return [
        to_example("labels", {"text": text, "label": label}, {}, f"a:{n}") for n, (text, label) in enumerate(rows, 1)
    ]


def found(examples: list[Example]) -> dict[str, tuple[int, str | None]]:
    told = look(examples, "same_question", "label_spellings").values()
    return {fault.name: (len(fault.rows), fault.example) for fault in told}


@pytest.mark.parametrize(("one", "other"), [
    ("Where is my card?", "where is  my card"),
    ("I don't know!", "i dont know"),
    ("I don\u2019t know", "I don't know."),
    ("\uff21\uff22\uff23 card", "abc card"),
    ("STRASSE", "stra\u00dfe"),
    ("a - b", "a b"),
    ("end.\n", "end"),
])  # fmt: skip
def test_writing_that_does_not_matter_is_folded(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"), [("5 - 3", "5 + 3"), ("-5", "5"), ("3.5", "35"), ("10:30", "1030"), ("?", "!")]
)
def test_signs_that_change_a_meaning_stay(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_plain_texts_are_folded_like_all_others() -> None:
    draw = random.Random(1)
    for _ in range(500):
        text = "".join(chr(draw.randrange(9, 127)) for _ in range(draw.randrange(1, 12)))
        bare = "".join(c for c in text.lower() if c in "-.,:/%" or unicodedata.category(c)[0] != "P")
        bare = "".join(c for c, after in zip(bare, f"{bare[1:]} ", strict=False) if c not in "-.,:/" or after.isdigit())
        assert normalise(text) == (" ".join(bare.split()) or " ".join(text.lower().split()))
        assert normalise(f"{text}\u00e9") == normalise(f"{text}\u00c9")


def test_a_long_prompt_has_a_short_key_that_still_folds() -> None:
    one, other = (to_example("text", {"text": text}, {}, "a:1") for text in ("Word! " * 500, "word " * 500))
    assert twin_key(one) == twin_key(other)
    assert len(twin_key(one)) == 64


def test_the_role_and_the_instruction_belong_to_the_question() -> None:
    rows = [{"instruction": word, "input": "same", "output": "x"} for word in ("sum up", "translate")]
    first, second = (to_example("instruction", row, {}, f"a:{n}") for n, row in enumerate(rows))
    assert twin_key(first) != twin_key(second)


def test_contradictions_count_all_rows_and_show_two_labels() -> None:
    rows = found(labelled(("Lost card", "a"), ("lost card.", "b"), ("LOST CARD", "a"), ("other", "a")))
    assert rows["contradictions"] == (3, "a:1: Lost card -> a / a:2: lost card. -> b")
    assert rows["normalised_twins"][0] == 2


def test_several_answers_to_one_prompt_are_told_apart_from_contradictions() -> None:
    rows = [{"prompt": "p", "completion": text} for text in ("one", "two")]
    examples = [to_example("completion", row, {}, f"a:{n}") for n, row in enumerate(rows)]
    assert set(found(examples)) == {"several_answers"}


def test_two_spellings_of_a_label_are_shown_with_counts() -> None:
    rows = found(labelled(("a", "card_lost"), ("b", "Card lost"), ("c", "card_lost"), ("d", "other")))
    assert rows == {"label_spellings": (1, "'card_lost' (2), 'Card lost' (1)")}
