"""Batch answering: which release, how a row becomes a question, and a file that survives any interruption."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import polars
import pytest

from tunewright.core import storage
from tunewright.core.errors import DataError, NotThere, RunError, Stopped
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data.sources import RawRow
from tunewright.models.decode import Answer, Decode
from tunewright.stages import answering
from tunewright.stages.answer_files import Writer
from tunewright.stages.answering import Asking, Speaker

USER = {"role": "user", "content": "hi"}


class Echo(Speaker):
    """Answers with the question in capitals; long ones do not fit."""

    def __init__(self) -> None:
        self.decode = Decode()

    def answer(self, conversations: Any, *, tools: Any = None, with_scores: bool = False) -> list[Answer]:
        if any(len(said[-1]["content"]) > 50 for said in conversations):
            raise DataError("The prompt is too long.")
        texts = [said[-1]["content"].upper() for said in conversations]
        return [Answer(text=text, finish="stop", prompt_tokens=1, completion_tokens=1) for text in texts]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of labelled rows with two releases that echo."""
    (tmp_path / "rows.jsonl").write_text("{}\n")
    folder = tmp_path / "runs" / "desk"
    for number in ("001", "002"):
        storage.write_json(folder / "releases" / number / "manifest.json", {"release": number, "decode": {}})
    storage.write_json(folder / "run.json", {"name": "desk", "state": "done"})
    (folder / "recipe.yaml").write_text("name: desk\ndata: {sources: [rows.jsonl], format: labels}\n")
    Report(stage="prepare", run="desk", numbers={"format": "labels"}).save(folder / "prepare")
    monkeypatch.setattr(Speaker, "open", classmethod(lambda cls, *_, **__: Echo()))
    return Run(folder)


def test_a_release_is_found_by_name_number_and_folder(run: Run) -> None:
    runs = run.folder.parent
    assert answering.find_release("desk", runs=runs).name == "002"
    assert answering.find_release("desk:001", runs=runs).name == "001"
    assert answering.find_release("desk:1", runs=runs).name == "001"
    assert answering.find_release(run.path("releases", "001")).name == "001"
    assert answering.find_release(str(run.folder)).name == "002"
    with pytest.raises(NotThere, match="001, 002"):
        answering.find_release("desk:7", runs=runs)
    with pytest.raises(NotThere, match="no run 'dask'"):
        answering.find_release("dask", runs=runs)


@pytest.mark.parametrize(
    ("format", "values", "asked"),
    [
        ("labels", {"text": "hi"}, [USER]),
        ("labels", {"text": "hi", "label": ""}, [USER]),
        ("labels", {"text": "hi", "label": "greeting"}, [USER]),
        ("completion", {"question": "hi"}, [USER]),
        ("instruction", {"instruction": "Greet.", "input": "hi"}, [{"role": "system", "content": "Greet."}, USER]),
        ("instruction", {"instruction": "hi"}, [USER]),
        ("instruction", {"input": "hi"}, [USER]),
        ("chat", {"messages": [USER]}, [USER]),
        ("chat", {"messages": [USER, {"role": "assistant", "content": "yes?"}]}, [USER]),
        (
            "chat",
            {"messages": [USER, {"role": "assistant", "content": "yes?"}, USER]},
            [USER, {"role": "assistant", "content": "yes?"}, USER],
        ),
        ("sharegpt", {"conversations": [{"from": "human", "value": "hi"}]}, [USER]),
        ("preference", {"prompt": "hi"}, [USER]),
        ("text", {"text": "hi"}, [USER]),
    ],
)
def test_a_row_is_asked_as_training_saw_it(format: str, values: dict[str, Any], asked: list[dict[str, str]]) -> None:
    messages, _ = answering._ask(RawRow("in.jsonl", 1, values), Asking(format, {}))
    assert messages == asked


