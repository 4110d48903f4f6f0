"""Spellings, balance and columns: planted faults are found with their counts, and what is no fault is not told."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from looking import look

from tunewright.core.example import Example
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data.formats import to_example
from tunewright.data.relabel import relabelled
from tunewright.data.spellings import distance, folded, irregular, merged

Prepared = Callable[..., tuple[Report, Run]]
Write = Callable[[str, list[dict[str, Any]]], str]
ALL = {"train": 1, "validation": 0, "test": 0}


def rows_of(counts: dict[str, int], **columns: Callable[[int], object]) -> list[Example]:
    """Rows of each label, with columns beside them, in a mixed order."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    random.Random(0).shuffle(labels)
    return [
        to_example(
            "labels",
            {"text": f"text {number} of {number * 7919}", "label": label}
            | {name: value(number) for name, value in columns.items()},
            {"text": "text", "label": "label"},
            f"a:{number + 1}",
        )
        for number, label in enumerate(labels)
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("approved", "approved."), ("approved", " Approved "), ("lost_card", "lost-card"), ("lost_card", "LostCard"),
        ("\uff21pproved", "approved"), ("yes", "yes."), ("\u201cfraud\u201d", "fraud"), ("card payment", "cardpayment"),
    ],
)  # fmt: skip
def test_spellings_are_joined_whatever_their_counts(one: str, other: str) -> None:
    assert merged({one: 150, other: 140, "something else": 99}, ratio=20) == {other: one}


@pytest.mark.parametrize(
    ("rare", "frequent"),
    [
        ("card_paymnt", "card_payment"), ("card_payments", "card_payment"), ("aproved", "approved"),
        ("appovred", "approved"), ("categories", "category"), ("refudn_not_shwoing", "refund_not_showing"),
    ],
)  # fmt: skip
def test_a_typo_or_plural_needs_many_rows_of_the_other(rare: str, frequent: str) -> None:
    assert merged({rare: 3, frequent: 150}, ratio=20) == {rare: frequent}
    assert merged({rare: 100, frequent: 150}, ratio=20) == {}
    assert merged({rare: 3, frequent: 50}, ratio=20) == {}


@pytest.mark.parametrize(
    ("rare", "frequent"),
    [
        ("level_1", "level_2"), ("level-11", "level 1 1"), ("-1", "1"), ("unable", "able"), ("import", "export"),
        ("A-", "A"), ("C#", "C"), ("cat", "car"), ("inactive", "active"), ("refund", "refuse"), ("3.5", "35"),
        ("card_unblocked", "card_blocked"), ("news", "new"), ("bus", "buses2"),
    ],
)  # fmt: skip
def test_names_that_mean_something_else_stay(rare: str, frequent: str) -> None:
    assert merged({rare: 2, frequent: 500}, ratio=20) == {}


def test_a_typo_of_a_misspelling_ends_at_the_usual_spelling() -> None:
    names = merged({"approved": 200, "Approved": 30, "aproved": 2, "Aproved.": 1}, ratio=20)
    assert names == {"Approved": "approved", "aproved": "approved", "Aproved.": "approved"}


def test_edits_are_counted_with_swaps_and_given_up_early() -> None:
    assert [distance("card", other) for other in ("card", "cadr", "cart", "cards", "rd", "xyz")] == [0, 1, 1, 1, 2, 3]
    assert folded(" Lost_Card! ") == "lost card" and folded("A-") == "a-"


def test_planted_spellings_are_counted_and_mended() -> None:
    spellings = {"lost phone": 80, "Lost Phone": 7, "lost_phone.": 4, "lost phnoe": 2}
    examples = rows_of({**spellings, "top up": 90, "level_1": 50, "level_2": 2})
    found = look(examples, "label_spellings", split=ALL)
    fault = found.pop("label_spellings")
    assert found == {}
    wrong = {n for n, e in enumerate(examples) if e.label in ("Lost Phone", "lost_phone.", "lost phnoe")}
    assert set(map(int, fault.rows)) == wrong and len(wrong) == 13
    assert fault.change is not None and {fault.change(e).label for e in examples} == {
        "lost phone", "top up", "level_1", "level_2"
    }  # fmt: skip


def test_types_of_entities_and_several_labels_are_mended_too() -> None:
    spans = [
        {"text": f"Ann {n} flew to Oslo", "spans": [{"start": 0, "end": 3, "label": "person" if n else "Person"}]}
        for n in range(30)
    ]
    entities = [to_example("spans", row, {}, f"a:{n}") for n, row in enumerate(spans, 1)]
    fault = look(entities, "label_spellings", split=ALL)["label_spellings"]
    assert [int(row) for row in fault.rows] == [0] and "entity type" in fault.message
    assert fault.change is not None
    mended = fault.change(entities[0])
    assert mended.spans is not None and mended.spans[0].label == "person" and fault.change(entities[1]) is entities[1]
    several = [
        to_example("labels", {"text": f"t {n}", "label": ["a lot", "Late" if n < 2 else "late"]}, {}, f"a:{n + 1}")
        for n in range(40)
    ]
    fault = look(several, "label_spellings", split=ALL)["label_spellings"]
    assert len(fault.rows) == 2 and relabelled(several[0], {"Late": "late"}).label == '["a lot", "late"]'


def test_names_written_unlike_all_others_are_told_and_not_joined() -> None:
    usual = [f"{a}_{b}" for a in ("card", "cash", "top_up", "fee") for b in ("lost", "late", "wrong", "sent", "new")]
    assert irregular([*usual, "Refund_late", "reverted_payment?"]) == ["Refund_late", "reverted_payment?"]
    assert irregular(usual) == [] and irregular(["a", "B"]) == [] and irregular([n.title() for n in usual]) == []
    assert irregular([*usual[:10], *(name.upper() for name in usual[10:])]) == []  # both ways are usual


