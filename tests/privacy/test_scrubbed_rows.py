"""Rows lose their personal data as they are prepared: every text of them, never the label, and the counts add up."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pyrage
import pytest

import tunewright
from tunewright.core import checks
from tunewright.core.errors import DataError, MissingPackage, RecipeError
from tunewright.core.example import Example
from tunewright.core.recipe import DataOptions, Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.privacy import mapping
from tunewright.stages.prepare import prepare
from tunewright.stages.scrubbed_rows import RowScrubber

KEY = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRUB_KEY", KEY)
    monkeypatch.setenv("SCRUB_PHRASE", "open sesame")


def scrubber(**options: Any) -> RowScrubber:
    group = options.pop("group", None)
    return RowScrubber(DataOptions(sources=["x"], split={"group": group}, scrub={"key": "env:SCRUB_KEY", **options}))


def prepared(folder: Path, rows: list[Any], data: dict[str, Any] | None = None, **options: Any) -> tuple[Report, Run]:
    path = folder / "rows.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    scrub = {"key": "env:SCRUB_KEY", **options}
    recipe = Recipe.parse(
        {"name": "desk", "data": {"sources": [str(path)], "scrub": scrub, **(data or {})}}, folder=folder
    )
    run = Run.begin(recipe, runs=folder / "runs")
    return prepare(recipe, run), run


def test_every_text_of_a_conversation_is_scrubbed_and_the_rest_is_as_it_was() -> None:
    name = "Anna Lopez"
    example = Example.model_validate(
        {
            "id": "rows:7",
            "messages": [
                {"role": "system", "content": f"You help {name}."},
                {"role": "user", "content": f"my name is {name}, card 4111 1111 1111 1111"},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {
                                "name": "block",
                                "arguments": json.dumps({"card": 4111111111111111, "who": [name]}),
                            },
                        }
                    ],
                },
                {"role": "tool", "content": f"done for {name}", "tool_call_id": "call_1"},
                {"role": "assistant", "content": f"Done, {name}.", "weight": 1.0},
            ],
            "rejected": [{"role": "assistant", "content": f"No, {name}."}],
            "expected": f"Done, {name}.",
            "meta": {"agent": name, "nested": {"to": ["anna.lopez@acme.com"]}, "phone": 15005550006, "rating": 5},
        }
    )
    done = scrubber()(example)
    assert done is not None
    text = done.model_dump_json()
    assert "Lopez" not in text and "Anna" not in text and "anna" not in text and "4111" not in text
    assert (done.id, done.meta["rating"], done.messages[-1].weight) == ("rows:7", 5, 1.0)
    call = done.messages[2].tool_calls
    assert call is not None and call[0]["id"] == "call_1" and call[0]["function"]["name"] == "block"
    arguments = json.loads(call[0]["function"]["arguments"])
    new = done.messages[1].content.removeprefix("my name is ").partition(",")[0]
    assert arguments["who"] == [new] and isinstance(arguments["card"], int)
    assert done.messages[-1].content == f"Done, {new}." == done.expected


def test_the_name_of_a_column_says_what_its_values_are() -> None:
    meta = {
        "first_name": "\u039c\u03b1\u03c1\u03af\u03b1",
        "phone": "467 3395",
        "city": "Oulu",
        "tool": "Oulu",
        "card": 4111111111111111,
    }
    done = scrubber(action="mask")(Example.model_validate({"id": "a", "text": "hello", "meta": meta}))
    assert done is not None
    assert done.meta == {
        "first_name": "[PERSON]",
        "phone": "[PHONE_NUMBER]",
        "city": "[GPE]",
        "tool": "Oulu",
        "card": "[CREDIT_CARD]",
    }


def test_the_name_of_a_tool_is_no_persons() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "Anna Lopez", "arguments": '{"name": "Bela"}'}}
    messages = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "ok", "name": "Anna"},
    ]
    done = scrubber(action="mask")(Example.model_validate({"id": "a", "messages": messages}))
    assert done is not None and done.messages[0].tool_calls is not None
    assert done.messages[0].tool_calls[0]["function"] == {"name": "Anna Lopez", "arguments": '{"name": "[PERSON]"}'}
    assert done.messages[1].name == "Anna"


def test_images_of_a_message_stay_where_they_are() -> None:
    media = [{"kind": "image", "path": "/data/Anna Lopez/4111111111111111.png"}]
    message = {"role": "user", "content": "<image> my name is Anna Lopez", "media": media}
    done = scrubber(action="mask")(Example.model_validate({"id": "a", "messages": [message]}))
    assert done is not None
    assert done.messages[0].content == "<image> my name is [PERSON]"
    assert done.media[0].path == "/data/Anna Lopez/4111111111111111.png"


def test_a_row_without_personal_data_is_the_very_same() -> None:
    example = Example.model_validate({"id": "a", "text": "the card is late", "meta": {"n": 1}})
    assert scrubber()(example) is example


@pytest.mark.parametrize("label", ["Poland", "Anna Lopez", "2019-03-04"])
def test_the_label_is_never_changed(label: str) -> None:
    example = Example.model_validate(
        {
            "id": "a",
            "messages": [
                {"role": "user", "content": "Anna Lopez asked about Poland"},
                {"role": "assistant", "content": label},
            ],
            "label": label,
        }
    )
    done = scrubber(action="mask")(example)
    assert done is not None
    assert (done.label, done.messages[1].content) == (label, label)
    assert done.messages[0].content == "[PERSON] asked about [GPE]"


def test_entities_move_with_the_text() -> None:
    text = "Anna Lopez pays at Johnson Inc. on Monday with 4111 1111 1111 1111 for shoes"
    spans = [(0, 10, "who"), (19, 31, "shop"), (text.index("shoes"), len(text), "thing")]
    said = [{"text": text[start:end], "label": label} for start, end, label in spans]
    example = Example.model_validate(
        {
            "id": "a",
            "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": json.dumps(said)}],
            "spans": [{"start": start, "end": end, "label": label} for start, end, label in spans],
        }
    )
    for action in ("surrogate", "mask", "hash"):
        done = scrubber(action=action)(example)
        assert done is not None and done.spans is not None
        new = done.messages[0].content
        found = {span.label: new[span.start : span.end] for span in done.spans}
        assert found["thing"] == "shoes"
        assert new.startswith(found["who"]) and found["who"] != "Anna Lopez"
        assert "Johnson" not in found["shop"] and found["shop"] in new
        assert json.loads(done.messages[1].content) == [{"text": found[label], "label": label} for *_, label in spans]


def test_a_column_that_groups_rows_keeps_its_groups_under_a_mask() -> None:
    mask = scrubber(action="mask", group="customer")
    rows = [
        Example.model_validate({"id": str(number), "text": "mail a@b.com", "meta": {"customer": f"{who}@acme.com"}})
        for number, who in enumerate(("anna", "bela", "anna"))
    ]
    done = [mask(row) for row in rows]
    groups = [row.meta["customer"] for row in done if row is not None]
    assert groups[0] == groups[2] != groups[1]
    assert all(row is not None and row.text == "mail [EMAIL_ADDRESS]" for row in done)
    assert "acme" not in str(groups)


def test_prepare_scrubs_every_row_and_its_counts_add_up(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"text": f"my name is Anna Lopez, I lost card 4111 1111 1111 1111, case {number}", "label": "lost"}
        for number in range(40)
    ]
    rows += [{"text": f"my ssn is 856-45-{6000 + number}, no {number}", "label": "other"} for number in range(10)]
    rows += [{"text": f"where is my statement of month {number}?", "label": "statement"} for number in range(30)]
    rows.append('{"text": "card 4111 1111 1111 1111 of Anna Lopez"')
    report, run = prepared(tmp_path, rows, actions={"US_SSN": "drop"})
    assert report.numbers["scrub"] == {
        "replaced": 90,
        "types": {"PERSON": 40, "CREDIT_CARD": 40, "US_SSN": 10},
        "rows_changed": 40,
        "rows_dropped": 10,
    }
    assert (
        report.numbers["rows"]["kept"] + report.numbers["rows"]["duplicates"] + report.numbers["rows"]["twins_dropped"]
        == 70
    )
    kept = "".join(path.read_text(encoding="utf-8") for path in run.path("data").glob("*.jsonl"))
    assert not any(value in kept for value in ("Anna", "Lopez", "4111 1111", "856-45"))
    told = next(finding for finding in report.findings if finding.name == "personal_data")
    assert "may remain" in told.message and told.count == 40


def test_prepare_twice_with_one_key_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [{"text": f"my name is Anna Lopez, case {number}", "label": "a"} for number in range(20)]
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        prepared(folder, rows)
    for side in ("train", "validation", "test"):
        texts = [(folder / "runs" / "desk" / "data" / f"{side}.jsonl").read_text() for folder in (one, other)]
        assert texts[0] == texts[1]


def test_rows_that_all_have_to_go_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all 3 rows were dropped by data\.scrub"):
        prepared(tmp_path, [{"text": f"my ssn is 856-45-600{n}", "label": "a"} for n in range(3)], action="drop")


def test_the_mapping_is_written_encrypted_and_can_be_opened(tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    path = tmp_path / "map.age"
    one = scrubber(keep_mapping=str(path), mapping_for=str(identity.to_public()))
    one(Example.model_validate({"id": "a", "text": "my name is Anna Lopez"}))
    one.close()
    assert b"Lopez" not in path.read_bytes()
    rows = mapping.read(path, identity=str(identity))
    assert [(row["type"], row["original"]) for row in rows] == [("PERSON", "Anna Lopez")]
    with pytest.raises(RecipeError, match="cannot be opened"):
        mapping.read(path, identity=str(pyrage.x25519.Identity.generate()))


@pytest.mark.parametrize("who", ["age1nonsense", "env:NO_SUCH_PHRASE", "no/such/file"])
def test_a_reader_who_cannot_be_told_is_refused_before_any_work(tmp_path: Path, who: str) -> None:
    with pytest.raises(RecipeError, match="mapping_for"):
        scrubber(keep_mapping=str(tmp_path / "map.age"), mapping_for=who)


@pytest.mark.skipif(importlib.util.find_spec("presidio_analyzer") is not None, reason="presidio is installed")
def test_a_recognizer_that_is_not_installed_is_told_before_any_work(tmp_path: Path) -> None:
    scrub = {"recognizer": "presidio"}
    recipe = Recipe.parse({"name": "a", "data": {"sources": ["x"], "scrub": scrub}}, folder=tmp_path)
    assert [problem for problem in checks.problems(recipe) if "pip install presidio-analyzer" in problem]
    with pytest.raises(MissingPackage, match="pip install presidio-analyzer"):
        scrubber(**scrub)


def test_the_rows_of_a_file_are_written_with_what_was_found_in_them(tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("id,text\n1,my name is Anna Lopez\n2,nothing here\n", encoding="utf-8")
    report = tunewright.scrub(str(source), out, fields=["text"], spans=True)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["spans"] for row in rows] == [[{"start": 11, "end": 21, "type": "PERSON"}], []]
    assert [row["text"] for row in rows] == ["my name is Anna Lopez", "nothing here"]
    assert report.numbers["scrub"] == {"found": 1, "types": {"PERSON": 1}, "rows_with_some": 1}


def test_a_file_is_never_overwritten_without_being_asked(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "mail anna@acme.com", "note": "mail bela@acme.com"}\n', encoding="utf-8")
    out.write_text("mine")
    with pytest.raises(RecipeError, match="is there already"):
        tunewright.scrub([str(source)], out)
    with pytest.raises(RecipeError, match="is read from"):
        tunewright.scrub([str(source)], source, replace=True)
    tunewright.scrub([str(source)], out, {"action": "mask"}, fields=["text"], replace=True)
    assert json.loads(out.read_text()) == {"text": "mail [EMAIL_ADDRESS]", "note": "mail bela@acme.com"}


def test_unreadable_rows_and_columns_that_are_not_there_are_told(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "a"}\n{"broken\n{"other": "b"}\n', encoding="utf-8")
    report = tunewright.scrub([str(source)], out, fields=["text"])
    assert report.numbers["rows"]["read"] == 3
    assert {finding.name: finding.count for finding in report.findings if finding.name != "personal_data"} == {
        "unreadable_rows": 1,
        "rows_without_the_column": 1,
    }
    with pytest.raises(DataError, match="No row has a column 'nix'"):
        tunewright.scrub([str(source)], out, fields=["nix"], replace=True)
    with pytest.raises(RecipeError, match="Name the column"):
        tunewright.scrub([str(source)], out, spans=True, replace=True)


def test_words_of_a_template_stay_and_names_in_it_go(tmp_path: Path) -> None:
    names = ("Olga Pearce", "Hugo Larsson", "Amina Diallo", "Peter Novak")
    rows = [
        {
            "instruction": "Reply in JSON: is it an Account Access or a Fraud Report of Acme Bank Ltd?",
            "input": f"My name is {names[number % 4]}, case {number}, who can help me?",
            "output": '{"intent": "Fraud Report"}',
        }
        for number in range(60)
    ]
    report, run = prepared(tmp_path, rows, action="mask")
    text = run.path("data", "train.jsonl").read_text()
    assert "Reply in JSON: is it an Account Access or a Fraud Report" in text
    assert not any(name in text for name in names)
    assert '{\\"intent\\": \\"Fraud Report\\"}' in text
    assert "template_words" in [finding.name for finding in report.findings]
    few, _ = prepared(tmp_path, rows[:30], action="mask")
    assert "template_words" not in [finding.name for finding in few.findings]
