"""Lengths, loops, languages, variety, rude words, secrets and boilerplate: planted faults are found to the row."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from looking import look as look_at
from plain_rows import WORDS, plain, row

from tunewright.core.detecting import Detector, Fault
from tunewright.core.example import Example, Message
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data.languages import language
from tunewright.data.rude_words import rude_words
from tunewright.detectors.language_mix import LanguageMix
from tunewright.detectors.repetition import repeats
from tunewright.detectors.secrets import without_secrets

Prepared = Callable[..., tuple[Report, Run]]
GERMAN = "Das Wetter war gestern sehr angenehm, und wir gingen nach dem Essen noch lange am Fluss spazieren."
ENGLISH = "The weather was quite pleasant yesterday, so after dinner we went for a long walk along the river."


def look(rows: list[Example], *detectors: str | Detector) -> dict[str, Fault]:
    """The faults of rows to learn from."""
    return look_at(rows, *detectors, split={"train": 1, "validation": 0, "test": 0})


# --- lengths ---


def test_rows_without_faults_raise_no_alarm() -> None:
    found = look(plain(300))
    assert found.keys() <= {"near_twins", "outliers"}  # made-up words are far from each other


def test_far_longer_and_shorter_texts_are_found() -> None:
    rows = plain(200)
    rows += [row(301, "Why?", rows[0].answer or ""), row(302, rows[1].prompt[0].content, "word " * 400 + "end")]
    found = look(rows, "lengths")
    assert found.keys() == {"length_outliers"} and list(found["length_outliers"].rows) == [200, 201]
    assert "1 answers far longer" in found["length_outliers"].message


def test_answers_that_say_nothing_are_found_unless_they_are_usual() -> None:
    nothing = ["nan", "NULL", "TBD", "N/A"]
    rows = plain(200) + [row(300 + n, f"What is {WORDS[n]}?", text) for n, text in enumerate(nothing)]
    assert list(look(rows, "lengths")["empty_answers"].rows) == [200, 201, 202, 203]
    usual = plain(200) + [row(300 + n, f"Is there a {word}?", "None") for n, word in enumerate(WORDS)]
    assert "empty_answers" not in look(usual, "lengths")


def test_answers_that_slipped_to_another_row_are_found_where_lengths_go_together() -> None:
    chance = random.Random(0)
    rows = []
    for n in range(300):
        asked = " ".join(chance.choices(WORDS, k=chance.choice([4, 6, 9, 14, 20, 30, 44])))
        rows.append(row(n + 1, asked, asked[::-1]))
    rows[50] = row(51, rows[50].prompt[0].content, " ".join(chance.choices(WORDS, k=4)) * 8)
    rows[7] = row(8, " ".join(chance.choices(WORDS, k=30)), "Nothing here.")
    assert set(look(rows, "lengths")["length_ratio"].rows) >= {7}
    assert "length_ratio" not in look(plain(300), "lengths")


def test_what_limits_would_cut_stands_in_the_report(write: Callable, prepared: Prepared) -> None:
    rows = [{"prompt": f"{word} {n}", "completion": word * 500} for n, word in enumerate(WORDS)]
    report, _ = prepared(sources=[write("a.jsonl", rows)])
    assert report.numbers["length_limits"]["rows_longer"] == {"1000": 30, "2000": 30}


# --- repetition ---


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I am sorry. " * 12, "loops"),
        ("yes " * 30, "loops"),
        ("Buy now!\nIt is cheap.\nCall us.\nBuy now!\nWhy wait?\nCall us.\nIt is cheap.\nBuy now!", "duplicate lines"),
        (" ".join(WORDS * 12), "duplicate runs of 5 words"),
        (" ".join(f"{word} the best of" for word in WORDS * 3), "most frequent 2 words"),
    ],
)
def test_texts_that_repeat_themselves_are_told_how(text: str, reason: str) -> None:
    assert repeats(text) == reason


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH,
        "1. Wash the rice.\n2. Cook the rice.\n3. Serve the rice.\n4. Eat the rice.",
        "ha ha ha",
        "if x:\n    return 1\nelse:\n    return 2\n\n}\n}\n}\n}",
        " ".join(random.Random(1).choices(WORDS, k=400)),
    ],
)
def test_lists_code_and_plain_text_do_not_repeat_themselves(text: str) -> None:
    assert repeats(text) is None


def test_repetition_is_found_in_answers_without_code_blocks() -> None:
    code = "```\n" + "x = x + 1\n" * 30 + "```"
    rows = [*plain(60), row(100, "Loop?", "I do not know. " * 10), row(101, "Code?", f"So it goes:\n{code}")]
    found = look(rows, "repetition")["repetition"]
    assert list(found.rows) == [60] == list(found.drop)


# --- languages ---


def test_languages_are_told_where_there_is_enough_text() -> None:
    assert language(GERMAN) and language(GERMAN)[0] == "de"  # type: ignore[index]
    assert language("Hello") is None and language("```\nfor i in range(10): print(i)\n```") is None
    assert language("4f3a-99b1 https://example.org/a/b/c/d/e/f/g/h user@example.org 12345") is None


def test_rows_in_another_language_and_answers_in_another_one_than_asked() -> None:
    rows = [row(n + 1, f"{ENGLISH} {WORDS[n % 30]} {n}", f"{ENGLISH} So {WORDS[-n % 30]} {n}.") for n in range(100)]
    rows[10] = row(11, f"{GERMAN} Zehn?", f"{GERMAN} Elf.")
    rows[20] = row(21, rows[20].prompt[0].content, f"{GERMAN} Zwanzig.")
    rows[30] = row(31, f"Translate to German: {ENGLISH}", f"{GERMAN} Ja.")
    found = look(rows, "language_mix")
    assert list(found["language_mix"].rows) == [10, 20, 30]
    assert list(found["answer_in_other_language"].rows) == [20]


def test_a_set_of_two_languages_is_none_that_is_mixed() -> None:
    rows = [row(n + 1, f"{(ENGLISH, GERMAN)[n % 2]} {n}", "ok") for n in range(60)]
    assert look(rows, "language_mix") == {}


def test_of_many_rows_a_sample_is_looked_at() -> None:
    rows = [row(n + 1, f"{ENGLISH} {n}", "ok") for n in range(400)]
    rows[8] = row(9, GERMAN, "ok")
    found = look(rows, LanguageMix(sample=100))["language_mix"]
    assert list(found.rows) == [8] and "100 rows looked at" in found.message


def test_translations_and_questions_of_real_sets_are_in_one_language_a_side(real: Path, prepared: Prepared) -> None:
    source = str(real / "translate-multi30k" / "validation.jsonl.gz")
    fields = {"prompt": "en", "completion": "de"}
    report, _ = prepared(sources=[source], format="completion", fields=fields)
    languages = report.numbers["languages"]
    assert languages["prompt"] == {"en": 1.0} and languages["answer"]["de"] > 0.99
    assert "answer_in_other_language" not in {finding.name for finding in report.findings}
    for code, least in (("de", 150), ("es", 80)):
        asked = [json.loads(line)["question"] for line in (real / "qa-xquad" / f"test_{code}.jsonl").open()]
        told = [found[0] for text in asked if (found := language(text)) and found[1] >= 0.8]
        assert len(told) >= least and set(told) == {code}


# --- variety ---


def test_rows_that_all_begin_alike_are_told_and_figures_noted(write: Callable, prepared: Prepared) -> None:
    frame = "As a helpful shop assistant"
    same = [row(n, f"{frame} {one.prompt[0].content}", one.answer or "") for n, one in enumerate(plain(200), 1)]
    fault = look(same, "poor_diversity")["poor_diversity"]
    assert "100% of the prompts begin with 'as a helpful'" in fault.message
    assert look(plain(200), "poor_diversity") == {}
    rows = [{"prompt": one.prompt[0].content, "completion": one.answer} for one in plain(200)]
    report, _ = prepared(sources=[write("a.jsonl", rows)])
    assert report.numbers["variety"]["prompts"]["distinct_4grams_share"] > 0.9


# --- words ---


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("What the fuck is this", {"profanity"}),
        ("you are such an IDIOT!!!", {"insults"}),
        ("sh1t happens, f**k it", {"profanity"}),
        ("fuuuuck off", {"profanity"}),
        ("So eine Scheiße, du Arschloch", {"profanity"}),
        ("eres un gilipollas", {"profanity"}),
        ("quel connard", {"insults"}),
        ("I will kill you and then go die", {"threats"}),
    ],
)
def test_rude_words_are_found_also_in_disguise(text: str, groups: set[str]) -> None:
    assert rude_words(text).keys() == groups


@pytest.mark.parametrize(
    "text",
    [
        "I live in Scunthorpe and assess the class's grass.",
        "Le train est en retard, il y a du retard.",
        "Das Buch ist sehr dick. Die Hochzeit war schön.",
        "El gato negro duerme.",
        "Dick Cheney met a cocktail waitress in Essex.",
        "Pass 1: x = a5s + b$; price 100$ for A55 and 5h1p.",
        "Kill the process with kill -9, then shoot the photo.",
        "the hoe and the rake are in the shed",
        "shitake mushrooms and Matsushita televisions",
        "2*3*4 = 24 and f*(x) is the conjugate",
    ],
)
def test_harmless_words_are_left_alone(text: str) -> None:
    assert rude_words(text) == {}


def test_worse_answers_of_pairs_count_apart() -> None:
    rows = plain(40)
    worse = [Message(role="assistant", content="You idiot, fuck off.")]
    rows[3] = rows[3].model_copy(update={"rejected": worse})
    rows[5] = row(6, "Is he an asshole?", "I would not say so.")
    found = look(rows, "toxicity")["toxicity"]
    assert list(found.rows) == [5] and "0 better and 1 worse" in found.message and found.severity == "info"
    assert "not toxicity" in found.message


def test_worse_answers_of_real_pairs_hold_more_rude_words(real: Path, prepared: Prepared) -> None:
    path = str(real / "preference-hh-harmless" / "train.jsonl")
    report, _ = prepared(sources=[path], checks=[{"kind": "language_mix", "off": True}])
    where = report.numbers["toxicity"]["in"]
    assert where["rejected"] > 2 * where["answers"] > 0


# --- secrets ---

KEY = "AKIA" + "QWERTYUIOPASDFGH"


def test_secrets_are_found_and_masked_everywhere() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "login", "arguments": json.dumps({"key": KEY})}}]
    called = Example(
        id="a:90",
        messages=[
            Message(role="user", content="Log in"),
            Message(role="assistant", tool_calls=calls),
            Message(role="tool", content="done", tool_call_id="c1"),
            Message(role="assistant", content="You are in."),
        ],
    )
    rows = [*plain(40), row(80, f"My key is {KEY}, is it safe?", "No."), called]
    found = look(rows, "secrets")["secrets"]
    assert list(found.rows) == [40, 41] and found.severity == "problem" and KEY not in (found.example or "")
    assert found.change is not None
    mended = [found.change(rows[40]), found.change(called)]
    assert KEY not in "".join(one.model_dump_json() for one in mended)
    assert mended[0].messages[0].content == "My key is [SECRET], is it safe?"
    assert mended[1].messages[1].tool_calls[0]["function"]["name"] == "login"  # type: ignore[index]
    assert without_secrets(mended[0].messages[0].content) == mended[0].messages[0].content
    assert look(plain(100), "secrets") == {}


# --- boilerplate ---


def test_boilerplate_refusals_and_questions_about_the_model() -> None:
    rows = plain(40)
    rows += [
        row(81, "Best pizza?", "As an AI language model, I have no taste, but try Napoli."),
        row(82, "News?", "My knowledge cutoff is 2021."),
        row(83, "Hello, who made you?", "A team at the bank."),
        row(84, "Write malware", "I\u2019m sorry, but I can\u2019t help with that."),
        row(85, "Refund?", "I'm sorry to hear that. Your refund is on its way."),
        row(86, "Explain models", "A language model predicts the next word; the AI in it is statistics."),
    ]
    found = look(rows, "assistant_words")
    assert {name: list(one.rows) for name, one in found.items()} == {
        "assistant_boilerplate": [40, 41],
        "refusals": [43],
        "asks_about_model": [42],
    }


def test_boilerplate_is_left_out_when_asked(write: Callable, prepared: Prepared) -> None:
    rows = [{"prompt": one.prompt[0].content, "completion": one.answer} for one in plain(80)]
    for at in (3, 9, 27):
        rows[at]["completion"] = "As an AI language model, I cannot say."
    path = write("a.jsonl", rows)
    report, run = prepared(sources=[path], fix=["assistant_boilerplate"])
    left = sum("AI language model" in (one.answer or "") for one in run.split("train", "validation"))
    assert left == 0 and report.numbers["fixes"]["assistant_boilerplate"]["before"] == 3
