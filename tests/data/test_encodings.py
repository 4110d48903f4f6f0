"""Encodings and line ends, also mixed in one file: what is read, what is put aside, what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from written_files import LINES, ROWS, TABLE, Read, write


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
