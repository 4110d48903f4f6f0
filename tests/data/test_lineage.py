"""What a version is, what it came from, and what differs between two."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.errors import DataError, NotThere
from tunewright.core.example import Example, Message
from tunewright.core.run import Run
from tunewright.data import lineage, sources
from tunewright.data.differences import compare
from tunewright.data.lineage import Step
from tunewright.stages import comparing, looking, versions

ROWS = [{"text": f"question {n} about cards", "label": ("card", "fees")[n % 2], "day": n} for n in range(40)]


def test_content_is_what_the_rows_say_not_where_they_lie(tmp_path: Path, write: Callable, prepared: Callable) -> None:
    (tmp_path / "sub").mkdir()
    first, second = write("rows.jsonl", ROWS), write("sub/other-name.jsonl", ROWS)
    _, one = prepared(sources=[first], format="labels")
    _, two = prepared(sources=[second], format="labels")
    found = [lineage.read(run.path("data")) for run in (one, two)]
    assert found[0] is not None and found[1] is not None
    assert found[0].content == found[1].content
    assert found[0].parents[0].sha256 == found[1].parents[0].sha256 == storage.sha256(Path(first))
    assert found[0].parents[0].name != found[1].parents[0].name


@pytest.mark.parametrize("change", ["answer", "meta", "side", "order", "row"])
def test_content_changes_with_anything_a_row_says_or_where_it_stands(
    tmp_path: Path, write: Callable, prepared: Callable, change: str
) -> None:
    _, run = prepared(sources=[write("rows.jsonl", ROWS)], format="labels")
    before = lineage.content_of(run.path("data"))
    path = run.path("data", "train.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    if change == "answer":
        lines[0] = lines[0].replace('"content": "card"', '"content": "cards"').replace('"fees"', '"fee"')
    elif change == "meta":
        lines[0] = lines[0].replace('"day": ', '"day": 1')
    elif change == "order":
        lines[0], lines[1] = lines[1], lines[0]
    elif change == "side":
        with run.path("data", "test.jsonl").open("a") as file:
            file.write(lines.pop())
    else:
        lines.pop()
    path.write_text("".join(lines))
    assert lineage.content_of(run.path("data"))[0] != before[0]
    held = versions.find(run.folder)
    assert [finding.name for finding in versions.changed_since(held)] == ["changed_rows"]


def test_rows_that_are_written_by_hand_in_another_order_are_the_same(tmp_path: Path) -> None:
    row = {
        "id": "a:1",
        "messages": [{"role": "user", "content": "é"}, {"role": "assistant", "content": "b"}],
        "label": "b",
    }
    for name, text in (
        ("ours", json.dumps(row, ensure_ascii=False)),
        ("turned", json.dumps(dict(reversed(row.items())))),
        ("other", json.dumps({**row, "id": 'b"\\:2'}, ensure_ascii=False)),
    ):
        storage.write_text(tmp_path / name / "train.jsonl", text + "\n")
    assert len({lineage.content_of(tmp_path / name)[0] for name in ("ours", "turned", "other")}) == 1


def test_the_steps_of_preparing_add_up(write: Callable, prepared: Callable) -> None:
    report, run = prepared(
        sources=[write("rows.jsonl", [*ROWS, ROWS[0], {"text": "", "label": "card"}])], format="labels"
    )
    version = lineage.read(run.path("data"))
    assert version is not None
    assert [step.what for step in version.steps] == ["read", "quarantined", "duplicates", "split"]
    assert [sum(step.after.values()) for step in version.steps] == [42, 41, 40, 40]
    for step, following in zip(version.steps, version.steps[1:], strict=False):
        assert sum(step.after.values()) == sum(following.before.values())
    assert version.rows == {side: report.numbers["rows"][side] for side in ("train", "validation", "test")}


def test_a_set_made_of_another_names_its_version(tmp_path: Path, write: Callable, prepared: Callable) -> None:
    _, first = prepared(sources=[write("rows.jsonl", ROWS)], format="labels")
    _, second = prepared(sources=[str(first.path("data", "train.jsonl"))])
    before, after = lineage.read(first.path("data")), lineage.read(second.path("data"))
    assert before is not None and after is not None
    assert after.parents[0].version == before.id
    made = Path(write("made.jsonl", ROWS[:10]))
    lineage.record(made, sources=[first.path("data", "train.jsonl")], steps=[Step(what="select", after={"rows": 10})])
    _, third = prepared(sources=[str(made)], format="labels")
    last, of_file = lineage.read(third.path("data")), lineage.read(made)
    assert last is not None and of_file is not None
    assert (of_file.parents[0].version, of_file.rows) == (before.id, {"rows": 10})
    assert last.parents[0].version == of_file.id
    (tmp_path / "alone").mkdir()
    for path in (made, lineage.place(made)):
        shutil.copy(path, tmp_path / "alone")
    assert sources.files([str(tmp_path / "alone")]) == [str(tmp_path / "alone" / made.name)]  # its version is no rows


def test_versions_are_found_by_looking_through_the_runs(tmp_path: Path, write: Callable, prepared: Callable) -> None:
    runs = tmp_path / "runs"
    _, one = prepared(sources=[write("rows.jsonl", ROWS)], format="labels")
    prepared(sources=[write("more.jsonl", ROWS[:30])], format="labels")
    shutil.copytree(one.folder, runs / "run-1.20260101-000000")  # put aside by --fresh
    shutil.copytree(one.folder, runs / "run-2" / "children" / "01-first")
    old = runs / "run-2" / "children" / "01-first" / "data" / "version.json"
    old.unlink()  # prepared before versions were recorded
    listed = versions.listing(runs).numbers["versions"]
    assert {row["run"]: bool(row["id"]) for row in listed} == {
        "run-1": True, "run-2": True, "run-1.20260101-000000": True, "run-2/children/01-first": False,
    }  # fmt: skip
    assert len({row["content"] for row in listed}) == 2
    version = lineage.read(one.path("data"))
    assert version is not None
    assert versions.find(version.id[:6], runs=runs).version == version
    with pytest.raises(NotThere, match="no run, version or file 'zzzz'"):
        versions.find("zzzz", runs=runs)
    with pytest.raises(NotThere, match="holds prepared data"):
        versions.listing(tmp_path / "nothing")


# --- differences ---


def example(id: str, asked: str, label: str) -> Example:
    messages = [Message(role="user", content=asked), Message(role="assistant", content=label)]
    return Example(id=id, messages=messages, label=label)


def test_each_planted_difference_is_counted_and_no_other() -> None:
    same = [example(f"a:{n}", f"same {n}", "card") for n in range(20)]
    before = {
        "train": [*same, example("a:30", "relabelled", "card"), example("a:31", "old words", "fees"),
                  example("a:32", "removed", "fees"), example("a:33", "moves", "card"),
                  example("a:34", "twice", "card"), example("a:35", "twice", "card")],
        "test": [],
    }  # fmt: skip
    after = {
        "train": [*reversed(same), example("b:1", "relabelled", "fees"), example("a:31", "new words", "fees"),
                  example("b:2", "added", "lost"), example("b:3", "added too", "lost"),
                  example("a:34", "twice", "card")],
        "test": [example("a:33", "moves", "card")],
    }  # fmt: skip
    found = compare(before, after)
    counts = (
        found.same,
        len(found.moved),
        len(found.changed),
        len(found.reworded),
        len(found.removed),
        len(found.added),
    )
    assert counts == (21, 1, 1, 1, 2, 2)
    assert [before[spot.side][spot.number].id for spot in found.removed] == ["a:32", "a:35"]
    assert found.labels == {"card": (24, 22), "lost": (0, 2)}  # fees: one went, one came
    assert found.ids == {"both": 23, "only_before": 3, "only_after": 3}
    assert compare(before, before).is_empty
    assert compare(before, {"rows": [*before["train"], *before["test"]]}, by_side=False).is_empty


def test_a_prepared_run_differs_from_its_file_by_what_was_dropped(write: Callable, prepared: Callable) -> None:
    path = write("rows.jsonl", [*ROWS, ROWS[0]])
    _, run = prepared(sources=[path], format="labels")
    report = comparing.diff(path, run.folder)
    assert report.numbers["rows"] == {"same": 40, "moved": 0, "changed": 0, "reworded": 0, "removed": 1, "added": 0}
    assert report.numbers["examples"]["removed"] == ["rows:41: question 0 about cards -> card"]
    again = comparing.diff(run.folder, run.folder)
    assert again.numbers["rows"]["same"] == 40
    assert again.numbers["labels"] == {}


# --- looking ---


def test_a_raw_file_is_shown_with_counts_and_random_rows(write: Callable) -> None:
    path = write("rows.jsonl", [*ROWS, {"text": "", "label": "card"}, {"text": "no label"}])
    report = looking.show(path, num_rows=5)
    numbers = report.numbers
    assert numbers["rows"] == {"read": 42, "unusable": 2, "usable": 40}
    assert numbers["labels"] == {"card": {"rows": 20}, "fees": {"rows": 20}}
    assert [finding.count for finding in report.findings if finding.name == "unusable_rows"] == [2]
    assert len({row["example"] for row in numbers["examples"]}) == 5
    assert looking.show(path, num_rows=5).numbers["examples"] == numbers["examples"]
    assert looking.show(path, num_rows=5, seed=1).numbers["examples"] != numbers["examples"]
    assert len(looking.show(path, num_rows=100).numbers["examples"]) == 40


def test_every_row_of_a_file_is_as_likely_to_be_shown(write: Callable) -> None:
    path = write("rows.jsonl", ROWS[:10])
    shown: Counter[str] = Counter()
    for seed in range(300):
        shown.update(row["example"] for row in looking.show(path, num_rows=3, seed=seed).numbers["examples"])
    assert len(shown) == 10
    assert 60 <= min(shown.values()) <= max(shown.values()) <= 125  # 90 expected, standard deviation 8


def test_rows_are_shown_as_the_model_sees_them(tiny: Callable, write: Callable, prepared: Callable) -> None:
    path = write("rows.jsonl", ROWS)
    _, run = prepared(sources=[path], format="labels")
    values: dict[str, Any] = {"name": run.name, "data": {"sources": [path]}, "model": str(tiny("llama"))}
    storage.write_json(run.path("recipe.given.yaml"), values)
    report = looking.show(run.folder, num_rows=3, side="test")
    row = report.numbers["examples"][0]
    assert row["pieces"][0]["text"].startswith("<|im_start|>user\nquestion")
    assert [piece["learned"] for piece in row["pieces"]] == [False, True]
    assert row["learned"] > 0
    by_name = looking.show(path, num_rows=1, model=str(tiny("llama")))
    assert by_name.numbers["examples"][0]["tokens"] > 0


def test_a_run_whose_model_is_not_here_is_shown_in_plain_words(write: Callable, prepared: Callable) -> None:
    path = write("rows.jsonl", ROWS)
    _, run = prepared(sources=[path], format="labels")
    values = {"name": run.name, "data": {"sources": [path]}, "model": "/no/such/model"}
    storage.write_json(run.path("recipe.given.yaml"), values)
    report = looking.show(run.folder, num_rows=2)
    assert "shown_plain" in [finding.name for finding in report.findings]
    assert report.numbers["examples"][0]["pieces"][0]["text"] == "user: "
    with pytest.raises(NotThere):
        looking.show(run.folder, num_rows=2, model="/no/such/model")


def test_two_versions_that_begin_alike_ask_for_more(tmp_path: Path) -> None:
    for name, content in (("a", "abcd1" + "0" * 59), ("b", "abcd2" + "0" * 59)):
        run = Run(tmp_path / name)
        storage.write_json(run.folder / "run.json", {})
        storage.write_text(run.path("data", "train.jsonl"), "")
        values = {"content": content, "created": "2026-01-01T00:00:00+00:00", "rows": {"train": 0}}
        storage.write_json(run.path("data", "version.json"), values)
    with pytest.raises(DataError, match="begins several versions"):
        versions.find("abcd", runs=tmp_path)
    assert versions.find("abcd2", runs=tmp_path).name == "b"
