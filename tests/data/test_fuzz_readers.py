"""Any bytes under any ending give rows whose counts add up, or one sentence; what was written well comes back."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
import lzma
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest
import xlsxwriter
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.core.errors import DataError, NoKey
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Finding
from tunewright.data.intake import Taker, take
from tunewright.data.packing import PACKED
from tunewright.data.readers import READERS
from tunewright.data.sources import names, read

Rows = list[dict[str, Any]]
few = settings(max_examples=20, deadline=None, derandomize=True)
some = settings(max_examples=60, deadline=None, derandomize=True)

characters = st.characters(exclude_categories=("Cs",), exclude_characters="\x00\r\ufeff")
texts = st.text(characters, max_size=30)
words = st.text(characters, min_size=1, max_size=12).filter(lambda word: word.strip() != "")
rows = st.lists(st.fixed_dictionaries({"text": words, "label": texts, "note": texts}), min_size=1, max_size=6)
western = st.lists(
    st.sampled_from(
        [
            "caf\u00e9",
            "\u00e9t\u00e9",
            "M\u00fcller",
            "na\u00efve",
            "\u20ac5",
            "plain",
            "\u201cso\u201d",
            "\u00c5land",
            "\u00e0",
        ]
    ),
    min_size=1,
    max_size=5,
).map(" ".join)
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.compress,
    ".zip": lambda content: zipped({"inside": content}),
}
# what files of each kind are made of, so that arbitrary bytes come near to them
PIECES = [
    b"{", b"}", b"[", b"]", b'"', b":", b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b" ", b"\\", b"\\u", b"\\ud83d",
    b"text", b'{"text": "a", "label": "b"}', b'"text"', b'"label"', b"null", b"NaN", b"1e9", b"\x00", b"\xe9", b"\xff",
    b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd",
    b"\xfd7zXZ\x00", b"BZh91AY&SY", b"PK\x03\x04", b"PAR1", b"ARROW1\x00\x00", b"\xff\xff\xff\xff",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"%PDF-1.4", b"sep=;", b"\xe2\x80\xa8", b"O O\n",
]  # fmt: skip
ENDINGS = [
    *dict(zip(READERS.values(), READERS, strict=True)).values(),  # one of each kind
    ".jsonl.gz", ".csv.zst", ".json.zip", ".tsv.xz", ".unknown", "",
]  # fmt: skip
noise = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)), max_size=30).map(b"".join),
)


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def values_of(name: str, content: bytes) -> tuple[Rows, list[Finding]]:
    """The rows of a file of these bytes; none of them is bad."""
    notes: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        found = list(read([str(path)], notes=notes))
    assert [row.problem for row in found if row.problem] == []
    return [row.values for row in found if row.values is not None], notes


def taken(name: str, content: bytes) -> None:
    """Take a file in: the counts add up, and every error is one sentence of ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / name)
        Path(path).write_bytes(content)
        kept: list[str] = []
        aside: list[dict[str, Any]] = []
        taker = Taker(keep=lambda example: kept.append(example.id), put_aside=aside.append)
        try:
            intake = take([path], DataOptions(sources=[path]), names([path]), taker)
        except (DataError, NoKey) as error:  # bytes may begin as an encrypted file does
            assert str(error) and "\n" not in str(error)
            return
        assert (len(kept), len(aside)) == (intake.usable, intake.bad)
        assert intake.by_file[path] == {
            "rows_read": intake.read, "rows_usable": intake.usable, "rows_quarantined": intake.bad
        }  # fmt: skip
        assert len({row["line"] for row in aside}) == len(aside) and len(set(kept)) == len(kept)
        json.dumps(aside).encode()


@pytest.mark.parametrize("ending", ENDINGS)
@few
@given(content=noise)
def test_arbitrary_bytes_never_crash_a_reader(ending: str, content: bytes) -> None:
    taken(f"file{ending}", content)


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet", ".arrow", ".xlsx"])
@few
@given(sample=rows, data=st.data())
def test_a_damaged_file_never_crashes_a_reader(ending: str, sample: Rows, data: st.DataObject) -> None:
    content = bytearray(written(ending, sample))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[at] = data.draw(st.integers(0, 255))
    packed = PACK[data.draw(st.sampled_from(["", *PACKED]))](bytes(content))
    taken(f"file{ending}", packed[: data.draw(st.integers(0, len(packed)))])


