"""Finding and reading files of every kind."""

from __future__ import annotations

import gzip
import json
import lzma
import os
from pathlib import Path

import polars
import pytest

from tunewright.core.errors import DataError, NotThere
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Finding
from tunewright.data.sources import files, fingerprint, names, read

ROWS = [{"text": 'a, "b"\nc', "label": "x"}, {"text": "d", "label": "y"}, {"text": "é;ü", "label": "z"}]


def as_csv(delimiter: str) -> str:
    quoted = [[f'"{str(value).replace(chr(34), chr(34) * 2)}"' for value in row.values()] for row in ROWS]
    return "\n".join(delimiter.join(cells) for cells in [["text", "label"], *quoted]) + "\n"


@pytest.mark.parametrize("name", [
    "a.jsonl", "a.ndjson", "a.json", "wrapped.json", "lines.json", "a.csv", "semicolon.csv", "pipe.csv", "a.tsv",
    "a.parquet", "a.jsonl.gz", "a.csv.gz", "a.jsonl.xz",
])  # fmt: skip
def test_every_kind_of_table_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    texts = {
        "a.json": json.dumps(ROWS, indent=1),
        "wrapped.json": json.dumps({"version": 1, "rows": ROWS}),
        "a.csv": as_csv(","),
        "semicolon.csv": as_csv(";"),
        "pipe.csv": as_csv("|"),
        "a.tsv": as_csv("\t"),
        "a.csv.gz": as_csv(","),
    }
    content = texts.get(name, lines).encode()
    if name.endswith(".parquet"):
        polars.DataFrame(ROWS).write_parquet(path)
    else:
        pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
        path.write_bytes(pack(content))
    assert [row.values for row in read([str(path)])] == ROWS
    assert all(row.problem is None and row.file == str(path) for row in read([str(path)]))


def test_text_files_are_one_document_each(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes("one\r\ntwo".encode("utf-16"))
    (tmp_path / "a.md").write_text("# one\n")
    (tmp_path / "README.md").write_text("about this folder")
    assert [row.values for row in read([str(tmp_path)])] == [{"text": "# one\n"}, {"text": "one\ntwo"}]


def test_of_a_folder_tables_are_taken_and_other_files_left(tmp_path: Path) -> None:
    for name in ("deep/b.jsonl", "a.csv", "notes.md", "picture.png", ".hidden/c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    assert [Path(file).name for file in files([str(tmp_path)])] == ["a.csv", "b.jsonl"]
    assert files([str(tmp_path / "*.csv"), str(tmp_path / "a.csv")]) == [str(tmp_path / "a.csv")]


def test_a_missing_file_an_empty_folder_and_an_unknown_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="nowhere"):
        files([str(tmp_path / "nowhere.jsonl")])
    with pytest.raises(NotThere, match="holds no file"):
        files([str(tmp_path)])
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(DataError, match=r"Known endings: \.jsonl"):
        list(read([str(tmp_path / "a.docx")]))
    with pytest.raises(DataError, match="hub:owner/name"):
        list(read(["hub:just-a-name"]))


def test_two_files_of_one_stem_get_names_of_their_own() -> None:
    given = names(["/a/train.jsonl", "/b/train.csv.gz", "/c/train-2.jsonl", "hub:owner/set:test"])
    assert list(given.values()) == ["train", "train-2", "train-2-2", "owner-set-test"]


def test_limit_stops_reading_and_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"two\nlines",x\n\nlater,y\nlast,z\n')
    assert [row.line for row in read([str(path)])] == [2, 5, 6]
    assert [row.line for row in read([str(path)], limit=2)] == [2, 5]


def test_the_fingerprint_follows_the_content_of_every_file(tmp_path: Path) -> None:
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text("1\n")
    test.write_text("2\n")
    data = DataOptions(sources=[str(train)], test=str(test))
    before = fingerprint(data)
    assert set(before) == {str(train), str(test)}
    assert fingerprint(data) == before
    train.write_text("3\n")  # the same size: only the content and the time differ
    os.utime(train, ns=(1, 1))
    after = fingerprint(data)
    assert after[str(train)] != before[str(train)] and after[str(test)] == before[str(test)]


def test_a_table_with_an_open_quote_loses_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\nfine,x\n"open,y\nstill here,z\ntoo,many,cells\nend,x\n')
    rows = list(read([str(path)]))
    assert [row.values["text"] for row in rows if row.values] == ["fine", "still here", "end"]
    assert [(row.line, row.problem.split(":")[0]) for row in rows if row.problem] == [
        (3, "not CSV"),
        (5, "wrong number of columns"),
    ]


def test_a_file_of_another_encoding_is_guessed_and_said(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    words = ["Überweisung fehlgeschlagen, bitte prüfen", "Größe ändern für später", "schöne Grüße aus Köln"]
    path.write_bytes(("text,label\n" + "".join(f'"{word}",x\n' for word in words)).encode("cp1252"))
    notes: list[Finding] = []
    assert [row.values["text"] for row in read([str(path)], notes=notes) if row.values] == words
    assert [note.name for note in notes] == ["encoding"]


def test_a_header_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,text\na,b\n")
    with pytest.raises(DataError, match="two columns called 'text'"):
        list(read([str(path)]))
