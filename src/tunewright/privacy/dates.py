"""Dates, times with dates, years, weekdays, and ages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunewright.privacy.found import Found
from tunewright.privacy.letters import spaced
from tunewright.privacy.words import MONTHS, WEEKDAYS

_MONTH = "|".join(sorted((re.escape(month) for month in MONTHS), key=len, reverse=True))
_TIME = r"\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?(?:\s?[ap]\.?m\.?)?(?:\s?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"
_NUMERIC = re.compile(
    rf"(?<![\w./-])(?:(?:1[5-9]|20)\d\d-(?:0?[1-9]|1[0-2])-(?:0?[1-9]|[12]\d|3[01])(?:[T ]{_TIME})?"
    r"|(?:1[5-9]|20)\d\d([./])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    rf"|(?:0?[1-9]|[12]\d|3[01])([./-])(?:0?[1-9]|[12]\d|3[01])\2(?:(?:1[5-9]|20)\d\d|\d\d)(?:,? {_TIME})?"
    r")(?![\w/])(?![.-]\d)"
)
_VERSION = re.compile(r"\b(?:version|release|build|v|ver|section|chapter)\.? $", re.IGNORECASE)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|\.)?"
_YEAR = r"(?:1[5-9]|20)\d\d"
_WORDED = re.compile(
    rf"(?<!\w)(?:{_DAY}(?: of)?[ -](?:de )?(?:{_MONTH})\b\.?(?:,?[ -](?:de )?(?:{_YEAR}|'\d\d))?"
    rf"|(?:{_MONTH})\b\.? {_DAY}(?:,? {_YEAR})?|(?:{_MONTH})\b\.?,? (?:of )?{_YEAR})(?!\w)",
    re.IGNORECASE,
)
_WEEKDAY = re.compile(rf"\b(?:{'|'.join(WEEKDAYS)})s?\b", re.IGNORECASE)
_LONE_YEAR = re.compile(
    r"\b(?:1[6-9]\d|20[0-4])\ds?\b(?![-/:,.]?\d)(?!\)?\s?(?:%|\$|\u20ac|km|kg|m\b|mb|gb|"
    r"people|users|rows|euros?|dollars?|pounds?|usd|eur|gbp|calories|words|items|times|miles|votes|points|steps|more|"
    r"tokens|\w+-\w+ed|hours|days|years|meters|feet))",
    re.IGNORECASE,
)
_AGE_NUMBER = re.compile(r"(?<![\w.,/$\u20ac\u00a3:-])(?:1[01]\d|\d{1,2})(?!\d)(?![.,:/]\d)(?!\s?%)")
_AGE_AFTER = re.compile(
    r"[ -](?:years?|yrs?|months?)[ -]?(?:old|of age)\b| ?(?:y/o|yo|y\.o\.|jahre alt|a\u00f1os)(?!\w)|"
    r"(?:st|nd|rd|th) birthday\b|[ -](?:yr|y)\b",
    re.IGNORECASE,
)
_AGED = re.compile(r"\b(?:age|aged|ages|age of|age is|aged about|alter)\s?[:=]?\s?$", re.IGNORECASE)
_TURNED = re.compile(
    r"\b(?:(?:turn|turns|turned|turning)|(?:when|since|until|before|after|though)\s(?:i|he|she|they|you|we)\s"
    r"(?:was|were|is|am|are)(?: only| just| about)?)\s$",
    re.IGNORECASE,
)
_NOT_YEARS = re.compile(
    r"\s?(?:degrees|times|pages|hours|minutes|days|weeks|months|of|into|on|off|left|right|percent|points|miles|km|kg|"
    r"pounds|feet|st|nd|rd|th)\b",
    re.IGNORECASE,
)
_SAYS_I_AM = re.compile(r"\b(?:i'm|i am|she's|she is|he's|he is)\s(?:only |just |now |almost )?$", re.IGNORECASE)
_ENDS = re.compile(r"\s*(?:[.,!?;]|$|(?:and|now|but|today)\b)")
_BEFORE_YEAR = spaced("in since until of from by to a the year born before after and around late early during")
_MONTHS_LOWER = frozenset(month.lower() for month in MONTHS)
_WORD = re.compile(r"[^\W\d_]+")


def dates_in(text: str) -> Iterator[Found]:
    """Dates and weekdays of a text."""
    if re.search(r"\d", text):
        for match in _NUMERIC.finditer(text):
            if not _VERSION.search(text[max(0, match.start() - 10) : match.start()]):
                yield Found(*match.span(), "DATE_TIME", 0.96)
        if not _MONTHS_LOWER.isdisjoint(_WORD.findall(text.lower())):
            yield from (Found(*match.span(), "DATE_TIME", 0.9) for match in _WORDED.finditer(text))
        for match in _LONE_YEAR.finditer(text):
            before = text[max(0, match.start() - 8) : match.start()]
            if before.endswith("(") or (
                before.endswith(" ") and before.split()[-1:] and before.split()[-1].lower() in _BEFORE_YEAR
            ):
                yield Found(*match.span(), "DATE_TIME", 0.6)
    if "day" in text or "DAY" in text:
        yield from (Found(*match.span(), "DATE_TIME", 0.6) for match in _WEEKDAY.finditer(text))


def ages_in(text: str) -> Iterator[Found]:
    """Ages of people: the number alone."""
    for match in _AGE_NUMBER.finditer(text):
        if _is_age(text[max(0, match.start() - 30) : match.start()], match[0], text[match.end() : match.end() + 16]):
            yield Found(*match.span(), "AGE", 0.8)


def _is_age(before: str, number: str, after: str) -> bool:
    if _AGE_AFTER.match(after):
        return True
    if after[:1].isalnum():
        return False
    if _AGED.search(before) or (_TURNED.search(before) and not _NOT_YEARS.match(after)):
        return True
    if len(number) < 2:
        return False
    if _SAYS_I_AM.search(before) and _ENDS.match(after):
        return True
    in_commas = before[-2:] == ", " and before[-3:-2].isalpha() and re.match(r", [a-z]", after) is not None
    in_brackets = after.startswith(")") and re.search(r"[A-Z][a-z]+ \($", before) is not None
    return (
        in_commas
        or in_brackets
        or (before.endswith((" at ", " age of ")) and re.match(r",? (?:he|she|they) ", after) is not None)
    )
