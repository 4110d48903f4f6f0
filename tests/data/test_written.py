"""What a model wrote is read with care, and only what is new and rests on its passage is taken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.data.written import Pool, grounded, items, points_at_passage, quoted, rouge_l

PASSAGE = "Cards are sent within 5 working days. Lost cards can be blocked in the app, free of charge."


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('["a", "b"]', ["a", "b"]),
        ('Here you are:\n```json\n[{"q": 1}]\n```\nEnjoy [them]!', [{"q": 1}]),
        ('{"q": 1}\n{"q": 2}', [{"q": 1}, {"q": 2}]),
        ("Sure!\n1. first\n2) second\n- third", ["first", "second", "third"]),
        ("[broken, 'list'", []),
        ("no list at all", []),
        ("", []),
        ('[1] see {"q": "x"}', [1]),
    ],
)
def test_a_list_is_found_in_a_reply(reply: str, found: list[object]) -> None:
    assert items(reply) == found


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.text('[]{}",:ab1 \n-.', max_size=40))
def test_no_reply_breaks_the_reader(reply: str) -> None:
    items(reply)


@pytest.mark.parametrize(
    ("answer", "rests"),
    [
        ("Within 5 working days.", True),
        ("You can block a lost card in the app.", True),
        ("Within 7 working days.", False),
        ("Call the hotline and ask for a supervisor.", False),
        ("Yes.", False),
        ("", False),
    ],
)
def test_an_answer_rests_on_its_passage_or_not(answer: str, rests: bool) -> None:
    assert grounded(answer, PASSAGE) is rests


def test_a_quote_stands_there_to_the_letter() -> None:
    assert quoted("cards are sent  within 5 working days", PASSAGE)
    assert not quoted("cards are sent within 6 working days", PASSAGE)
    assert not quoted(" ", PASSAGE)


@pytest.mark.parametrize(
    ("question", "points"),
    [
        ("What does the passage say about cards?", True),
        ("According to the text, when are cards sent?", True),
        ("In this given document, who pays?", True),
        ("When are cards sent?", False),
        ("How do I send a text message?", False),
    ],
)
def test_a_question_that_needs_its_passage_is_told(question: str, points: bool) -> None:
    assert points_at_passage(question) is points


@settings(max_examples=200, derandomize=True, deadline=None)
@given(*[st.lists(st.sampled_from("abcde"), max_size=12).map(" ".join)] * 2)
def test_rouge_l_is_the_library_s(first: str, second: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rougeL"]).score(first, second)["rougeL"].fmeasure
    assert rouge_l(first, second) == pytest.approx(expected)
    assert Pool([first]).is_new(second) is (expected < 0.7 - 1e-12 and bool(first or second))


def test_what_is_taken_in_is_no_longer_new() -> None:
    pool = Pool(["Where is my new card?"])
    assert pool.is_new("How do I close my account?")
    pool.add("How do I close my account?")
    assert not pool.is_new("how do I close my account")
