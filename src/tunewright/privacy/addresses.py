"""Postal addresses: streets with numbers, units, boxes, and the town, country and postcode behind them.

An address in a sentence is one span as far as its postcode or country; one with a line for each part is found in
parts: STREET_ADDRESS, GPE (town and country), ZIP_CODE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunewright.privacy.common_words import COMMON_WORDS
from tunewright.privacy.found import Found, holds_any, resolved
from tunewright.privacy.street_forms import CAP, CITY, COUNTRY, FORMS, NUMBER, STATE, SUFFIX, ZIP
from tunewright.privacy.words import MONTHS

_SEPARATOR = r"[ \t,>?*]*(?:\n[ \t,>?*]*)?"
_JOINED = re.compile(rf"{_SEPARATOR}(?:\n[ \t>?*]*)?")
_LEADING = re.compile(r"(?<![\w.,$#-])\d{1,5}[ \t]?$")
_TAIL = re.compile(
    rf"(?P<gap>{_SEPARATOR})(?P<city>{CITY})?(?:{_SEPARATOR}(?P<state>{STATE})(?!\w))?"
    rf"(?:{_SEPARATOR}(?P<country>{COUNTRY}|{CAP}(?= (?:{ZIP}))))?(?:{_SEPARATOR}(?P<zip>{ZIP}))?"
)
_ENDS = re.compile(r"\s*(?:[\n.,;!?]|$)")
_CORNER = re.compile(
    rf"(?i:(?:the )?corner of) (?:[\w'\u2019./-]+ ){{1,6}}(?:and|&) (?:{CAP}\.?|[\w'\u2019.-]+(?= {SUFFIX})|{NUMBER})"
    rf"(?: (?:{CAP}\.?|(?i:{SUFFIX})|{NUMBER})){{0,5}}"
)
_CORNER_LOWER = re.compile(
    rf"(?:the )?corner of (?:[\w'\u2019./-]+ ){{1,5}}and (?:[\w'\u2019./-]+ ){{1,3}}(?:{SUFFIX})\b", re.IGNORECASE
)
_CROSSING = re.compile(
    rf"(?:(?<=\bat )|(?<=\bto )|(?<=\n)|^)(?P<street>{CAP} and (?:(?:{CAP}\.?|[a-z]{{1,3}}\.?) ){{0,"
    rf"3}}(?:{SUFFIX}|{CAP} {NUMBER})"
    rf"(?: {NUMBER})?)",
    re.MULTILINE,
)
_NAMED_STREET = re.compile(
    rf"(?:{CAP} ){{1,3}}(?:Street|St\.|Avenue|Ave\.?|Road|Rd\.?|Boulevard|Blvd\.?|Drive|Lane)(?!\w)"
)
_STATED_ZIP = re.compile(
    r"\b(?i:zip(?: ?code)?|post ?code|postal code|postcode|plz|code postal|c\u00f3digo postal|cep|postnummer|pin code)"
    rf"[^\w\n]{{0,3}}(?:is )?(?P<zip>{ZIP}|\d{{3,6}}(?:-\d{{3}})?)(?!\w)"
)
_LONE_ZIP = re.compile(
    r"(?<![\w-])(?:(?:GIR ?0AA|[A-PR-UWYZ](?:\d[\dA-HJKPS-UW]?|[A-HK-Y]\d[\dABEHMNPRV-Y]?) ?\d[ABD-HJLNP-UW-Z]{2})"
    r"|[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z] ?\d[ABCEGHJ-NPRSTV-Z]\d)(?![\w-])"
)
_STATE_ZIP = re.compile(rf"\b(?P<city>{CITY}),? (?P<state>[A-Z]{{2}})[ ,]{{1,2}}(?P<zip>\d{{5}}(?:-\d{{4}})?)(?![\w-])")
_CITY_ZIP = re.compile(
    rf"(?:\b(?:in|to|from|near|at|of) |^[ \t>]*|, )(?P<city>{CITY}) "
    r"(?P<zip>(?!1[89]|20)\d{4}|\d{5}|\d{3} \d{2}|\d{4} [A-Z]{2}|\d{2}-\d{3}|\d{4,5}-\d{3})(?=[\s,.]|$)(?!\.\d)"
    r"(?!\s(?:people|items|users|times|points|miles|euros|dollars|steps))",
    re.MULTILINE,
)
_ZIP_CITY = re.compile(
    rf"(?:^|[,\n>]\s*)(?P<zip>(?!1[89]\d\d |20\d\d )\d{{4,5}}|\d{{3}} \d{{2}}|\d{{2}}-\d{{3}}|[A-Z]{{1,"
    rf"2}}-\d{{4,5}}) (?P<city>{CITY})"
    r"(?=\s*(?:[\n,.]|$))",
    re.MULTILINE,
)
_REACH = 90  # characters around a number in which the rest of its address stands


def addresses_in(text: str) -> Iterator[Found]:
    """Streets, units, boxes, towns, countries and postcodes."""
    numbers = [match.start() for match in re.finditer(r"\d+", text)]
    if not numbers and not re.search(r"orner of|Street|St\.|Avenue|Road|Boulevard|Drive|Lane| and [A-Z]", text):
        return
    pieces = resolved(
        [*_unnumbered(text), *(one for window in _windows(text, numbers) for one in _numbered(text, *window))]
    )
    place = 0
    while place < len(pieces):
        block = [pieces[place]]
        while place + 1 < len(pieces) and _touch(text, block[-1], pieces[place + 1]):
            place += 1
            block.append(pieces[place])
        place += 1
        yield from _block(text, block)
    if numbers:
        yield from _postcodes(text)


def _windows(text: str, numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Stretches of the text around its numbers."""
    start, end = 0, -1
    for number in numbers:
        if number - _REACH > end:
            if end >= 0:
                yield start, end
            start = max(0, number - _REACH)
        end = min(len(text), number + _REACH)
    if end >= 0:
        yield start, end


