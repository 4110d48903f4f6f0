"""Entities from words with tags, from places in texts, and from CoNLL files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.data import formats, sources

DATA = Path(os.environ.get("TUNEWRIGHT_DATA", "../shared/data"))


def made(format: str, **row: Any) -> Example:
    return formats.to_example(format, row, {}, "a:1")


def named(example: Example) -> list[tuple[str, str]]:
    assert example.spans is not None
    text = example.messages[0].content
    return [(text[span.start : span.end], span.label) for span in example.spans]


@pytest.mark.parametrize(
    "tags",
    [
        "B-per I-per O B-loc B-loc",  # IOB2
        "I-per I-per O I-loc B-loc",  # IOB1
        "B-per E-per O S-loc S-loc",  # BIOES
        "B-per L-per O U-loc U-loc",  # BILOU
    ],
)
def test_every_scheme_of_tags_tells_the_same(tags: str) -> None:
    example = made("entities", tokens=["Ann", "Lee", "likes", "Oslo", "Rome"], tags=tags.split())
    assert example.messages[0].content == "Ann Lee likes Oslo Rome"
    assert named(example) == [("Ann Lee", "per"), ("Oslo", "loc"), ("Rome", "loc")]
    told = json.loads(example.answer or "")
    assert told == [{"text": text, "label": label} for text, label in named(example)]


def test_a_text_without_entities_is_told_from_one_that_nobody_looked_at() -> None:
    example = made("entities", tokens=["Hi", "there"], tags=["O", "O"])
    assert example.spans == [] and example.answer == "[]"
    again = Example.model_validate(json.loads(json.dumps(example.to_row())))
    assert again.spans == []
    assert made("labels", text="Hi", label="a").spans is None


@pytest.mark.parametrize(
    ("format", "row", "why"),
    [
        ("entities", {"tokens": ["a", "b"], "tags": ["O"]}, "2 words and 1 tags"),
        ("entities", {"tokens": ["a"], "tags": [3]}, "tags are numbers"),
        ("entities", {"tokens": ["a"], "tags": ["person"]}, "unknown tag: 'person'"),
        ("entities", {"tokens": ["a b"], "tags": ["O"]}, "holds a space"),
        ("spans", {"text": "abc", "spans": [{"start": 0, "end": 9, "label": "x"}]}, "outside the text: 0 to 9 of 3"),
        ("spans", {"text": "abc", "spans": [{"start": 0, "end": 2}]}, "needs start, end and label"),
        ("spans", {"text": "abc", "spans": [{"start": s, "end": 3, "label": "x"} for s in (0, 1)]}, "spans overlap"),
    ],
)
def test_what_makes_no_entities_is_put_aside_with_a_reason(format: str, row: dict[str, Any], why: str) -> None:
    with pytest.raises(DataError, match=why):
        made(format, **row)


def test_conll_files_are_read_a_text_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(
        "-DOCSTART- O\n\nAnn NNP B-per\nsings VB O\n\n\n# NN O\nOslo NNP B-loc\nbroken\n\nlast\tO"
    )
    rows = list(sources.read([str(tmp_path)]))
    assert [(row.line, row.values) for row in rows if row.problem is None] == [
        (3, {"tokens": ["Ann", "sings"], "tags": ["B-per", "O"]}),
        (11, {"tokens": ["last"], "tags": ["O"]}),
    ]
    assert [(row.line, row.problem) for row in rows if row.problem] == [
        (7, "no tag: 'broken' where a word and its tag are read")
    ]


@pytest.mark.parametrize("name", ["ner-wnut17", "pii-presidio-synth"])
def test_real_entities_are_recognised(name: str) -> None:
    file = DATA / name / "test.jsonl"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    rows = [row.values for row in sources.read([str(file)], limit=200) if row.values is not None]
    format = formats.detect(rows, {})
    assert format == {"ner-wnut17": "entities", "pii-presidio-synth": "spans"}[name]
    examples = [formats.to_example(format, row, {}, f"a:{n}") for n, row in enumerate(rows)]
    assert sum(len(example.spans or []) for example in examples) > 50


def test_several_labels_are_kept_as_their_list() -> None:
    example = made("labels", text="a", label=["x", "y", "x"])
    assert example.label == '["x", "y"]' == example.answer
