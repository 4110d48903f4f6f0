"""Answers that say nothing of their own are told, with what they share; honest ones are not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from looking import look

from tunewright.core.example import Example
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data.formats import to_example
from tunewright.detectors.repeated_answers import shared_words, without_words

Prepared = Callable[..., tuple[Report, Run]]
Write = Callable[[str, list[dict[str, Any]]], str]
ALL = {"train": 1, "validation": 0, "test": 0}
WORDS = [a + b + c for a in ("ba", "de", "fi", "ko", "mu") for b in ("la", "re", "si", "to") for c in "npxm"]


def pairs(count: int, answer: Callable[[int, str, str], str]) -> list[dict[str, str]]:
    """Prompts and answers; answer: from number, prompt and ten words that mean nothing."""
    draw = random.Random(count)
    asked = [f"What about {' '.join(draw.sample(WORDS, 9))} number {number}?" for number in range(count)]
    return [
        {"prompt": prompt, "completion": answer(number, prompt, " ".join(draw.sample(WORDS, 10)))}
        for number, prompt in enumerate(asked)
    ]


def examples(rows: list[dict[str, str]]) -> list[Example]:
    return [to_example("completion", row, {}, f"a:{number}") for number, row in enumerate(rows, 1)]


def test_answers_of_their_own_are_fine() -> None:
    assert look(examples(pairs(200, lambda n, asked, own: own)), "repeated_answers", split=ALL) == {}
    yes = examples(pairs(200, lambda n, asked, own: "Yes." if n % 2 else own))
    assert look(yes, "repeated_answers", split=ALL) == {}
    classes = examples(pairs(200, lambda n, asked, own: ["it is late today", "it was sent off"][n % 2]))
    assert look(classes, "repeated_answers", split=ALL) == {}
    framed = examples(pairs(200, lambda n, asked, own: json.dumps({"what": "a question of the desk", "said": own})))
    assert look(framed, "repeated_answers", split=ALL) == {}, "of JSON the frame is asked for"


def test_a_shared_beginning_and_end_are_told_and_cut_off(write: Write, prepared: Prepared) -> None:
    def answer(n: int, asked: str, own: str) -> str:
        begin = "Dear customer, thank you for your message. " if n % 4 == 0 else ""
        return begin + own + ("\n\nBest wishes,\nyour bank team" if n % 5 == 0 else "")

    rows = pairs(400, answer)
    fault = look(examples(rows), "repeated_answers", split=ALL)["boilerplate"]
    assert [int(row) for row in fault.rows] == [n for n in range(400) if n % 4 == 0 or n % 5 == 0]
    assert "'Dear customer, thank you for your message.'" in fault.message and "100 have" in fault.message
    report, run = prepared(sources=[write("a.jsonl", rows)], fix=["boilerplate"])
    assert report.numbers["fixes"]["boilerplate"]["changed"] == 160
    assert report.numbers["fixes"]["boilerplate"]["after"] == 0
    said = [example.answer for example in run.split("train", "validation", "test")]
    assert len(said) == 400 and not any("Dear" in (text or "") or "wishes" in (text or "") for text in said)


def test_cutting_stops_at_words_and_leaves_something() -> None:
    assert shared_words(["Dear Ann, hello", "Dear Annika, you"], "beginning") == "Dear"
    assert shared_words(["one two  three", "one two  four"], "beginning") == "one two"
    assert shared_words(["see you soon", "do see you soon"], "end") == "see you soon"
    row = examples([{"prompt": "p", "completion": "Dear customer, !"}])[0]
    assert without_words(row, (("beginning", "Dear customer,"),)) is row


def test_one_answer_for_many_prompts_is_told_and_thinned_out() -> None:
    rows = pairs(300, lambda n, asked, own: "Sorry, I can not help you with that." if n % 10 == 0 else own)
    fault = look(examples(rows), "repeated_answers", split=ALL)["constant_answer"]
    assert [int(row) for row in fault.rows] == list(range(0, 300, 10))
    assert sorted(map(int, fault.drop)) == list(range(10, 300, 10))  # but for the first


def test_prompts_that_are_said_again_or_copied_are_told_apart() -> None:
    def answer(n: int, asked: str, own: str) -> str:
        if n % 10 == 0:
            return f"{asked.upper()} {own}"
        return asked[6:75] if n % 10 == 1 else own

    found = look(examples(pairs(200, answer)), "repeated_answers", split=ALL)
    assert set(found) == {"echoed_prompts", "copied_answers"}
    assert [int(row) for row in found["echoed_prompts"].rows] == list(range(0, 200, 10))
    assert found["echoed_prompts"].severity == "warning" and len(found["echoed_prompts"].drop) == 20
    assert [int(row) for row in found["copied_answers"].rows if row % 10 != 1] == []


def test_real_answers_are_quiet_but_for_what_is_there(real: Path) -> None:
    def rows(name: str, columns: dict[str, str], kind: str = "completion") -> list[Example]:
        lines = (real / name / "train.jsonl").open(encoding="utf-8").readlines()[:1500]
        return [to_example(kind, json.loads(line), columns, f"train:{n}") for n, line in enumerate(lines, 1)]

    sums = rows("instruction-gsm8k", {"prompt": "question", "completion": "answer"})
    assert look(sums, "repeated_answers") == {}
    found = look(rows("instruction-alpaca-en-demo", {}, "instruction"), "repeated_answers")
    assert found.keys() <= {"echoed_prompts", "copied_answers"}
    assert {fault.severity for fault in found.values()} == {"info"} or found == {}
