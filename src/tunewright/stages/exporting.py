"""Writes the rows of a run in the shapes that other tools read. Nothing is overwritten; what is lost is said."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import DataError, RunError, unknown
from tunewright.core.example import Example
from tunewright.core.report import Finding, Report
from tunewright.data import cells, export_shapes, lineage
from tunewright.data.export_shapes import Row, Shaper
from tunewright.data.lineage import Step
from tunewright.data.split import SIDES
from tunewright.stages import versions

ENDINGS = {"csv": ".csv", "parquet": ".parquet"}


def export(
    source: str | Path, *, to: str | Path, format: str, side: str | None = None, runs: str | Path = "runs"
) -> Report:
    """Write the sides of a run or version into a folder, or one side into a file. Raises NotThere, DataError, and
    RunError where something is there already.
    """
    if format not in export_shapes.FORMATS:
        raise DataError(unknown("export format", format, export_shapes.FORMATS))
    held = versions.find(source, runs=runs)
    targets = _targets(Path(to), format, side)
    targets = {name: path for name, path in targets.items() if held.run.path("data", f"{name}.jsonl").exists()}
    there = [path for path in targets.values() if path.exists()]
    if there:
        raise RunError(f"{there[0]} is there already and is not overwritten. Move it away, or give another --to.")
    examples = held.run.split(*targets)
    kind = export_shapes.kind_of_all(examples, format)
    shaper = Shaper(format, kind)
    written: dict[str, int] = {}
    for name, path in targets.items():
        rows = held.run.split(name)
        written[str(path)] = num_rows = _write(path, format, rows, shaper)
        step = Step(what="export", before={name: len(rows)}, after={name: num_rows}, about={"format": format})
        lineage.record(path, sources=[held.run.path("data", f"{name}.jsonl")], steps=[step])
    numbers: dict[str, Any] = {
        "files": written,
        "format": format,
        "reads_back_with": shaper.reads_back,
        "lost": {what: count for what, count in shaper.lost.items() if count},
        "left_out": dict(shaper.left_out),
    }
    return Report(stage="data export", run=held.run.name, numbers=numbers, findings=list(_findings(shaper)))


def _targets(to: Path, format: str, side: str | None) -> dict[str, Path]:
    """Side -> file. A name with an ending is a file, which takes one side; any other is a folder."""
    if side is not None and side not in SIDES:
        raise DataError(unknown("side", side, SIDES))
    ending = ENDINGS.get(format, ".jsonl")
    if to.suffix and not to.is_dir():
        if to.suffix.lower() != ending:
            raise DataError(
                f"The format {format} is written as {ending}, found --to {to}. Give that ending or a folder."
            )
        if side is None:
            raise DataError(f"One file takes one side. Give --side {', '.join(SIDES)}, or a folder instead of {to}.")
        return {side: to}
    return {name: to / f"{name}{ending}" for name in ([side] if side else SIDES)}


def _findings(shaper: Shaper) -> Iterator[Finding]:
    lost = [f"{what} ({count:,} rows)" for what, count in shaper.lost.items() if count]
    if lost:
        yield Finding(
            name="not_carried",
            severity="warning",
            message=f"The format {shaper.format} cannot carry {'; '.join(lost)}.",
            remedy="Where that matters, take jsonl.",
        )
    if shaper.left_out:
        left = [f"{count:,} rows: {what}" for what, count in shaper.left_out.items()]
        yield Finding(
            name="left_out",
            severity="warning",
            message=f"The format {shaper.format} has no place for {'; '.join(left)}. They were left out.",
            count=sum(shaper.left_out.values()),
            remedy="Take another format for them: trl and jsonl carry most.",
        )


# --- files ---


def _write(path: Path, format: str, examples: Sequence[Example], shaper: Shaper) -> int:
    rows = (row for example in examples if (row := shaper.row(example)) is not None)
    if format == "csv":
        return _write_csv(path, examples, shaper)
    if format == "parquet":
        return _write_parquet(path, list(rows), shaper)
    return storage.write_jsonl(path, rows, point="export")


def _write_csv(path: Path, examples: Sequence[Example], shaper: Shaper) -> int:
    columns: dict[str, None] = {}
    trial = Shaper(shaper.format, shaper.kind)
    for example in examples:
        columns.update(dict.fromkeys(trial.row(example) or {}))
    num_rows = 0

    def lines() -> Iterator[list[bytes]]:
        nonlocal num_rows
        yield [_csv_line(list(columns))]
        for example in examples:
            row = shaper.row(example)
            if row is not None:
                num_rows += 1
                yield [_csv_line([_cell(row, name, shaper) for name in columns])]

    storage.write_lines(path, lines(), point="export")
    return num_rows


def _csv_line(values: Iterable[str]) -> bytes:
    text = io.StringIO(newline="")
    # only what stands in a line's end is quoted: with "\r\n" a lone carriage return is, too
    csv.writer(text, lineterminator="\r\n").writerow([cells.escaped(value) for value in values])
    return (text.getvalue().removesuffix("\r\n") + "\n").encode("utf-8")


def _cell(row: Row, name: str, shaper: Shaper) -> str:
    value = row.get(name)
    if isinstance(value, str):
        shaper.lost["carriage returns, which become line ends"] += "\r" in value
        return value
    if value is None:
        if name not in ("system", "tools"):  # an empty one is none
            shaper.lost["the absence of a column that other rows have"] += 1
        return ""
    if name not in ("messages", "tools", "spans"):
        shaper.lost["numbers and lists in other columns, which become texts"] += 1
    return json.dumps(value, ensure_ascii=False)


def _write_parquet(path: Path, rows: list[Row], shaper: Shaper) -> int:
    """Columns of one type each: messages as lists where they hold plain words, else as JSON text, like tools."""
    import polars

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _alike(name, [row.get(name) for row in rows], shaper) for name in names}
    frame = polars.DataFrame(columns, strict=True)
    held = io.BytesIO()
    frame.write_parquet(held)
    storage.write_bytes(path, held.getvalue(), point="export")
    return len(rows)


def _alike(name: str, values: list[Any], shaper: Shaper) -> Any:
    if name in ("messages", "prompt", "chosen", "rejected") and all(
        isinstance(value, list) for value in values if value
    ):
        keys = dict.fromkeys(key for value in values for message in value or [] for key in message)
        if not {"tool_calls", "media"} & keys.keys():
            import polars

            # without a type polars takes that of the first message, and drops weights where that one has none
            types = {key: polars.Float64() if key == "weight" else polars.String() for key in keys}
            whole = [[dict.fromkeys(keys) | message for message in value] if value else None for value in values]
            return polars.Series(name, whole, dtype=polars.List(polars.Struct(types)))
        return [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    texts = all(isinstance(value, list) and all(isinstance(one, str) for one in value) for value in values if value)
    if name == "spans" or (name in ("images", "videos", "audios") and texts):
        return values
    kinds = {type(value) for value in values if value is not None}
    if name != "tools" and len(kinds) <= 1 and not kinds & {list, dict}:
        return values
    if name != "tools":
        shaper.lost[f"the types in the column {name}, which become JSON texts"] += len(values)
    as_text = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return [None if value is None else str(value) for value in as_text]
