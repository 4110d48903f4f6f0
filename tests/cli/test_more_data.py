"""`tunewright data augment` and `synthesize` from the command line, and the example of docs/more-data.md."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "more-data.md").read_text(encoding="utf-8")
Call = Callable[..., Any]


def test_the_example_of_the_page_gives_the_rows_that_it_shows(call: Call, tmp_path: Path) -> None:
    rows = re.search(r"`tickets.jsonl`:\n\n```json\n(.*?)```", PAGE, re.DOTALL)
    command = re.search(r"^tunewright (data augment tickets.*)$", PAGE, re.MULTILINE)
    shown = re.findall(r"^\| `(tickets:\S+)` \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows and command and len(shown) == 6
    (tmp_path / "tickets.jsonl").write_text(rows.group(1))
    ended = call(*shlex.split(command.group(1)))
    assert ended.code == 0, ended.err
    made = [json.loads(line) for line in (tmp_path / "more.jsonl").read_text().splitlines()]
    assert [(row["id"], row["messages"][0]["content"]) for row in made] == shown
    assert "3 training rows became 9" in ended.out
    assert call(*shlex.split(command.group(1))).err.startswith("more.jsonl is there already")


def test_rows_are_written_for_labels_by_a_server(call: Call, tmp_path: Path, model_server: Any) -> None:
    replies = iter(["What became of the parcel with my bank card?", "Card still missing after two weeks",
                    "Kindly move forty euros to my brother", "wire transfer abroad please"])  # fmt: skip
    model_server.answer = lambda body: json.dumps([next(replies), next(replies)])
    rows = [{"text": "where is my card", "label": "card"}, {"text": "send money", "label": "transfer"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ["--endpoint", model_server.url, "--model", "tiny", "--prices", "1,2", "--at-once", "1"]
    ended = call("data", "synthesize", "rows.jsonl", "--out", "w.jsonl", "--num", "4", "--json", *asked)
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["numbers"]["rows"] == 4
    assert report["numbers"]["money"] > 0
    made = [json.loads(line) for line in (tmp_path / "w.jsonl").read_text().splitlines()]
    assert sorted(row["label"] for row in made) == ["card", "card", "transfer", "transfer"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["augment", "rows.jsonl", "--out", "o.jsonl", "--edits", "{kind: typos"], "--edits takes names with commas"),
        (["augment", "rows.jsonl", "--out", "o.jsonl", "--edits", "paraphrase"], "none is named: give an endpoint"),
        (["augment", "rows.jsonl", "--out", "o.jsonl", "--edits", "{kind: typos, rates: 1}"], "Did you mean 'rate'"),
        (["augment", "rows.jsonl", "--out", "o.jsonl", "--field", "text"], "--field needs ROLE=COLUMN"),
        (["augment", "rows.jsonl", "--out", "o.jsonl", "--balance", "huge"], "must be 'largest' or a number"),
        (["synthesize", "rows.jsonl", "--out", "o.jsonl"], "give an endpoint"),
        (["synthesize", "rows.jsonl", "--out", "o.jsonl", "--endpoint", "http://a/v1"], "endpoint.model is missing"),
        (["synthesize", "rows.jsonl", "--out", "o.jsonl", "--model", "nano", "--prices", "1"], "takes two numbers"),
    ],
)
def test_a_mistake_is_one_sentence(call: Call, recipe: Path, arguments: list[str], told: str) -> None:
    ended = call("data", *arguments)
    assert ended.code == 2
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_a_key_on_the_command_line_is_refused_and_not_repeated(call: Call, recipe: Path) -> None:
    asked = ["--endpoint", "http://a/v1", "--model", "m", "--key", "sk-secret"]
    ended = call("data", "synthesize", "rows.jsonl", "--out", "o.jsonl", *asked)
    assert ended.code == 2
    assert "never the key itself" in ended.err
    assert "sk-secret" not in ended.err + ended.out
