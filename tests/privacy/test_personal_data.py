"""Each type of personal data is found at its exact place; look-alikes are not taken for it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.core.scrubbing import TYPES
from tunewright.privacy.detect import personal_data
from tunewright.privacy.found import Found, resolved
from tunewright.privacy.scoring import ALL, UNTYPED, score

DATA = Path(os.environ.get("TUNEWRIGHT_DATA", Path(__file__).parents[2] / "../shared/data"))
# What is marked by << >> must be found, with exactly this place and type, and nothing else.
PLANTED = [
    ("EMAIL_ADDRESS", "write to <<anna.lopez+x@mail.acme.co.uk>> today"),
    ("EMAIL_ADDRESS", "write to <<j\u00fcrgen@m\u00fcller.de>>."),
    ("EMAIL_ADDRESS", "mail <<bob [at] acme [dot] com>> today"),
    ("PHONE_NUMBER", "call me at <<+41 (0)62 585 51 90>> please"),
    ("PHONE_NUMBER", "call me at <<(602) 272-9781>> please"),
    ("PHONE_NUMBER", "tel: <<+1-604-696-5272x565>>"),
    ("PHONE_NUMBER", "Fax: <<030 23125 000>>"),
    ("PHONE_NUMBER", "my mobile is <<07700 900 123>>"),
    ("CREDIT_CARD", "my card <<4111 1111 1111 1111>> is lost"),
    ("IBAN_CODE", "pay to <<DE89 3704 0044 0532 0130 00>> now"),
    ("IBAN_CODE", "pay to <<GB33BUKB20201555555555>> now"),
    ("US_SSN", "my ssn is <<856-45-6789>>"),
    ("US_DRIVER_LICENSE", "my driver's license number is <<F162823540116>>"),
    ("PASSPORT", "passport no. <<C01X00T47>> was stolen"),
    ("BANK_ACCOUNT", "account number <<12345678>> is closed"),
    ("NATIONAL_ID", "mi dni es <<54362315K>>"),
    ("NATIONAL_ID", "hetu <<131052-308T>> on file"),
    ("NATIONAL_ID", "cpf <<390.533.447-05>> on file"),
    ("IP_ADDRESS", "blocked from <<36.160.14.148>> again"),
    ("IP_ADDRESS", "blocked from <<6e40:4041:c617:e898:c11:40d2:c669:2eb4>> again"),
    ("MAC_ADDRESS", "the device <<00:1A:2B:3C:4D:5E>> is off"),
    ("DOMAIN_NAME", "see <<https://www.shop.example.org/a?b=1>>."),
    ("DOMAIN_NAME", "see <<www.uearly.se>> for more"),
    ("DATE_TIME", "she came on <<1985-03-04>> and left"),
    ("DATE_TIME", "she came on <<12/24/2019>> and left"),
    ("DATE_TIME", "she came on <<3 March 2020>> and left"),
    ("DATE_TIME", "she came on <<March 3rd, 2020>> and left"),
    ("DATE_TIME", "at <<2018-01-14 03:07:43>> it began"),
    ("DATE_TIME", "it was founded in <<1977>> by friends"),
    ("AGE", "a <<38>>-year-old patient"),
    ("AGE", "he just turned <<69>>, you know"),
    ("AGE", "retired at the age of <<61>>"),
    ("ZIP_CODE", "ZIP: <<394 13>>"),
    ("ZIP_CODE", "the postcode is <<SW1A 2AA>>"),
    ("STREET_ADDRESS", "send it to <<2437 Main St>>"),
    ("STREET_ADDRESS", "send it to <<Bahnhofstrasse 12>>"),
    ("STREET_ADDRESS", "send it to <<P.O. Box 211>> please"),
    ("STREET_ADDRESS", "send it to <<PSC 0729, Box 5797\nAPO AP 96854>> please"),
    ("STREET_ADDRESS", "she lives at <<5570 Kaarikatu 32 Apt. 353, Helsinki, Finland 00100>> now"),
    ("PERSON", "my name is <<Anna Maria Lopez>>"),
    ("PERSON", "you should ask <<Siiri Ahtisaari>> about it"),
    ("PERSON", "regards,\n<<Dmitri>>"),
    ("PERSON", "my name is <<patricia>>"),
    ("ORGANIZATION", "i work for <<Gradiant Research LLC>> now"),
    ("ORGANIZATION", "i work at <<Thomas and Sons>> now"),
    ("ORGANIZATION", "i work for <<Hawkins, Richardson and Santana>>"),
    ("GPE", "she moved here from <<Estonia>>"),
    ("GPE", "i grew up in <<Oulunkyl\u00e4>> with my parents"),
    ("GPE", "we came from <<belgium>> by train"),
    ("NRP", "it serves great <<Slovenian>> food"),
    ("TITLE", "i worked for years as a <<software engineer>>."),
]


@pytest.mark.parametrize(
    ("type", "marked"), PLANTED, ids=[f"{type}-{number}" for number, (type, _) in enumerate(PLANTED)]
)
def test_what_is_planted_is_found_at_its_place(type: str, marked: str) -> None:
    start = marked.index("<<")
    end = marked.index(">>") - 2
    text = marked.replace("<<", "").replace(">>", "")
    assert [found[:3] for found in personal_data(text)] == [(start, end, type)]


@pytest.mark.parametrize(
    "text",
    [
        "Order 1234567890 was shipped at 10:30 for $1,299.00",
        "Version 10.4.21 needs 16 GB and 3.5 hours",
        "The ratio was 3/4 and then 2/3, about 75 %",
        "Chapter 12, pages 120-134, ISBN 978-3-16-148410-0",
        "How do I reset my passcode?",
        "What is the exchange rate for withdrawals?",
        "I have 25 apples and 10 pears, which makes 35.",
        "Please Let Me Know How To Activate My Card",
        "I WANT MY MONEY BACK NOW",
        "please polish the chair, turkey is for dinner, may be in march",
        "The food costs 20 and 25 on average",
        "def main(x=1, y=2): return x.y",
        "It takes 5 to 7 days to arrive; call it 2 weeks.",
        "I waited 15 minutes and turned 90 degrees",
        "",
    ],
)
def test_look_alikes_are_let_be(text: str) -> None:
    assert personal_data(text) == []


def test_the_people_of_a_list_are_people_and_the_partners_of_a_firm_a_firm() -> None:
    friends = "my friends are Kjartan, Becker and Vasquez"
    assert [one.type for one in personal_data(friends)] == ["PERSON"] * 3
    assert [one.type for one in personal_data("ask Kjartan, Becker and Vasquez")] == ["ORGANIZATION"]


def test_nouns_of_a_language_that_writes_them_with_capitals_are_no_names() -> None:
    text = "Ich habe die Karte nicht mit der Post bekommen und das Konto ist auch leer"
    assert personal_data(text) == []
    named = personal_data(f"{text}. Mein Name ist egal, schreiben Sie an Herr Zvonimir Kuntz")
    assert [one.type for one in named] == ["TITLE", "PERSON"]


def test_a_name_is_found_again_where_nothing_else_tells_it() -> None:
    text = "My name is Vinka Sedej. Sedej? Yes."
    assert [text[one.start : one.end] for one in personal_data(text)] == ["Vinka Sedej", "Sedej"]


def test_only_the_types_asked_for() -> None:
    text = "my name is Anna Lopez, mail anna@acme.com"
    assert [one.type for one in personal_data(text, {"EMAIL_ADDRESS"})] == ["EMAIL_ADDRESS"]


def test_of_two_that_overlap_the_surer_one_stays() -> None:
    assert resolved([Found(0, 5, "A", 0.5), Found(3, 9, "B", 0.9), Found(9, 12, "C", 0.1)]) == [
        Found(3, 9, "B", 0.9),
        Found(9, 12, "C", 0.1),
    ]


_PIECES = st.one_of(
    st.text(max_size=30),
    st.sampled_from([text.replace("<<", "").replace(">>", "") for _, text in PLANTED]),
    st.from_regex(r"[A-Z][a-z]{1,8}( [A-Z][a-z]{1,8}){0,3}[,.:\n]? ?", fullmatch=True),
    st.from_regex(r"[0-9+() ./:-]{1,25}", fullmatch=True),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, max_size=5))
def test_spans_lie_inside_the_text_in_order_and_apart(pieces: list[str]) -> None:
    text = " ".join(pieces)
    found = personal_data(text)
    ends = [0, *(one.end for one in found)]
    assert all(before <= one.start < one.end <= len(text) for before, one in zip(ends, found, strict=False))
    assert {one.type for one in found} <= set(TYPES)


@pytest.mark.skipif(not (DATA / "pii-presidio-synth").exists(), reason="the set of made-up identities is not there")
def test_most_of_a_set_of_made_up_identities_is_found() -> None:
    rows = []
    for line in (DATA / "pii-presidio-synth" / "validation.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        known = [Found(span["start"], span["end"], span["type"]) for span in row["spans"]]
        rows.append((row["text"], known, personal_data(row["text"])))
    counts = score(rows)
    assert counts["overlap"][ALL].f2 > 0.85
    assert counts["characters"][UNTYPED].f2 > 0.9
    assert counts["overlap"]["CREDIT_CARD"].recall == 1.0
    assert counts["overlap"]["CREDIT_CARD"].precision == 1.0


@pytest.mark.skipif(not (DATA / "intent-banking77").exists(), reason="the set of bank intents is not there")
def test_few_of_customers_questions_hold_something() -> None:
    texts = [json.loads(line)["text"] for line in (DATA / "intent-banking77" / "test.jsonl").open(encoding="utf-8")][
        :1000
    ]
    found = [one for text in texts for one in personal_data(text)]
    names = [
        one for one in found if one.type in ("PERSON", "ORGANIZATION", "STREET_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD")
    ]
    assert len(names) <= 10
    assert len(found) <= 60  # mostly countries and peoples that are named, which is no error
