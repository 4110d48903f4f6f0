"""What a file's content says, whatever its name; JSON of every shape; sources: with exact counts."""

from __future__ import annotations

import gzip
import json
import pickle
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import polars
import pytest
import zstandard
from written_files import LINES, ROWS, TABLE, Read, workbook, write

from tunewright.core.errors import DataError
from tunewright.core.recipe import DataOptions
from tunewright.data.intake import Intake, Taker, take
from tunewright.data.readers import DOCUMENTS
from tunewright.data.sources import files, names, read


@pytest.mark.parametrize(("name", "content"), [
    ("a.jsonl", json.dumps(ROWS)),
    ("a.jsonl", json.dumps(ROWS, indent=1)),
    ("a.jsonl", TABLE),
    ("a.json", TABLE),
    ("a.csv", LINES),
    ("a.csv", TABLE.replace(",", "\t")),
    ("a.tsv", TABLE),
    ("a.csv", json.dumps(ROWS)),
    ("a.json", gzip.compress(LINES.encode(), mtime=0)),
    ("a.csv.gz", TABLE),
    ("a.txt", LINES),
    ("a.parquet", TABLE),
    ("a.parquet", LINES),
    ("a.xlsx", TABLE),
    ("a.conll", LINES),
    ("a.data", LINES),
    ("noending", json.dumps(ROWS)),
])  # fmt: skip
def test_a_file_is_read_as_what_it_is_and_its_name_told(tmp_path: Path, name: str, content: str | bytes) -> None:
    found = Read(write(tmp_path / name, content))
    assert (found.values, found.bad, found.names) == (ROWS, [], ["misnamed_file"])
    true = str(found.notes[0].remedy).split()[4].rstrip(",")
    again = Read((tmp_path / name).rename(tmp_path / true))
    assert (again.values, again.notes) == (ROWS, [])


def test_binary_tables_under_the_names_of_texts_are_read(tmp_path: Path) -> None:
    polars.DataFrame(ROWS).write_parquet(tmp_path / "a.csv")
    polars.DataFrame(ROWS).write_ipc(tmp_path / "b.jsonl")
    workbook(tmp_path / "c.csv", {"s": [["text", "label"], *(list(row.values()) for row in ROWS)]}).rename(
        tmp_path / "d.csv"
    )
    for name in ("a.csv", "b.jsonl", "d.csv"):
        found = Read(tmp_path / name)
        assert (found.values, found.names) == (ROWS, ["misnamed_file"])


@pytest.mark.parametrize(("name", "content"), [
    ("a.jsonl", LINES), ("a.json", LINES), ("a.json", json.dumps(ROWS)), ("a.csv", TABLE),
    ("a.csv", TABLE.replace(",", ";")),
    ("a.csv", TABLE.replace(",", "|")), ("a.tsv", TABLE.replace(",", "\t")),
    ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)),
    ("a.jsonl.gz.zst", zstandard.compress(gzip.compress(LINES.encode(), mtime=0))),
])  # fmt: skip
def test_a_true_name_is_no_finding(tmp_path: Path, name: str, content: str | bytes) -> None:
    found = Read(write(tmp_path / name, content))
    assert (found.values, found.notes) == (ROWS, [])


def test_texts_that_look_like_tables_stay_texts(tmp_path: Path) -> None:
    for name, text in (
        ("a.txt", "One, two,\nthree, four,\nfive, six,\n"),
        ("b.md", "[link](http://x)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"),
        ("c.txt", "{ this is no JSON }\n"),
        ("d.txt", "<html>a page to learn from</html>\n"),
    ):
        found = Read(write(tmp_path / name, text))
        assert (found.values, found.notes) == ([{"text": text}], [])


