"""Surrogates: made-up values of the right form, the same for the same value wherever it stands, decided by a key.

What a surrogate is can be seen without the key: coined words, addresses at example.com, reserved ranges of numbers. A
surrogate is therefore never replaced by another. Dates move by whole weeks, one offset for each person.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tunewright.privacy import reserved
from tunewright.privacy.coined import coin, draw, folded, is_coined
from tunewright.privacy.letters import spaced
from tunewright.privacy.shifted import shifted_age, shifted_date
from tunewright.privacy.words import COMPANY_WORDS, HONORIFICS, STREET_SUFFIXES

_WORD = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"\d+")
_PARTICLES = spaced(
    "de la del della di da do dos das du van der den ten ter von zu bin ibn al el y af av le e i und and of the et jr "
    "sr ii iii iv co sons for"
)
_OF_STREETS = frozenset(word.lower() for word in STREET_SUFFIXES) | spaced(
    "apt apartment suite ste unit flat floor room rm box po p o post postbox psc apo fpo dpo aa ae ap usns usnv corner "
    "street rue via calle rua ul utca u av avenida piazza plaza str"
)
_OF_COMPANIES = frozenset(word.lower() for word in COMPANY_WORDS)
_OF_PEOPLE = frozenset(word.lower() for word in HONORIFICS)
# Nothing of the right form would be of use: a marker stands for these.
MARKED = frozenset({"PRIVATE_KEY", "API_KEY", "JWT", "PASSWORD", "CRYPTO_ADDRESS"})
# They name nobody, and stay: a title, a form of address.
KEPT = frozenset({"TITLE"})


class Surrogates:
    """What stands for what, under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cache: dict[tuple[str, str], str] = {}

    def of(self, type: str, value: str, person: str | None) -> str:
        """The surrogate of a value. person: whose dates and ages they are, None where nobody is named."""
        if type in ("DATE_TIME", "AGE"):
            shift = shifted_date if type == "DATE_TIME" else shifted_age
            return shift(self._key, value, person)
        known = self._cache.get((type, value))
        if known is None:
            known = self._made(type, value)
            if len(self._cache) < 500_000:
                self._cache[type, value] = known
        return known

    def _made(self, type: str, value: str) -> str:
        if type in KEPT or is_surrogate(type, value):
            return value
        if type in MARKED:
            return f"[{type}]"
        if type in _NAMES:
            return self._renamed(value, _NAMES[type])
        if type == "STREET_ADDRESS":
            return self._street(value)
        if type == "EMAIL_ADDRESS":
            return self._email(value)
        if type in ("DOMAIN_NAME", "URL_CREDENTIALS"):
            return self._address(type, value)
        make: Callable[[bytes, str], str] = reserved.MAKERS.get(type, reserved.code)
        return make(self._key, value)

    def _renamed(self, value: str, kept: frozenset[str], *, is_street: bool = False) -> str:
        """Word by word; a value that holds only kept words is renamed as a whole."""
        names = [word for word in _WORD.findall(value) if word.lower() not in kept]
        spared = kept if names else frozenset()

        def new(match: re.Match[str]) -> str:
            word = match[0]
            if word.lower() in spared or is_coined(word) or (is_street and len(word) == 2 and word.isupper()):
                return word  # two capitals in an address are a state
            if len(word) == 1:  # an initial
                return chr(65 + draw(self._key, "initial", word.lower()) % 26) if word.isupper() else word
            return coin(self._key, word)

        return _WORD.sub(new, value)

    def _street(self, value: str) -> str:
        words = [
            word for word in _WORD.findall(value) if len(word) > 1 and word.lower() not in _OF_STREETS | _PARTICLES
        ]
        renamed = self._renamed(value, _OF_STREETS | _PARTICLES, is_street=True) if words else value

        def number(match: re.Match[str]) -> str:
            digits = str(draw(self._key, "street", match[0]) % 10**18).zfill(18)[: len(match[0])]
            if not words:
                return "0" + digits[1:] if len(digits) > 1 else "0"
            return digits if digits[0] != "0" else "1" + digits[1:]

        return _DIGITS.sub(number, renamed)

    def _email(self, value: str) -> str:
        local, _, domain = value.rpartition("@")
        pieces = re.findall(r"[^\W\d_]{2,}?(?=[A-Z][a-z]|[\W\d_]|$)", local) or [local or value]
        made = ".".join(coin(self._key, piece).lower() for piece in pieces[:3])
        return f"{made}@example.{_pick(self._key, folded(domain) or value, ('com', 'org', 'net'))}"

    def _address(self, type: str, value: str) -> str:
        scheme, separator, rest = value.rpartition("://") if "://" in value else ("", "", value)
        host = rest.rpartition("@")[2].partition("/")[0]
        www = "www." if host.lower().startswith("www.") else ""
        name = coin(self._key, folded(host.lower().removeprefix("www."))).lower()
        who = "user:secret@" if type == "URL_CREDENTIALS" else ""
        end = "/" if rest.endswith("/") else ""
        return f"{scheme}{separator}{who}{www}{name}.example{end}"


_NAMES = {
    "PERSON": _PARTICLES | _OF_PEOPLE,
    "ORGANIZATION": _PARTICLES | _OF_COMPANIES,
    "GPE": _PARTICLES,
    "NRP": frozenset[str](),
    "USERNAME": frozenset[str](),
}


def is_surrogate(type: str, value: str) -> bool:
    """Whether a value is one that is put in the place of another; no key is needed."""
    if type in _NAMES or type == "STREET_ADDRESS":
        return _is_renamed(type, value)
    if type == "EMAIL_ADDRESS":
        return re.search(r"@example\.(?:com|org|net)$", value.lower()) is not None
    if type in ("DOMAIN_NAME", "URL_CREDENTIALS"):
        host = value.rpartition("://")[2].rpartition("@")[2].partition("/")[0].lower()
        return host.endswith(".example") or host in ("example.com", "example.org", "example.net")
    known = reserved.KNOWN.get(type, reserved.is_code)
    return known(value)


def _is_renamed(type: str, value: str) -> bool:
    kept = _OF_STREETS | _PARTICLES if type == "STREET_ADDRESS" else _NAMES[type]
    words = [word for word in _WORD.findall(value) if len(word) > 1 and word.lower() not in kept]
    if type == "STREET_ADDRESS":
        words = [word for word in words if len(word) != 2 or not word.isupper()]
    if words:
        return all(is_coined(word) for word in words)
    numbers = _DIGITS.findall(value)
    return type == "STREET_ADDRESS" and bool(numbers) and all(number.startswith("0") for number in numbers)


def _pick(key: bytes, value: str, choices: tuple[str, ...]) -> str:
    return choices[draw(key, "pick", value) % len(choices)]
