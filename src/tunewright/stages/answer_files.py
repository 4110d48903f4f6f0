"""The file that batch answering writes: rows appended as they come, whole again after any interruption."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import DataError, RunError
from tunewright.data.cells import escaped, plain

ENDINGS = (".jsonl", ".csv", ".parquet")


class Writer:
    """Appends rows to a .jsonl or .csv file. Beside it `<out>.about.json` says what the rows were made from.

    A .parquet file cannot grow: its rows wait in `<out>.part.jsonl` until the last one is there.
    """

    def __init__(self, out: Path, *, columns: list[str], about: dict[str, Any]) -> None:
        if out.suffix.lower() not in ENDINGS:
            raise DataError(
                f"Answers are written as {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, found --out {out}. "
                "Give one of those endings."
            )
        self.whole = out if out.suffix.lower() == ".parquet" else None
        self.out = out.with_name(f"{out.name}.part.jsonl") if self.whole else out
        self.columns, self.about = columns, about
        self.beside = out.with_name(f"{out.name}.about.json")
        self.is_csv = out.suffix.lower() == ".csv"
        self.num_problems = 0
        self.waiting: list[str] = []

    def begin(self) -> int:
        """Cut a torn tail off; return how many rows are there. Raises RunError when they belong to something else."""
        given = self.whole if self.whole and self.whole.exists() else self.out
        if given.exists():
            before = storage.read_json(self.beside) if self.beside.exists() else None
            if before != self.about:
                was = "was begun with another release or other rows" if before else "was not written by this command"
                raise RunError(f"{given} {was}. Move it away, or give another --out.")
        if given is self.whole:
            return self._finished(given)
        rows = list(self._whole_rows()) if self.out.exists() else []
        self.num_problems = sum(bool(row.get("problem")) for row in rows)
        storage.write_json(self.beside, self.about, point="answers")
        storage.write_text(self.out, self._header() + "".join(map(self._line, rows)), point="answers")
        return len(rows)

    def add(self, row: dict[str, Any]) -> None:
        """Take a row; it is on its way to the file at the next `flush`."""
        self.num_problems += bool(row.get("problem"))
        self.waiting.append(self._line(row))

    def flush(self) -> None:
        """Append what was added."""
        storage.append_bytes(self.out, "".join(self.waiting).encode("utf-8"), point="answers")
        self.waiting = []

    def finish(self) -> None:
        """Every row is there: a .parquet file is written from what waited for it."""
        if self.whole is None or not self.out.exists():
            return
        import polars

        rows = list(storage.read_jsonl(self.out))
        columns = [name for name in self.columns if name != "problem" or self.num_problems]
        frame = polars.DataFrame({name: _alike([row.get(name) for row in rows]) for name in columns}, strict=False)
        held = io.BytesIO()
        frame.write_parquet(held)
        storage.write_bytes(self.whole, held.getvalue(), point="answers")
        self.out.unlink()

    def _finished(self, whole: Path) -> int:
        """How many rows a finished .parquet file holds."""
        import polars

        frame = polars.read_parquet(io.BytesIO(storage.read_bytes(whole)))
        self.num_problems = frame["problem"].count() if "problem" in frame.columns else 0
        return frame.height

    def _whole_rows(self) -> Iterator[dict[str, Any]]:
        if not self.is_csv:
            yield from storage.read_jsonl(self.out)
            return
        text = storage.read_bytes(self.out).decode("utf-8")
        try:
            # strict: a torn quoted field raises; a torn plain one leaves no line end
            for row in csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""), strict=True):
                yield {plain(name): plain(cell) for name, cell in row.items()}
        except csv.Error:
            return

    def _header(self) -> str:
        return self._csv_line(self.columns) if self.is_csv else ""

    def _line(self, row: dict[str, Any]) -> str:
        if not self.is_csv:
            return json.dumps(row, ensure_ascii=False) + "\n"
        cells = [row.get(name) for name in self.columns]
        return self._csv_line(
            [
                cell if isinstance(cell, str) else "" if cell is None else json.dumps(cell, ensure_ascii=False)
                for cell in cells
            ]
        )

    def _csv_line(self, cells: list[str]) -> str:
        text = io.StringIO(newline="")
        # only what stands in a line's end is quoted: with "\r\n" a lone carriage return is, too
        csv.writer(text, lineterminator="\r\n").writerow([escaped(cell) for cell in cells])
        return text.getvalue().removesuffix("\r\n") + "\n"


def _alike(values: list[Any]) -> list[Any]:
    """The values of a column, as JSON text where they are not all of one kind."""
    if len({type(value) for value in values if value is not None}) <= 1:
        return values
    return [
        value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
    ]