def _numbered(text: str, start: int, end: int) -> Iterator[Found]:
    """Streets with numbers, units and boxes of a stretch."""
    stretch = text[start:end]
    for form in FORMS:
        if form.gate is not None and not form.gate.search(stretch):
            continue
        for match in form.form.finditer(text, start, end):
            name = "street" if "street" in form.form.groupindex else 0
            first, last = match.span(name)
            kept = _without_common(text, first, first + len(text[first:last].rstrip(" ,")))
            if kept is not None and (not form.needs_name or _has_name(text[slice(*kept)])):
                yield (
                    _with_number(text, *kept, form.score)
                    if form.is_street
                    else Found(*kept, "STREET_ADDRESS", form.score)
                )


def _unnumbered(text: str) -> Iterator[Found]:
    """Corners of two streets, and streets without a number."""
    if "orner of" in text or "ORNER OF" in text:
        for form in (_CORNER, _CORNER_LOWER):
            yield from (Found(*match.span(), "STREET_ADDRESS", 0.98) for match in form.finditer(text))
    if " and " in text:
        for match in _CROSSING.finditer(text):
            if match["street"].split(" ")[0].lower() not in COMMON_WORDS:
                yield _with_number(text, *match.span("street"), 0.9)
    for match in _NAMED_STREET.finditer(text):
        kept = _without_common(text, *match.span())
        if kept is not None:
            yield Found(*kept, "STREET_ADDRESS", 0.8)


def _without_common(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Without common words at the start of a sentence; None where nothing but such, or a date, is left."""
    words = text[start:end].split(" ")
    while (
        words
        and words[0].lower() in COMMON_WORDS
        and words[0].lower() not in ("unit", "suite", "apt", "p.o.", "psc", "box", "post")
    ):
        start += len(words.pop(0)) + 1
    if len(words) < 2 or any(word.strip(".,") in MONTHS for word in words) or text.startswith("Its ", start):
        return None
    if re.search(r"[a-z]{3,}\.\s+[A-Z]", text[start:end]):  # a sentence ends in between
        return None
    return start, end


def _has_name(street: str) -> bool:
    """Whether a word of it is no common word."""
    words = [word.strip(".,").lower() for word in street.split(" ")]
    return any(word[:1].isalpha() and len(word) > 1 and word not in COMMON_WORDS for word in words)


def _with_number(text: str, start: int, end: int, score: float) -> Found:
    """With the house number that stands directly before."""
    before = _LEADING.search(text, max(0, start - 8), start)
    return Found(before.start() if before else start, end, "STREET_ADDRESS", score)


def _touch(text: str, one: Found, other: Found) -> bool:
    return _JOINED.fullmatch(text, one.end, other.start) is not None


def _block(text: str, pieces: list[Found]) -> Iterator[Found]:
    """An address from its pieces: in one where it stands in a sentence, else in parts."""
    start, end = pieces[0].start, pieces[-1].end
    match = _TAIL.match(text, end)
    parts = {name: match.span(name) for name in ("city", "state", "country", "zip") if match and match[name]}
    if match is None or not _is_tail(text, match, parts):
        yield from pieces
        return
    line = text[text.rfind("\n", 0, start) + 1 : start]
    runs_on = "city" in parts and not set(match["gap"]) - {" "}
    in_sentence = line.strip(" \t>?*\u2022-") or "\n" not in text[start : match.end()]
    if in_sentence and ("zip" in parts or "country" in parts or runs_on):
        yield Found(start, max(span[1] for span in parts.values()), "STREET_ADDRESS", 0.99)
        return
    yield from pieces
    for name, span in parts.items():
        of_street = name == "zip" and "country" in parts
        yield Found(*span, "GPE" if name != "zip" else "STREET_ADDRESS" if of_street else "ZIP_CODE", 0.88)


def _is_tail(text: str, match: re.Match[str], parts: dict[str, tuple[int, int]]) -> bool:
    """Whether what follows a street belongs to its address: it has a country or a postcode, or ends with the town."""
    if "zip" in parts or ("country" in parts):
        return True
    return "city" in parts and _ENDS.match(text, match.end()) is not None


def _postcodes(text: str) -> Iterator[Found]:
    if holds_any(text.lower(), ("zip", "post", "plz", "cep", "pin code")):
        yield from (Found(*match.span("zip"), "ZIP_CODE", 0.95) for match in _STATED_ZIP.finditer(text))
    yield from (Found(*match.span(), "ZIP_CODE", 0.8) for match in _LONE_ZIP.finditer(text))
    if not re.search(r"\d{3}", text):
        return
    for form in (_STATE_ZIP, _CITY_ZIP, _ZIP_CITY):
        for match in form.finditer(text):
            yield Found(*match.span("zip"), "ZIP_CODE", 0.7)
            yield Found(*match.span("city"), "GPE", 0.7)
            if form is _STATE_ZIP:
                yield Found(*match.span("state"), "GPE", 0.7)
