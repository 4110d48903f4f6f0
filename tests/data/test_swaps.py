"""Counterfactual swaps say the same about another group, and leave alone what does not speak of people."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.data import swap_words
from tunewright.data.changes import applied
from tunewright.data.swaps import GROUPS, swapped, swapped_alike


def one(text: str, group: str, after: str) -> str:
    """The text of the one swap into a category."""
    found = [swap for swap in swapped(text, group) if swap.after == after]
    assert len(found) == 1, found
    return found[0].text


@pytest.mark.parametrize(
    ("text", "swap"),
    [
        ("He told her that his card is hers.", "She told him that her card is his."),
        ("The card is his.", "The card is hers."),
        ("I gave her the form, she lost her pen", "I gave him the form, he lost his pen"),
        ("She hurt herself; I'm her father.", "He hurt himself; I'm his mother."),
        ("Mr. Brown and Mrs Green", "Ms. Brown and Mr Green"),
        ("JAMES'S card, Emily's card", "JAMES'S card, Matthew's card"),
        ("HIS MOTHER", "HER FATHER"),
        ("Dear Sir or Madam, my mother-in-law wrote", "Dear Madam or Sir, my father-in-law wrote"),
    ],
)
def test_gender_is_exchanged(text: str, swap: str) -> None:
    assert [found.text for found in swapped(text, "gender")] == [swap]


@pytest.mark.parametrize(
    ("text", "group", "after", "swap"),
    [
        ("He is a Muslim.", "religion", "atheist", "He is an atheist."),
        ("Muslims pray. She is Muslim.", "religion", "Jewish", "Jews pray. She is Jewish."),
        ("two muslim women", "religion", "Hindu", "two hindu women"),
        ("a black man", "ethnicity", "Asian", "an Asian man"),
        ("An Asian student", "ethnicity", "white", "A white student"),
        ("Lakisha and the card", "ethnicity", "Hispanic", "Maria and the card"),
        ("an African American voter", "ethnicity", "Indian", "an Indian American voter"),
        ("He is a German", "nationality", "Polish", "He is a Pole"),
        ("Is he German?", "nationality", "Polish", "Is he Polish?"),
        ("An old man, a 25-year-old", "age", "young", "A young man, a 65-year-old"),
        ("an 80-year-old pensioner", "age", "young", "a 40-year-old youngster"),
        ("a blind customer", "disability", "non-disabled", "a sighted customer"),
    ],
)
def test_a_category_becomes_another(text: str, group: str, after: str, swap: str) -> None:
    assert one(text, group, after) == swap


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("I miss the 20 ms deadline", "gender"),
        ("Sir Isaac wrote from San Jose, in James Street", "gender"),
        ("My black card is white", "ethnicity"),
        ("It is a German car, translate it to German", "nationality"),
        ("My old card is 25 years in use", "age"),
        ("My card was disabled", "disability"),
        ("A Christian holiday", "religion"),
        ("", "gender"),
    ],
)
def test_what_does_not_speak_of_people_stays(text: str, group: str) -> None:
    assert swapped(text, group) == []


def test_both_sides_of_an_exchange_are_swapped_in_every_text() -> None:
    alike = swapped_alike(["Where is she?", "He is at home.", "No idea."], "gender")
    assert [(swap.before, swap.after) for swap in alike] == [("female", "male")]
    texts = [
        applied(text, c)
        for text, c in zip(["Where is she?", "He is at home.", "No idea."], alike[0].changes, strict=True)
    ]
    assert texts == ["Where is he?", "She is at home.", "No idea."]


def test_a_name_stands_in_one_list_only() -> None:
    names = [name for genders in swap_words.NAMES.values() for of_one in genders.values() for name in of_one]
    assert len(names) == len(set(names))
    assert len({len(of_one) for genders in swap_words.NAMES.values() for of_one in genders.values()}) == 1


NAMED = [name for genders in swap_words.NAMES.values() for of_one in genders.values() for name in of_one]
WORDS = ["he", "she", "him", "a", "Muslim", "old", "man", "women", "is", "card", ".", "Jews", "25", "years old", "\n"]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from([*WORDS, *NAMED[::17]]) | st.text(max_size=6), max_size=12), st.sampled_from(GROUPS))
def test_any_text_is_swapped_by_its_own_changes(pieces: list[str], group: str) -> None:
    text = " ".join(pieces)
    for swap in swapped(text, group):
        assert swap.text == applied(text, swap.changes) != text
        assert swap.before != swap.after


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(["he", "himself", "uncle", "Mr Brown", "card", "waitress", *NAMED[::11]]), min_size=1))
def test_swapping_twice_gives_the_text_back(pieces: list[str]) -> None:
    text = " and ".join(pieces)
    for swap in swapped(text, "gender"):
        assert [again.text for again in swapped(swap.text, "gender")] == [text]
