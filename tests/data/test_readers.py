"""Each kind of file, what its content says, and what becomes of what is broken in it: with exact counts."""

from __future__ import annotations

import datetime
import gzip
import json
import pickle
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import polars
import pytest
import xlsxwriter
import zstandard

from tunewright.core.errors import DataError
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Finding
from tunewright.data.intake import Intake, Taker, take
from tunewright.data.readers import DOCUMENTS
from tunewright.data.rows import RawRow
from tunewright.data.sources import files, names, read

ROWS = [{"text": f"message {number}", "label": "ab"[number % 2]} for number in range(6)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TABLE = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS)


class Read:
    """The rows and findings of one file."""

    def __init__(self, path: Path) -> None:
        self.notes: list[Finding] = []
        self.rows: list[RawRow] = list(read([str(path)], notes=self.notes))
        self.values = [row.values for row in self.rows if row.values is not None]
        self.bad = [(row.line, row.problem) for row in self.rows if row.problem is not None]
        self.names = [note.name for note in self.notes]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd"}) as book:
        for name, lines in sheets.items():
            sheet = book.add_worksheet(name)
            for number, line in enumerate(lines):
                for column, cell in enumerate(line):
                    if cell is not None:
                        sheet.write(number, column, cell)
    return path


# --- names that lie ---


