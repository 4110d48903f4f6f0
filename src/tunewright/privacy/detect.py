"""Personal data of a text by rules alone: no model is loaded, and nothing leaves the machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

from tunewright.privacy import addresses, dates, identifiers, names, phones, places, secrets, titles
from tunewright.privacy.cards import cards_in
from tunewright.privacy.found import Found, resolved

_TOKEN = re.compile(r"\[[A-Z]+(?:_[A-Z]+)*(?::[0-9a-f]{12})?\]")


def personal_data(text: str, types: Set[str] | None = None) -> list[Found]:
    """Every piece of personal data and every secret of a text, in order, none over another. types: only these."""
    found = resolved(_all(text))
    if "[" in text:
        marked = [match.span() for match in _TOKEN.finditer(text)]  # what an earlier scrub left
        found = [one for one in found if not any(one.start < end and start < one.end for start, end in marked)]
    return found if types is None else [one for one in found if one.type in types]


def _all(text: str) -> Iterator[Found]:
    has_digit = re.search(r"\d", text) is not None
    if has_digit:
        if re.search(r"\d(?:[ -]?\d){11}", text):
            yield from cards_in(text)
        if re.search(r"\d(?:[^\n\w]{0,3}\d){5}", text):
            yield from phones.phones_in(text)
    yield from secrets.keys_in(text)
    yield from identifiers.identifiers_in(text)
    yield from addresses.addresses_in(text)
    yield from dates.dates_in(text)
    if has_digit:
        yield from dates.ages_in(text)
    yield from titles.titles_in(text)
    yield from places.places_in(text)
    yield from names.names_in(text)
