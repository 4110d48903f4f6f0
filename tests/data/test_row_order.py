"""Files in an order, sides that differ and rows like no others are told; shuffled rows of one kind are not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from looking import look

from tunewright.core.example import Example
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data.formats import to_example
from tunewright.detectors.row_order import blocks, neighbours

Prepared = Callable[..., tuple[Report, Run]]
Write = Callable[[str, list[dict[str, Any]]], str]
ALL = {"train": 1, "validation": 0, "test": 0}
BANK = [
    "card",
    "account",
    "transfer",
    "money",
    "payment",
    "bank",
    "please",
    "help",
    "my",
    "the",
    "why",
    "has",
    "not",
    "come",
    "yet",
    "today",
    "top",
    "up",
    "fee",
]
SEA = [
    "ship",
    "captain",
    "storm",
    "whale",
    "harbour",
    "sail",
    "crew",
    "anchor",
    "tide",
    "island",
    "gull",
    "rope",
    "deck",
    "mast",
    "the",
    "over",
    "was",
    "under",
]


def told(words: list[str], count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=9)) for _ in range(count)]


def made(rows: list[dict[str, Any]], name: str = "a") -> list[Example]:
    return [
        to_example("labels", row, {"text": "text", "label": "label"}, f"{name}:{n}") for n, row in enumerate(rows, 1)
    ]


def test_a_file_in_blocks_of_labels_is_told_and_a_mixed_one_is_not() -> None:
    texts = told(BANK, 400)
    block = made([{"text": text, "label": f"l{n // 50}"} for n, text in enumerate(texts)])
    mixed = made([{"text": text, "label": f"l{random.Random(n).randrange(8)}"} for n, text in enumerate(texts)], "b")
    fault = look(block, "row_order", split=ALL)["ordered_rows"]
    assert fault.count == 400 and fault.severity == "info" and "a: by label (9" in (fault.example or "")
    assert look(mixed, "row_order", split=ALL) == {}
    both = look([*block, *mixed], "row_order", split=ALL)["ordered_rows"]
    assert "1 of 2 files" in both.message and (both.count or 0) == 400
    skewed = made([{"text": text, "label": "few" if n % 40 == 0 else "many"} for n, text in enumerate(texts)])
    assert look(skewed, "row_order", split=ALL) == {}


def test_a_file_in_time_names_the_column_to_split_by() -> None:
    rows = [
        {"text": text, "label": "ab"[n * 7 % 3 % 2], "sent": f"2026-{1 + n // 28:02d}-{1 + n % 28:02d}", "id": n}
        for n, text in enumerate(told(BANK, 200))
    ]
    fault = look(made(rows), "row_order", split=ALL)["ordered_rows"]
    assert fault.example == "a: by time (sent)" and "{time: sent}" in (fault.remedy or "")
    assert look(made(rows), "row_order", split={"time": "sent"}) == {}
    random.Random(0).shuffle(rows)
    assert look(made(rows), "row_order", split=ALL) == {}


def test_a_file_by_length_or_by_document_is_told() -> None:
    texts = sorted((" ".join(told(BANK, 1 + n % 9, n)) for n in range(200)), key=len)
    assert "by length" in (
        look(made([{"text": t, "label": "a"} for t in texts]), "row_order")["ordered_rows"].example or ""
    )
    names = [f"{a}{b}" for a in ("Ora", "Bel", "Tir", "Mon", "Kas") for b in ("don", "via", "mir", "lus")]
    rows = [
        {"text": f"Where did {name} of the {name} valley go in the year of {name}, {word}?", "label": "a", "doc": name}
        for name in names
        for word in told(SEA, 10, len(name))
    ]
    fault = look(made(rows), "row_order", split=ALL)["ordered_rows"]
    assert "by what they are about" in (fault.example or "") and "data.split.group" in (fault.remedy or "")
    assert look(made(rows), "row_order", split={"group": "doc"}) == {}


def test_neighbours_at_random_are_in_no_order() -> None:
    draw = np.random.default_rng(0)
    assert all(blocks(draw.integers(0, 3, 500), 0.1) is None for _ in range(50))
    assert blocks(np.zeros(100, int), 0.5) is None and blocks(np.repeat([0, 1], 50), 0.5) == pytest.approx(98 / 99)
    assert abs(neighbours(draw.normal(size=2000))) < 0.1 and neighbours(np.arange(50)) == pytest.approx(1)
    assert neighbours(np.ones(9)) == 0


def test_a_test_file_of_another_kind_is_told_and_one_of_the_same_is_not() -> None:
    train = made([{"text": text, "label": "a"} for text in told(BANK, 300)])
    other = made([{"text": text, "label": "a"} for text in told(BANK[:9] + SEA, 100, 5)], "t")
    same = made([{"text": text, "label": "a"} for text in told(BANK, 100, 7)], "t")
    fault = look(train, "sides_differ", test=other, split=ALL)["sides_differ"]
    assert (
        fault.count == 100
        and "test rows are not like" in fault.message
        and "more frequent in test" in (fault.example or "")
    )
    assert look(train, "sides_differ", test=same, split=ALL) == {}
    assert look(train, "sides_differ") == {}  # parted by chance


def test_time_that_changes_what_is_asked_is_told() -> None:
    texts = [*told(BANK, 300), *told(BANK[:9] + SEA, 100, 5)]
    rows = [
        {"text": t, "label": "a", "day": f"2026-{1 + n // 28:02d}-{1 + n % 28:02d}"} for n, t in enumerate(texts[:330])
    ]
    split = {"time": "day", "train": 0.7, "validation": 0.0, "test": 0.3}
    assert "sides_differ" not in look(made(rows[:300]), "sides_differ", split=split)
    later = [*rows[:230], *({**row, "text": text} for row, text in zip(rows[230:330], texts[300:], strict=True))]
    assert "sides_differ" in look(made(later), "sides_differ", split=split)


def test_planted_rows_of_another_source_are_all_told_and_no_other(write: Write, prepared: Prepared) -> None:
    odd = ["Call me Ishmael; some years ago", "zzkq 0x8f3b jj9 vvq", "Quarterly EBITDA rose by 4 percent"]
    rows = [{"text": text, "label": "a"} for text in told(BANK, 300)]
    for place, text in zip((40, 140, 240), odd, strict=True):
        rows[place]["text"] = text
    fault = look(made(rows), "outliers", split=ALL)["outliers"]
    assert [int(row) for row in fault.rows] == [40, 140, 240] and fault.severity == "info"
    assert look(made([{"text": text, "label": "a"} for text in told(BANK, 300)]), "outliers") == {}
    report, run = prepared(sources=[write("a.jsonl", rows)], split=ALL, fix=["outliers"])
    assert report.numbers["fixes"]["outliers"]["dropped"] == 3
    assert not {example.messages[0].content for example in run.split("train")} & set(odd)


def test_lines_of_plays_among_bank_intents_stand_out(real: Path) -> None:
    lines = (real / "intent-banking77" / "train.jsonl").open(encoding="utf-8").readlines()[:1500]
    rows = [json.loads(line) for line in lines]
    clean = look(made(rows), "outliers", split=ALL)
    assert sum(len(fault.rows) for fault in clean.values()) <= 5
    played = ["Upon my soul, a lie, a wicked lie.", "Hark, the owl that shriek'd, fatal bellman of night"]
    found = look(made([*rows, *({"text": text, "label": "card_arrival"} for text in played)]), "outliers", split=ALL)
    assert {1500, 1501} <= {int(row) for row in found["outliers"].rows}
