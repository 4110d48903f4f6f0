"""From a passphrase to an age identity: scrypt at a fixed cost, and the identity's written form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

# age's own passphrase form fits its cost to how busy the machine is at that moment, and then refuses on a busier one
COST = 2**17  # scrypt's N with r = 8: 128 MiB and about half a second; guessing a passphrase costs that each time
BLOCK_SIZE = 8
_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_PREFIX = "age-secret-key-"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def identity(passphrase: str, salt: bytes, *, cost: int = COST) -> str:
    """The age identity (AGE-SECRET-KEY-1...) of a passphrase (scrypt, RFC 7914)."""
    secret = hashlib.scrypt(
        passphrase.encode("utf-8"), salt=salt, n=cost, r=BLOCK_SIZE, p=1, maxmem=2 * 128 * BLOCK_SIZE * cost, dklen=32
    )
    return bech32(_PREFIX, secret).upper()


def bech32(prefix: str, content: bytes) -> str:
    """Bytes as letters with a checksum (BIP 173)."""
    number, bits, values = 0, 0, []
    for byte in content:
        number, bits = (number << 8 | byte) & 0xFFF, bits + 8
        while bits >= 5:
            bits -= 5
            values.append(number >> bits & 31)
    if bits:
        values.append(number << (5 - bits) & 31)
    spread = [*(ord(letter) >> 5 for letter in prefix), 0, *(ord(letter) & 31 for letter in prefix)]
    checksum = _polymod([*spread, *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [checksum >> 5 * (5 - place) & 31 for place in range(6)]
    return f"{prefix}1{''.join(_LETTERS[value] for value in values)}"


def _polymod(values: Iterable[int]) -> int:
    found = 1
    for value in values:
        top = found >> 25
        found = (found & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATORS):
            found ^= generator if top >> place & 1 else 0
    return found
