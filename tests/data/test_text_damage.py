"""Damaged characters are found to the row and mended; what only looks like damage is left alone."""
# ruff: noqa: RUF001

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looking import look as look_at

from tunewright.core.detecting import Fault
from tunewright.core.example import Example, Message, Span
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data import damage, entities
from tunewright.data.rewrite import rewritten

Prepared = Callable[..., tuple[Report, Run]]
GOOD = [
    "Where is my card?",
    "Größe, naïve café, Ñandú, «élan», Ærø, Łódź, žluťoučký kůň",
    "Привет, как дела? Это обычный русский текст с буквами Р и С.",
    "日本語のテキスト。\u3000全角の空白も普通です。",
    "می\u200cخواهم کتاب بخوانم",  # Persian joins with U+200C
    "क्\u200dष और क्\u200cष",  # Indic, with both joiners
    "\u0628\u0650\u0633\u0652\u0645\u0650 \u0671\u0644\u0644\u0651\u064e\u0647\u0650",  # Arabic with its vowels
    "שלום\u200f, עולם",  # Hebrew with a mark of its direction
    "👩\u200d💻 👨🏽\u200d🚀 ❤\ufe0f\u200d🔥 🏳\ufe0f\u200d🌈",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "ภาษา\u200bไทย",  # Thai breaks lines at U+200B
    "Bonjour\u00a0! Il a 10\u202f000\u00a0€ et 5\u00a0km.",
    "How do I center a <div class='box'> in HTML?",
    "```html\n<p>Tom &amp; Jerry</p>\n```",
    "if a <b and c> d then",
    "AT&T; R&D; <name> and #Person1#",
    "“Curly” – dash… and 5 × 3 ≤ 20 °C",
    "x\u0303 has no composed form",
    "def f(x):\n    return x\n",
]
BAD = {
    "mojibake": ["Ã¼ber schÃ¶n", "It donâ€™t work", "РџСЂРёРІРµС‚ РјРёСЂ", "100 â‚¬ für Müller"],
    "zero_width": ["pass\u200bword here", "so\u00adft\u00adware", "\ufeffhello there", "hi\U000e0041\U000e0042 you"],
    "control_characters": ["bell\x07 rings", "\x1b[31mred\x1b[0m text", "it\x92s mine", "form \x7f feed"],
    "bidi_controls": ["admin\u202e nimda", "left\u200e to right"],
    "mixed_normal_forms": ["cafe\u0301 noir", "\u1100\u1161 hangul"],
    "html_entities": ["Tom &amp; Jerry", "5 &lt; 6", "&amp;quot;twice&amp;quot;", "it&#39;s"],
    "html_tags": ["one<br>two", "<p class='a'>text</p>", "this is <b>bold</b>"],
    "odd_spaces": ["a\u00a0b", "thin\u2009space here", "line\u2028break"],
    "mixed_line_ends": ["one\r\ntwo", "one\rtwo"],
    "replacement_characters": ["caf\ufffd noir"],
}
MENDED = {
    "Ã¼ber schÃ¶n": "über schön",
    "It donâ€™t work": "It don’t work",
    "РџСЂРёРІРµС‚ РјРёСЂ": "Привет мир",
    "100 â‚¬ für Müller": "100 € für Müller",
    "pass\u200bword here": "password here",
    "hi\U000e0041\U000e0042 you": "hi you",
    "\x1b[31mred\x1b[0m text": "red text",
    "it\x92s mine": "it’s mine",
    "cafe\u0301 noir": "café noir",
    "&amp;quot;twice&amp;quot;": '"twice"',
    "one<br>two": "one\ntwo",
    "this is <b>bold</b>": "this is bold",
    "line\u2028break": "line\nbreak",
    "one\r\ntwo": "one\ntwo",
}


def look(rows: list[Example]) -> dict[str, Fault]:
    """The faults of rows to learn from."""
    return look_at(rows, "text_damage", split={"train": 1, "validation": 0, "test": 0})


def row(number: int, asked: str, answer: str = "Fine.", **more: Any) -> Example:
    messages = [Message(role="user", content=asked), Message(role="assistant", content=answer)]
    return Example(id=f"a:{number}", messages=messages, **more)


def test_good_texts_raise_no_alarm() -> None:
    rows = [row(number, text, f"Answer {number}.") for number, text in enumerate(GOOD, 1)]
    assert look(rows).keys() <= {"outer_space"}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_each_planted_damage_is_found_and_no_other_row(kind: str) -> None:
    rows = [row(number, text) for number, text in enumerate(GOOD, 1)]
    planted = BAD[kind]
    rows += [row(100 + 2 * place, text) for place, text in enumerate(planted)]
    rows += [row(101 + 2 * place, f"Say {place}", f"{text} again") for place, text in enumerate(planted)]
    found = look(rows)
    assert kind in found and found.keys() <= {kind, "outer_space"}
    assert [rows[number].id for number in found[kind].rows] == [f"a:{one.id[2:]}" for one in rows[len(GOOD) :]]
    change = found[kind].change
    if change is None:
        assert set(found[kind].drop) <= set(found[kind].rows)
        return
    mended = [change(rows[number]) for number in found[kind].rows]
    assert kind not in look(mended)
    assert all(change(one) is one for one in mended)


