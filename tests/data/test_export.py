"""Exported rows: read back they are the same examples, unless it was said what the shape cannot carry."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewright.core import storage
from tunewright.core.errors import DataError, RunError
from tunewright.core.example import Example, Media, Message, Span
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Report
from tunewright.data import cells, sources
from tunewright.data.export_shapes import FORMATS, Shaper, kind_of_all
from tunewright.data.intake import Taker, take
from tunewright.data.lineage import read
from tunewright.stages.exporting import _csv_line, export

CALL = {"type": "function", "function": {"name": "rate", "arguments": '{"of": "euro"}'}}
TOOL = {"type": "function", "function": {"name": "rate", "parameters": {"type": "object"}}}


def said(*pairs: str) -> list[Message]:
    """Messages from "role: content" texts."""
    return [Message(role=role, content=content) for role, _, content in (pair.partition(": ") for pair in pairs)]


def labelled(text: str, label: str, **meta: Any) -> Example:
    return Example(id="a:1", messages=said(f"user: {text}", f"assistant: {label}"), label=label, meta=meta)


SETS: dict[str, list[Example]] = {
    "label": [labelled("lost my card", "card", who="ada"), labelled('a "quote", a comma', "fees", who="bob")],
    "turn": [Example(id="a:1", messages=said("system: Be brief.", "user: Hi\nthere", "assistant: Hello"))],
    "chat": [Example(id="a:1", messages=said("user: Hi", "assistant: Hello", "user: Rate?", "assistant: 1.1"))],
    "tools": [
        Example(
            id="a:1",
            messages=[
                *said("user: Rate?"), Message(role="assistant", tool_calls=[CALL]), *said("tool: 1", "assistant: 1"),
            ],
            tools=[TOOL],
        )
    ],
    "weights": [
        Example(id="a:1", messages=[*said("user: Hi"), Message(role="assistant", content="Yo", weight=0.0),
                                    *said("user: Again", "assistant: Hello")])
    ],
    "pair": [Example(id="a:1", messages=said("user: [Hi]", "assistant: Hello"), rejected=said("assistant: What"))],
    "turns of pairs": [
        Example(
            id="a:1",
            messages=said("user: Hi", "assistant: Hello", "user: More", "assistant: Yes"),
            rejected=said("assistant: Go", "user: More", "assistant: No"),
            num_answer_messages=3,
        )
    ],
    "text": [Example(id="a:1", text="A document.\nOf two lines.", meta={"topic": "x"})],
    "prompts": [Example(id="a:1", messages=said("system: Count.", "user: 2 + 2"), num_answer_messages=0, expected="4")],
    "media": [
        Example(
            id="a:1",
            messages=[
                Message(role="user", content="<image>What is on it?", media=[Media(kind="image", path="https://a.b/c.png")]),
                *said("assistant: A cat"),
            ],
        )
    ],
    "spans": [
        Example(
            id="a:1",
            messages=said("user: Ada came", 'assistant: [{"text": "Ada", "label": "person"}]'),
            spans=[Span(start=0, end=3, label="person")],
        )
    ],
}  # fmt: skip
# What each format leaves out or loses; everything else comes back as it was.
PARTLY = {
    "openai": {"label", "text", "turns of pairs", "spans", "prompts", "media"},
    "sharegpt": {"label", "text", "turns of pairs", "spans", "prompts"},
    "alpaca": {"label", "chat", "tools", "weights", "text", "turns of pairs", "spans", "prompts", "media"},
    "trl": {"label", "spans"},
    "csv": {"turns of pairs", "spans", "prompts", "media"},
    "parquet": set(),
    "jsonl": set(),
}


@pytest.fixture
def exported(tmp_path: Path) -> Callable[..., tuple[Report, Path]]:
    """Put examples into a run and export its training side."""

    def exported(examples: list[Example], format: str) -> tuple[Report, Path]:
        number = len(list(tmp_path.iterdir()))
        folder = tmp_path / f"run-{number}"
        storage.write_json(folder / "run.json", {"name": folder.name})
        storage.write_jsonl(folder / "data" / "train.jsonl", [example.to_row() for example in examples])
        report = export(folder, to=tmp_path / f"out-{number}", format=format, side="train", runs=tmp_path)
        return report, Path(next(iter(report.numbers["files"])))

    return exported


def read_back(path: Path, options: dict[str, Any]) -> list[Example]:
    """The rows of an exported file; all of them can be used."""
    found: list[Example] = []
    data = DataOptions(sources=[str(path)], **options)
    taken = take([str(path)], data, sources.names([str(path)]), Taker(keep=found.append))
    assert taken.bad == 0, taken.first_bad
    return found


def bare(examples: list[Example]) -> list[dict[str, Any]]:
    """Without ids, which are made anew of file and line."""
    return [{key: value for key, value in example.to_row().items() if key != "id"} for example in examples]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", SETS)
def test_what_is_read_back_is_the_same_unless_it_was_said(format: str, name: str, exported: Callable) -> None:
    report, path = exported(SETS[name], format)
    told = {finding.name for finding in report.findings}
    back = read_back(path, report.numbers["reads_back_with"]) if report.numbers["files"][str(path)] else []
    assert (name in PARTLY[format]) == bool(told)
    assert len(back) == len(SETS[name]) - sum(report.numbers["left_out"].values())
    if not told:
        assert bare(back) == bare(SETS[name])
    elif "left_out" not in told:  # what is lost stands beside the conversation
        assert [one.messages for one in back] == [one.messages for one in SETS[name]]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=30).filter(
    lambda text: bool(text.strip()) and not text.isspace()
)
NAMES = st.sampled_from(["who", "=sum", "note", "Label", "system", "day "])
META = st.dictionaries(
    NAMES, st.one_of(TEXT, st.integers(-5, 5), st.booleans(), st.lists(TEXT, max_size=2)), max_size=3
)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """A row of any kind, as preparing would make it."""
    meta = draw(META)
    kind = draw(st.sampled_from(["label", "turn", "chat", "pair", "text"]))
    if kind == "text":
        return Example(id="a:1", text=draw(TEXT), meta=meta)
    question, answer = draw(TEXT), draw(TEXT)
    messages = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    if draw(st.booleans()):
        messages = [Message(role="system", content=draw(TEXT)), *messages]
    if kind == "label":
        label = answer.strip()
        return Example(
            id="a:1", messages=[*messages[:-1], Message(role="assistant", content=label)], label=label, meta=meta
        )
    if kind == "pair":
        other = Message(role="assistant", content=answer + "x")
        return Example(id="a:1", messages=messages, rejected=[other], meta=meta)
    if kind == "chat":
        messages += [
            Message(role="user", content=draw(TEXT)),
            Message(role="assistant", content=draw(TEXT), weight=1.0),
        ]
    return Example(id="a:1", messages=messages, meta=meta)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(examples(), min_size=1, max_size=4), format=st.sampled_from(FORMATS))
def test_any_rows_come_back_or_are_told_of(rows: list[Example], format: str, exported: Callable) -> None:
    report, path = exported(rows, format)
    count = report.numbers["files"][str(path)]
    assert count + sum(report.numbers["left_out"].values()) == len(rows)
    back = read_back(path, report.numbers["reads_back_with"]) if count else []
    assert len(back) == count
    if not report.findings:
        assert bare(back) == bare(rows)


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_spreadsheet_computes_a_cell_of_ours(first: str, exported: Callable) -> None:
    text = f"{first}HYPERLINK(evil)"
    report, path = exported([labelled(f"{text}?", "card", note=text), labelled("x", "-5", note=f"'{text}")], "csv")
    with path.open(encoding="utf-8", newline="") as file:
        found = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in found if cell[:1] in "=+-@\t\r" and cell]
    if first != "\r":
        assert not report.findings
        assert [one.messages[0].content for one in read_back(path, report.numbers["reads_back_with"])] == [
            f"{text}?",
            "x",
        ]


@given(st.text())
def test_a_cell_is_read_as_it_was(text: str) -> None:
    assert cells.plain(cells.escaped(text)) == text


def test_nothing_is_overwritten_and_a_file_takes_one_side(tmp_path: Path, exported: Callable) -> None:
    _, path = exported(SETS["label"], "csv")
    run = next(tmp_path.glob("run-*"))
    content = path.read_bytes()
    with pytest.raises(RunError, match="is there already"):
        export(run, to=path.parent, format="csv", side="train")
    with pytest.raises(DataError, match="Give --side"):
        export(run, to=tmp_path / "all.csv", format="csv")
    with pytest.raises(DataError, match=r"is written as \.csv"):
        export(run, to=tmp_path / "all.json", format="csv", side="train")
    with pytest.raises(DataError, match="Did you mean 'parquet'"):
        export(run, to=tmp_path / "x", format="parket")
    assert path.read_bytes() == content


def test_an_export_names_its_version(tmp_path: Path, exported: Callable) -> None:
    _, path = exported(SETS["label"], "jsonl")
    version = read(path)
    assert version is not None
    assert version.rows == {"rows": 2}
    assert version.steps[-1].after == {"train": 2}
    assert json.loads(path.read_text().splitlines()[0]) == {"text": "lost my card", "label": "card", "who": "ada"}


@pytest.mark.parametrize(
    ("name", "objective", "whole"),
    [
        ("intent-banking77", "sft", {"csv", "parquet", "jsonl"}),
        ("toolcalls-glaive-demo", "sft", {"openai", "sharegpt", "trl", "csv", "parquet", "jsonl"}),
        ("preference-dpo-en-demo", "dpo", {"openai", "sharegpt", "trl", "parquet", "jsonl"}),
    ],
)
def test_real_rows_come_back(
    real: Path, prepared: Callable, exported: Callable, name: str, objective: str, whole: set[str]
) -> None:
    _, run = prepared(objective, sources=[str(real / name / "test.jsonl")], limit=300)
    rows = list(run.split("train"))
    for format in FORMATS:
        report, path = exported(rows, format)
        if format in whole:
            assert not report.findings
            assert bare(read_back(path, report.numbers["reads_back_with"])) == bare(rows)
        else:
            assert report.findings


def test_rows_of_several_kinds_become_what_carries_most() -> None:
    mixed = [*SETS["label"], *SETS["chat"], *SETS["text"]]
    assert kind_of_all(mixed, "jsonl") == "chat"
    shaper = Shaper("jsonl", "chat")
    assert [shaper.row(example) is not None for example in mixed] == [True, True, True, False]
    assert shaper.left_out == {"documents without a question": 1}


def test_a_lone_carriage_return_stays_in_its_cell() -> None:
    assert _csv_line(["a", "\r0", "b\rc"]).count(b'"') == 4
