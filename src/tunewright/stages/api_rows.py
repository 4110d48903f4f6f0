"""Rows that clients of the API upload to be learned from: which of OpenAI's four kinds they are, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.report import Finding
from tunewright.data import formats, packing, readers
from tunewright.data.rows import RawRow

Going = Callable[[], bool]

# What tells each kind apart, by the word of `data.format`.
KINDS = {
    "chat": "'messages' that end with the assistant's answer",
    "prompts": "'messages' that end with the user's question",
    "preference": "'input', 'preferred_output' and 'non_preferred_output'",
    "completion": "'prompt' and 'completion'",
}
_NOT_PREFERRED = ("non_preferred_output", "non_preferred_completion")
_TOLD = 3  # rows that are told
_LOOK_EVERY = 1000  # rows between questions whether to go on


@dataclass
class Looked:
    """What came of looking. kind: the word of `data.format`; None where there is no row. first: the first bad rows."""

    kind: str | None = None
    num_rows: int = 0
    num_bad: int = 0
    first: list[str] = field(default_factory=list)

    @property
    def problem(self) -> str | None:
        """Why the file cannot be learned from, in one sentence; None where it can."""
        if not self.num_rows:
            return "The file has no rows. Send JSON lines, one object a line."
        if not self.num_bad:
            return None
        more = f" {self.num_bad:,} of {self.num_rows:,} rows are bad." if self.num_bad > 1 else ""
        which = "them" if self.num_bad > 1 else "it"
        return f"{'; '.join(self.first)}.{more} Mend {which} and send the file again."

    def add(self, line: int, reason: str | None) -> None:
        """Count a row, bad with a reason."""
        self.num_rows += 1
        if reason is not None:
            self.num_bad += 1
            if len(self.first) < _TOLD:
                self.first.append(f"line {line}: {reason}")


def look(path: Path, *, going: Going = lambda: True) -> Looked | None:
    """Look at every row of a file; None where `going` says to stop. Raises FileNotFoundError."""
    found = Looked()
    if packed := packing.packing(path):
        found.add(1, f"the file is packed ({packed[0]}); send it as plain JSON lines")
        return found
    notes: list[Finding] = []
    for number, row in enumerate(readers.read_jsonl(path, notes)):
        if number % _LOOK_EVERY == 0 and not going():
            return None
        found.add(row.line, row.problem or _problem(row, found))
    return found


def _problem(row: RawRow, found: Looked) -> str | None:
    assert row.values is not None
    kind = kind_of(row.values)
    if kind is None:
        keys = ", ".join(str(key)[:40] for key in list(row.values)[:6]) or "none"
        return f"its keys are {keys}, and a row has {'; or '.join(KINDS.values())}"
    found.kind = found.kind or kind
    if kind != found.kind:
        return f"it has {KINDS[kind]}, where the rows before have {KINDS[found.kind]}"
    try:
        example = formats.to_example(kind, row.values, {}, f"row:{row.line}")
    except DataError as error:
        return str(error)
    for part in example.media:
        if part.sha256 is None and not part.path.lower().startswith(("http://", "https://")):
            # a path would lead into the folders of the server
            return f"the {part.kind} '{part.path[:60]}' is no address; send https://... or a data: URL"
    return None


def kind_of(values: dict[str, Any]) -> str | None:
    """Of what kind a row is: a word of `data.format`, or None."""
    if any(name in values for name in _NOT_PREFERRED):
        return "preference"
    messages = values.get("messages")
    if messages is not None:
        last = messages[-1] if isinstance(messages, list) and messages else None
        return "prompts" if isinstance(last, dict) and last.get("role") in ("user", "tool") else "chat"
    return "completion" if "prompt" in values and "completion" in values else None
