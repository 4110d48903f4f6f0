"""Phone numbers: international and national forms, and loose ones beside a word such as 'call' or 'mobile'."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from tunewright.privacy.found import Found

_EXTENSION = r"(?:\s?(?:x|ext\.?|extension|durchwahl|#)\s?\d{1,6})?"
_SIGN = r"[ .\u00a0/-]"
_CANDIDATE = re.compile(
    r"(?<![\w$\u20ac\u00a3#])(?<!\d[.,:/-])(?<!\d )(?:\+\s?)?"
    rf"(?:\(\+?\d{{1,5}}\){_SIGN}{{0,2}}\d{{1,11}}|\d{{1,15}})"
    rf"(?:{_SIGN}{{1,2}}\d{{1,11}}|{_SIGN}{{0,2}}\(\d{{1,5}}\){_SIGN}{{0,2}}\d{{1,11}}){{0,7}}{_EXTENSION}"
    r"(?![\w%])(?![.,:/-]\d)"
)
_WORDS = re.compile(
    r"\b(?:phone|phones|telephone|tel|mobile|mob|cell|cellphone|fax|desk|call|called|calling|calls|dial|ring|reach|"
    r"contact|text|sms|texted|whatsapp|signal|telegram|landline|hotline|voicemail|answering|answer|registered|"
    r"number is|"
    r"office|direct|handy|telefon|telefono|tel\u00e9fono|t\u00e9l\u00e9phone|telefone|telefoon|m\u00f3vil|"
    r"portable|numero|"
    r"rufnummer|puhelin|m|t|f|p|h|w|c|o|ph)\b\.?(?:\s?(?:no|nr|number|num)\b\.?)?",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"(?:\b(?:order|invoice|tracking|ticket|reference|ref|case|serial|imei|parcel|isbn|issn|ean|upc|sku|version|build|"
    r"pages?|pp|pin|code|zip|postcode|room|flight|card|account|acct|iban|ssn|id|model|part|amount|price|total|in|since|"
    r"years?|from|between|score|population|license|licence|policy|passport|hit|doi|rfc|iso|bus|line|apt|suite|unit|box|"
    r"year|lat|lon|port|error|step|chapter|section|article|law|act|psc)\b\.?(?:\s?(?:number|no|nr|id|code)\b\.?)?"
    r"[\s:#.=-]*(?:is\s|was\s)?|[$\u20ac\u00a3\u00a5#*^=<>~])\s*$",
    re.IGNORECASE,
)
_NORTH_AMERICAN = re.compile(
    r"(?:(?:\+|00)?1[ .-]?)?(?:\(\d{3}\)\s?|\d{3}[ .-])\d{3}[ .-]\d{4}"
    + _EXTENSION
    + r"|001-\d{3}-\d{3}-\d{4}"
    + _EXTENSION
)
_NATIONAL = re.compile(
    r"0\d(?:[ .-]\d\d){4}|0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,4}|0\d{2,4}(?:[ .-]\d{2,4}){2,4}|\(0\d{1,4}\) ?\d{3,"
    r"4}[ -]?\d{3,5}"
    r"|\(\d{2,4}\) ?\d{3,4}-\d{3,4}|\d{2}(?:-\d{2}){3,4}"
)
_GROUPED = re.compile(r"\d{2,5}(?:[ .-]\d{2,5}){2,4}")
_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}|\d{4}-\d{2}-\d{2}.*|\d{1,2}([./-])\d{4}")
_YEARS = re.compile(r"(?:1[5-9]|20)\d\d\s?-\s?(?:(?:1[5-9]|20)\d\d|\d\d)")
_GROUPS = re.compile(r"\d+")


def phones_in(text: str) -> Iterator[Found]:
    """Every phone number of a text."""
    for match in _CANDIDATE.finditer(text):
        start, number = _own(match)
        digits = "".join(_GROUPS.findall(re.split(r"[xe#d]", number)[0]))
        if not 6 <= len(digits) <= 15 or _DATE.fullmatch(number) or _YEARS.fullmatch(number):
            continue
        score = _score(text, start, number, digits)
        if score:
            yield Found(start, start + len(number), "PHONE_NUMBER", score)


def _own(match: re.Match[str]) -> tuple[int, str]:
    number = match[0].rstrip(" .-/\u00a0")
    return match.start(), number


def _score(text: str, start: int, number: str, digits: str) -> float:
    """How sure it is; 0 for none."""
    before = text[max(0, start - 40) : start]
    other = _OTHER.search(before) is not None
    international = number.startswith(("+", "00", "(+"))
    if international:
        return 0.94 if _possible(digits) else 0.0
    if len(set(digits)) < 2:
        return 0.0
    if _NORTH_AMERICAN.fullmatch(number):
        return 0.0 if other and not _called(before) else 0.94
    if _called(before) and len(digits) >= 7 - (number.count(" ") >= 2):
        return 0.0 if other else 0.9
    after = text[start + len(number) : start + len(number) + 20]
    if re.match(r"[\s,-]*\(?(?:office|fax|mobile|cell|home|work|desk|phone|tel)\b", after, re.IGNORECASE):
        return 0.9
    if not other and _NATIONAL.fullmatch(number) and _alone_or_spaced(number) and 8 <= len(digits) <= 12:
        return 0.75
    return 0.7 if not other and _grouped(number, digits) else 0.0


def _grouped(number: str, digits: str) -> bool:
    """Three to five groups of digits as numbers are written: not all alike, as those of a list or a serial are."""
    sizes = {len(group) for group in _GROUPS.findall(number)}
    return _GROUPED.fullmatch(number) is not None and 8 <= len(digits) <= 12 and len(sizes) > 1 and max(sizes) > 2


def _called(before: str) -> bool:
    """Whether a word such as 'call' stands before, in the same sentence and not far."""
    words = list(_WORDS.finditer(before))
    if not words:
        return False
    last = words[-1]
    between = before[last.end() :]
    if len(last[0]) <= 2:  # a letter such as T: or m. directly before the number
        return re.fullmatch(r"[.:)]{1,2}\s?", between) is not None and (
            last.start() == 0 or before[last.start() - 1] in " \n\t|,("
        )
    return re.search(r"[?!;]\s|\d\d", between) is None and len(between) <= 32


def _alone_or_spaced(number: str) -> bool:
    return any(letter in number for letter in " .-()/")


@lru_cache(maxsize=4096)
def _possible(digits: str) -> bool:
    """Whether it can be an international number; a trunk prefix in the middle, as in +41 (0)62, is let be."""
    import phonenumbers

    digits = digits.removeprefix("00")
    if digits.startswith("1") and len(digits) == 11:
        return True
    for length in (1, 2, 3):
        code = digits[:length]
        if int(code or 0) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return 6 <= len(digits) - length <= 12
    return False
