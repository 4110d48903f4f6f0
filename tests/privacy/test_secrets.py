"""Keys, tokens, passwords and cards are found where they stand; numbers of other kinds are not taken for them."""

from __future__ import annotations

import base64
import random

import pytest

from tunewright.privacy import checksums
from tunewright.privacy.secrets import Found, secrets_in

_PRIVATE = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx\nabc/def+ghi=\n-----END RSA PRIVATE KEY-----"
_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jK"
PLANTED = [
    ("PRIVATE_KEY", _PRIVATE),
    ("API_KEY", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("API_KEY", "ghp_" + "a1B2c3D4" * 5),
    ("API_KEY", "sk-proj-" + "abcDEF123456" * 3),
    ("API_KEY", "xoxb-" + "123456789012-abcdefABCDEF"),
    ("API_KEY", "AIza" + "SyA1234567890abcdefghijklmnopqrstuv"),
    ("API_KEY", "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"),
    ("API_KEY", "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz0123"),
    ("JWT", _JWT),
    ("URL_CREDENTIALS", "postgres://bob:s3cr3t@db.host.com:5432/x"),
    ("CREDIT_CARD", "4111 1111 1111 1111"),
    ("CREDIT_CARD", "378282246310005"),
    ("CREDIT_CARD", "5555-5555-5555-4444"),
]


@pytest.mark.parametrize(("type", "value"), PLANTED, ids=[f"{type}-{value[:8]}" for type, value in PLANTED])
@pytest.mark.parametrize("around", ["{}", "It is {} they said.", "x\n{}\ny", '"{}"', "\u00fcber {} \u2713"])
def test_a_planted_secret_is_found_at_its_place(type: str, value: str, around: str) -> None:
    start = around.index("{}")
    assert [found[:3] for found in secrets_in(around.format(value))] == [(start, start + len(value), type)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("password: hunter2", "hunter2"),
        ("my password is Hunter2!!", "Hunter2!!"),
        ("DB_PASSWORD='x9#kQ2'", "x9#kQ2"),
        ("Passwort: geheim42!", "geheim42!"),
        ("api_key=abcd1234efgh5678ijkl", "abcd1234efgh5678ijkl"),
        ("Authorization: Bearer 9f8a7b6c5d4e3f2a1b0c9d8e", "9f8a7b6c5d4e3f2a1b0c9d8e"),
    ],
)
def test_what_has_no_form_is_known_by_the_word_before_it(text: str, value: str) -> None:
    assert [text[found.start : found.end] for found in secrets_in(text)] == [value]


@pytest.mark.parametrize(
    "text",
    [
        "I forgot my password, can you help?",
        "How do I change my password today?",
        "reset my passcode please now",
        "password: ********",
        "password=${DB_PASSWORD}",
        "api_key = os.environ['KEY']",
        "a token is about four characters",
        "order number 4111111111111111",
        "tracking no. 4111 1111 1111 1111",
        "ISBN 978-3-16-148410-0",
        "version 1.2.3.4 of build 20240101120000",
        "at 1700000000000 ms",
        "0000 0000 0000 0000",
        "http://example.com:8080/a@b",
        "the key is under the mat",
    ],
)
def test_what_is_no_secret_is_let_be(text: str) -> None:
    assert secrets_in(text) == []


def test_sixteen_digits_without_a_check_digit_are_no_card() -> None:
    draws = random.Random(0)
    for _ in range(300):
        digits = "4" + "".join(draws.choice("0123456789") for _ in range(15))
        assert bool(secrets_in(f"card {digits} here")) == checksums.luhn(digits)


def test_found_is_a_plain_value() -> None:
    assert secrets_in("card 4111111111111111") == [Found(5, 21, "CREDIT_CARD", 1.0)]


def test_a_long_text_without_secrets_takes_no_time() -> None:
    noise = base64.b64encode(random.Random(1).randbytes(60_000)).decode()
    assert all(found.type not in ("PRIVATE_KEY", "JWT", "PASSWORD") for found in secrets_in(noise))