def test_the_recipes_own_column_names_are_used() -> None:
    asking = Asking("labels", {"prompt": "body", "label": "kind"})
    messages, _ = answering._ask(RawRow("in.csv", 2, {"body": "hi", "text": "not this"}), asking)
    assert messages == [USER]


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_rows_keep_their_order_and_bad_ones_their_place(run: Run, tmp_path: Path, ending: str) -> None:
    lines = [
        '{"text": "one", "n": 1}',
        "{broken",
        '{"text": ""}',
        json.dumps({"text": "x" * 60}),
        '{"text": "five\\nlines"}',
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    out = tmp_path / f"out{ending}"
    events: list[dict[str, Any]] = []
    report = answering.answer("desk", tmp_path / "in.jsonl", out=out, runs=run.folder.parent, listeners=[events.append])
    rows = _read(out)
    assert [row["answer"] or None for row in rows] == ["ONE", None, None, None, "FIVE\nLINES"]
    assert [bool(row.get("problem")) for row in rows] == [False, True, True, True, False]
    assert report.numbers["rows"] == 5 and report.numbers["problems"] == 3
    assert "in.jsonl:2" in report.findings[0].message
    assert events[-1]["done"] == events[-1]["total"] == 5


def test_a_release_that_escalates_tells_so_beside_each_answer(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    escalation = {"threshold": 0.9, "at": 0.99}
    storage.write_json(run.path("releases", "002", "manifest.json"), {"decode": {"escalation": escalation}})

    class Sure(Echo):
        def answer(self, conversations: Any, **options: Any) -> list[Answer]:
            told = super().answer(conversations, **options)
            return [one.model_copy(update={"confidence": 0.5, "escalate": True}) for one in told]

    monkeypatch.setattr(Speaker, "open", classmethod(lambda cls, *_, **__: Sure()))
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": ""}\n')
    answering.answer("desk", tmp_path / "in.jsonl", out=tmp_path / "out.csv", runs=run.folder.parent)
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["answer"], first["answer_confidence"], first["answer_escalate"]) == ("A", "0.5", "true")
    assert (second["answer"], second["answer_confidence"]) == ("", "") and second["problem"]
    with pytest.raises(DataError, match="--column"):
        answering.answer("desk", tmp_path / "out.csv", out=tmp_path / "again.csv", runs=run.folder.parent)


def test_a_parquet_file_is_whole_and_kept_when_asked_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "one", "n": 1}\n{"text": "two", "n": "many"}\n{"text": ""}\n')
    out = tmp_path / "out.parquet"
    first = answering.answer("desk", tmp_path / "in.jsonl", out=out, runs=run.folder.parent)
    rows = _read(out)
    assert [row["answer"] for row in rows] == ["ONE", "TWO", None] and [row["n"] for row in rows] == ["1", "many", None]
    assert not list(tmp_path.glob("*.part.jsonl"))
    before = out.read_bytes()
    second = answering.answer("desk", tmp_path / "in.jsonl", out=out, runs=run.folder.parent)
    assert out.read_bytes() == before and first.numbers["problems"] == second.numbers["problems"] == 1
    (tmp_path / "in.jsonl").write_text('{"text": "other"}\n')
    with pytest.raises(RunError, match=r"out\.parquet was begun with"):
        answering.answer("desk", tmp_path / "in.jsonl", out=out, runs=run.folder.parent)


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.55, 0.98, 1.0])
def test_a_torn_file_is_gone_on_with(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, keep: float
) -> None:
    monkeypatch.setattr(answering, "AT_ONCE", 3)
    rows = [{"text": f'row {n}, "quoted"\nand broken'} for n in range(20)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / f"out{ending}"
    runs = run.folder.parent
    answering.answer("desk", tmp_path / "in.jsonl", out=out, runs=runs)
    whole = out.read_bytes()
    assert len(_read(out)) == 20
    out.write_bytes(whole[: int(len(whole) * keep)])
    answering.answer("desk", tmp_path / "in.jsonl", out=out, runs=runs)
    assert out.read_bytes() == whole


def test_a_stop_keeps_what_was_answered(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "AT_ONCE", 2)
    (tmp_path / "in.jsonl").write_text("".join(f'{{"text": "row {n}"}}\n' for n in range(7)))

    def stop(event: dict[str, Any]) -> None:
        if event["done"] == 4:
            raise Stopped("asked to stop")

    options: dict[str, Any] = {"out": tmp_path / "out.jsonl", "runs": run.folder.parent}
    with pytest.raises(Stopped):
        answering.answer("desk", tmp_path / "in.jsonl", listeners=[stop], **options)
    assert len(_read(tmp_path / "out.jsonl")) == 4
    answering.answer("desk", tmp_path / "in.jsonl", **options)
    assert [row["answer"] for row in _read(tmp_path / "out.jsonl")] == [f"ROW {n}" for n in range(7)]


def test_answers_of_another_release_or_file_are_not_mixed(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a"}\n')
    options: dict[str, Any] = {"out": tmp_path / "out.jsonl", "runs": run.folder.parent}
    answering.answer("desk:001", source, **options)
    with pytest.raises(RunError, match="another release"):
        answering.answer("desk:002", source, **options)
    source.write_text('{"text": "b"}\n')
    with pytest.raises(RunError, match="other rows"):
        answering.answer("desk:001", source, **options)
    (tmp_path / "mine.jsonl").write_text("keep me\n")
    with pytest.raises(RunError, match="not written by this command"):
        answering.answer("desk", source, out=tmp_path / "mine.jsonl", runs=run.folder.parent)
    assert (tmp_path / "mine.jsonl").read_text() == "keep me\n"


def test_rows_that_are_not_there_are_looked_for_in_the_current_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotThere, match=f"no file or folder none.csv in the current folder, {tmp_path}. Check"):
        answering.answer("desk", "none.csv", out="out.csv", runs=run.folder.parent)


def test_a_column_of_the_users_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a", "answer": "mine"}\n')
    options: dict[str, Any] = {"out": tmp_path / "out.jsonl", "runs": run.folder.parent}
    with pytest.raises(DataError, match="--column"):
        answering.answer("desk", tmp_path / "in.jsonl", **options)
    answering.answer("desk", tmp_path / "in.jsonl", column="model", **options)
    assert _read(tmp_path / "out.jsonl") == [{"text": "a", "answer": "mine", "model": "A"}]


def test_only_known_endings_are_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.csv or \.parquet"):
        Writer(tmp_path / "out.xlsx", columns=[], about={})


def test_label_shares_add_up_likeliest_first() -> None:
    given = Answer(text="b", finish="stop", scores={"a": -1200.0, "b": -1199.0}, prompt_tokens=1, completion_tokens=1)
    shares = Echo().shares(given)
    assert [label for label, _ in shares] == ["b", "a"]
    assert sum(share for _, share in shares) == pytest.approx(1)
    assert shares[0][1] == pytest.approx(0.7311, abs=1e-4)


def _read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return polars.read_parquet(path).to_dicts()
    if path.suffix == ".jsonl":
        return list(storage.read_jsonl(path))
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
