"""Dates and ages of a person, moved: dates by whole weeks, the same for all dates of one person, so that the days
between them and the weekdays stay as they are.

Where nobody is named, a date becomes a day of its quarter (both as a key lays them), which stays where it is when it is
moved again. Weekdays alone stay.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from tunewright.privacy.coined import cased, draw
from tunewright.privacy.words import MONTH_NAMES, WEEKDAYS

_YEARS = 3
_AGES = 5
_ISO = re.compile(r"(?P<y>\d{4})(?P<gap>[-./])(?P<m>\d{1,2})(?P=gap)(?P<d>\d{1,2})")
_SLASHED = re.compile(r"(?P<a>\d{1,2})(?P<gap>[-./])(?P<b>\d{1,2})(?P=gap)(?P<y>\d{4}|\d{2})")
_YEAR = re.compile(r"(?<!\d)(?P<y>(?:1[5-9]|20)\d\d)")
_NUMBER = re.compile(r"(?<![\d:'])\d{1,2}(?![\d:])")
_WORD = re.compile(r"[^\W\d_]+")
_MONTHS = {name.lower(): (place, names) for names in reversed(MONTH_NAMES) for place, name in enumerate(names)}
_MONTHS["sept"] = _MONTHS["sep"]
_DAYS = {day.lower() for day in WEEKDAYS} | {f"{day.lower()}s" for day in WEEKDAYS}


def shifted_date(key: bytes, value: str, person: str | None) -> str:
    """A date in the same form, moved. What cannot be read as one becomes [DATE_TIME]."""
    if value.lower() in _DAYS:
        return value
    for read in (_iso, _slashed, _worded, _lone_year):
        moved = read(key, value, person)
        if moved is not None:
            return moved
    return "[DATE_TIME]"


def shifted_age(key: bytes, value: str, person: str | None) -> str:
    """The lowest age of the five years that it falls into, as the key lays them; adults stay adults."""
    age = int(value)
    phase = draw(key, "age", "") % _AGES
    low = age - (age - phase) % _AGES
    return str(max(18 if age >= 18 else 1, low)) if age else value


def _moved(key: bytes, day: date, person: str | None) -> date:
    if person is None:
        months = day.year * 12 + day.month - 1
        months -= (months - draw(key, "quarter", "") % 3) % 3
        return date(max(1, months // 12), months % 12 + 1, _settled_day(key))
    number = draw(key, "offset", person)
    weeks = 5 + number % 46
    offset = timedelta(weeks=weeks if number // 46 % 2 else -weeks)
    try:
        return day + offset
    except OverflowError:
        return day - offset


def _settled_day(key: bytes) -> int:
    """A day that every month has, and that cannot be taken for a month."""
    return 13 + draw(key, "day", "") % 16


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _iso(key: bytes, value: str, person: str | None) -> str | None:
    match = _ISO.match(value)
    day = _day(int(match["y"]), int(match["m"]), int(match["d"])) if match else None
    if match is None or day is None:
        return None
    new = _moved(key, day, person)
    gap, month, day_of = match["gap"], len(match["m"]), len(match["d"])
    return f"{new.year:04d}{gap}{new.month:0{month}d}{gap}{new.day:0{day_of}d}{value[match.end() :]}"


def _slashed(key: bytes, value: str, person: str | None) -> str | None:
    match = _SLASHED.match(value)
    if match is None:
        return None
    a, b, year = int(match["a"]), int(match["b"]), int(match["y"])
    full = year if len(match["y"]) == 4 else 1900 + year if year > 30 else 2000 + year
    day_first = a > 12 or (match["gap"] == "." and b <= 12)
    day = _day(full, b, a) if day_first else _day(full, a, b)
    if day is None:
        return None
    new = _moved(key, day, person)
    one, two = (new.day, new.month) if day_first else (new.month, new.day)
    gap = match["gap"]
    written = f"{new.year:04d}"[-len(match["y"]) :]
    padded = [
        f"{number:02d}" if text.startswith("0") else str(number)
        for number, text in ((one, match["a"]), (two, match["b"]))
    ]
    return f"{padded[0]}{gap}{padded[1]}{gap}{written}{value[match.end() :]}"


def _worded(key: bytes, value: str, person: str | None) -> str | None:
    """With the name of a month: a day, a year or both may be missing."""
    word = next((one for one in _WORD.finditer(value) if one[0].lower() in _MONTHS), None)
    if word is None:
        return None
    month, names = _MONTHS[word[0].lower()]
    year, number = _YEAR.search(value), _NUMBER.search(value)
    day = _day(int(year["y"]) if year else 2000, month + 1, int(number[0]) if number else 15)
    if day is None:
        return None
    new = _moved(key, day, person)
    if person is None and year is None:
        new = day.replace(day=_settled_day(key))
    edits = [(*word.span(), cased(names[new.month - 1], word[0]))]
    if year:
        edits.append((*year.span("y"), str(new.year)))
    if number:
        edits.append((*number.span(), str(new.day)))
    for start, end, text in sorted(edits, reverse=True):
        value = value[:start] + text + value[end:]
    return re.sub(r"(\d)(?:st|nd|rd|th)\b", lambda one: one[1] + _ordinal(new.day), value)


def _ordinal(day: int) -> str:
    return "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _lone_year(key: bytes, value: str, person: str | None) -> str | None:
    match = _YEAR.match(value)
    if match is None:
        return None
    year = int(match["y"])
    if person is not None:
        new = _moved(key, date(year, 7, 1), person).year
    else:
        new = year - (year - draw(key, "year", "")) % _YEARS
    return f"{new}{value[match.end() :]}"
