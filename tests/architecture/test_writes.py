"""Files are opened through core/storage.py and core/private.py: else what a private run keeps would lie in plain."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "tunewright"
HOMES = {"core/storage.py", "core/private.py", "core/sealed.py"}
OPENING = re.compile(
    r"(?<!storage)\.(?:write_text|write_bytes)\(|open\([^()]*[\"'](?:[wax]b?\+?|r?b?\+b?)[\"']|save_file\(|load_file\(|\.tofile\(|fromfile\("
    r"|memmap\(|TemporaryFile\(|mkstemp\(|\.write_(?:parquet|csv|ndjson)\((?!held)|sink_\w+\("
)
# What opens files by itself, how often, and why that is no leak.
ALLOWED = {
    "data/near.py": 1,  # maps what private.open_scratch gave, where that is in plain
    "core/run.py": 1,  # .lock, which is empty
    "models/adapter_files.py": 1,  # adapter_config.json: the shape of an adapter, read by PEFT
    "models/tensor_files.py": 2,  # of plain runs
    "models/upper.py": 1,  # maps what private.open_nameless gave: memory, in a private run
    "privacy/audit_log.py": 1,  # .lock, which is empty
    "privacy/vault.py": 1,  # a key file
    "training/stored_rows.py": 1,  # of plain runs
}


def test_nothing_else_opens_files_to_write() -> None:
    found: Counter[str] = Counter()
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name not in HOMES and (count := len(OPENING.findall(path.read_text(encoding="utf-8")))):
            found[name] = count
    more = {name: count for name, count in found.items() if count > ALLOWED.get(name, 0)}
    assert not more, (
        f"{more} open files by themselves. Write through storage, or open with private.open_write (a new file), "
        "private.open_scratch (written and read again) or models/tensor_files.py: in a private run they encrypt."
    )
    assert set(ALLOWED) == set(found), "an exception that is no longer needed"