@pytest.mark.parametrize(("name", "content"), [
    ("a.jsonl", json.dumps(ROWS)),
    ("a.jsonl", json.dumps(ROWS, indent=1)),
    ("a.jsonl", TABLE),
    ("a.json", TABLE),
    ("a.csv", LINES),
    ("a.csv", TABLE.replace(",", "\t")),
    ("a.tsv", TABLE),
    ("a.csv", json.dumps(ROWS)),
    ("a.json", gzip.compress(LINES.encode())),
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
    ("a.jsonl.gz", gzip.compress(LINES.encode())),
    ("a.jsonl.gz.zst", zstandard.compress(gzip.compress(LINES.encode()))),
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


# --- encodings and line ends ---


def test_lines_of_another_encoding_are_read_where_they_make_words(tmp_path: Path) -> None:
    texts = [
        "Zo\u00eb \u20ac5",
        "caf\u00e9 \u201ccr\u00e8me\u201d",
        "plain",
        "d\u00e9j\u00e0 vu \u2026",
        "M\u00fcller",
        "12 m\u00b2",
    ]
    content = b"".join(
        json.dumps({"text": text, "label": "a"}, ensure_ascii=False).encode("utf-8" if number % 2 == 0 else "cp1252")
        + b"\n"
        for number, text in enumerate(texts)
    )
    bad = b'{"text": "\xcf\xf0\xe8\xe2\xe5\xf2 \xec\xe8\xf0", "label": "a"}\n'  # Cyrillic
    found = Read(write(tmp_path / "a.jsonl", content + bad))
    assert [row["text"] for row in found.values] == texts
    assert found.bad == [(7, "not UTF-8: byte 0xcf at 10")]
    (note,) = found.notes
    assert (note.name, note.count, [row.line for row in note.rows]) == ("mixed_encodings", 3, [2, 4, 6])


@pytest.mark.parametrize("odd", [
    b"half a char \xc3", b"noise \xff\xfe here", b"\x81\x8d", b"mac caf\x8e", b"dos caf\x82 bar",
    b"\xb1\xe0\xbe\xa9 big five", b"\xed\xa0\xbd",
])  # fmt: skip
def test_bytes_that_make_no_words_are_put_aside(tmp_path: Path, odd: bytes) -> None:
    fine = '{"text": "caf\u00e9", "label": "a"}\n'.encode() * 3
    found = Read(write(tmp_path / "a.jsonl", fine + b'{"text": "' + odd + b'", "label": "a"}\n'))
    assert len(found.values) == 3 and [line for line, _ in found.bad] == [4] and found.notes == []


@pytest.mark.parametrize(("encoding", "texts"), [
    ("cp1251", ["карта не пришла", "Перевод не прошёл «почему»?"]),
    ("koi8-r", ["карта не пришла", "Перевод не прошёл"]),
    ("cp866", ["карта не пришла", "Перевод не прошёл"]),
    ("cp1253", ["η κάρτα μου δεν ήρθε", "Καμία μεταφορά απέτυχε"]),
    ("gb18030", ["我的卡在哪里我等了两个星期", "转账失败了请帮我查一下原因", "我想更改我的密码应该怎么办"]),
    ("shift_jis", ["カードがまだ届きません、いつ届きますか", "送金に失敗しました、理由を教えてください"]),
])  # fmt: skip
def test_a_whole_file_of_another_alphabet_is_read_in_its_encoding(
    tmp_path: Path, encoding: str, texts: list[str]
) -> None:
    content = "text;label\n" + "".join(f"{text};a\n" for text in texts * 4)
    found = Read(write(tmp_path / "a.csv", content.encode(encoding)))
    assert [row["text"] for row in found.values] == texts * 4 and found.names == ["encoding"]


def test_an_array_of_mixed_encodings_is_mended_row_by_row(tmp_path: Path) -> None:
    parts = [json.dumps({"text": text}, ensure_ascii=False) for text in ("Zo\u00eb", "caf\u00e9", "\u00fcber")]
    content = (
        b"["
        + b",".join(part.encode(code) for part, code in zip(parts, ("utf-8", "cp1252", "utf-8"), strict=True))
        + b"]"
    )
    found = Read(write(tmp_path / "a.json", content))
    assert [row["text"] for row in found.values] == ["Zo\u00eb", "caf\u00e9", "\u00fcber"] and found.names == [
        "mixed_encodings"
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.conll", "a.txt"])
def test_lone_carriage_returns_end_lines(tmp_path: Path, name: str) -> None:
    content = {
        "a.csv": TABLE, "a.jsonl": LINES, "a.conll": "Oslo B-place\nis O\n\nBonn B-place\n", "a.txt": "one\ntwo\n"
    }[name]  # fmt: skip
    wanted = Read(write(tmp_path / name, content))
    for end in ("\r", "\r\n"):
        found = Read(write(tmp_path / name, content.replace("\n", end)))
        assert [(row.line, row.values) for row in found.rows] == [(row.line, row.values) for row in wanted.rows]


def test_a_file_with_carriage_returns_alone_may_be_longer_than_a_line(tmp_path: Path) -> None:
    line = json.dumps({"text": "x" * 2**20, "label": "a"})
    found = Read(write(tmp_path / "a.jsonl", "\r".join([line] * 20)))
    assert len(found.values) == 20 and found.bad == []
    long = json.dumps({"text": "x" * 9 * 2**20, "label": "a"})
    found = Read(write(tmp_path / "b.jsonl", "\r".join([line, long, line, line])))
    assert len(found.values) == 3 and [line for line, _ in found.bad] == [2]


def test_nuls_in_western_text_do_not_make_it_utf_16(tmp_path: Path) -> None:
    found = Read(write(tmp_path / "a.csv", TABLE.encode() + b"a\x00b,x\n"))
    assert found.values == ROWS and found.bad == [(8, "a NUL character")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_encodings_without_a_mark_are_found(tmp_path: Path, encoding: str) -> None:
    chinese = "text,label\n" + "\u6211\u7684\u5361\u5728\u54ea\u91cc,a\n\u4e00\u4e2a\u95ee\u9898,b\n" * 40
    for number, text in enumerate((TABLE, chinese)):
        found = Read(write(tmp_path / f"{number}.csv", text.encode(encoding)))
        assert found.bad == [] and len(found.values) == text.count("\n") - 1 and found.notes == []


# --- tables ---


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


# --- logged requests ---


def logged(answer: Any = "Hello!", **response: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": answer, "refusal": None}, "finish_reason": "stop"}
    return {
        "id": "r1",
        "request": {
            "model": "m",
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": [{"type": "function"}],
            "stream": False,
        },
        "response": {"object": "chat.completion", "model": "m-1", "choices": [choice], **response},
    }


def test_logged_requests_become_conversations_and_failures_are_put_aside(tmp_path: Path) -> None:
    cut = logged()
    cut["response"]["choices"][0]["finish_reason"] = "length"
    refused = logged(None)
    refused["response"]["choices"][0]["message"]["refusal"] = "I cannot."
    rows = [
        logged(),
        cut,
        logged(error={"message": "rate limit"}),
        {**logged(), "response": None},
        {"request": logged()["request"], "error": "timeout"},
        logged(choices=[]),
        refused,
        logged(""),
        {**logged(), "response": {"status_code": 500, "body": {}}},
        {
            **logged(),
            "request": {"body": json.dumps(logged()["request"])},
            "response": {"status_code": 200, "body": logged()["response"]},
        },
        {"request": {"prompt": "2+2="}, "response": {"choices": [{"text": "4", "finish_reason": "stop"}]}},
    ]  # fmt: skip
    found = Read(write(tmp_path / "traffic.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    whole = {"id": "r1", "model": "m-1", "messages": messages, "tools": [{"type": "function"}]}
    assert found.values == [whole, whole, {"prompt": "2+2=", "completion": "4"}]
    assert found.bad == [
        (2, "unfinished answer: the answer was cut at its longest length"),
        (3, "failed request: rate limit"),
        (4, "failed request: no response"),
        (5, "failed request: timeout"),
        (6, "no chat completion: the response has no choices"),
        (7, "refused: the model declined to answer"),
        (8, "empty answer"),
        (9, "failed request: status 500"),
    ]


def test_columns_called_request_and_response_may_be_plain_texts(tmp_path: Path) -> None:
    rows = [{"request": "Say hi", "response": "hi"}] * 2
    assert Read(write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))).values == rows


# --- sources ---


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
