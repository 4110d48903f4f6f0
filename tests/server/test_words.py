"""Text grows by whole characters, without stop strings, and ends up as evaluation would show it."""

from __future__ import annotations

import random

import pytest

from tunewright.server.words import Token, Words


class Bytes:
    """Decodes ids as the bytes of UTF-8, as byte-level tokenizers do."""

    def decode(self, ids: list[int], *, keep_control: bool = False) -> str:
        return bytes(id for id in ids if id < 256).decode("utf-8", errors="replace")


def told(text: bytes | list[int], **options: object) -> tuple[list[str], Words]:
    words = Words(Bytes(), **options)  # type: ignore[arg-type]
    pieces = []
    for id in text:
        pieces.append(words.add(id, Token(chr(id), 0.0)).text)
        if words.stopped:
            break
    return [*pieces, words.end().text], words


def test_a_character_is_shown_when_it_is_whole() -> None:
    pieces, _ = told("aé漢😀b".encode())
    assert [piece for piece in pieces if piece] == ["a", "é", "漢", "😀", "b"]


def test_half_a_character_at_the_end_is_shown_as_such() -> None:
    pieces, _ = told("漢".encode()[:2])
    assert "".join(pieces) == "\ufffd"


def test_control_tokens_are_not_shown() -> None:
    assert "".join(told([104, 300, 105, 300])[0]) == "hi"


@pytest.mark.parametrize(("stop", "shown"), [("STOP", "ab "), ("b", "a"), ("ab", ""), ("never", "ab STOP cd")])
def test_a_stop_string_is_never_shown(stop: str, shown: str) -> None:
    pieces, words = told(b"ab STOP cd", stops=[stop])
    assert "".join(pieces) == shown
    assert words.stopped == (stop != "never")


def test_the_first_of_several_stops_counts() -> None:
    assert "".join(told(b"one two three", stops=["three", "tw", "two"])[0]) == "one "


def test_a_beginning_of_a_stop_that_goes_on_otherwise_is_shown() -> None:
    assert "".join(told(b"STSTOOP", stops=["STOP"])[0]) == "STSTOOP"


def test_white_space_around_is_left_out_and_inside_kept() -> None:
    pieces, _ = told(b" \n a  b \n ", strip=True)
    assert "".join(pieces) == "a  b"


def test_any_text_comes_out_as_it_would_whole() -> None:
    draw = random.Random(0)
    for _ in range(300):
        data = bytes(draw.choice(b" \nabS\xc3\xa9\xe6\xbc\xa2\xf0\x9f") for _ in range(draw.randrange(24)))
        whole = data.decode("utf-8", errors="replace")
        assert "".join(told(data)[0]) == whole
        assert "".join(told(data, strip=True)[0]) == whole.strip()
        stops = ["ab", "S ", "é"]
        at = min((whole.find(stop) for stop in stops if stop in whole), default=len(whole))
        assert "".join(told(data, stops=stops)[0]) == whole[:at]
        assert "".join(told(data, stops=stops, strip=True)[0]) == whole[:at].strip()


def told_later(text: bytes, draw: random.Random, *, strip: bool) -> list[str]:
    """As `told`, the text being asked for now and then."""
    words = Words(Bytes(), strip=strip)  # type: ignore[arg-type]
    pieces = []
    for id in text:
        words.add_later(id)
        if draw.random() < 0.3:
            pieces.append(words.more().text)
    return [*pieces, words.end().text]


def test_text_asked_for_now_and_then_is_the_same() -> None:
    draw = random.Random(1)
    for _ in range(300):
        data = bytes(draw.choice(b" \nabS\xc3\xa9\xe6\xbc\xa2\xf0\x9f") for _ in range(draw.randrange(24)))
        for strip in (False, True):
            assert "".join(told_later(data, draw, strip=strip)) == "".join(told(data, strip=strip)[0])
    words = Words(Bytes())  # type: ignore[arg-type]
    assert words.more().text == ""


def test_tokens_come_with_their_text() -> None:
    words = Words(Bytes(), stops=["cd"])  # type: ignore[arg-type]
    tokens = [token.text for id in b"abcd" for token in words.add(id, Token(chr(id), 0.0)).tokens]
    assert words.stopped
    assert tokens == ["a", "b"]