def test_labels_lost_rare_and_lopsided_are_told_with_their_rows() -> None:
    examples = rows_of({"many": 120, "some": 30, "few": 3})
    test = [
        to_example("labels", {"text": f"test {n}", "label": label}, {}, f"t:{n + 1}")
        for n, label in enumerate(["many"] * 9 + ["unheard"] * 2 + ["few"])
    ]
    found = look(examples, "label_balance", test=test, split=ALL)
    assert set(found) == {"labels_not_in_training", "labels_not_in_test", "rare_labels", "imbalance"}
    assert [len(found[name].rows) for name in sorted(found)] == [3, 30, 2, 3]
    rare = found["rare_labels"]
    assert {examples[int(row)].label for row in rare.drop} == {"few"} and len(rare.drop) == 3  # none of the test
    assert "40 times" in found["imbalance"].message and found["labels_not_in_test"].severity == "info"
    even = rows_of({"one": 40, "other": 60})
    assert look(even, "label_balance", split=ALL) == {}
    assert look(examples, "label_balance", test=test, split=ALL).keys() == found.keys()


def test_rare_labels_are_left_out_on_request_wherever_they_fell(write: Write, prepared: Prepared) -> None:
    rows = [{"text": f"text {n} {n * 7919}", "label": "ab"[n % 2]} for n in range(200)]
    rows += [{"text": f"odd {n} {n * 31}", "label": "rare"} for n in range(4)]
    report, run = prepared(sources=[write("a.jsonl", rows)], fix=["rare_labels"])
    assert report.numbers["fixes"]["rare_labels"]["dropped"] == 4
    assert {e.label for e in run.split("train", "validation", "test")} == {"a", "b"}


def test_amounts_and_answers_are_no_classes() -> None:
    amounts = rows_of({str(n): 1 for n in range(60)})
    assert set(look(amounts, "label_balance", "label_spellings", "label_errors", split=ALL)) == {"numbers"}
    answers = rows_of({f"answer number {n}": 1 for n in range(60)})
    assert "many_labels" in look(answers, "label_balance", split=ALL)
    assert look(answers, "label_spellings", "label_errors", "label_shortcuts", split=ALL) == {}


def test_columns_that_are_empty_or_constant_or_lack_on_a_side() -> None:
    columns: dict[str, Callable[[int], object]] = {
        "region": lambda n: "north" if n % 3 else "south", "agent": lambda n: "n/a" if n % 20 == 5 else f"a{n}",
        "version": lambda n: 7, "note": lambda n: None if n % 10 else "seldom",
    }  # fmt: skip
    examples = rows_of({"a": 100, "b": 100}, **columns)
    test = [
        to_example("labels", {"text": f"test {n} {n * 11}", "label": "a", "region": "north", "version": 7, "agent": "x",
                              "note": None}, {"text": "text", "label": "label"}, f"t:{n + 1}")
        for n in range(60)
    ]  # fmt: skip
    found = look(examples, "column_values", test=test, split=ALL)
    assert set(found) == {"empty_values", "constant_columns", "missing_groups"}
    assert [int(row) for row in found["empty_values"].rows] == list(range(5, 200, 20))
    assert {int(row) for row in found["missing_groups"].rows} == set(range(0, 200, 3))
    assert "region = south" in found["missing_groups"].message and "note" not in found["missing_groups"].message
    change = found["constant_columns"].change
    assert change is not None and set(change(examples[0]).meta) == {"region", "agent", "note"}
    assert found["constant_columns"].count == 260
    full = rows_of({"a": 100, "b": 100}, region=columns["region"], agent=lambda n: n)
    assert look(full, "column_values") == {}
    assert look(full, "column_values", split={"group": "region"}) == {}  # parted by it: no side has all


def shown(real: Path, name: str, sides: Sequence[str]) -> list[Example]:
    """Rows of a real set."""
    return [
        to_example("labels", json.loads(line), {}, f"{side}:{number}")
        for side in sides
        for number, line in enumerate((real / name / f"{side}.jsonl").open(encoding="utf-8"), 1)
    ]


def test_the_two_irregular_bank_intents_are_told_and_none_is_joined(real: Path) -> None:
    examples = shown(real, "intent-banking77", ["train"])[::2]
    found = look(examples, "label_spellings", "label_balance")
    assert set(found) == {"irregular_labels"}
    assert "'Refund_not_showing_up'" in (found["irregular_labels"].example or "")
    assert "'reverted_card_payment?'" in (found["irregular_labels"].example or "")
    assert "2 of 77" in found["irregular_labels"].message


def test_misspelt_labels_are_not_taken_for_rare_or_wrong_ones(write: Write, prepared: Prepared) -> None:
    rows = [
        {"text": f"text {n} {n * 7919} {'ab'[n % 2] * 9}", "label": ["top up", "refund"][n % 2]} for n in range(300)
    ]
    for n in (10, 20, 30, 40, 50, 60, 70):
        rows[n]["label"] = "Top-up" if n > 30 else "top up."
    report, run = prepared(sources=[write("a.jsonl", rows)], fix=["label_spellings", "rare_labels", "label_errors"])
    assert report.numbers["fixes"] == {"label_spellings": {"before": 7, "dropped": 0, "changed": 7, "after": 0}}
    assert report.numbers["rows_kept"] == 300
    assert {e.label for e in run.split("train", "validation", "test")} == {"top up", "refund"}
