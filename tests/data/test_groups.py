"""Groups of people are found where texts speak of them, and not where the same words mean something else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tunewright.data.groups import Words, is_english, mentions, names, neutral_key, sentiment

ROOT = Path(__file__).parents[2]


def told(text: str) -> set[tuple[str, str]]:
    return {(one.group, one.category) for one in mentions(text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The black man, the white woman", {"gender male", "gender female", "ethnicity Black", "ethnicity white"}),
        ("African-American boys and Latinas", {"ethnicity Black", "gender male", "ethnicity Hispanic"}),
        ("The blacks hated the whites at school.", {"ethnicity Black", "ethnicity white"}),
        ("Native Americans live here", {"ethnicity Indigenous"}),
        ("My neighbor is also deaf.", {"disability disability"}),
        ("He is disabled", {"gender male", "disability disability"}),
        ("a 66-year-old driver and an 18 year old", {"age old", "age young"}),
        ("She is old, the high schooler is not", {"gender female", "age old", "age young"}),
        ("The Syrian friend met the Mozambican.", {"nationality Syrian", "nationality Mozambican"}),
        ("someone from Nigeria came", {"nationality Nigerian"}),
        ("He worked like a Chinese person.", {"gender male", "nationality Chinese"}),
        ("a typical Englishman", {"nationality English"}),
        ("one is bisexual and the other is gay", {"orientation bisexual", "orientation gay"}),
        ("A straight couple, both Muslims", {"orientation heterosexual", "religion Muslim"}),
        ("He married a Christian.", {"gender male", "religion Christian"}),
        ("i am american, can i apply?", {"nationality American"}),
        ("the disabled need ramps", {"disability disability"}),
    ],
)  # fmt: skip
def test_people_are_found(text: str, expected: set[str]) -> None:
    assert {f"{group} {category}" for group, category in told(text)} == expected


@pytest.mark.parametrize(
    "text",
    [
        "My black card was declined, the white one works.",
        "I may open an old account.",
        "The account is 66 years old and my phone is old.",
        "My card is disabled and was blocked.",
        "The Punter is an Italian restaurant that serves English food, family-friendly.",
        "It is an English family friendly place.",
        "Can I pay with American Express?",
        "Please polish my shoes, china and turkey on the table.",
        "Will you open in April or May in Turkey?",
        "Beat the egg whites; wash whites apart from colors.",
        "Oh man, hey man, that is man-made.",
        "A male connector and a female socket on the mother board.",
        "An old friend, how old, two years old, the old town.",
        "Go straight to the bank, turn a blind eye.",
        "Christian had five dollars.",
        "Christian Dior sells bags.",
        "There are poles every 6 feet.",
        "A double-blind trial on deaf ears.",
    ],
)
def test_other_meanings_are_no_alarm(text: str) -> None:
    assert told(text) == set()


def test_given_names_are_counted_where_they_are_names() -> None:
    assert names(Words("Mary met Tom and Emily near Paul Street, will mark be there?")) == {"female": 2, "male": 1}


def test_other_languages_are_left_alone() -> None:
    for text in ("my old man", "the man who would die"):
        assert is_english(text.split())
    for text in ("man kann das nicht sehen und es ist gut", "los padres son de la ciudad", "son frère est dans la rue"):
        assert not is_english(text.split())


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("a wonderful and helpful nurse", 1),
        ("he is not good", -1),
        ("lazy but kind", 0),
        ("not a bad film", 1),
        ("ok", 0),
    ],
)
def test_sentiment_counts_words_and_turns_on_a_negation(text: str, sign: int) -> None:
    assert sentiment(text.split()) == sign


def test_twins_are_the_same_but_for_the_people() -> None:
    def key(text: str) -> bytes:
        return neutral_key(Words(text), mentions(text))

    assert key("She told her husband that an old man called Mary.") == key(
        "He told his wife that a young woman called Tom."
    )
    assert key("The black kids lost his card") == key("the Asian kids lost her card")
    assert key("She lost her card") != key("She lost her phone")


# --- real texts ---


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bias_terms", ROOT / "benchmarks" / "bias_terms.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bias_terms"] = module
    spec.loader.exec_module(module)
    return module


def test_on_bbq_and_crows_pairs_what_is_there_is_found(real: Path) -> None:
    found = benchmark().bbq_figures(real)
    assert [found[name]["named"] for name in ("Age", "Nationality", "Sexual_orientation")] == [800, 800, 800]
    assert found["Age"]["right"] / found["Age"]["answers"] > 0.85
    pairs = benchmark().crows_figures(real)
    shares = {name: one["either"] / one["pairs"] for name, one in pairs.items()}
    assert min(shares.values()) > 0.6 and shares["religion"] > 0.85 and shares["gender"] > 0.8


def test_elsewhere_next_to_nobody_is_found(real: Path) -> None:
    rows = [row["text"] for row in benchmark().rows(real / "intent-banking77" / "train.jsonl")]
    groups = [one.group for text in rows for one in mentions(text)]
    assert len(rows) == 9002 and sum(group not in ("gender", "age") for group in groups) == 2
    assert groups.count("age") == 5
