"""What encryption at rest costs: `python benchmarks/vault.py` writes and reads files of a private and a plain folder.

Times are of the processor, so that other work on the machine counts little. Content is random: nothing is packed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunewright.core import private, storage
from tunewright.privacy import vault
from tunewright.privacy.vault import Key

PIECE = os.urandom(2**20)
ROW = {"event": "step", "step": 1, "loss": 0.5}
NUM_APPENDED = 5000


def pieces(num_mebibytes: int) -> Iterator[list[bytes]]:
    """The content of a file."""
    for _ in range(num_mebibytes):
        yield [PIECE]


def measured(folder: Path, num_mebibytes: int) -> dict[str, Any]:
    """Rates of one large file, memory that it took, and the time of one appended row."""
    file, log = folder / "large.bin", folder / "rows.jsonl"
    before = peak()
    begun = time.process_time()
    storage.write_lines(file, pieces(num_mebibytes))
    written = time.process_time()
    with private.open_read(file) as content:
        while content.read(2**20):
            pass
    read = time.process_time()
    found = {
        "write_mebibytes_a_second": round(num_mebibytes / (written - begun)),
        "read_mebibytes_a_second": round(num_mebibytes / (read - written)),
        "size": round(file.stat().st_size / (num_mebibytes * 2**20), 4),
        "peak_memory_mebibytes": round(peak() - before, 1),
    }
    file.unlink()
    begun = time.process_time()
    for _ in range(NUM_APPENDED):
        storage.append_jsonl(log, ROW)
    appended = time.process_time()
    assert sum(1 for _ in storage.read_jsonl(log)) == NUM_APPENDED
    return found | {
        "append_microseconds": round((appended - begun) / NUM_APPENDED * 1e6),
        "read_row_microseconds": round((time.process_time() - appended) / NUM_APPENDED * 1e6),
    }


def peak() -> float:
    """The most memory that the process had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of the large file")
    parser.add_argument("--folder", type=Path, help="where to write; a folder for temporary files when left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        home = Path(name)
        vault.new_key(home / "own.key")
        for folder in ("plain", "private"):
            (home / folder).mkdir()
        vault.begin(home / "private", Key(str(home / "own.key")), complete=True)
        found = {folder: measured(home / folder, options.mebibytes) for folder in ("plain", "private")}
    print(json.dumps({"mebibytes": options.mebibytes, **found}, indent=2))


if __name__ == "__main__":
    main()
