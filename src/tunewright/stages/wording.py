"""Figures, times and sizes as a person reads them, and YAML parted into code and comment. Knows no stage."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

LONGEST = 1500  # characters of one text that the page shows
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_KEY = re.compile(r"^(\s*(?:- )?)([^\s:#'\"\[\]{}-][^:#{}]*?)(:)(?=\s|$)")


@dataclass(frozen=True)
class Shown:
    """A text as the page shows it: as fields where it is a flat JSON object, cut where it is very long."""

    text: str
    fields: list[tuple[str, str]]
    num_left_out: int


@dataclass(frozen=True)
class YamlLine:
    """One line of YAML in the pieces that are coloured apart."""

    indent: int
    dash: str
    key: str
    value: str
    comment: str


def count(value: float) -> str:
    """A whole number with thousands parted."""
    return f"{value:,.0f}"


def figure(value: float | None, places: int = 3) -> str:
    """A measured figure with fixed places, so that columns line up."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{places}f}"


def signed(value: float) -> str:
    """A difference with its sign (a true minus)."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def brief(value: float) -> str:
    """A number in at most four digits: 0.002, 1.5e-05, 230."""
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def took(seconds: float) -> str:
    """A length of time in the two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def took_briefly(seconds: float) -> str:
    """The time of one answer."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else took(seconds)


def size(num_bytes: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("bytes", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "bytes" or num_bytes >= 100 else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.2f} GiB"


def many(value: float) -> str:
    """A large count in words of three digits: 4.72 million."""
    for bound, name in ((1e9, "billion"), (1e6, "million")):
        if value >= bound:
            return f"{value / bound:.3g} {name}"
    return count(value)


def probability(p: float) -> str:
    """A p-value as reports write it."""
    text = "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def measured(value: str | float) -> str:
    """What a proof measured, or its bound."""
    if isinstance(value, str):
        return value
    return brief(value) if value and (abs(value) < 0.001 or abs(value) >= 1e6) else f"{value:,.6g}"


def option(value: Any) -> str:
    """A value of the recipe on one line."""
    if isinstance(value, dict) and "kind" in value:
        rest = ", ".join(f"{key} {option(one)}" for key, one in value.items() if key != "kind" and one is not None)
        return f"{value['kind']} ({rest})" if rest else str(value["kind"])
    if isinstance(value, list | tuple):
        return ", ".join(option(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return str(value)


def sentence(text: str) -> str:
    """The text begun with a capital and ended with a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def clean(text: str) -> str:
    """Without control characters and lone surrogates, which no HTML file can hold."""
    return _CONTROL.sub("\ufffd", text).encode("utf-8", "replace").decode("utf-8")


def shown(text: str | None) -> Shown:
    """A prompt or an answer, ready for the page."""
    text = text or ""
    fields: list[tuple[str, str]] = []
    if text.lstrip().startswith("{") and len(text) <= LONGEST:
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if isinstance(values, dict) and all(isinstance(value, str | int | float) for value in values.values()):
            fields = [(str(key), str(value)) for key, value in values.items()]
    return Shown(text[:LONGEST], fields, max(0, len(text) - LONGEST))


def yaml_lines(text: str) -> list[YamlLine]:
    """YAML line by line, comments apart from the code."""
    return [_yaml_line(line) for line in text.splitlines()]


def _yaml_line(line: str) -> YamlLine:
    code, comment = _parted(line)
    key = _KEY.match(code)
    if key:
        indent = len(key[1]) - len(key[1].lstrip())
        return YamlLine(indent, key[1].strip(), key[2], code[key.end() :].strip(), comment)
    bare = code.strip()
    dash = "-" if bare.startswith("- ") else ""
    return YamlLine(len(code) - len(code.lstrip()), dash, "", bare[2:] if dash else bare, comment)


def _parted(line: str) -> tuple[str, str]:
    """Code and comment: a '#' starts a comment at the line's start or behind a space, outside quotes."""
    quote = ""
    for place, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and (place == 0 or line[place - 1] in " [{,:"):
            quote = letter
        elif letter == "#" and (place == 0 or line[place - 1] == " "):
            return line[:place].rstrip(), line[place + 1 :].strip()
    return line.rstrip(), ""
