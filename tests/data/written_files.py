"""Small files for the tests of readers, and what was read of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xlsxwriter

from tunewright.core.report import Finding
from tunewright.data.rows import RawRow
from tunewright.data.sources import read

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
