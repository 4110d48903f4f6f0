"""Every edit changes what is asked and nothing of the answer, the same way for the same seed and row."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.core import catalog
from tunewright.core.errors import RecipeError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Edit
from tunewright.data import augment
from tunewright.data.changes import applied
from tunewright.data.entities import as_words, of_places
from tunewright.edits.synonyms import GENERAL
from tunewright.edits.typos import NEIGHBOURS

RULES = [kind for kind in catalog.kinds("edits") if not catalog.build("edits", kind).num_questions]
ASKING = [kind for kind in catalog.kinds("edits") if catalog.build("edits", kind).num_questions]
SAID = "Hello, my father wants to buy a big phone; don't stop, he has order 12-34 at shop.example.com!"


def row(said: str = SAID, answer: str = "order", **fields: Any) -> Example:
    messages = [Message(role="user", content=said), Message(role="assistant", content=answer)]
    return Example(id="a:1", messages=messages, **fields)


def changed(kind: str | dict[str, Any], text: str, seed: int = 0) -> str | None:
    """What an edit makes of a text."""
    edit: Edit = catalog.build("edits", kind)
    changes = edit.change([text], Random(seed))
    return None if changes is None else applied(text, changes[0])


@pytest.mark.parametrize("kind", RULES)
def test_an_edit_changes_the_question_and_keeps_the_answer(kind: str) -> None:
    edit = catalog.build("edits", kind)
    made = augment.made(row(label="order"), edit, seed=3, copy=0)
    assert made is not None
    assert made.messages[0].content != SAID
    assert made.messages[1:] == row().messages[1:]
    assert (made.label, made.id) == ("order", f"a:1~{kind}-1")
    assert made.meta["made"] == {
        "by": kind, "from": "a:1", "copy": 0, "seed": 3, "asked": augment.asked_digest(row())
    }  # fmt: skip
    assert augment.is_made(made)
    assert augment.made(row(label="order"), edit, seed=3, copy=0) == made


@pytest.mark.parametrize("kind", RULES)
def test_numbers_addresses_and_names_of_places_stay(kind: str) -> None:
    for seed in range(30):
        text = changed(kind, SAID, seed)
        assert text is not None
        assert "12-34" in text
        assert "shop.example.com" in text


@pytest.mark.parametrize("kind", RULES)
def test_a_text_with_nothing_to_change_gives_no_row(kind: str) -> None:
    for text in ("", "12", "?", "{name}", "http://a.b/c"):
        assert augment.made(row(said=text), catalog.build("edits", kind), seed=0, copy=0) is None


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.text(max_size=60), st.integers(0, 5))
def test_any_text_is_edited_or_left(text: str, seed: int) -> None:
    for kind in RULES:
        made = augment.made(row(said=text), catalog.build("edits", kind), seed=seed, copy=seed)
        assert made is None or made.messages[0].content != text


def test_typos_are_one_slip_in_a_word() -> None:
    assert set(NEIGHBOURS["g"]) == set("fhtyvb")
    assert set(NEIGHBOURS["q"]) == set("wa")
    for seed in range(50):
        new = changed({"kind": "typos", "rate": 0.5}, "exchange rates today please", seed)
        assert new is not None
        pairs = list(zip(["exchange", "rates", "today", "please"], new.split(), strict=True))
        assert any(a != b for a, b in pairs)
        assert all(a[0] == b[0] and abs(len(a) - len(b)) <= 1 for a, b in pairs)


def test_the_rate_of_typos_is_the_share_of_letters() -> None:
    text = " ".join(["lettering"] * 2000)
    new = changed({"kind": "typos", "rate": 0.03}, text) or ""
    slips = sum(word != "lettering" for word in new.split())
    assert slips / len("lettering") / 2000 == pytest.approx(0.03, rel=0.1)


def test_casing_takes_another_style_than_the_text_has() -> None:
    assert changed({"kind": "casing", "styles": ["lower", "upper"]}, "where is it") == "WHERE IS IT"
    assert changed({"kind": "casing", "styles": ["capital"]}, "where is it") == "Where Is It"
    assert changed({"kind": "casing", "styles": ["lower"]}, "where is it") is None


def test_dropout_never_drops_a_negation_nor_more_than_half() -> None:
    for seed in range(40):
        new = changed({"kind": "dropout", "rate": 0.5}, "I do not want the card and never asked", seed)
        assert new is not None
        assert "not" in new.split()
        assert "never" in new.split()
        assert len(new.split()) >= 4
    assert changed("dropout", "lost my card") is None


def test_order_keeps_every_word() -> None:
    for seed in range(20):
        new = changed({"kind": "order", "rate": 0.5}, "one two three, four five", seed)
        assert new is not None
        assert sorted(re.findall(r"\w+", new)) == sorted(["one", "two", "three", "four", "five"])


def test_synonyms_come_from_the_given_list_too(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("top up, recharge\ncard, payment card\n")
    given = {"kind": "synonyms", "words": str(tmp_path / "words.txt"), "general": False, "rate": 1.0}
    assert changed(given, "Top  up my card") == "Recharge my payment card"
    assert changed(given, "TOP UP it") == "RECHARGE it"
    assert changed(given, "begin") is None
    with pytest.raises(RecipeError, match="there is no file"):
        catalog.build("edits", {"kind": "synonyms", "words": str(tmp_path / "none.txt")})


def test_the_list_of_general_english_has_no_word_twice() -> None:
    words = [word.strip() for line in GENERAL.strip().splitlines() for word in line.split(",")]
    assert len(words) == len(set(words)) > 80


def test_a_swap_goes_through_question_and_answer_alike() -> None:
    made = augment.made(row(said="Where is he?", answer="He is out."), catalog.build("edits", "swap"), seed=0, copy=0)
    assert made is not None
    assert [message.content for message in made.messages] == ["Where is she?", "She is out."]


def test_a_swap_that_would_change_a_label_or_a_call_is_refused() -> None:
    swap = catalog.build("edits", "swap")
    assert augment.made(row(said="he asks", answer="male", label="male"), swap, seed=0, copy=0) is None
    call = [{"type": "function", "function": {"name": "find", "arguments": '{"who": "father"}'}}]
    messages = [Message(role="user", content="Where is my father?"), Message(role="assistant", tool_calls=call)]
    assert augment.made(Example(id="a:1", messages=messages), swap, seed=0, copy=0) is None


def test_documents_are_learned_so_only_swaps_may_touch_them() -> None:
    document = Example(id="a:1", text="He met her father.")
    for kind in RULES:
        made = augment.made(document, catalog.build("edits", kind), seed=0, copy=0)
        assert (made is not None) == (kind == "swap")


@pytest.mark.parametrize("kind", RULES)
def test_entities_move_along_and_their_answer_follows(kind: str) -> None:
    text = "Hello, he said the new big phone of Oslo Trading is not there at all!"
    start = text.index("Oslo")
    values = of_places(
        {"text": text, "spans": [{"start": start, "end": start + 12, "label": "firm"}]},
        {"text": "text", "spans": "spans"},
    )
    example = Example(id="a:1", **values)
    for copy in range(8):
        made = augment.made(example, catalog.build("edits", kind), seed=0, copy=copy)
        if made is None:
            continue
        said = made.messages[0].content
        assert made.spans is not None
        assert [said[span.start : span.end] for span in made.spans] == ["Oslo Trading"]
        assert made.messages[1].content == as_words(said, made.spans)
        assert json.loads(made.messages[1].content) == [{"text": "Oslo Trading", "label": "firm"}]


def test_of_a_question_with_passages_only_the_question_changes() -> None:
    content = "Passages:\n[1] Where cards are sent.\n\nQuestion: Where is my card?"
    example = row(said=content, question="Where is my card?")
    made = augment.made(example, catalog.build("edits", "typos"), seed=0, copy=0)
    assert made is not None
    assert made.messages[0].content.startswith("Passages:\n[1] Where cards are sent.\n\nQuestion: ")
    assert made.question is not None
    assert made.messages[0].content.endswith(made.question)
    assert made.question != "Where is my card?"


@pytest.mark.parametrize("kind", ASKING)
def test_an_edit_that_asks_takes_the_last_reply(kind: str) -> None:
    edit = catalog.build("edits", kind)
    replies: list[str] = []
    for reply in ["Ou est ma carte ?", '"Where has my card gone?"'][-edit.num_questions :]:
        messages = augment.question(row("Where is my card?"), edit, seed=0, copy=0, replies=replies)
        assert messages[-1]["content"] == (replies[-1] if replies else "Where is my card?")
        replies.append(reply)
    made = augment.made(row("Where is my card?"), edit, seed=0, copy=0, replies=replies, model="m")
    assert made is not None
    assert made.messages[0].content == "Where has my card gone?"
    assert made.meta["made"]["model"] == "m"
    for useless in ("", "where is my card", "Sure! " * 60):
        assert augment.made(row("Where is my card?"), edit, seed=0, copy=0, replies=[useless]) is None