@pytest.mark.parametrize("text", sorted(MENDED))
def test_what_is_mended_is_what_was_meant(text: str) -> None:
    kind = next(kind for kind, texts in BAD.items() if text in texts)
    change = look([row(1, text)])[kind].change
    assert change is not None
    assert change(row(1, text)).messages[0].content == MENDED[text]


@given(
    st.lists(
        st.sampled_from(["Größe", "über", "café", "Ærø", "naïve", "Straße", "élan", "señor", "jalapeño", "ok", "the"]),
        max_size=8,
    )
)
def test_undoing_a_wrong_reading_is_exact(words: list[str]) -> None:
    text = " ".join(words)
    broken = text.encode("utf-8").decode("latin-1")
    assert damage.without_mojibake(broken) == text and damage.without_mojibake(text) == text


@given(st.text(max_size=60))
def test_mending_twice_is_mending_once(text: str) -> None:
    for mend in (damage.composed, damage.without_zero_width, damage.plain_spaces, damage.line_feeds, damage.stripped):
        assert mend(mend(text)) == mend(text)


@given(st.text(max_size=60))
def test_every_way_to_mend_takes_any_text_and_is_done_after_one_go(text: str) -> None:
    for mend in (damage.without_controls, damage.without_bidi, damage.without_zero_width, damage.line_feeds):
        once = mend(text)
        assert mend(once) == once


def test_places_of_entities_move_along_and_the_answer_says_the_new_words() -> None:
    text = "Frau M\u00c3\u00bcller\u200b flog nach K\u00c3\u00b6ln."
    spans = [Span(start=5, end=12, label="person"), Span(start=24, end=29, label="place")]
    assert text[5:12] == "M\u00c3\u00bcller" and text[24:29] == "K\u00c3\u00b6ln"
    one = row(1, text, entities.as_words(text, spans), spans=spans)
    new = rewritten(rewritten(one, damage.without_mojibake), damage.without_zero_width)
    said = new.messages[0].content
    assert said == "Frau Müller flog nach Köln."
    assert new.spans and [said[span.start : span.end] for span in new.spans] == ["Müller", "Köln"]
    assert json.loads(new.messages[1].content)[0]["text"] == "Müller"


def test_a_row_whose_entity_cannot_be_placed_stays() -> None:
    text = "Tom &amp; Jerry"
    spans = [Span(start=4, end=6, label="x")]  # inside the entity
    one = row(1, text, entities.as_words(text, spans), spans=spans)
    assert rewritten(one, damage.without_entities) is one


def test_labels_are_left_to_those_who_look_at_labels() -> None:
    assert look([row(1, "plain", "Tom &amp; Co", label="Tom &amp; Co")]) == {}


def test_spaces_around_and_two_kinds_of_quotes() -> None:
    rows = [row(n, f" question {n}", "It's fine") for n in (1, 2, 3)]
    rows += [row(n, f"question {n}", "It’s fine") for n in (4, 5, 6)]
    found = look(rows)
    assert list(found["outer_space"].rows) == [0, 1, 2] and not found["outer_space"].safe
    assert list(found["mixed_quotes"].rows) == [3, 4, 5] and found["mixed_quotes"].severity == "info"
    assert damage.stripped("    indented\n    code  ") == "    indented\n    code"


def test_fixes_go_through_prepare(write: Callable, prepared: Prepared) -> None:
    rows = [{"prompt": f"Frage {n}: wie geht es?", "completion": f"Gut Nummer {n}."} for n in range(60)]
    rows[3]["completion"] = "SchÃ¶n und grÃ¼n"
    rows[7]["prompt"] = "a\u200bb und mehr Text"
    rows[9]["completion"] = "Tom &amp; Jerry"
    rows[11]["completion"] = "verloren: \ufffd"
    path = write("a.jsonl", rows)
    report, run = prepared(sources=[path], fix=["safe"])
    fixes = report.numbers["fixes"]
    assert fixes["mojibake"] == {"before": 1, "dropped": 0, "changed": 1, "after": 0}
    assert fixes["zero_width"]["changed"] == 1 and "html_entities" not in fixes
    answers = {example.answer for example in run.split("train", "validation", "test")}
    assert "Schön und grün" in answers and "Tom &amp; Jerry" in answers
    found = {finding.name: finding for finding in report.findings}
    assert [place.line for place in found["replacement_characters"].rows] == [12]


def test_real_reviews_have_the_dashes_that_windows_left(real: Path, prepared: Prepared) -> None:
    path = str(real / "sentiment-sentence-polarity" / "train.jsonl")
    report, _ = prepared(sources=[path])
    found = {finding.name: finding for finding in report.findings}
    assert found["control_characters"].count == 40
    assert not {"mojibake", "zero_width", "odd_spaces", "html_entities", "mixed_normal_forms"} & found.keys()
