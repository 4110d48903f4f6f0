"""OpenAI's grader types give what their libraries give; sources run apart; models are asked in the JSON's own words."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pydantic import ValidationError

from tunewright.core import catalog
from tunewright.core.endpoint import ask_once
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Desk
from tunewright.graders._openai_values import similarity, values_of
from tunewright.graders.openai import OpenAI

PAIRS = [
    ("the cat sat on the mat", "the cat sat on the mat"),
    ("the cats were sitting on a mat today", "the cat sat on the mat"),
    ("It is 5 o'clock in Z\u00fcrich.", "It was five o'clock in Zurich"),
    ("completely other words", "the cat sat on the mat"),
    ("", "something"),
]


def row(answer: str = "Ten.", **meta: Any) -> Example:
    return Example(id="r1", messages=[Message(role="user", content="How many?")], expected=answer, meta=meta)


def check(operation: str, reference: str = "{{item.wanted}}", **more: Any) -> dict[str, Any]:
    return {"type": "string_check", "name": "c", "input": "{{sample.output_text}}", "reference": reference} | {
        "operation": operation,
        **more,
    }


def python(source: str) -> OpenAI:
    return OpenAI(grader={"type": "python", "name": "p", "source": source}, seconds=1.0)


@pytest.mark.parametrize(
    ("operation", "answer", "score"),
    [
        ("eq", "Ten", 1),
        ("eq", "ten", 0),
        ("ne", "ten", 1),
        ("ne", "Ten", 0),
        ("like", "about Ten of them", 1),
        ("like", "about ten of them", 0),
        ("ilike", "about ten of them", 1),
        ("ilike", "about nine", 0),
    ],
)
def test_strings_are_checked(operation: str, answer: str, score: float) -> None:
    assert OpenAI(grader=check(operation)).grade(row(wanted="Ten"), answer).score == score


@pytest.mark.parametrize(("text", "reference"), PAIRS)
def test_similarities_are_those_of_their_libraries(text: str, reference: str) -> None:
    import nltk.translate.gleu_score
    import sacrebleu
    from rapidfuzz import fuzz
    from rouge_score.rouge_scorer import RougeScorer

    assert similarity("fuzzy_match", text, reference) == pytest.approx(fuzz.ratio(text, reference) / 100)
    assert similarity("bleu", text, reference) == pytest.approx(
        sacrebleu.sentence_bleu(text, [reference]).score / 100, abs=1e-6
    )
    if text.isascii():
        names = [f"rouge{n}" for n in range(1, 6)] + ["rougeL"]
        theirs = RougeScorer(names).score(reference, text)
        for name in names:
            mine = similarity(f"rouge_{name.removeprefix('rouge').lower()}", text, reference)
            assert mine == pytest.approx(theirs[name].fmeasure)
    words, wanted = text.lower().replace(".", "").split(), reference.split()
    if "'" not in text and text:
        assert similarity("gleu", text, reference) == pytest.approx(
            nltk.translate.gleu_score.sentence_gleu([wanted], words)
        )


def test_meteor_is_that_of_its_paper() -> None:
    same = "the cat sat on the mat"
    assert similarity("meteor", same, same) == pytest.approx(1 - 0.5 * (1 / 6) ** 3)  # six matches in one chunk
    assert similarity("meteor", "mats", "mat") == pytest.approx(0.5)  # by stem; one match, one chunk
    assert similarity("meteor", "dog", "mat") == 0


def test_a_similarity_passes_from_its_threshold_on() -> None:
    values = {"type": "text_similarity", "name": "t", "input": "{{sample.output_text}}", "reference": "{{item.wanted}}"}
    values |= {"evaluation_metric": "fuzzy_match"}
    assert 0.5 < OpenAI(grader=values).grade(row(wanted="Tens"), "Ten").score < 1
    assert OpenAI(grader={**values, "pass_threshold": 0.8}).grade(row(wanted="Tens"), "Ten").score == 1
    assert OpenAI(grader={**values, "pass_threshold": 0.9}).grade(row(wanted="Tens"), "Ten").score == 0


def test_json_is_read_from_the_answer_and_an_answer_that_is_none_is_the_lowest() -> None:
    grader = OpenAI(grader={**check("eq"), "input": "{{sample.output_json.amount}}"})
    desk = Desk(ask=ask_once)
    found = grader.grade_all([row(wanted="3")] * 3, ['{"amount": 3}', '{"amount": 4}', "three"], desk)
    assert [grade.score for grade in found if grade] == [1, 0, 0]
    assert desk.findings[0].count == 1 and "sample_parse_error" in desk.findings[0].message


def test_a_column_that_is_not_there_is_the_recipes_fault() -> None:
    with pytest.raises(DataError, match=r"names a column that row r1 lacks \('item\.wanted' is not there\)"):
        OpenAI(grader=check("eq")).grade(row(other=1), "x")


# --- sources ---


def test_a_source_sees_sample_and_item() -> None:
    grader = python(
        "import json\ndef grade(sample, item):\n    print('noise')\n"
        "    return 0.25 * len(item['tags']) if sample['output_text'] == item['wanted'] else 0"
    )
    assert grader.grade(row(wanted="x", tags=["a", "b"]), "x").score == 0.5


def test_a_source_that_fails_is_told_and_others_go_on() -> None:
    grader = python("def grade(sample, item):\n    return 1 / len(sample['output_text'])")
    desk = Desk(ask=ask_once)
    found = grader.grade_all([row()] * 3, ["a", "", "ab"], desk)
    assert [grade.score for grade in found if grade] == [1.0, 0.0, 0.5]
    assert "ZeroDivisionError" in desk.findings[0].message


@pytest.mark.parametrize("fault", ["while True: pass", "import os; os._exit(1)", "x = bytearray(1 << 40)"])
def test_a_row_on_which_a_source_breaks_down_costs_only_itself(fault: str) -> None:
    grader = python(
        f"def grade(sample, item):\n    if sample['output_text'] == 'bad':\n        {fault}\n    return 1.0"
    )
    started = time.monotonic()
    found = grader.grade_all([row()] * 5, ["a", "b", "bad", "c", "d"], Desk(ask=ask_once))
    assert [grade.score for grade in found if grade] == [1, 1, 0, 1, 1]
    assert time.monotonic() - started < 30


# --- models ---


def scoring(server: Any, **more: Any) -> OpenAI:
    said = [
        {"role": "system", "content": "Be strict."},
        {"role": "user", "content": "{{item.wanted}}: {{sample.output_text}}"},
    ]
    values = {"type": "score_model", "name": "s", "model": "gpt-4o", "input": said, "range": [1, 5]} | more
    return OpenAI(grader=values, endpoint={"url": server.url})  # type: ignore[arg-type]


def test_a_score_is_asked_for_and_scaled(model_server: Any) -> None:
    model_server.answer = lambda body: '{"reason": "near", "result": 4}'
    grade = scoring(model_server, sampling_params={"temperature": 1, "seed": 7, "top_p": 0.5}).grade(
        row(wanted="W"), "A"
    )
    assert (grade.score, grade.why) == (0.75, "near")
    sent = model_server.asked[0]
    assert [said["content"] for said in sent["messages"][1:]] == ["Be strict.", "W: A"]
    assert (sent["model"], sent["temperature"], sent["seed"], sent["top_p"]) == ("gpt-4o", 1, 7, 0.5)


def test_a_model_of_the_recipe_stands_in_for_the_jsons(model_server: Any) -> None:
    model_server.answer = lambda body: '{"result": 1}'
    values = scoring(model_server).model_dump()["grader"]
    OpenAI(grader=values, endpoint={"url": model_server.url, "model": "mine"}).grade(row(wanted=""), "")  # type: ignore[arg-type]
    assert model_server.asked[0]["model"] == "mine"


def test_models_are_asked_where_their_names_say(model_server: Any) -> None:
    model_server.answer = lambda body: '{"result": 3}'
    one = {**scoring(model_server).model_dump()["grader"], "name": "near", "model": "near"}
    several = {"type": "multi", "name": "m", "graders": [one, {**one, "name": "far", "model": "far"}]}
    several["calculate_output"] = "near + far"
    there = {"near": {"url": model_server.url, "extra": {"top_k": 1}}, "far": {"url": model_server.url}}
    with pytest.raises(ValidationError, match="no server is named"):
        OpenAI(grader=several, endpoints={"near": there["near"]})  # type: ignore[dict-item]
    OpenAI(grader=several, endpoints=there).grade(row(wanted=""), "")  # type: ignore[arg-type]
    assert [(sent["model"], sent.get("top_k")) for sent in model_server.asked] == [("near", 1), ("far", None)]


def test_a_value_out_of_range_is_no_value(model_server: Any) -> None:
    model_server.answer = lambda body: '{"result": 9}' if "bad" in body["messages"][2]["content"] else '{"result": 5}'
    desk = Desk(ask=ask_once)
    found = scoring(model_server).grade_all([row(wanted="")] * 2, ["good", "bad"], desk)
    assert [grade and grade.score for grade in found] == [1.0, None]
    assert "gave no verdict on 1 of 2" in desk.findings[0].message


@pytest.mark.parametrize(
    ("reply", "score"),
    [(" 4\n", 0.75), ("<think>3?</think>5", 1.0), ("9", None), ("nan", None), ("about 4", None), ("4 or 5", None)],
)
def test_a_number_alone_is_a_score(reply: str, score: float | None, model_server: Any) -> None:
    model_server.answer = lambda body: reply if "this" in body["messages"][2]["content"] else "3"
    found = scoring(model_server).grade_all([row(wanted="")] * 2, ["that", "this"], Desk(ask=ask_once))
    assert [one and one.score for one in found] == [0.5, score]


@pytest.mark.parametrize("alone", [False, True])
def test_labels_pass_or_not(alone: bool, model_server: Any) -> None:
    def answer(body: Any) -> str:
        label = body["messages"][1]["content"].split()[0]
        return label if alone else json.dumps({"label": label})

    model_server.answer = answer
    values = {"type": "label_model", "name": "l", "model": "m", "labels": ["good", "fine", "bad"]}
    values |= {"passing_labels": ["good", "fine"], "input": [{"role": "user", "content": "{{sample.output_text}} one"}]}
    grader = OpenAI(grader=values, endpoint={"url": model_server.url})  # type: ignore[arg-type]
    found = grader.grade_all([row()] * 4, ["good", "fine", "bad", "none"], Desk(ask=ask_once))
    assert [grade and grade.score for grade in found] == [1, 1, 0, None]


def test_several_are_combined_by_a_formula(model_server: Any) -> None:
    model_server.answer = lambda body: '{"result": 3}'
    score = {**scoring(model_server).model_dump()["grader"], "name": "style"}
    values = {
        "type": "multi",
        "name": "both",
        "graders": [check("eq"), score],
        "calculate_output": "0.4 * c + style / 5",
    }
    grader = OpenAI(grader=values, endpoint={"url": model_server.url})  # type: ignore[arg-type]
    assert grader.label == "both"
    assert grader.grade(row(wanted="x"), "x").score == pytest.approx(1.0)
    assert grader.grade(row(wanted="x"), "y").score == pytest.approx(0.6)
    outcome = grader.outcomes([values_of(row(wanted="x"), "y")], Desk(ask=ask_once))[0]
    assert {name: part.value for name, part in outcome.parts.items()} == {"c": 0, "style": 3}


def test_what_a_grader_needs_is_asked_for() -> None:
    score = {"type": "score_model", "name": "s", "model": "m", "input": [{"role": "user", "content": "x"}]}
    cosine = {"type": "text_similarity", "name": "t", "input": "a", "reference": "b", "evaluation_metric": "cosine"}
    for values, told in (
        (score, "no server is named"),
        (cosine, "give encoder"),
        ({"type": "x"}, "Unknown grader type"),
    ):
        with pytest.raises(RecipeError, match=told):
            catalog.build("graders", {"kind": "openai", "grader": values})
    judge = OpenAI(grader=score, endpoint={"url": "http://x/v1"})  # type: ignore[arg-type]
    assert judge.doubt is not None and "only when people have checked it" in judge.doubt
    assert OpenAI(grader=check("eq")).doubt is None
