"""The rows of an eval's run: read, held to the eval's schema, and made into what a model is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunewright.core import sandbox, templates
from tunewright.core.errors import DataError
from tunewright.server.wire.evals import MAX_ROWS, DataSource, Row

MOST_BYTES = 64 * 2**20  # of a file with rows
_LONGEST_LINE = 2**20  # characters
_AT_ONCE, _CHARACTERS_AT_ONCE = 5000, 2**24  # that one process looks at
_SECONDS, _MEMORY = 20.0, 1024
_KINDS = {"input_text": "text", "output_text": "text"}  # parts of messages as chat completions call them
# A schema may hold patterns that take for ever, so it is applied in a process that ends in time.
_CHECK = """
import json, sys
from jsonschema.exceptions import best_match
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
given = json.load(sys.stdin)
made = validator_for(given["schema"], default=Draft202012Validator)(given["schema"], registry=Registry())
for number, item in enumerate(given["items"]):
    try:
        found = best_match(made.iter_errors(item))
        message = found and f"{found.json_path}: {found.message}"
    except RecursionError:
        message = "the schema goes in a circle"
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
    if message:
        print(json.dumps([number, message[:300]]))
        break
"""


def read(
    source: DataSource, *, file: Path | None, schema: dict[str, Any], going: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Every row of a run's source, each with `item` and perhaps `sample`. file: where the bytes of its file are.

    going: whether to go on; if not, what was read so far is returned. Raises DataError with the first row that is not
    as the schema says.
    """
    rows: list[dict[str, Any]] = []
    batch: list[dict[str, Any]] = []
    size = 0
    for row, length in _of_content(source) if file is None else _of_file(file):
        batch.append(row)
        size += length
        if len(rows) + len(batch) > MAX_ROWS:
            raise DataError(f"A run takes at most {MAX_ROWS:,} rows; there are more. Measure with fewer.")
        if len(batch) >= _AT_ONCE or size >= _CHARACTERS_AT_ONCE:
            if not going():
                return rows
            _check(batch, schema, before=len(rows))
            rows, batch, size = [*rows, *batch], [], 0
    if batch:
        _check(batch, schema, before=len(rows))
    if not rows and not batch:
        raise DataError('There is no row to measure. Give lines such as {"item": {"question": "..."}}.')
    return [*rows, *batch]


def _of_content(source: DataSource) -> Iterator[tuple[dict[str, Any], int]]:
    for row in source.source.content or ():
        told = row.model_dump(exclude_none=True)
        yield told, len(json.dumps(told))


def _of_file(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            number = 0
            while line := file.readline(_LONGEST_LINE + 1):
                number += 1
                if len(line) > _LONGEST_LINE:
                    raise DataError(f"Line {number} has more than {_LONGEST_LINE:,} characters. Send shorter rows.")
                if line.strip():
                    yield _row(line, number), len(line)
    except FileNotFoundError:
        raise DataError("The file was deleted before it was read. Upload it again, and make another run.") from None
    except UnicodeDecodeError:
        raise DataError("The file is not UTF-8. Save it as UTF-8, a JSON object a line.") from None


def _row(line: str, number: int) -> dict[str, Any]:
    try:
        row = Row.model_validate(json.loads(line)).model_dump(exclude_none=True)
        json.dumps(row, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (ValidationError, ValueError, RecursionError):
        raise DataError(
            f'Line {number} is no row. Each is a JSON object with "item", an object, and perhaps "sample", another.'
        ) from None
    return row


def _check(batch: list[dict[str, Any]], schema: dict[str, Any], *, before: int) -> None:
    if schema in ({}, {"type": "object"}):
        return  # every item is an object
    given = json.dumps({"schema": schema, "items": [row["item"] for row in batch]})
    ran = sandbox.run(_CHECK, stdin=given, seconds=_SECONDS, memory=_MEMORY)
    if ran.status != "done":
        raise DataError(f"The rows cannot be held to item_schema: it {ran.why}. Make it simpler.")
    if ran.stdout.strip():
        number, message = json.loads(ran.stdout)
        raise DataError(f"Row {before + number + 1} is not as item_schema says: {message}. Correct it, or the schema.")


def messages(source: DataSource, item: dict[str, Any]) -> list[dict[str, Any]]:
    """What the model is sent for a row. Raises DataError where the row lacks what is named."""
    assert source.input_messages is not None, "a source that asks a model says what"
    values = {"item": item}
    try:
        if source.input_messages.template is not None:
            prompts = source.input_messages.template
            return [{"role": one.role, "content": templates.render(one.text, values)} for one in prompts]
        reference = str(source.input_messages.item_reference)
        found = templates.value_of(reference, values)
    except templates.Missing as error:
        raise DataError(f"The row has no such column: {error}. Name one that it has.") from None
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise DataError(f"'{reference}' must be a list of messages, each with role and content. Correct the row.")
    return [{name: _plain(value) for name, value in one.items() if name != "type"} for one in found]


def _plain(value: Any) -> Any:
    """A message's content with its parts as chat completions have them; other values as they are."""
    if not isinstance(value, list):
        return value
    return [
        one | {"type": _KINDS.get(str(one.get("type")), one.get("type"))} if isinstance(one, dict) else one
        for one in value
    ]
