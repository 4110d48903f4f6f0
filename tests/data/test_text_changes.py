"""Changes of a text move the entities along, or say that they cannot."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.core.example import Span
from tunewright.data.changes import Change, applied, moved

TEXT = "Ann flew from Oslo to Rome"
SPANS = [Span(start=0, end=3, label="person"), Span(start=14, end=18, label="place"), Span(start=22, end=26, label="x")]


def words(text: str, spans: list[Span] | None) -> list[str] | None:
    return None if spans is None else [text[span.start : span.end] for span in spans]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([Change(4, 8, "went by air")], ["Ann", "Oslo", "Rome"]),
        ([Change(0, 0, "Hi! "), Change(26, 26, "...")], ["Ann", "Oslo", "Rome"]),
        ([Change(0, 3, "Maria")], ["Maria", "Oslo", "Rome"]),
        ([Change(4, 9, ""), Change(19, 22, "")], ["Ann", "Oslo", "Rome"]),
        ([Change(13, 15, "x")], None),
        ([Change(0, 26, "From Oslo, Ann flew to Rome")], ["Oslo", "Ann", "Rome"]),
        ([Change(0, 26, "Ann left Oslo")], None),
        ([Change(0, 26, "Ann and Ann flew from Oslo to Rome")], None),
    ],
)
def test_entities_are_where_their_words_are(changes: list[Change], found: list[str] | None) -> None:
    assert words(applied(TEXT, changes), moved(SPANS, TEXT, changes)) == found


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.data())
def test_words_outside_of_changes_stay_the_same(data: st.DataObject) -> None:
    changes, at = [], 0
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(at, len(TEXT)))
        end = data.draw(st.integers(start, len(TEXT)))
        changes.append(Change(start, end, data.draw(st.text("ab ", max_size=4))))
        at = end
    spans = moved(SPANS, TEXT, changes)
    if spans is None or (len(changes) == 1 and changes[0].end - changes[0].start == len(TEXT)):
        return
    new = applied(TEXT, changes)
    for before, after in zip(SPANS, spans, strict=True):
        touched = any(
            (c.start < before.end and c.end > before.start) or before.start < c.start < before.end for c in changes
        )
        assert 0 <= after.start <= after.end <= len(new)
        assert touched or new[after.start : after.end] == TEXT[before.start : before.end]
