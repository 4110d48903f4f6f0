"""A row as a file gives it, or what is wrong with it; and one JSON object of a text."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_RAW_CHARACTERS = 500


@dataclass(slots=True)
class RawRow:
    """A row as the file gives it: `values`, or the `problem` that kept it from being read and how it begins (`raw`)."""

    file: str
    line: int
    values: dict[str, Any] | None
    problem: str | None = None
    raw: str = ""


def bad_row(file: str, line: int, problem: str, raw: str) -> RawRow:
    """A row that cannot be used, with its beginning."""
    return RawRow(file, line, None, problem, raw[:_RAW_CHARACTERS].encode("utf-8", "replace").decode("utf-8"))


def checked(file: str, line: int, values: dict[str, Any]) -> RawRow:
    """A row whose characters have been looked at."""
    problem = bad_characters(values)
    return RawRow(file, line, values) if problem is None else bad_row(file, line, problem, json.dumps(values))


def plain(value: Any) -> Any:
    """Values as JSON knows them: dates and decimals of Parquet and the Hub become texts, empty keys go.

    What is no number is missing; bytes are text where they are UTF-8, else a data: address.
    """
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return f"data:application/octet-stream;base64,{base64.b64encode(value).decode('ascii')}"
    return str(value)


def object_of(text: str) -> tuple[dict[str, Any] | None, str | None]:
    """A text's one JSON object, or what is wrong with it."""
    if "\x00" in text:
        return None, "a NUL character"
    try:
        value, end = scan(text, 0)
        if end != len(text):
            value = DECODER.decode(text)
    except StopIteration as stopped:
        return _not_json(text, stopped.value)
    except json.JSONDecodeError as error:
        return None, f"not JSON: {error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError) as error:
        return None, f"not JSON: {error}"
    return judged(value, text)


def _not_json(text: str, at: int) -> tuple[dict[str, Any] | None, str | None]:
    """Of a text in which no value begins at a place: behind white space in front there may be one."""
    begins = text.lstrip(" \t\r\n\ufeff")  # the mark stands where one file was put behind another
    if at == 0 and begins and begins != text:
        return object_of(begins)
    return None, f"not JSON: Expecting value at character {at + 1}"


def judged(value: Any, text: str) -> tuple[dict[str, Any] | None, str | None]:
    """The value that was read from a text if it is an object of real characters, else what is wrong with it."""
    if not isinstance(value, dict):
        return None, f"not an object: found {_kind(value)}"
    if "\\u" in text:  # only an escape can bring in what UTF-8 cannot hold
        problem = bad_characters(value)
        if problem is not None:
            return None, problem
    return value, None


def bad_characters(value: dict[str, Any]) -> str | None:
    """What UTF-8 cannot hold, or a NUL, anywhere in the values."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"half a character: the lone surrogate \\u{ord(text[error.start]):04x}"
    return "a NUL character" if "\\u0000" in text.replace("\\\\", "") else None


def _constant(name: str) -> None:
    """NaN, which many programs write for a missing value, is one; infinities are not read."""
    if name != "NaN":
        raise ValueError(f"{name} is no number that JSON knows")


DECODER = json.JSONDecoder(parse_constant=_constant)
scan: Callable[[str, int], tuple[Any, int]] = DECODER.scan_once  # type: ignore[attr-defined]


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")
