"""Parquet and Arrow files, some thousand rows at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core.errors import DataError
from tunewright.core.report import Finding
from tunewright.data.packing import BROKEN_FILE, open_bytes, packing
from tunewright.data.rows import RawRow, bad_row, checked, plain

if TYPE_CHECKING:
    import polars

_ROWS = 10_000  # read at once
_MAX_UNPACKED_BYTES = 2**30  # of a packed file, which is held whole


def read_parquet(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """Parquet; the line is the row's number."""
    yield from _read(path, "Parquet")


def read_arrow(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """Arrow or Feather (version 2), as a file or as a stream; a stream is held whole. The line is the row's number."""
    yield from _read(path, "Arrow")


def _read(path: Path, kind: str) -> Iterator[RawRow]:
    import polars

    file = str(path)
    number = 0
    try:
        frame = _scan(path, kind)
        total = int(frame.select(polars.len()).collect().item())
        for start in range(0, total, _ROWS):
            for row in frame.slice(start, _ROWS).collect().iter_rows(named=True):
                number += 1
                yield checked(file, number, plain(row))
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, ValueError, *BROKEN_FILE) as error:
        begins = "not" if number == 0 else "no longer"
        yield bad_row(file, number + 1, f"{begins} {kind}: {(str(error).splitlines() or ['unreadable'])[0]}", "")


def _scan(path: Path, kind: str) -> polars.LazyFrame:
    import polars

    source: Any = path
    if packing(path):
        with open_bytes(path) as packed:
            content = packed.read(_MAX_UNPACKED_BYTES + 1)
        if len(content) > _MAX_UNPACKED_BYTES:
            raise DataError(f"{path} holds more than {_MAX_UNPACKED_BYTES // 2**30} GiB of {kind}. Unpack it first.")
        source = io.BytesIO(content)
    if kind == "Parquet":
        return polars.scan_parquet(source, glob=False)
    with open_bytes(path) as file:
        is_file = file.read(6) == b"ARROW1"
    return polars.scan_ipc(source, glob=False) if is_file else polars.read_ipc_stream(source).lazy()
