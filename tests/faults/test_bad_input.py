"""F28: broken input. A bad row is put aside with its line and reason; the rest is used; the counts add up."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tunewright.core import storage
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages.prepare import prepare

GOOD = [
    json.dumps({"text": f"message {number} é", "label": "ab"[number % 2]}, ensure_ascii=False) for number in range(40)
]
Tried = Callable[[bytes], tuple[Report, list[tuple[int, str]]]]


@pytest.fixture
def tried(tmp_path: Path) -> Tried:
    """Prepare a JSONL file of these bytes; returns the report and (line, reason) of each row put aside."""

    def tried(content: bytes, name: str = "rows.jsonl") -> tuple[Report, list[tuple[int, str]]]:
        (tmp_path / name).write_bytes(content)
        recipe = Recipe.parse({"name": "r", "data": {"sources": [name]}}, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs", fresh=True)
        report = prepare(recipe, run)
        rows = report.numbers["rows"]
        assert rows["read"] == rows["kept"] + rows["quarantined"] + rows["duplicates"] + rows["twins_dropped"]
        assert sum(len(run.split(side)) for side in ("train", "validation", "test")) == rows["kept"]
        quarantine = list(storage.read_jsonl(run.path("data", "quarantine.jsonl")))
        assert len(quarantine) == rows["quarantined"]
        return report, [(row["line"], row["reason"]) for row in quarantine]

    return tried


def with_line(bad: bytes) -> bytes:
    """The good rows with one bad line as the fifth."""
    lines = [line.encode() for line in GOOD]
    return b"\n".join([*lines[:4], bad, *lines[4:]]) + b"\n"


BAD = {
    "cut short": (b'{"text": "half a li', "not JSON"),
    "not an object": (b'["text", "label"]', "not an object: found a list"),
    "bare words": (b"hello", "not JSON"),
    "not UTF-8": (b'{"text": "caf\xff\x81", "label": "a"}', "not UTF-8: byte 0xff"),
    "lone surrogate": (b'{"text": "\\ud83d broken", "label": "a"}', "half a character: the lone surrogate \\ud83d"),
    "lone surrogate beside the text": (b'{"text": "x", "label": "a", "note": "\\udc00"}', "half a character"),
    "raw NUL": (b'{"text": "a\x00b", "label": "a"}', "a NUL character"),
    "escaped NUL": (b'{"text": "a\\u0000b", "label": "a"}', "a NUL character"),
    "ten megabytes": (b'{"text": "' + b"x" * 10 * 2**20 + b'", "label": "a"}', "too long: a line of 10.0 MiB"),
    "bottomless": (b'{"a":' * 100_000, "not JSON"),
    "endless number": (b'{"text": ' + b"9" * 5000 + b', "label": "a"}', "not JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_put_aside_with_its_number_and_reason(tried: Tried, name: str) -> None:
    bad, reason = BAD[name]
    report, aside = tried(with_line(bad))
    assert [line for line, _ in aside] == [5]
    assert aside[0][1].startswith(reason)
    assert (report.numbers["rows"]["read"], report.numbers["rows"]["kept"]) == (41, 40)
    assert next(finding for finding in report.findings if finding.name == "quarantined").count == 1


def test_an_escaped_backslash_before_u0000_is_no_nul(tried: Tried) -> None:
    report, aside = tried(with_line(b'{"text": "the escape \\\\u0000 and \\ud83d\\ude00", "label": "a"}'))
    assert aside == [] and report.numbers["rows"]["kept"] == 41


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_line_ends_change_nothing(tried: Tried, encoding: str, end: str) -> None:
    text = end.join([*GOOD[:20], "", *GOOD[20:]])  # a blank line, and no end behind the last
    report, aside = tried(text.encode(encoding))
    assert aside == [] and report.numbers["rows"]["kept"] == 40
    assert report.numbers["labels"].keys() == {"a", "b"}


def test_a_line_separator_inside_a_text_ends_no_line(tried: Tried) -> None:
    report, aside = tried(with_line('{"text": "one\u2028two\x85three", "label": "a"}'.encode()))
    assert aside == [] and report.numbers["rows"]["kept"] == 41


def test_a_packed_file_that_breaks_off_keeps_what_came_before(tried: Tried) -> None:
    lines = [json.dumps({"text": f"message {number}", "label": "a"}) for number in range(5000)]
    packed = gzip.compress(("\n".join(lines) + "\n").encode(), compresslevel=0)
    report, aside = tried(packed[: len(packed) // 2], "rows.jsonl.gz")
    kept = report.numbers["rows"]["kept"]
    assert 2000 < kept < 2600
    assert aside[0][0] == kept + 1 and aside[0][1].startswith("the file breaks off")
    assert "broken_file" in {finding.name for finding in report.findings}


def test_a_line_of_another_encoding_is_read_where_it_makes_words(tried: Tried) -> None:
    report, aside = tried(with_line('{"text": "d\u00e9j\u00e0 vu au caf\u00e9", "label": "a"}'.encode("cp1252")))
    assert aside == [] and report.numbers["rows"]["kept"] == 41
    note = next(finding for finding in report.findings if finding.name == "mixed_encodings")
    assert note.count == 1 and [row.line for row in note.rows] == [5]


def test_an_array_with_a_broken_object_loses_that_one(tried: Tried) -> None:
    objects = [*GOOD[:4], '{"text": "no colon" "label" "a"}', *GOOD[4:]]
    report, aside = tried(f"[{','.join(objects)}]".encode(), "rows.json")
    assert [line for line, _ in aside] == [5] and report.numbers["rows"]["kept"] == 40
