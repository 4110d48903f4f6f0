"""Sheets of Excel and OpenDocument workbooks, as the texts that people see in their cells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.report import Finding
from tunewright.data.packing import BROKEN_FILE, open_bytes, packing, unpacked_bytes
from tunewright.data.rows import RawRow, bad_row, checked

_PEEKED = 50  # rows that decide where the header is
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d) 00:00:00")
_TIME = re.compile(r"1899-12-3[01] (\d\d:\d\d:\d\d)")  # a time without a day is counted from there
MAX_WORKBOOK_BYTES = 2**30  # held whole

_Cells = tuple[str | None, ...]


def read_workbook(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """The rows of the first visible sheet that holds any; the header is found below titles. Other sheets are told.

    Numbers, dates and booleans become text: 3, 2024-01-31, true. A row's line is its row in the sheet.
    """
    import fastexcel

    file = str(path)
    try:
        workbook = fastexcel.read_excel(_source(path))
        found: tuple[str, list[_Cells]] | None = None
        others: list[str] = []
        for name in workbook.sheet_names:
            sheet = workbook.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")
            if sheet.visible != "visible" or not sheet.height:
                continue
            if found is None:
                found = name, sheet.to_polars().rows()
            else:
                others.append(name)
    except (fastexcel.FastExcelError, *BROKEN_FILE) as error:
        yield bad_row(file, 1, f"not a workbook: {_first_line(error)}", "")
        return
    if found is None:
        return
    if others:
        notes.append(_other_sheets(path, found[0], others))
    yield from _rows(path, found[1])


def _source(path: Path) -> str | bytes:
    if not packing(path):
        size = unpacked_bytes(path)
        if size > MAX_WORKBOOK_BYTES:
            raise DataError(f"{path} unpacks to {size / 2**30:.1f} GiB, too much for a workbook. Save it as CSV.")
        return str(path)
    with open_bytes(path) as file:
        content = file.read(MAX_WORKBOOK_BYTES + 1)
    if len(content) > MAX_WORKBOOK_BYTES:
        raise DataError(f"{path} holds a workbook of more than {MAX_WORKBOOK_BYTES // 2**30} GiB. Save it as CSV.")
    return content


def _rows(path: Path, cells: list[_Cells]) -> Iterator[RawRow]:
    at = _header_at(cells)
    if at is None:
        return
    # a column without a name and without a cell is none
    columns = [number for number, name in enumerate(cells[at]) if name or any(row[number] for row in cells[at + 1 :])]
    names = [(cells[at][number] or "").strip() or f"column_{number + 1}" for number in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has two columns called '{twice[0]}'. Rename one of them in row {at + 1}.")
    for line, row in enumerate(cells[at + 1 :], start=at + 2):
        values: dict[str, Any] = {
            name: None if row[number] is None else _as_written(row[number] or "")
            for name, number in zip(names, columns, strict=True)
        }
        if any(value is not None and value.strip() for value in values.values()):
            yield checked(str(path), line, values)


def _header_at(cells: list[_Cells]) -> int | None:
    """The first row that fills at least half as many cells as the fullest of the first rows: titles fill fewer."""
    filled = [sum(bool(cell and cell.strip()) for cell in row) for row in cells[:_PEEKED]]
    start = next((number for number, row in enumerate(cells) if any(cell and cell.strip() for cell in row)), None)
    if start is None or start >= _PEEKED:
        return start
    return next(number for number, count in enumerate(filled) if count and count * 2 > max(filled))


def _as_written(cell: str) -> str:
    """A day without a time, and a time without a day, as people write them."""
    day = _MIDNIGHT.fullmatch(cell)
    if day is not None:
        return day[1]
    time = _TIME.fullmatch(cell)
    return cell if time is None else time[1]


def _other_sheets(path: Path, name: str, others: list[str]) -> Finding:
    return Finding(
        name="other_sheets",
        severity="warning",
        message=f"{path.name} has {len(others) + 1} sheets with cells; '{name}' was read, the others were not: "
        f"{', '.join(others[:10])}.",
        example=str(path),
        remedy="If their rows are meant, too, put them into one sheet, or save each sheet as a file of its own.",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
