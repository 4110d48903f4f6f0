"""Surrogates keep the form, belong to nobody, are the same for the same value, and are never replaced again."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.core.errors import RecipeError
from tunewright.core.scrubbing import Scrub
from tunewright.privacy import checksums
from tunewright.privacy.coined import coin, is_coined
from tunewright.privacy.scrub import Scrubber, the_key
from tunewright.privacy.surrogates import Surrogates, is_surrogate

KEY = b"a key of thirty-two bytes, or so"
TEXTS = [
    "My name is Anna Maria Lopez, born on 1985-03-04. Ms Lopez works for Johnson Inc. in Warsaw, Poland.",
    "Dear Anna, your card 4111 1111 1111 1111 and IBAN GB33BUKB20201555555555 were charged on 12/24/2019.",
    "I am 34 years old and my SSN is 856-45-6789; my IP is 8.8.8.8, mac 00:1A:2B:3C:4D:5E.",
    "Please return to 2437 Main St, Springfield, IL 62704, or call (602) 272-9781. My password: Hunter2!!",
    "It was on 3 March 2020, in May 2021, on a Monday, and on 13/02/2020 with Michal Hork\u00fd.",
    "my name is \u041c\u0430\u0440\u0438\u044f \u041f\u0435\u0442\u0440\u043e\u0432\u0430, mail "
    "maria.petrova@acme.com, see https://www.acme.com/me.",
    ">Ella H. Snider\n>Otc Markets\n>228 Ringvej 144\n>Apt. 902\n>Qaqortoq\n>Greenland 96817",
    "The meeting in 1977 was on 2018-01-14 03:07:43, and again on 1/2/84",
    "it serves great Slovenian food; driver's license F162823540116, passport C01X00T47",
]


def scrubbed(text: str, *, key: bytes = KEY, **options: object) -> str:
    """One text, scrubbed."""
    done = Scrubber(Scrub.model_validate(options), key=key).row([text])
    assert done is not None
    return done[0].text


@pytest.mark.parametrize("text", TEXTS)
def test_a_second_scrub_changes_nothing(text: str) -> None:
    once = scrubbed(text)
    assert once != text
    assert scrubbed(once) == once
    assert scrubbed(once, key=b"another key") == once or re.search(r"\d", text)  # dates move with the key


@pytest.mark.parametrize("action", ["mask", "hash"])
@pytest.mark.parametrize("text", TEXTS)
def test_markers_stay_too(text: str, action: str) -> None:
    once = scrubbed(text, action=action)
    assert scrubbed(once, action=action) == once
    assert "[" in once


def test_one_person_is_one_surrogate_whatever_part_is_named() -> None:
    scrubber = Scrubber(Scrub(), key=KEY)
    whole = scrubber.row(["my name is Anna Maria Lopez"])
    others = scrubber.row(["Dear Ms. Lopez, hello Anna, mail anna.lopez@acme.com or ANNA LOPEZ."])
    assert whole is not None and others is not None
    first, _, last = whole[0].text.removeprefix("my name is ").split(" ")
    assert f"Ms. {last}" in others[0].text
    assert f"hello {first}," in others[0].text
    assert f"{first}.{last}@example.".lower() in others[0].text


def test_the_key_alone_decides() -> None:
    assert scrubbed(TEXTS[0]) == scrubbed(TEXTS[0])
    assert scrubbed(TEXTS[0]) != scrubbed(TEXTS[0], key=b"another key of thirty-two bytes!")


@pytest.mark.parametrize(
    ("type", "value", "form"),
    [
        ("PHONE_NUMBER", "+41 (0)62 585 51 90", r"\+41 \(0\)\d\d 555 01 \d\d"),
        ("PHONE_NUMBER", "(602)272-9781x036", r"\([2-9]\d\d\)555-01\d\dx000"),
        ("PHONE_NUMBER", "07911 123456", r"07700 900\d{3}"),
        ("PHONE_NUMBER", "+33 6 12 34 56 78", r"\+33 6 39 98 \d\d \d\d"),
        ("PHONE_NUMBER", "467 3395", r"555 01\d\d"),
        ("EMAIL_ADDRESS", "x@y.org", r"[a-z]+@example\.(com|org|net)"),
        ("US_SSN", "856-45-6789", r"9\d\d-[0-4]\d-\d{4}"),
        ("IP_ADDRESS", "8.8.8.8", r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+"),
        ("IP_ADDRESS", "2a00:1450:4001::200e", r"2001:db8::[0-9a-f]+:[0-9a-f]+"),
        ("MAC_ADDRESS", "A8-1A-2B-3C-4D-5E", r"00-00-5E-00-53-[0-9A-F]{2}"),
        ("DOMAIN_NAME", "http://www.acme.com/", r"http://www\.[a-z]+\.example/"),
        ("US_DRIVER_LICENSE", "F162823540116", r"X000\d{9}"),
        ("STREET_ADDRESS", "Mellemvej 32", r"[A-Z][a-z]+vej [1-9]\d"),
        ("PERSON", "Auður Auðbjörnsson", r"[A-Z][a-z]+ [A-Z][a-z]+sson"),
        ("ORGANIZATION", "Thomas and Sons Ltd", r"[A-Z][a-z]+ and Sons Ltd"),
        ("API_KEY", "AKIAIOSFODNN7EXAMPLE", r"\[API_KEY\]"),
        ("TITLE", "Mr.", r"Mr\."),
        ("DATE_TIME", "Monday", r"Monday"),
        ("DATE_TIME", "a long time ago", r"\[DATE_TIME\]"),
    ],
)
def test_a_surrogate_has_the_form_of_what_it_stands_for(type: str, value: str, form: str) -> None:
    made = Surrogates(KEY).of(type, value, None)
    assert re.fullmatch(form, made), made


@given(st.from_regex(r"(4[1-9]\d{10}|51[1-9]\d{12}|3[47][1-9]\d{11}|6011[1-9]\d{10}|35[2-8]\d{12})", fullmatch=True))
@settings(max_examples=50, deadline=None)
def test_a_card_becomes_a_card_of_the_issuer_with_its_check_digit(beginning: str) -> None:
    beginning = "".join(str(int(digit)) for digit in beginning)
    card = beginning + checksums.luhn_digit(beginning)
    made = Surrogates(KEY).of("CREDIT_CARD", card, None)
    assert made != card and len(made) == len(card) and made[0] == card[0]
    assert checksums.luhn(made) and "0000" in made[:8]


@pytest.mark.parametrize("iban", ["DE89 3704 0044 0532 0130 00", "GB33BUKB20201555555555", "NO9386011117947"])
def test_an_iban_keeps_its_country_and_has_its_check_digits(iban: str) -> None:
    made = Surrogates(KEY).of("IBAN_CODE", iban, None)
    compact = made.replace(" ", "")
    assert made != iban and made[:2] == iban[:2] and len(made) == len(iban)
    assert checksums.iban(compact)


def test_days_between_the_dates_of_a_person_stay() -> None:
    done = Scrubber(Scrub(), key=KEY).row(["Dear Anna Lopez, you came on 2020-02-27 and left on 2020-03-02."])
    assert done is not None
    came, left = (date.fromisoformat(found) for found in re.findall(r"\d{4}-\d\d-\d\d", done[0].text))
    assert (left - came).days == 4
    assert came.weekday() == date(2020, 2, 27).weekday()
    assert abs((came - date(2020, 2, 27)).days) >= 35


@given(st.text(min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_a_coined_word_is_known_as_one_without_the_key(word: str) -> None:
    if any(letter.isalpha() for letter in word):
        assert is_coined(coin(KEY, word)) or not coin(KEY, word).lower().translate({}).isascii()
    assert not is_surrogate("PERSON", "Anna Lopez")


def test_no_real_word_is_taken_for_a_coined_one() -> None:
    from tunewright.privacy.common_words import COMMON_WORDS

    assert not [word for word in COMMON_WORDS if is_coined(word)]


def test_what_was_planted_is_gone() -> None:
    planted = [
        "Lopez",
        "1985-03-04",
        "4111 1111",
        "GB33",
        "856-45",
        "8.8.8.8",
        "1A:2B",
        "Main St",
        "272-9781",
        "Hunter2",
    ]
    for action in ("surrogate", "mask", "hash"):
        told = " | ".join(scrubbed(text, action=action) for text in TEXTS)
        assert not [value for value in planted if value in told and value != "Main St"]
        assert "2437 Main" not in told


def test_another_action_for_a_type_and_types_that_are_let_be() -> None:
    text = "my name is Anna Lopez, card 4111 1111 1111 1111, mail anna@acme.com"
    done = scrubbed(text, actions={"CREDIT_CARD": "mask", "PERSON": "keep"})
    assert done.startswith("my name is Anna Lopez, card [CREDIT_CARD], mail ")
    assert scrubbed(text, types=["EMAIL_ADDRESS"], action="mask") == text.replace("anna@acme.com", "[EMAIL_ADDRESS]")


def test_a_row_is_dropped_for_the_types_that_say_so() -> None:
    scrubber = Scrubber(Scrub(actions={"US_SSN": "drop"}), key=KEY)
    assert scrubber.row(["my ssn is 856-45-6789"]) is None
    assert scrubber.row(["my name is Anna Lopez"]) is not None
    assert (scrubber.rows_dropped, scrubber.rows_touched) == (1, 1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"types": ["EMAIL"]}, "Did you mean 'EMAIL_ADDRESS'"),
        ({"actions": {"PHONE": "mask"}}, "Unknown type of personal data 'PHONE'"),
        ({"keep_mapping": "m.age"}, "belong together"),
    ],
)
def test_options_that_make_no_sense_are_told(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        Scrub.model_validate(given)


def test_a_key_that_is_missing_or_can_be_guessed_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(RecipeError, match="no variable NO_SUCH_KEY"):
        the_key("env:NO_SUCH_KEY")
    short = tmp_path / "key"
    short.write_text("1234\n")
    with pytest.raises(RecipeError, match="holds 4 characters"):
        the_key(str(short))
    short.write_text("0123456789abcdef\n")
    assert the_key(str(short)) == the_key(str(short)) != the_key(None)
