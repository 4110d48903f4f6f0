"""The stage as a whole: counts that add up, files, findings, the data card; and real data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.errors import DataError, Stopped
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data.profile import lengths
from tunewright.stages.prepare import prepare

Prepared = Callable[..., tuple[Report, Run]]
Write = Callable[[str, list[dict[str, Any]]], str]
WORDS = ("lost card", "late parcel", "wrong fee", "closed account", "new phone", "old address")


def labelled(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"text": f"{WORDS[number % 6]} number {number}", "label": WORDS[number % 6].split()[0], "source": "made"}
        for number in range(start, start + count)
    ]


def names(report: Report) -> set[str]:
    return {finding.name for finding in report.findings}


def counts(report: Report) -> dict[str, int]:
    rows: dict[str, int] = report.numbers["rows"]
    fates = rows["kept"] + rows["quarantined"] + rows["duplicates"] + rows["twins_dropped"]
    assert rows["read"] == fates
    assert rows["kept"] == rows["train"] + rows["validation"] + rows["test"]
    return rows


def test_rows_end_in_three_files_and_the_numbers_say_where(write: Write, prepared: Prepared) -> None:
    rows = [
        *labelled(600),
        labelled(1)[0],
        {"text": "", "label": "lost"},
        {"text": "LOST card, number 6", "label": "late"},
    ]
    report, run = prepared(sources=[write("train.jsonl", rows)])
    rows_of = counts(report)
    assert (rows_of["read"], rows_of["quarantined"], rows_of["duplicates"]) == (603, 1, 1)
    for side in ("train", "validation", "test"):
        examples = run.split(side)
        assert len(examples) == rows_of[side]
        for example in examples:
            assert example.id.startswith("train:")
            assert example.meta == ({} if example.id == "train:603" else {"source": "made"})
        for label, numbers in report.numbers["labels"].items():
            assert numbers[side] == sum(example.label == label for example in examples)
    quarantine = list(storage.read_jsonl(run.path("data", "quarantine.jsonl")))
    assert [(row["from"], row["line"], row["reason"].split(":")[0]) for row in quarantine] == [
        ("sources", 602, "empty")
    ]
    assert report.numbers["quarantine"] == {"empty": 1}
    assert {"quarantined", "duplicates", "contradictions"} <= names(report)
    assert report.numbers["format"] == "labels"
    assert json.loads(json.dumps(report.model_dump())) == report.model_dump()


def test_more_bad_rows_than_allowed_is_a_question_with_three_reasons(write: Write, prepared: Prepared) -> None:
    path = write("a.jsonl", [*labelled(20), *({"text": "", "label": str(number)} for number in range(4))])
    with pytest.raises(
        DataError, match=r"4 of 24 rows .* data\.max_bad = 0\.1 .*line 21.*line 22.*line 23.*raise data\.max_bad"
    ):
        prepared(sources=[path])
    report, _ = prepared(sources=[path], max_bad=0.2)
    assert counts(report)["quarantined"] == 4


def test_added_rows_leave_the_old_ones_where_they_were(write: Write, prepared: Prepared) -> None:
    _, before = prepared(sources=[write("a.jsonl", labelled(200))])
    report, after = prepared(sources=[write("a.jsonl", labelled(300))])
    told = next((finding for finding in report.findings if finding.name == "near_two_sides"), None)
    dropped = {f"a:{place.line}" for place in told.rows} if told else set()
    for side in ("train", "validation", "test"):
        assert {e.id for e in before.split(side)} <= {e.id for e in after.split(side)} | dropped
    assert len(dropped) < 20


def test_a_given_test_file_stays_whole_and_its_twins_leave_the_rest(write: Write, prepared: Prepared) -> None:
    test = [*labelled(50, start=1000), {"text": "LOST CARD number 0!", "label": "lost"}, labelled(1, start=1000)[0]]
    train, held = write("train.jsonl", labelled(400)), write("test.jsonl", test)
    report, run = prepared(sources=[str(Path(train).parent / "*.jsonl")], test=held)
    assert counts(report)["test"] == 52
    assert report.numbers["rows"]["twins_dropped"] == 1
    finding = next(finding for finding in report.findings if finding.name == "twins_of_test")
    assert finding.count == 1 and "train:1 is a twin of test:51" in (finding.example or "")
    assert "train:1" not in {example.id for side in ("train", "validation") for example in run.split(side)}
    assert 30 < counts(report)["validation"] < 110
    assert set(report.numbers["sources"]) == {train, held}


def test_limit_holds_for_training_sources_only(write: Write, prepared: Prepared) -> None:
    train, held = write("train.jsonl", labelled(400)), write("test.jsonl", labelled(50, start=1000))
    assert counts(prepared(sources=[train], test=held, limit=100)[0])["read"] == 150


def test_files_of_different_formats_may_be_mixed(write: Write, prepared: Prepared) -> None:
    chat = [
        {"messages": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": "a"}]} for n in range(30)
    ]
    pairs = [{"prompt": f"p {n}", "completion": f"c {n}"} for n in range(30)]
    report, _ = prepared(sources=[write("chat.jsonl", chat), write("pairs.jsonl", pairs)])
    assert report.numbers["format"] == "chat + completion"
    assert report.numbers["labels"] == {}


def test_the_system_messages_tell_whether_there_is_one_for_all(write: Write, prepared: Prepared) -> None:
    rows = [{"instruction": "reply", "input": f"q {n}", "output": f"a {n}"} for n in range(40)]
    assert prepared(sources=[write("a.jsonl", rows)])[0].numbers["system_messages"] == ["reply"]
    mixed = [*rows, {"instruction": "alone", "input": "", "output": "x"}]
    assert prepared(sources=[write("a.jsonl", mixed)])[0].numbers["system_messages"] == ["reply", None]
    assert prepared(sources=[write("b.jsonl", labelled(40))])[0].numbers["system_messages"] == []
    report, run = prepared(sources=[write("b.jsonl", labelled(40))], system="classify")
    assert report.numbers["system_messages"] == ["classify"]
    assert run.split("train")[0].messages[0].content == "classify"


def test_groups_stay_on_one_side_and_a_missing_column_is_named(write: Write, prepared: Prepared) -> None:
    rows = [row | {"customer": number // 10} for number, row in enumerate(labelled(400))]
    _, run = prepared(sources=[write("a.jsonl", rows)], split={"group": "customer"})
    sides: dict[int, set[str]] = {}
    for side in ("train", "validation", "test"):
        for example in run.split(side):
            sides.setdefault(example.meta["customer"], set()).add(side)
    assert len(sides) == 40 and all(len(group) == 1 for group in sides.values())
    with pytest.raises(DataError, match=r"no row has a column 'client'.*customer, source"):
        prepared(sources=[write("a.jsonl", rows)], split={"group": "client"})


def test_findings_warn_of_labels_that_cannot_be_learned_or_measured(write: Write, prepared: Prepared) -> None:
    train = [*labelled(60), {"text": "only one", "label": "rare"}]
    held = write("held.jsonl", [{"text": f"new {n}", "label": "unheard"} for n in range(3)])
    report, _ = prepared(sources=[write("a.jsonl", train)], test=held, split={"train": 1, "validation": 0, "test": 0})
    assert {"labels_not_in_training", "rare_labels", "few_test_rows"} <= names(report)
    assert report.numbers["rare_labels"] == ["rare", "unheard"]
    assert report.numbers["imbalance"] == 10
    nothing, _ = prepared(
        sources=[write("b.jsonl", labelled(2))], split={"train": 0.98, "validation": 0.01, "test": 0.01}
    )
    assert {"no_validation_rows", "no_test_rows"} <= names(nothing)


def test_long_columns_that_are_not_used_and_test_files_among_sources_are_told(write: Write, prepared: Prepared) -> None:
    rows = [{"question": f"q {n}", "answer": f"a {n}", "context": f"A long story {n}. " * 9} for n in range(30)]
    report, _ = prepared(sources=[write("set.test.jsonl", rows)])
    assert {"unused_columns", "test_file_among_sources"} <= names(report)
    assert "test_file_among_sources" not in names(prepared(sources=[write("contest.jsonl", rows)])[0])


def test_sources_without_rows_or_without_training_rows_are_refused(write: Write, prepared: Prepared) -> None:
    with pytest.raises(DataError, match="there are no rows"):
        prepared(sources=[write("a.jsonl", [])])
    held = write("test.jsonl", labelled(5))
    with pytest.raises(DataError, match="nothing but the test"):
        prepared(sources=[held], test=held)
    with pytest.raises(DataError, match="No training rows are left"):
        prepared(sources=[write("a.jsonl", labelled(5))], split={"train": 0, "validation": 0.5, "test": 0.5})


def test_a_stop_is_obeyed_and_nothing_is_half_written(tmp_path: Path, write: Write) -> None:
    recipe = Recipe.parse({"name": "r", "data": {"sources": [write("a.jsonl", labelled(600))]}}, folder=tmp_path)
    run = Run.begin(recipe, runs=tmp_path / "runs")
    run.stop.set()
    with pytest.raises(Stopped):
        prepare(recipe, run)
    assert not run.path("data").exists()
    assert not list(run.folder.glob(".*.tmp"))


@pytest.mark.parametrize("visit", [1, 3])
def test_a_kill_leaves_nothing_that_harms(tmp_path: Path, write: Write, visit: int) -> None:
    recipe = Recipe.parse({"name": "r", "data": {"sources": [write("a.jsonl", labelled(300))]}}, folder=tmp_path)
    run = Run.begin(recipe, runs=tmp_path / "runs")
    storage.write_text(tmp_path / "r.yaml", recipe.to_yaml({}))
    environment = os.environ | {"TUNEWRIGHT_FAIL": f"data.rename:{visit}:kill"}
    command = [sys.executable, "-m", "tunewright.cli", "prepare", "r.yaml"]
    killed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(run.folder.glob(".prepare.*.tmp"))) == 1
    assert not run.path("data", "validation.jsonl").exists()
    assert counts(prepare(recipe, run))["read"] == 300
    assert not list(run.folder.glob(".*.tmp"))
    assert len(run.split("train", "validation", "test")) == 300


def test_lengths_are_figures_and_a_histogram_of_all_values() -> None:
    card = lengths(list(range(1, 101)))
    assert card is not None
    assert (card["min"], card["median"], card["p95"], card["max"], card["mean"]) == (1, 51, 96, 100, 50.5)
    assert len(card["histogram"]["counts"]) == 20 and sum(card["histogram"]["counts"]) == 100
    assert lengths([7]) is not None and lengths([]) is None


# --- real data ---


def test_banking77_leaks_eleven_test_rows_into_training(real: Path, prepared: Prepared) -> None:
    folder = real / "intent-banking77"
    sources = [str(folder / "train.jsonl"), str(folder / "validation.jsonl")]
    report, _ = prepared(sources=sources, test=str(folder / "test.jsonl"))
    rows = counts(report)
    assert (rows["read"], rows["test"], rows["duplicates"], rows["quarantined"]) == (13083, 3080, 4, 0)
    finding = next(finding for finding in report.findings if finding.name == "twins_of_test")
    assert finding.message.startswith("11 test rows have twins")
    assert len(report.numbers["labels"]) == 77


@pytest.mark.parametrize(("name", "format", "fields"), [
    ("generation-e2e-nlg", "completion", {"prompt": "mr", "completion": "text"}),
    ("instruction-self-instruct-seed", "instruction", {}),
    ("preference-hh-harmless", "preference", {}),
    ("toolcalls-glaive-demo", "sharegpt", {}),
    ("lm-us-speeches", "text", {}),
])  # fmt: skip
def test_real_files_of_every_format_are_read_whole(
    real: Path, prepared: Prepared, name: str, format: str, fields: dict[str, str]
) -> None:
    objective = {"text": "pretrain", "preference": "dpo"}.get(format, "sft")
    report, run = prepared(objective, sources=[str(real / name)], fields=fields, limit=400)
    assert report.numbers["format"] == format
    assert counts(report)["quarantined"] == 0
    assert run.split("train")


def test_rows_that_lack_what_the_objective_needs_are_refused_early(write: Write, prepared: Prepared) -> None:
    pair = {"prompt": "a question", "chosen": "good", "rejected": "bad"}
    pairs = [{**pair, "prompt": f"{n} questions"} for n in range(40)]
    plain = [{"prompt": f"{n} more questions", "completion": "yes"} for n in range(3)]
    sources = [write("pairs.jsonl", pairs), write("plain.jsonl", plain)]
    with pytest.raises(DataError, match=r"'dpo' needs 'rejected' in every example; 3 of 43 lack it. First: plain:1."):
        prepared("dpo", sources=sources)
    with pytest.raises(DataError, match=r"'kto' needs 'rejected' \(or a column 'label'"):
        prepared("kto", sources=sources)
    assert counts(prepared("sft", sources=sources)[0])["kept"] == 43
    test = write("test.jsonl", plain)
    assert counts(prepared("dpo", sources=sources[:1], test=test)[0])["test"] == 3


def test_judged_answers_are_no_labels(write: Write, prepared: Prepared) -> None:
    rows = [{"prompt": f"question {n}", "completion": f"answer {n}", "label": n % 2 == 0} for n in range(60)]
    report, run = prepared("kto", sources=[write("rows.jsonl", rows)])
    assert report.numbers["format"] == "completion"
    assert {example.meta["label"] for example in run.split("train")} == {True, False}
