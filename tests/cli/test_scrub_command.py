"""`tunewright data scrub` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[..., Any]  # the fixture of conftest.py
ROWS = '{"text": "my name is Anna Lopez", "label": "Poland"}\n{"text": "nothing", "label": "b"}\n'


def test_spans_of_what_was_found_are_written(call: Call) -> None:
    Path("in.jsonl").write_text(ROWS)
    ended = call("data", "scrub", "in.jsonl", "--field", "text", "--out", "out.jsonl", "--spans", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["numbers"]["scrub"]["found"] == 1
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert rows[0]["spans"] == [{"start": 11, "end": 21, "type": "PERSON"}]


def test_actions_by_type_and_the_figures_for_people(call: Call) -> None:
    Path("in.jsonl").write_text(ROWS)
    options = ("--action", "mask", "--for", "EMAIL_ADDRESS=keep")
    ended = call("data", "scrub", "in.jsonl", "--out", "out.jsonl", *options)
    assert ended.code == 0
    assert "2 rows read, 1 pieces of personal data replaced in 1" in ended.out
    assert json.loads(Path("out.jsonl").read_text().splitlines()[0]) == {
        "text": "my name is [PERSON]",
        "label": "Poland",
    }


def test_what_is_wrong_is_said_in_a_sentence(call: Call) -> None:
    Path("in.jsonl").write_text(ROWS)
    for options, told in (
        (("--action", "burn"), "scrub.action"),
        (("--types", "EMAIL"), "Did you mean 'EMAIL_ADDRESS'"),
        (("--key", "no.key"), "no.key cannot be read"),
        (("--for", "PERSON"), "scrub.actions"),
    ):
        ended = call("data", "scrub", "in.jsonl", "--out", "out.jsonl", *options)
        assert ended.code == 2
        assert told in ended.err and "Traceback" not in ended.err
    assert not Path("out.jsonl").exists()
