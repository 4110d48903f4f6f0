"""Numbers that belong to nobody: reserved or test ranges, in the form of the number that they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable

from tunewright.privacy import checksums
from tunewright.privacy.coined import draw

Maker = Callable[[bytes, str], str]
Known = Callable[[str], bool]

_EXTENSION = re.compile(r"\s?(?:x|ext\.?|extension|durchwahl|#)\s?\d{1,6}$", re.IGNORECASE)
_NETS = ("192.0.2.", "198.51.100.", "203.0.113.")  # RFC 5737
_PHONE_ENDS = re.compile(r"55501\d\d$|7700900\d{3}$|63998\d{4}$")
_ISSUERS = re.compile(r"(?:2131|1800|6304|6011|0604|3[0-9]|5[0-9]|6[0-9]|4|2[2-7]|8[12]|\d)")


def _digits(key: bytes, what: str, value: str, size: int) -> str:
    return str(draw(key, what, value) % 10**18).zfill(18)[-size:] if size else ""


def _filled(value: str, digits: str) -> str:
    """The value with its digits replaced, one by one; signs between them stay."""
    rest = iter(digits)
    return "".join(next(rest) if letter.isdecimal() else letter for letter in value)


def _only_digits(value: str) -> str:
    return "".join(letter for letter in value if letter.isdecimal())


def phone(key: bytes, value: str) -> str:
    """A number for films and books: 555-01xx in North America, 07700 900xxx in Britain (Ofcom), 06 39 98 xx xx in
    France (Arcep); elsewhere one that ends in 555 01xx.
    """
    extension = _EXTENSION.search(value)
    body = value[: extension.start()] if extension else value
    digits = _only_digits(body)
    core = digits[-7:] if len(digits) < 9 else digits
    if re.fullmatch(r"(?:0|44|0044|440)7\d{9}", digits):
        new = digits[:-10] + "7700900" + _digits(key, "phone", core, 3)
    elif re.fullmatch(r"(?:0|33|0033|330)[67]\d{8}", digits):
        new = digits[:-9] + "63998" + _digits(key, "phone", core, 4)
    else:
        head, size = digits[:-7], len(digits)
        kept = _country(body, digits)
        drawn = _digits(key, "area", core, len(head) - kept) if len(head) > kept else ""
        drawn = "".join(str(2 + int(one) % 8) if place == 0 else one for place, one in enumerate(drawn))
        new = (head[:kept] + drawn + "55501" + _digits(key, "phone", core, 2))[-size:]
    return _filled(body, new) + (re.sub(r"\d", "0", extension[0]) if extension else "")


def _country(body: str, digits: str) -> int:
    """How many of the first digits say the country or that a call leaves the town: they stay."""
    if body.lstrip("( ").startswith(("+", "00")):
        import phonenumbers

        lead = 2 if digits.startswith("00") else 0
        for length in (1, 2, 3):
            code = digits[lead : lead + length]
            if code and int(code) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
                return lead + length + (1 if digits[lead + length : lead + length + 1] == "0" else 0)
        return lead
    return 1 if digits.startswith(("0", "1")) and len(digits) > 7 else 0


def card(key: bytes, value: str) -> str:
    """A card of the same issuer in a range of zeros, which no bank gives out, with its check digit."""
    digits = _only_digits(value)
    issuer = _ISSUERS.match(digits)
    assert issuer is not None
    head = issuer[0] + "0000"
    body = head + _digits(key, "card", digits, len(digits) - len(head) - 1)
    return _filled(value, body + checksums.luhn_digit(body))


def is_card(value: str) -> bool:
    """Whether a card number is in a range of zeros."""
    digits = _only_digits(value)
    issuer = _ISSUERS.match(digits)
    return issuer is not None and digits[issuer.end() : issuer.end() + 4] == "0000"


def iban(key: bytes, value: str) -> str:
    """An IBAN of the same country, its bank XXXX or 0000, with its check digits."""
    compact = "".join(letter for letter in value if letter.isalnum()).upper()
    account = "".join("X" if letter.isalpha() else "0" for letter in compact[4:])
    numbers = [place for place, letter in enumerate(account) if letter == "0"][4:]
    drawn = _digits(key, "iban", compact, min(18, len(numbers)))
    filled = list(account)
    for place, digit in zip(reversed(numbers), reversed(drawn), strict=False):
        filled[place] = digit
    made = compact[:2] + checksums.iban_digits(compact[:2], "".join(filled)) + "".join(filled)
    rest = iter(made.lower() if value.islower() else made)
    return "".join(next(rest) if letter.isalnum() else letter for letter in value)


def is_iban(value: str) -> bool:
    """Whether an IBAN is one of `iban`."""
    account = [letter for letter in value if letter.isalnum()][4:]
    letters = [letter for letter in account if letter.isalpha()]
    return all(letter in "Xx" for letter in letters) and "".join(one for one in account if one.isdecimal()).startswith(
        "0000"
    )


def ssn(key: bytes, value: str) -> str:
    """A number that the Social Security Administration never gives out: it begins with 9, its group is below 50."""
    digits = _only_digits(value)
    if len(digits) < 9:
        return _filled(value, "0" * len(digits))
    drawn = _digits(key, "ssn", digits, 8)
    return _filled(value, "9" + drawn[:2] + f"{1 + int(drawn[2:4]) % 49:02d}" + drawn[4:8])


def is_ssn(value: str) -> bool:
    """Whether a number is one of `ssn`."""
    digits = _only_digits(value)
    return not digits.strip("0") or (len(digits) == 9 and digits[0] == "9" and digits[3:5] < "50")


def ip(key: bytes, value: str) -> str:
    """An address of the nets that are kept for documentation (RFC 5737, RFC 3849)."""
    bare, slash, mask = value.partition("/")
    number = draw(key, "ip", bare.lower())
    if ":" in value:
        return f"2001:db8::{number % 65536:x}:{number // 65536 % 65536:x}{slash}{mask}"
    return f"{_NETS[number % 3]}{1 + number // 3 % 254}{slash}{mask}"


def is_ip(value: str) -> bool:
    """Whether an address is one of `ip`."""
    return value.lower().startswith(("2001:db8:", *_NETS))


def mac(key: bytes, value: str) -> str:
    """An address of those kept for documentation (RFC 7042, 00-00-5E-00-53-xx)."""
    made = iter(f"00005e0053{draw(key, 'mac', value.lower()) % 256:02x}")
    upper = value.upper() == value
    return "".join(
        (letter.upper() if upper else letter) for one in value for letter in (next(made) if one.isalnum() else one)
    )


def is_mac(value: str) -> bool:
    """Whether an address is one of `mac`."""
    return "".join(letter for letter in value.lower() if letter.isalnum()).startswith("00005e0053")


def code(key: bytes, value: str) -> str:
    """The same form with X for letters and digits that begin with zeros: a licence, a passport, an account."""
    digits = _only_digits(value)
    zeros = min(3, max(1, len(digits) - 2))
    new = "0" * zeros + _digits(key, "code", value.lower(), min(18, max(0, len(digits) - zeros)))
    masked = "".join(("X" if letter.isupper() else "x") if letter.isalpha() else letter for letter in value)
    return _filled(masked, new.ljust(len(digits), "0"))


def is_code(value: str) -> bool:
    """Whether a value is one of `code`."""
    digits = _only_digits(value)
    zeros = min(3, max(1, len(digits) - 2))
    return all(letter in "Xx" for letter in value if letter.isalpha()) and digits[:zeros] == "0" * min(
        zeros, len(digits)
    )


def is_phone(value: str) -> bool:
    """Whether a number is one of `phone`."""
    extension = _EXTENSION.search(value)
    digits = _only_digits(value[: extension.start()] if extension else value)
    return _PHONE_ENDS.search(digits) is not None or (len(digits) < 7 and digits.startswith("550"[: len(digits)]))


MAKERS: dict[str, Maker] = {
    "PHONE_NUMBER": phone,
    "CREDIT_CARD": card,
    "IBAN_CODE": iban,
    "US_SSN": ssn,
    "IP_ADDRESS": ip,
    "MAC_ADDRESS": mac,
}
KNOWN: dict[str, Known] = {
    "PHONE_NUMBER": is_phone,
    "CREDIT_CARD": is_card,
    "IBAN_CODE": is_iban,
    "US_SSN": is_ssn,
    "IP_ADDRESS": is_ip,
    "MAC_ADDRESS": is_mac,
}