def test_a_long_first_line_is_no_document_over_several_lines(tmp_path: Path) -> None:
    rows = [{"text": "x" * 100_000, "label": "a"}, {"text": "y", "label": "b"}]
    found = Read(write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    assert (found.values, found.notes) == (rows, [])


@pytest.mark.parametrize(("content", "what"), [
    (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
    (b"\x89PNG\r\n\x1a\n" + bytes(20), "PNG"),
    (pickle.dumps({"text": ["a"]}), "never opened"),
    (b"SQLite format 3\x00" + bytes(100), "SQLite"),
    (b"<!DOCTYPE html>\n<html><body>404</body></html>", "web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    (bytes(range(256)) * 4, "neither text"),
])  # fmt: skip
@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".json", ".parquet", ".xlsx"])
def test_what_holds_no_rows_is_refused_in_one_sentence(tmp_path: Path, content: bytes, what: str, ending: str) -> None:
    with pytest.raises(DataError, match=what) as error:
        Read(write(tmp_path / f"a{ending}", content))
    assert "\n" not in str(error.value)


def test_archives_of_several_files_and_word_documents_are_refused(tmp_path: Path) -> None:
    for name, members in (("a.zip", ["x.csv", "y.csv"]), ("b.csv", ["word/document.xml", "[Content_Types].xml"])):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member in members:
                archive.writestr(member, TABLE)
    with tarfile.open(tmp_path / "c.csv.gz", "w:gz") as archive:
        archive.add(write(tmp_path / "t.csv", TABLE), "t.csv")
    for name, what in (("a.zip", "archive of 2 files"), ("b.csv", "Word document"), ("c.csv.gz", r"archive \(tar\)")):
        with pytest.raises(DataError, match=what):
            Read(tmp_path / name)


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    for ending in (".jsonl", ".json", ".csv", ".parquet", ".xlsx", ".txt", ".jsonl.gz"):
        found = Read(write(tmp_path / f"a{ending}", gzip.compress(b"") if ending.endswith("gz") else b""))
        assert (found.rows, found.names) == ([], ["empty_file"])


# --- JSON documents ---


def test_the_array_may_be_under_any_key_and_several_are_a_question(tmp_path: Path) -> None:
    assert (
        Read(write(tmp_path / "a.json", json.dumps({"meta": {"n": [1]}, "anything": ROWS, "x": None}))).values == ROWS
    )
    with pytest.raises(DataError, match=r"several lists of rows: 'train' \(6\), 'test' \(2\)"):
        Read(write(tmp_path / "b.json", json.dumps({"train": ROWS, "test": ROWS[:2]})))


def test_a_single_row_with_lists_of_its_own_is_no_wrapper(tmp_path: Path) -> None:
    row = {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        "tools": [{"type": "function"}],
    }
    assert Read(write(tmp_path / "a.json", json.dumps(row, indent=1))).values == [row]
    assert Read(write(tmp_path / "b.json", json.dumps(row, indent=1) * 2)).values == [row, row]


def test_behind_a_broken_object_the_array_is_read_on(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]} for n in range(5)
    ]
    parts = [json.dumps(row) for row in rows]
    parts[2] = parts[2].replace('"role": "user",', '"role": "user"')
    found = Read(write(tmp_path / "a.json", "[" + ",\n".join(parts) + "]"))
    assert found.values == [*rows[:2], *rows[3:]]
    assert [(line, reason[:8]) for line, reason in found.bad] == [(3, "not JSON")] and found.names == []


def test_an_array_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    text = json.dumps(ROWS)
    found = Read(write(tmp_path / "a.json", text[: text.index("message 4")]))
    assert found.values == ROWS[:4] and [line for line, _ in found.bad] == [5] and found.names == ["broken_file"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_large_array_is_read_in_flat_memory(tmp_path: Path, wrapped: bool) -> None:
    with (tmp_path / "a.json").open("w") as file:
        file.write('{"version": 1, "rows": [' if wrapped else "[")
        file.write(",".join(json.dumps({"text": f"{number} " + "x" * 1000, "label": "a"}) for number in range(20_000)))
        file.write("]}" if wrapped else "]")
    tracemalloc.start()
    assert sum(row.values is not None for row in read([str(tmp_path / "a.json")])) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (30 if wrapped else 5) * 2**20, "a file of 20 MiB"


def test_what_is_no_number_is_missing_and_infinity_is_bad(tmp_path: Path) -> None:
    found = Read(write(tmp_path / "a.jsonl", '{"text": "a", "score": NaN}\n{"text": "b", "score": Infinity}\n'))
    assert found.values == [{"text": "a", "score": None}] and [line for line, _ in found.bad] == [2]


def test_the_counts_of_each_file_add_up(tmp_path: Path) -> None:
    first = str(write(tmp_path / "a.jsonl", LINES + "broken\n"))
    second = str(write(tmp_path / "b.csv", TABLE + "one,two,three\n,x\n"))
    third = str(write(tmp_path / "c.jsonl", ""))
    sources = [first, second, third]
    intake: Intake = take(sources, DataOptions(sources=sources), names(sources), Taker())
    assert intake.by_file == {
        first: {"rows_read": 7, "rows_usable": 6, "rows_quarantined": 1},
        second: {"rows_read": 8, "rows_usable": 6, "rows_quarantined": 2},
        third: {"rows_read": 0, "rows_usable": 0, "rows_quarantined": 0},
    }
    assert (intake.read, intake.usable, intake.bad) == (15, 12, 3)
    assert [note.name for note in intake.notes] == ["empty_file"]


def test_a_folder_of_a_saved_data_set_gives_its_rows_alone(tmp_path: Path) -> None:
    polars.DataFrame(ROWS).write_ipc_stream(tmp_path / "data-00000-of-00001.arrow")
    for name in ("dataset_info.json", "state.json"):
        write(tmp_path / name, "{}")
    assert [row.values for row in read([str(tmp_path)])] == ROWS


def test_names_of_packed_files_lose_every_ending() -> None:
    given = names(["/a/train.jsonl.gz.zst", "/b/notes.v2.csv", "/c/x.zip"])
    assert list(given.values()) == ["train", "notes.v2", "x"]
    assert DOCUMENTS == (".txt", ".md")


def test_real_files_are_read_without_a_bad_row_or_a_finding(real: Path) -> None:
    count = 0
    for file in files([str(real)])[:80]:
        found = Read(Path(file))
        count += len(found.values)
        assert (found.bad, found.notes) == ([], [])
    assert count > 50_000
