"""Payment cards: 12 to 19 digits with a check digit and the beginning of an issuer, or a word about cards nearby."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunewright.privacy import checksums
from tunewright.privacy.found import Found

_DIGITS = re.compile(r"(?<![\w.,#/+-])\d(?:[ -]?\d){11,18}(?![\w/])(?![.,-]\d)")
_GROUPS = re.compile(r"\d+")
# Issuers' beginnings and lengths, as ISO/IEC 7812 numbers them: Visa, Mastercard, American Express, Diners Club, JCB,
# Discover, UnionPay, Maestro, Mir, RuPay.
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"30[0-5]|3095|36|3[89]"), (14, 16, 19)),
    (re.compile(r"2131|1800"), (15,)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    (re.compile(r"6011|64[4-9]|65|62[0-9]|60|81|82"), (16, 17, 18, 19)),
    (re.compile(r"220[0-4]"), (16, 17, 18, 19)),
    (re.compile(r"50[1-9]|5[6-8]|6304|67|0604|639"), (12, 13, 14, 15, 16, 17, 18, 19)),
)
_CONTEXT = re.compile(
    r"\b(?:credit|debit|visa|master ?card|maestro|amex|american express|discover|diners|jcb|cc|pan|karten?|kreditkarte|"
    r"carte|tarjeta|carta|kaart|payment|cvv|cvc|expir\w+|card\w*)\b",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"\b(?:order|invoice|tracking|ticket|reference|ref|case|serial|imei|parcel|shipment|isbn|ean|upc|sku|version|build|"
    r"timestamp|epoch)\b(?:\s+(?:number|no|id|nr|code))?[\s.:#-]*(?:is\s+)?$",
    re.IGNORECASE,
)


def cards_in(text: str) -> Iterator[Found]:
    """Card numbers. One that is called an order, a parcel or the like is none; one called a card needs no issuer."""
    for match in _DIGITS.finditer(text):
        digits = match[0].replace(" ", "").replace("-", "")
        if not checksums.luhn(digits) or len(set(digits)) < 2 or not _grouped(match[0]):
            continue
        before = text[max(0, match.start() - 60) : match.start()]
        if _OTHER.search(before):
            continue
        if issued(digits):
            yield Found(match.start(), match.end(), "CREDIT_CARD", 1.0)
        elif _CONTEXT.search(before) or _CONTEXT.search(text[match.end() : match.end() + 30]):
            yield Found(match.start(), match.end(), "CREDIT_CARD", 0.9)


def issued(digits: str) -> bool:
    """Whether an issuer of cards has numbers that begin so and are so long."""
    return any(beginning.match(digits) and len(digits) in lengths for beginning, lengths in _ISSUERS)


def _grouped(number: str) -> bool:
    """Groups of a card are 3 to 7 digits long (4-4-4-4, 4-6-5, 6-13 ...); a list of small numbers is no card."""
    groups = _GROUPS.findall(number)
    return len(groups) == 1 or (len(groups) <= 6 and all(len(group) >= 3 for group in groups[:-1]))
