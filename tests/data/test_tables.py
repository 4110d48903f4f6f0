"""Tables: CSV and its kin, workbooks, Parquet, Arrow."""

from __future__ import annotations

import datetime
import json
import zipfile
from pathlib import Path

import polars
from written_files import ROWS, TABLE, Read, workbook, write


def test_the_first_line_of_excel_names_the_delimiter(tmp_path: Path) -> None:
    found = Read(write(tmp_path / "a.csv", "sep=;\r\ntext;label\r\na, b, c, d;x\r\ne, f, g, h;y\r\n"))
    assert found.values == [{"text": "a, b, c, d", "label": "x"}, {"text": "e, f, g, h", "label": "y"}]
    assert [row.line for row in found.rows] == [3, 4]


def test_a_table_behind_another_has_its_header_put_aside(tmp_path: Path) -> None:
    found = Read(write(tmp_path / "a.csv", TABLE + TABLE))
    assert found.values == ROWS * 2 and [line for line, _ in found.bad] == [8]


def test_quotes_in_a_tab_separated_line_may_be_mere_signs(tmp_path: Path) -> None:
    found = Read(write(tmp_path / "a.tsv", 'text\tlabel\n"hello" he said\tx\n5" pipe\ty\n"quoted\ttab"\tz\nlast\tx\n'))
    assert [row["text"] for row in found.values] == [
        '"hello" he said',
        '5" pipe',
        "quoted\ttab",
        "last",
    ] and found.bad == []


def test_cells_behind_the_last_column_may_be_empty_and_nothing_else(tmp_path: Path) -> None:
    found = Read(write(tmp_path / "a.csv", "text,label\na,x,,\nb,y,,z\n,\nc,z\n"))
    assert [row["text"] for row in found.values] == ["a", "c"] and [line for line, _ in found.bad] == [3]


# --- workbooks, Parquet, Arrow ---


def test_a_sheet_is_read_below_its_titles_as_the_text_people_see(tmp_path: Path) -> None:
    day = datetime.date(2024, 1, 31)
    path = workbook(tmp_path / "a.xlsx", {
        "Empty": [],
        "Data": [[], ["Report of 2024"], [], ["text", "label", "score", "when", "sure"], ["hi", 3, 0.5, day, True],
                 [], ["ho", 3.5, 12345678, day, False], [None, None, None]],
        "Notes": [["a note"]],
    })  # fmt: skip
    found = Read(path)
    assert [row.line for row in found.rows] == [5, 7]
    assert found.values == [
        {"text": "hi", "label": "3", "score": "0.5", "when": "2024-01-31", "sure": "true"},
        {"text": "ho", "label": "3.5", "score": "12345678", "when": "2024-01-31", "sure": "false"},
    ]
    (note,) = found.notes
    assert (
        note.name == "other_sheets"
        and note.count is None
        and "'Data' was read" in note.message
        and "Notes" in note.message
    )


def test_an_open_document_sheet_is_read(tmp_path: Path) -> None:
    start, end = '<table:table-cell office:value-type="string"><text:p>', "</text:p></table:table-cell>"
    lines = [["text", "label"], *(list(row.values()) for row in ROWS)]
    cells = ("".join(start + cell + end for cell in line) for line in lines)
    table = "".join(f"<table:table-row>{line}</table:table-row>" for line in cells)
    kinds = ("office", "table", "text")
    spaces = " ".join(f'xmlns:{kind}="urn:oasis:names:tc:opendocument:xmlns:{kind}:1.0"' for kind in kinds)
    with zipfile.ZipFile(tmp_path / "a.ods", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        manifest = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
        archive.writestr("META-INF/manifest.xml", f'<manifest:manifest xmlns:manifest="{manifest}"/>')
        archive.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body><office:spreadsheet>"
            f'<table:table table:name="s">{table}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )
    found = Read(tmp_path / "a.ods")
    assert (found.values, found.bad, found.notes) == (ROWS, [], [])


def test_a_workbook_that_is_none_is_one_bad_row(tmp_path: Path) -> None:
    found = Read(write(tmp_path / "a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x01" * 600))
    assert found.values == [] and len(found.bad) == 1 and found.bad[0][1].startswith("not a workbook")


def test_columns_of_every_type_come_as_json_knows_them(tmp_path: Path) -> None:
    frame = polars.DataFrame({
        "text": ["a", None], "n": [1, 2], "x": [float("nan"), 0.5], "when": [datetime.date(2024, 1, 31)] * 2,
        "raw": [b"bytes", b"\xff\xfe"], "list": [[1], []], "struct": [{"a": 1}, {"a": None}],
    })  # fmt: skip
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ipc(tmp_path / "b.arrow")
    frame.write_ipc_stream(tmp_path / "c.arrow")
    for name in ("a.parquet", "b.arrow", "c.arrow"):
        found = Read(tmp_path / name)
        assert found.values == [
            {"text": "a", "n": 1, "when": "2024-01-31", "raw": "bytes", "list": [1], "struct": {"a": 1}, "x": None},
            {
                "n": 2,
                "x": 0.5,
                "when": "2024-01-31",
                "raw": "data:application/octet-stream;base64,//4=",
                "list": [],
                "struct": {},
            },
        ]
        json.dumps(found.values)
