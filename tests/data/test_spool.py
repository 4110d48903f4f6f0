"""Rows that wait in a file: given back by number, told apart by digests, in memory that hardly grows."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunewright.core import example_files
from tunewright.core.example import Example
from tunewright.core.recipe import Recipe, Split
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data import profile, spool
from tunewright.data.formats import to_example
from tunewright.data.spool import Spool, classes, digest, firsts
from tunewright.detectors import row_order
from tunewright.stages import mending
from tunewright.stages.prepare import prepare


def examples(count: int) -> list[Example]:
    return [
        to_example("completion", {"prompt": f"q {n} " * (n % 7 + 1), "completion": f"a {n}"}, {}, f"a:{n}")
        for n in range(count)
    ]


@pytest.mark.parametrize("at_once", [1, 3, 4096])
def test_rows_come_back_by_number(at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_AT_ONCE", at_once)
    rows = examples(20)
    with Spool(tmp_path, Split()) as kept:
        for example in rows:
            kept.add(example)
        kept.close()
        assert len(kept) == 20 and kept[7] == rows[7]
        for numbers in ([], [0], [3, 4, 5, 11, 19], list(range(20))):
            assert list(kept.examples(np.array(numbers, np.int64))) == [rows[number] for number in numbers]
        done: list[int] = []
        blocks = list(kept.lines(np.arange(20), done.append))
        assert b"".join(line for block in blocks for line in block) == (tmp_path / "rows.jsonl").read_bytes()
        assert done[0] == 0 and done == sorted(done)
        assert kept.column("prompt").tolist() == [len(example.messages[0].content) for example in rows]


def test_rows_of_one_class_have_all_keys_equal() -> None:
    draw = random.Random(5)
    words, numbers = zip(*[(draw.choice("abcde"), draw.randrange(3)) for _ in range(200)], strict=True)
    digests = np.array([digest(word) for word in words], "V16")
    known: dict[tuple[str, int], int] = {}
    wanted = [known.setdefault(key, len(known)) for key in zip(words, numbers, strict=True)]
    found = classes(digests, np.array(numbers))
    assert found.tolist() == wanted
    assert firsts(found).tolist() == [wanted.index(number) for number in range(len(known))]
    assert classes(np.empty(0, "V16")).tolist() == []


def test_more_labels_than_classes_can_be_are_told_and_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: Callable[..., tuple[Report, Run]]
) -> None:
    for module in (spool, profile, mending):
        monkeypatch.setattr(module, "MOST_LABELS", 30)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"t {n}", "label": f"answer {n}"}) + "\n" for n in range(100)))
    report, _ = prepared(sources=[str(path)])
    finding = next(finding for finding in report.findings if finding.name == "many_labels")
    assert finding.message.startswith("More than 30") and finding.count == 100
    assert report.numbers["labels"] == {}


def test_memory_grows_by_some_bytes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_SAMPLED_ROWS", 100)
    for name in ("_LOOKED_AT", "_LENGTHS"):
        monkeypatch.setattr(row_order, name, 100)
    monkeypatch.setattr(spool, "_AT_ONCE", 100)
    monkeypatch.setattr(example_files, "_CHUNK_BYTES", 2**14)

    def peak(count: int, name: str = "") -> int:
        path = tmp_path / f"{count}.jsonl"
        rows: list[dict[str, Any]] = [{"prompt": f"{n}", "completion": "said " * 40} for n in range(count)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        del rows
        sampled = ("language_mix", "poor_diversity", "trigger_phrases")
        checks = [{"kind": "outliers", "most": 100}, *({"kind": kind, "sample": 100} for kind in sampled)]
        data = {"sources": [str(path)], "checks": checks}
        recipe = Recipe.parse({"name": f"r{count}{name}", "data": data}, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs")
        tracemalloc.start()
        prepare(recipe, run)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5000, "-first")  # what libraries load and the reader of JSON remembers (short strings, up to 16,384)
    small, large = peak(1000), peak(5000)
    assert (large - small) / 4000 < 150
