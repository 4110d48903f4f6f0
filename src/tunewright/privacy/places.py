"""Countries and peoples: words and short phrases that are looked up, whatever stands around them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tunewright.privacy.found import Found
from tunewright.privacy.letters import spaced
from tunewright.privacy.words import COUNTRIES, COUNTRY_CODES, PEOPLES, UNSURE_PEOPLES

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LETTERS = re.compile(r"(?<![\w.])U\.(?:S|K)\.(?:A\.)?")
_COUNTRIES_TOO = spaced("turkey china jordan chad guinea mali niger oman togo cuba georgia peru malta")
_PEOPLES_TOO = spaced("""
dutchman roma pole poles polish swede swedes turk turks dane danes finn finns lao scot scots african english french
german dutch swiss thai shia christian republican democrat orthodox georgian
""") - {"french", "german", "dutch", "swiss", "thai", "shia", "african", "english"}  # fmt: skip
_LANGUAGE = re.compile(
    r"(?:stud\w+|sp(?:eak|oke)\w*|learn\w*|teach\w*|taught|translat\w+|fluent|in|into|to|from|native|write|writing|simple|plain|"
    r"language is)\s(?:in\s)?$",
    re.IGNORECASE,
)


def _by_first(names: frozenset[str]) -> dict[str, list[tuple[str, ...]]]:
    """Names of one or more words, the longest first, by their first word, lower case."""
    found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for name in sorted(names, key=len, reverse=True):
        words = tuple(name.lower().split())
        found[words[0]].append(words)
    return found


_COUNTRIES = _by_first(COUNTRIES)
_PEOPLES = _by_first(PEOPLES)
_CODES = frozenset(code for code in COUNTRY_CODES if "." not in code)
_PLURALS = ("s", "es", "mans", "men", "man", "woman", "women")
_FIRST_WORDS = (
    _COUNTRIES.keys() | {code.lower() for code in _CODES} | {name + end for name in _PEOPLES for end in ("", *_PLURALS)}
)


def places_in(text: str) -> Iterator[Found]:
    """Countries (GPE) and nationalities, peoples, faiths and parties (NRP)."""
    if "U." in text:
        yield from (Found(*match.span(), "GPE", 0.7) for match in _LETTERS.finditer(text))
    if _FIRST_WORDS.isdisjoint(_WORD.findall(text.lower())):
        return
    words = [(match[0], match.start(), match.end()) for match in _WORD.finditer(text)]
    for place, (word, start, end) in enumerate(words):
        lower = word.lower()
        if lower in _COUNTRIES:
            last = _longest(words, place, _COUNTRIES[lower], text)
            if last is not None and not (word == lower and lower in _COUNTRIES_TOO):
                yield Found(start, _with_brackets(text, words[last][2]), "GPE", 0.75)
        elif word in _CODES:
            yield Found(start, end, "GPE", 0.7)
        if people := _people(lower):
            last = _longest(words, place, people, text)
            if last is not None and _is_people(text, word, lower, start, end):
                yield Found(start, words[last][2], "NRP", 0.7)


def _people(lower: str) -> list[tuple[str, ...]]:
    """What begins with this word, or with what it is the plural of."""
    if lower in _PEOPLES:
        return _PEOPLES[lower]
    for ending in _PLURALS:
        if lower.endswith(ending) and (lower.removesuffix(ending),) in _PEOPLES.get(lower.removesuffix(ending), ()):
            return [(lower,)]
    return []


def _is_people(text: str, word: str, lower: str, start: int, end: int) -> bool:
    if word == lower and lower in _PEOPLES_TOO:
        return False
    if word in UNSURE_PEOPLES and word != "Polish":
        return re.search(r"\b(?:am|an?|are|the)\s$", text[max(0, start - 5) : start]) is not None
    if text.startswith(" Union", end):
        return False
    after = text[end : end + 1]
    return not (
        _LANGUAGE.search(text[max(0, start - 14) : start])
        and (after in ".,;!?)" or text.startswith((" and ", " language"), end))
    )


def _longest(words: list[tuple[str, int, int]], place: int, names: list[tuple[str, ...]], text: str) -> int | None:
    """The last word of the longest name that stands here."""
    for name in names:
        if place + len(name) > len(words):
            continue
        here = words[place : place + len(name)]
        joined = all(text[one[2] : two[1]].strip() == "" for one, two in pairwise(here))
        if joined and all(one[0].lower() == part for one, part in zip(here[1:], name[1:], strict=True)):
            return place + len(name) - 1
    return None


def _with_brackets(text: str, end: int) -> int:
    """Countries may be told apart in brackets: Cyprus (Greek)."""
    match = re.compile(r" \([A-Z][a-z]+\)").match(text, end)
    return match.end() if match else end
