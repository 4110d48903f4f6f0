"""Near twins are found, verified, kept on one side, and mended on request."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from looking import look

from tunewright.core.example import Example
from tunewright.core.recipe import Split
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data import near
from tunewright.data.formats import to_example
from tunewright.data.split import CLUSTER, by_time, joined

Prepared = Callable[..., tuple[Report, Run]]
Write = Callable[[str, list[dict[str, Any]]], str]
WORDS = [
    "".join(letters)
    for letters in itertools.islice(itertools.product("bdfgklmnprst", "aeiou", "bdfgklmnprst", "aeiou"), 3000)
]


def texts(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.sample(WORDS, 12)) for _ in range(count)]


def labelled(*rows: tuple[str, str]) -> list[Example]:
    return [to_example("labels", {"text": t, "label": label}, {}, f"a:{n}") for n, (t, label) in enumerate(rows, 1)]


def similarity(one: str, other: str) -> float:
    a, b = ({t[at : at + 5] for at in range(max(1, len(t) - 4))} for t in (one, other))
    return len(a & b) / len(a | b)


def test_every_pair_at_the_threshold_is_found_and_no_other(tmp_path: Path) -> None:
    draw = random.Random(3)
    rows = texts(300)
    for text in rows[:200]:  # take away a piece of random length: similarities around the threshold
        rows.append(text[: len(text) - draw.randrange(1, 25)].strip())
    draw.shuffle(rows)
    examples = labelled(*((text, "x") for text in rows))
    signatures = near.Signatures(tmp_path)
    for start in (0, 100, 350):
        block = examples[start : {0: 100, 100: 350, 350: 500}[start]]
        signatures.add([near.text_of(example) for example in block])
    told = near.pairs(signatures, np.arange(500), 500, lambda numbers: (examples[number] for number in numbers))
    wanted = {
        (one, other): similarity(rows[one], rows[other])
        for one, other in itertools.combinations(range(500), 2)
        if similarity(rows[one], rows[other]) >= 0.8
    }
    assert 50 < len(wanted) < 200
    found = dict(zip(zip(told.first.tolist(), told.second.tolist(), strict=True), told.similarity, strict=True))
    assert found.keys() == wanted.keys()
    assert all(found[pair] == pytest.approx(value) for pair, value in wanted.items())


def test_other_numbers_make_other_questions_and_a_template_says_nothing(tmp_path: Path) -> None:
    frame = "Read the following message of a customer and say what it is about in one word, please: "
    asked = [f"{frame}{text[:20]}" for text in texts(60)]
    same = [f"send money to account number {number} at once" for number in (12, 13)]
    faults = look(labelled(*((text, "x") for text in [*asked, *same])), "near_twins")
    assert faults == {}
    twins = look(labelled(*((text, "x") for text in [*asked, f"{asked[7]}x"])), "near_twins")
    assert [len(fault.rows) for fault in twins.values()] == [1] or twins == {}  # of one row, the other side's twin


def test_near_twins_stand_on_one_side_and_added_rows_move_none() -> None:
    draw = random.Random(1)
    base = texts(200)
    rows = [*base, *(f"{text} indeed" for text in base)]
    draw.shuffle(rows)

    def sides(count: int) -> dict[str, str]:
        seen: dict[str, str] = {}

        from tunewright.core.detecting import Detector, Fault, Scene, Seen

        class Spy(Detector):
            def watch(self, scene: Scene) -> Spy:
                return self

            def see(self, row: Seen) -> None:
                seen[row.example.messages[0].content] = row.side

            def faults(self) -> list[Fault]:
                return []

        look(labelled(*((text, "x") for text in rows[:count])), Spy())
        return seen

    whole = sides(400)
    assert len(whole) == 400 and set(whole.values()) == {"train", "validation", "test"}
    assert all(whole[text] == whole[f"{text} indeed"] for text in base)
    for count in (100, 250):
        assert all(whole[text] == side for text, side in sides(count).items())


def test_a_class_near_two_sides_goes_to_the_one_that_measures() -> None:
    sides, dropped = joined(np.array([0, 2, 0, 1, 0], np.int8), np.array([0, 1, 3]), np.array([2, 2, 4]))
    assert sides.tolist() == [0, 2, 2, 1, 1] and dropped.tolist() == [True, False, False, False, False]


def test_a_cluster_that_holds_a_tenth_of_all_takes_no_more() -> None:
    count = 4 * CLUSTER
    chain = np.arange(count - 1)
    own = np.array([number // 30 % 2 * 2 for number in range(count)], np.int8)
    sides, dropped = joined(own, chain, chain + 1)
    assert not dropped.any() and set(sides.tolist()) == {0, 2}
    assert len(set(sides[:CLUSTER].tolist())) == 1
    before, _ = joined(own[:100], chain[:99], chain[:99] + 1)
    assert before.tolist() == sides[:100].tolist()


def test_the_latest_rows_are_the_test(write: Write, prepared: Prepared) -> None:
    rows = [
        {"text": text, "label": "ab"[n % 2], "day": f"2026-{1 + n // 28:02d}-{1 + n % 28:02d}"}
        for n, text in enumerate(texts(200))
    ]
    random.Random(0).shuffle(rows)
    report, run = prepared(sources=[write("a.jsonl", [*rows, {"text": "no day", "label": "a"}])], split={"time": "day"})
    days = {side: [e.meta.get("day", "") for e in run.split(side)] for side in ("train", "validation", "test")}
    assert max(days["train"]) < min(days["validation"]) <= max(days["validation"]) < min(days["test"])
    assert report.numbers["shares"]["test"] == pytest.approx(0.15, abs=0.01)
    assert next(f for f in report.findings if f.name == "rows_without_time").count == 1
    when = by_time(np.array([1.0, 1, 1, np.nan]), Split(), has_test=False, has_validation=False)
    assert when.tolist() == [2, 2, 2, 0]


def test_fixes_are_applied_and_counted_before_and_after(write: Write, prepared: Prepared) -> None:
    own = texts(120)
    rows = [{"text": text, "label": "paid" if n % 2 else "open"} for n, text in enumerate(own)]
    rows += [{"text": f"{text} so", "label": "open"} for text in own[:10:2]]
    rows += [{"text": text, "label": "Paid "} for text in texts(3, seed=9)]
    path = write("a.jsonl", rows)
    report, _ = prepared(sources=[path])
    found = {finding.name: finding for finding in report.findings}
    assert found["label_spellings"].fix and found["near_twins"].rows[0].source == path
    num_near = found["near_twins"].count
    assert num_near and num_near <= 5
    mended, run = prepared(sources=[path], fix=["label_spellings", "near_twins"])
    fixes = mended.numbers["fixes"]
    assert fixes["near_twins"] == {"before": num_near, "dropped": num_near, "changed": 0, "after": 0}
    assert fixes["label_spellings"]["changed"] == 3 and fixes["label_spellings"]["after"] == 0
    assert mended.numbers["rows"]["fixed"] == num_near and not {"label_spellings", "near_twins"} & {
        finding.name for finding in mended.findings
    }
    assert {example.label for example in run.split("train", "validation", "test")} == {"paid", "open"}
    written = [json.loads(line) for line in run.path("data", "findings.jsonl").read_text().splitlines()]
    assert sum(row.get("fixed") == "near_twins" for row in written) == num_near
    numbers = mended.numbers
    assert numbers["rows_read"] == 128 == numbers["rows_kept"] + numbers["rows_dropped"] + numbers["rows_quarantined"]
    assert numbers["sources"][path]["rows_dropped"] == numbers["rows_dropped"]


def test_bank_intents_show_what_is_known_of_them(real: Path, prepared: Prepared) -> None:
    folder = real / "intent-banking77"
    sources = [str(folder / name) for name in ("train.jsonl", "validation.jsonl")]
    report, _ = prepared(sources=sources, test=str(folder / "test.jsonl"))
    found = {finding.name: finding for finding in report.findings}
    assert found["twins_of_test"].message.startswith("11 test rows")
    told = found["near_twins_of_test"]
    assert told.count == 135 and "11 are equal but for writing" in told.message
    assert "10 have another label there" in told.message and told.severity == "warning"
    mended, _ = prepared(sources=sources, test=str(folder / "test.jsonl"), fix=["near_twins_of_test"])
    after = {finding.name: finding for finding in mended.findings}
    assert "near_twins_of_test" not in after and after["twins_of_test"].message.startswith("11 test rows")
    assert mended.numbers["fixes"]["near_twins_of_test"]["before"] == 135
    assert report.numbers["sources"][sources[0]]["rows_read"] == 9002
    validation = report.numbers["rows"]["validation"]
    assert validation == pytest.approx(0.2 * 10003, rel=0.05)
