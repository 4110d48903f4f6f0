"""Whose rows are meant, and which texts elsewhere tell of them."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.core.errors import DataError
from tunewright.privacy.deletion import GONE, Asked, Traces, struck, texts_of


def row(said: str, **meta: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": said}, {"role": "assistant", "content": "card"}]
    return {"id": "a:1", "messages": messages, "label": "card", "meta": meta}


def traces(
    *gone: dict[str, Any], kept: tuple[dict[str, Any], ...] = (), read: tuple[str, ...] = (), asked: Asked | None = None
) -> Traces:
    """Traces of rows, after a look at those that stay for what was found in some texts that were read."""
    found = Traces(asked or Asked(where=("who", "x")))
    for one in gone:
        found.add(one)
    found.finish()
    candidates = {region for text in read for region in found.regions(text)}
    for one in kept:
        found.keep("\n".join(texts_of(one)), candidates)
    return found


@pytest.mark.parametrize(
    ("where", "ids", "contains", "told"),
    [
        (None, [], None, "in one way"),
        ("a=b", ["x"], None, "in one way"),
        ("a=b", [], "text", "in one way"),
        ("a", [], None, "COLUMN=VALUE"),
        ("=b", [], None, "COLUMN=VALUE"),
        ("a=", [], None, "COLUMN=VALUE"),
        (None, [], "ab", "too short"),
        (None, [], "     ", "too short"),
    ],
)
def test_a_question_is_one_thing(where: str | None, ids: list[str], contains: str | None, told: str) -> None:
    with pytest.raises(DataError, match=told):
        Asked.parse(where, ids, contains)


def test_a_column_is_compared_as_a_whole() -> None:
    asked = Asked.parse("customer=1017", [], None)
    assert asked.matches(row("hi", customer="1017"))
    assert asked.matches(row("hi", customer=1017))
    assert asked.matches(row("hi", customer=1017.0))
    assert asked.matches(row("hi", customer=["3", "1017"]))
    assert not asked.matches(row("1017", customer="11017"))
    assert not asked.matches(row("1017", other="1017"))
    assert Asked.parse("label=card", [], None).matches(row("hi"))


@pytest.mark.parametrize("said", ["I am ADA QUILL", "I am Ada  Quill", "I am \uff21da Quill", "Ada\nQuill"])
def test_a_text_is_found_in_any_case_width_and_space(said: str) -> None:
    asked = Asked.parse(None, [], "ada quill")
    assert asked.matches(row(said))
    assert asked.matches(row("x", note={"deep": [said]}))
    assert not asked.matches(row("I am Ada"))


def test_a_line_that_could_not_be_read_is_judged_by_how_it_begins() -> None:
    asked = Asked.parse("customer=ada-17", [], None)
    assert asked.matches_raw("{'text': '', 'customer': 'ada-17'}")
    assert asked.matches_raw('{"text": "", "customer": "ada-17"}')
    assert asked.matches_raw('{"text": "broken, "customer": "ada-17"')
    assert not asked.matches_raw("{'text': 'about ada-17', 'customer': 'bob'}")
    assert not asked.matches_raw("")


def test_a_quotation_is_known_by_any_part_of_some_length() -> None:
    found = traces(row("I lost my card in the market of Bergen last Monday, please block it"))
    for text in (
        "e.g. train:3: I lost my card in the market",
        "the market of Bergen last Monday",
        "I lost my card in",
    ):
        assert found.tells(text), text
    for text in ("12 of 100 rows cannot be used", "a market in Bergen", "please block", "I lost my"):
        assert not found.tells(text), text


def test_what_others_say_too_is_no_trace() -> None:
    shared = "Classify this message into one of our labels: "
    kept = row(f"{shared}where is my money", city="Oslo")
    common = ("example: Classify this message into one of our labels", "card", "Oslo")
    telling = ("Fen Lane", "example: the dog ate my wallet")
    gone = row(f"{shared}the dog ate my wallet", city="Oslo", street="Fen Lane")
    found = traces(gone, kept=(kept,), read=(*common, *telling))
    assert not [text for text in common if found.tells(text)]
    assert all(found.tells(text) for text in telling)


def test_striking_keeps_the_words_of_our_own_files_and_numbers() -> None:
    asked = Asked.parse(None, [], "prepare 1.25")
    found = traces(row("my dog is called prepare 1.25"), asked=asked)
    report = {
        "stage": "prepare 1.25",
        "numbers": {"loss": 1.25, "rows": 3, "Prepare 1.25": 2},
        "findings": [{"name": "x", "example": "a:1 says PREPARE 1.25", "message": "a:1 and a:12 are twins"}],
    }
    assert struck(report, found, {"a:1": "forgotten:00"}) == {
        "stage": "prepare 1.25",
        "numbers": {"loss": 1.25, "rows": 3, GONE: 2},
        "findings": [{"name": "x", "example": GONE, "message": "forgotten:00 and a:12 are twins"}],
    }


def test_striking_twice_changes_nothing_more() -> None:
    found = traces(row("the dog ate my wallet in Bergen"))
    once = struck({"example": "a:1 the dog ate my wallet in"}, found, {"a:1": "forgotten:00"})
    assert struck(once, found, {"a:1": "forgotten:00"}) == once == {"example": GONE}


def test_what_only_points_to_a_deleted_row_goes() -> None:
    finding = {"name": "x", "count": 3, "rows": [{"source": "a.csv", "line": 2}, {"source": "a.csv", "line": 3}]}
    found = struck(finding, traces(), {}, {("a.csv", 2)})
    assert found == {"name": "x", "count": 3, "rows": [{"source": "a.csv", "line": 3}]}
