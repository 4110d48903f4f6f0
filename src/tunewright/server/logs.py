"""How the log of a server is written: plain lines, or one JSON object a line for programs that read logs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

Format = Literal["text", "json"]


class JsonLines(logging.Formatter):
    """Time, level and what happened: a request's facts, or a message. Control characters are escaped as JSON has it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        facts = record.__dict__.get("facts")
        line |= {"message": record.getMessage()} if facts is None else facts
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def begin(form: Format) -> None:
    """Send the log to standard error: what the server tells, and what goes wrong elsewhere."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("tunewright").setLevel(logging.INFO)
