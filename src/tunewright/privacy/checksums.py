"""Check digits: what tells a card number or an IBAN from any other row of digits."""

from __future__ import annotations

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    return luhn_sum(digits) % 10 == 0


def luhn_sum(digits: str) -> int:
    """Every second digit from the right doubled and its own digits added, plus the others."""
    numbers = [int(digit) for digit in reversed(digits)]
    return sum(numbers[0::2]) + sum(_DOUBLED[number] for number in numbers[1::2])


def luhn_digit(digits: str) -> str:
    """The check digit that belongs behind the digits."""
    return str(-luhn_sum(digits + "0") % 10)


def iban(compact: str) -> bool:
    """Whether an IBAN without spaces, in capitals, has its two check digits (ISO 13616: the remainder by 97 is 1)."""
    return _mod_97(compact[4:] + compact[:4]) == 1


def iban_digits(country: str, account: str) -> str:
    """The two check digits of an IBAN of this country and account."""
    return f"{98 - _mod_97(account + country + '00'):02d}"


def _mod_97(text: str) -> int:
    return int("".join(str(int(letter, 36)) for letter in text)) % 97