@some
@given(sample=rows, ending=st.sampled_from([".jsonl", ".json", ".csv", ".tsv"]), packed=st.sampled_from(sorted(PACK)),
       encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))  # fmt: skip
def test_rows_come_back_from_text_of_every_encoding_and_packing(
    sample: Rows, ending: str, packed: str, encoding: str
) -> None:
    content = written(ending, sample).decode("utf-8").encode(encoding)
    found, notes = values_of(f"file{ending}{packed}", PACK[packed](content))
    assert found == sample and notes == []


@few
@given(
    sample=rows,
    ending=st.sampled_from([".parquet", ".arrow", ".feather", ".xlsx"]),
    packed=st.sampled_from(sorted(PACK)),
)
def test_rows_come_back_from_columns_and_sheets(sample: Rows, ending: str, packed: str) -> None:
    found, _ = values_of(f"file{ending}{packed}", PACK[packed](written(ending, sample)))
    if ending == ".xlsx":  # an empty cell is none; control characters are written as such programs do
        found = [{name: value or "" for name, value in row.items()} for row in found]
    assert found == sample


@some
@given(sample=rows, shape=st.sampled_from(["array", "indented", "wrapped", "behind", "indented behind"]),
       returns=st.sampled_from(["\n", "\r\n", "\r"]))  # fmt: skip
def test_rows_come_back_from_every_shape_of_json(sample: Rows, shape: str, returns: str) -> None:
    text = {
        "array": json.dumps(sample),
        "indented": json.dumps(sample, indent=2, ensure_ascii=False),
        "wrapped": json.dumps({"version": [1], "about": {"by": "x"}, "items": sample, "end": None}, indent=1),
        "behind": "".join(json.dumps(row) for row in sample),
        "indented behind": "\n".join(json.dumps(row, indent=1) for row in sample),
    }[shape]
    assert values_of("file.json", text.replace("\n", returns).encode())[0] == sample


@some
@given(sample=rows, ends=st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=7, max_size=7))
def test_mixed_line_ends_part_the_same_lines(sample: Rows, ends: list[str]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + end for row, end in zip(sample, ends, strict=False))
    assert values_of("file.jsonl", text.encode())[0] == sample


@some
@given(
    first=st.lists(western, min_size=3, max_size=6),
    encodings=st.lists(st.sampled_from(["utf-8", "cp1252"]), min_size=6, max_size=6),
)
def test_lines_of_western_text_come_back_from_mixed_encodings(first: list[str], encodings: list[str]) -> None:
    sample = [{"text": text, "label": "x"} for text in first]
    content = b"".join(
        (json.dumps(row, ensure_ascii=False) + "\n").encode(encoding)
        for row, encoding in zip(sample, encodings, strict=False)
    )
    assert values_of("file.jsonl", content)[0] == sample


def written(ending: str, sample: Rows) -> bytes:
    """The rows as a file of this kind."""
    if ending == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in sample).encode()
    if ending == ".json":
        return json.dumps(sample, ensure_ascii=False).encode()
    if ending in (".csv", ".tsv"):
        cells = [list(sample[0]), *([row[name].replace('"', '""') for name in sample[0]] for row in sample)]
        sign = "," if ending == ".csv" else "\t"
        return "".join(sign.join(f'"{cell}"' for cell in line) + "\n" for line in cells).encode()
    target = io.BytesIO()
    if ending == ".xlsx":
        with xlsxwriter.Workbook(target, {"strings_to_numbers": False}) as book:
            book.set_properties({"created": datetime.datetime(2024, 1, 31)})  # the same rows, the same bytes
            sheet = book.add_worksheet()
            for number, line in enumerate([list(sample[0]), *([row[name] for name in sample[0]] for row in sample)]):
                for column, cell in enumerate(line):
                    sheet.write_string(number, column, cell)
        return target.getvalue()
    frame = polars.DataFrame(sample)
    frame.write_parquet(target) if ending == ".parquet" else frame.write_ipc(target)
    return target.getvalue()
