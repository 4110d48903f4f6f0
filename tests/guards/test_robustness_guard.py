"""A model that hangs on the letters is found; one that does not is left alone; the right answer stays the right one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from fake_scene import label_row, row, scene

from tunewright.core import catalog
from tunewright.core.errors import RecipeError
from tunewright.core.example import Example, Span
from tunewright.data import disturb
from tunewright.guards.robustness import Robustness

LABELS = ["card", "loan"]
ASKED = [
    "Please tell me quickly where the new {} is. I have waited a long time. Thank you for your help!",
    "My {} does not work, and nobody can tell me why. Is it possible to mend it today?",
    "I want to stop the {} that I got last week, since it is too expensive for me.",
]


def rows(n: int = 90) -> list[Example]:
    return [
        label_row(number, f"{ASKED[number % 3].format(LABELS[number % 2])} ({number})", LABELS[number % 2])
        for number in range(n)
    ]


def by_word(text: str) -> str:
    """Stands anything: finds the word behind case and slips of one letter."""
    low = text.lower()
    return "card" if re.search(r"\bc\w?a\w?r?\w?d?\b|card", low) and "loan" not in low else "loan"


def by_letter(text: str) -> str:
    """Right only for the texts as they were written."""
    known = {ask.split("{}")[0] for ask in ASKED}
    plain = any(text.startswith(begin) for begin in known) and text.rstrip().endswith(")")
    return ("card" if "card" in text else "loan") if plain else "nothing"


def test_a_model_that_hangs_on_the_letters_is_found() -> None:
    found = Robustness(kinds=["typos", "casing", "longer"], lost=0.1).measure(
        scene(by_letter, by_word, test=rows(), labels=LABELS)
    )
    assert {one.name: one.state for one in found.measures} == {
        "lost to typos": "broken", "lost to casing": "broken", "lost to longer": "broken",
    }  # fmt: skip
    casing = found.measures[1]
    assert casing.value > 0.9
    assert casing.base == pytest.approx(0, abs=0.1)
    assert {one["kind"] for one in found.samples} == {"typos", "casing", "longer"}


def test_a_robust_model_keeps_every_bound() -> None:
    for seed in range(5):
        found = Robustness(lost=0.15, base=False).measure(scene(by_word, test=rows(150), labels=LABELS, seed=seed))
        assert found.state == "holds", [(one.name, one.value, one.high) for one in found.measures]
        assert len(found.measures) == 8  # no row lists options


def test_an_open_bound_asks_for_the_rows_that_are_missing() -> None:
    test = rows(60)
    found = Robustness(kinds=["casing"], lost=0.03, base=False).measure(
        scene(lambda text: by_word(text) if text != text.upper() else by_letter(text), test=test, labels=LABELS)
    )
    (measure,) = found.measures
    assert measure.state == "broken"  # about half of the rows come in capitals
    few = Robustness(kinds=["casing"], lost=0.4, base=False).measure(
        scene(lambda text: by_word(text) if text != text.upper() else by_letter(text), test=test, labels=LABELS)
    )
    assert few.state == "open"
    assert (few.measures[0].need or 0) > 0


def test_a_bound_may_be_for_one_kind() -> None:
    found = Robustness(kinds=["typos", "casing"], lost={"casing": 0.5}).measure(
        scene(by_letter, test=rows(), labels=LABELS)
    )
    assert [one.state for one in found.measures] == ["told", "broken"]


def test_a_kind_that_can_change_few_rows_says_so() -> None:
    guard = Robustness(kinds=["options", "typos"], lost=0.1)
    found = guard.measure(scene(by_word, test=rows(), labels=LABELS))
    assert [one.name for one in found.measures] == ["lost to typos"]
    assert guard.unmeasured(found.measures) == ["lost to options"]
    assert Robustness(lost=0.1).unmeasured([]) == [], "kinds that nobody named need not fit the rows"
    assert (found.findings[0].severity, found.findings[0].count) == ("warning", 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kinds": ["paraphrase"]}, "asks a model"),
        ({"kinds": ["typos"], "lost": {"casing": 0.1}}, "not among the kinds"),
        ({"kinds": ["shouting"]}, "shouting"),
    ],
)
def test_options_that_cannot_be_carried_out_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        catalog.build("guards", {"kind": "robustness", **options})


# --- the disturbances ---

LISTED = "Which one is red?\nA) a leaf\nB) blood\nC) snow\nAnswer with the letter."


def test_options_move_and_the_right_letter_with_them() -> None:
    seen = set()
    for seed in range(20):
        other = disturb.options_moved(label_row(0, LISTED, "B"), seed)
        assert other is not None
        lines = other.prompt[0].content.split("\n")
        assert [line[:2] for line in lines[1:4]] == ["A)", "B)", "C)"]
        assert (lines[0], lines[4]) == ("Which one is red?", "Answer with the letter.")
        assert sorted(line[3:] for line in lines[1:4]) == ["a leaf", "blood", "snow"]
        right = next(line[0] for line in lines[1:4] if line.endswith("blood"))
        assert (other.answer, other.label) == (right, right)
        assert other.prompt[0].content != LISTED
        seen.add(right)
    assert seen == {"A", "B", "C"}


def test_an_answer_that_is_the_option_itself_stays() -> None:
    other = disturb.options_moved(row(0, "Pick one:\n- a leaf\n- blood", "blood"), 0)
    assert other is not None
    assert other.answer == "blood"
    assert other.prompt[0].content == "Pick one:\n- blood\n- a leaf"


def test_sentences_come_in_another_order() -> None:
    other = disturb.sentences_moved(row(0, "It rains. I am late. Where is my bus?", "x"), 3)
    assert other is not None
    assert sorted(re.split(r"(?<=[.?]) ", other.prompt[0].content)) == ["I am late.", "It rains.", "Where is my bus?"]
    assert disturb.sentences_moved(row(0, "Where is my bus?", "x"), 3) is None


def test_text_around_a_question_leaves_it_and_its_entities_whole() -> None:
    span = [Span(start=0, end=4, label="person")]
    places: Sequence[int] = [
        found.prompt[0].content.index("Anna")
        for number in range(12)
        if (found := disturb.surrounded(row(number, "Anna left.", "x"), 0)) is not None
    ]
    assert 0 in places and max(places) > 0
    with_entities = disturb.surrounded(row(1, "Anna left.", "x", spans=span), 0)
    assert with_entities is not None
    assert with_entities.prompt[0].content.startswith("Anna left.\n\n")
    assert with_entities.spans == span
