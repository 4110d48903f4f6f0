"""What is found of some rows under the runs: in phases, in runs that go on from others, in versions without columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages import forgetting, quarantined


def row(id: str, said: str, **meta: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": said}, {"role": "assistant", "content": "yes"}]
    return {"id": id, "messages": messages} | ({"meta": meta} if meta else {})


ADA = row("rows:2", "Ada Quill wants her money", who="ada")
OTHERS = [row("rows:1", "where is my card", who="bob"), row("rows:3", "what is the rate", who="eve")]


def made(folder: Path, *, train: list[dict[str, Any]], learned: list[str] = [], recipe: dict[str, Any] | None = None,  # noqa: B006
         earlier: list[str] = []) -> Run:  # noqa: B006 # fmt: skip
    """A run as the stages would leave it."""
    run = Run(folder)
    storage.write_json(folder / "run.json", {"name": folder.name, "state": "done"})
    for side, rows in (("train", train), ("validation", []), ("test", [])):
        storage.write_jsonl(folder / "data" / f"{side}.jsonl", rows)
    if learned or earlier:
        entry = {"step": 1, "epoch": 0, "ids": learned} | ({"earlier": earlier} if earlier else {})
        storage.write_jsonl(folder / "ledger.jsonl", [entry])
    if recipe is not None:
        storage.write_json(folder / "recipe.yaml", {"name": folder.name, "data": {"sources": ["x"]}, **recipe})
        storage.write_text(folder / "checkpoints" / "step-000001" / "state.json", "{}")
    return run


def marked(runs: Path) -> dict[str, str]:
    """Why each marked run is."""
    found = {path.parent.relative_to(runs).as_posix(): Run(path.parent) for path in runs.rglob("run.json")}
    return {name: requests[-1]["because"] for name, run in found.items() if (requests := quarantined.requests(run))}


def test_runs_that_go_on_from_weights_that_learned_the_rows_are_marked_too(tmp_path: Path) -> None:
    learned = [one["id"] for one in (ADA, *OTHERS)]
    made(tmp_path / "first", train=[ADA, *OTHERS], learned=learned, recipe={})
    made(tmp_path / "second", train=OTHERS, learned=["rows:1"], recipe={"model": {"from": str(tmp_path / "first")}})
    made(tmp_path / "third", train=OTHERS, learned=["rows:2"], recipe={"model": {"from": str(tmp_path / "second")}})
    made(tmp_path / "apart", train=OTHERS, learned=["rows:2"], recipe={})  # another row of this name
    reward = {"objective": {"kind": "grpo", "reward": [str(tmp_path / "first" / "releases" / "001")]}}
    made(tmp_path / "judged", train=OTHERS, learned=["rows:1"], recipe=reward)
    report = forgetting.forget(where="who=ada", runs=tmp_path, yes=True)
    assert marked(tmp_path) == {
        "first": "it learned from them in 1 steps",
        "second": "it goes on from first",
        "third": "it goes on from second",
        "judged": "it goes on from first",
    }
    assert report.numbers["trained"] == {"first": 1}


def test_a_phase_marks_the_whole_and_replayed_rows_count(tmp_path: Path) -> None:
    made(tmp_path / "old", train=[ADA, *OTHERS], learned=["rows:1"], recipe={})  # Ada's row was never drawn
    outer = made(tmp_path / "outer", train=OTHERS, recipe={})
    retention = {"retention": {"kind": "replay", "runs": [str(tmp_path / "old")]}}
    child = made(outer.path("children", "01-a"), train=OTHERS, learned=["rows:1"], earlier=["rows:2"], recipe=retention)
    storage.write_jsonl(child.path("data", "held_out.jsonl"), [row("test:1", "Ada Quill asks", who="ada")])
    storage.write_text(child.path("retention", "replay", "run-1", "tokens.bin"), "numbers")
    forgetting.forget(where="who=ada", runs=tmp_path, yes=True)
    assert marked(tmp_path) == {
        "outer/children/01-a": "it learned from them in 1 steps",
        "outer": "its phase 01-a learned from them",
    }
    assert list(storage.read_jsonl(child.path("data", "held_out.jsonl"))) == []
    assert not child.path("retention").exists()
    entry = next(storage.read_jsonl(child.path("ledger.jsonl")))
    assert entry["ids"] == ["rows:1"]
    assert entry["earlier"][0].startswith("forgotten:")


def test_pieces_of_a_document_are_found_in_the_ledger(tmp_path: Path) -> None:
    document = {"id": "rows:2", "text": "Ada Quill, a life", "meta": {"who": "ada"}}
    run = made(tmp_path / "a", train=[document, *OTHERS], learned=["rows:2#1", "rows:2#2", "rows:1"], recipe={})
    report = forgetting.forget(contains="Ada Quill", runs=tmp_path, yes=True)
    assert report.numbers["trained"] == {"a": 1}
    ids = next(storage.read_jsonl(run.path("ledger.jsonl")))["ids"]
    assert [id.rpartition("#")[2] for id in ids[:2]] == ["1", "2"]
    assert len({id.rpartition("#")[0] for id in ids[:2]}) == 1
    assert ids[2] == "rows:1"


def test_a_version_without_the_column_holds_the_row_too(tmp_path: Path) -> None:
    bare = {key: value for key, value in ADA.items() if key != "meta"}
    made(tmp_path / "a", train=[ADA, *OTHERS])
    made(tmp_path / "b", train=[{**bare, "id": "train:7"}, row("train:8", "Ada Quill wants her money", who="eve")])
    report = forgetting.forget(where="who=ada", runs=tmp_path, yes=True)
    assert report.numbers["by_run"] == {"a": 1, "b": 1}
    assert [one["id"] for one in storage.read_jsonl(tmp_path / "b" / "data" / "train.jsonl")] == [
        "train:8"
    ]  # Eve's own
    assert "still_mentioned" not in [finding.name for finding in report.findings]


def test_an_id_that_means_several_rows_asks_which(tmp_path: Path) -> None:
    made(tmp_path / "a", train=[ADA, *OTHERS])
    made(tmp_path / "b", train=[{**OTHERS[0], "id": "rows:2"}])
    made(tmp_path / "c", train=[{**ADA, "id": "copy:1"}])
    with pytest.raises(DataError, match="--id a/rows:2 or --id b/rows:2"):
        forgetting.forget(ids=["rows:2"], runs=tmp_path)
    assert forgetting.forget(ids=["a/rows:2"], runs=tmp_path).numbers["by_run"] == {"a": 1, "c": 1}


def test_calls_of_tools_are_looked_into(tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "find", "arguments": '{"who": "Ada Quill"}'}}
    said = [{"role": "user", "content": "find her"}, {"role": "assistant", "tool_calls": [call]}]
    made(tmp_path / "a", train=[{"id": "rows:1", "messages": said}, row("rows:2", "find \\ him")])
    report = forgetting.forget(contains="Ada Quill", runs=tmp_path, yes=True)
    assert report.numbers["rows"] == 1
    assert report.exit_code == 0


def test_rows_that_stay_and_name_the_person_are_told_of(tmp_path: Path) -> None:
    made(tmp_path / "a", train=[row("rows:1", "hello", who="Ada Quill"), row("rows:2", "I met ada quill", who="bob")])
    report = forgetting.forget(where="who=Ada Quill", runs=tmp_path)
    assert report.numbers["rows"] == 1
    assert [finding.count for finding in report.findings if finding.name == "still_mentioned"] == [1]


def test_what_is_left_in_a_file_that_is_not_ours_is_named_and_not_called_done(tmp_path: Path) -> None:
    made(tmp_path / "a", train=[ADA, *OTHERS])
    (tmp_path / "a" / "notes.txt").write_text("Ada Quill wants her money back")
    (tmp_path / "broken.json").write_text("{no json")
    report = forgetting.forget(where="who=ada", runs=tmp_path, yes=True)
    assert report.exit_code == 3
    assert report.proofs[0].measured == "1 files: a/notes.txt"
    assert [json.loads(line)["action"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()] == [
        "forget.begun", "forget.incomplete",
    ]  # fmt: skip
    (tmp_path / "a" / "notes.txt").unlink()
    assert forgetting.forget(where="who=ada", runs=tmp_path, yes=True).exit_code == 0


def test_what_a_killed_process_left_goes_too(tmp_path: Path) -> None:
    run = made(tmp_path / "a", train=OTHERS)
    left = run.path("data", ".train.jsonl.1234abcd.tmp")
    left.write_text(json.dumps(ADA))
    report = forgetting.forget(contains="Ada Quill", runs=tmp_path, yes=True)
    assert report.exit_code == 0
    assert not left.exists()


def test_a_line_that_is_no_row_stops_before_anything_is_touched(tmp_path: Path) -> None:
    run = made(tmp_path / "a", train=[ADA])
    with run.path("data", "test.jsonl").open("a") as file:
        file.write("{broken\n")
    with pytest.raises(DataError, match="no row"):
        forgetting.forget(where="who=ada", runs=tmp_path, yes=True)
    assert not (tmp_path / "audit.jsonl").exists()


@pytest.mark.parametrize("by", [{"where": "who=ada"}, {"contains": "Ada Quill"}])
def test_a_row_in_which_a_pseudonym_stands_for_the_person_goes_by_its_source_line(
    tmp_path: Path, by: dict[str, Any]
) -> None:
    source = tmp_path / "rows.jsonl"
    said = ["where is my card", "Ada Quill wants her money", "what is the rate"]
    rows = [{"text": text, "who": who} for text, who in zip(said, ("bob", "ada", "eve"), strict=True)]
    storage.write_jsonl(source, rows)
    scrubbed = row("rows:2", "Mary Bell wants her money", who="person-1")
    run = made(tmp_path / "runs" / "a", train=[scrubbed, *OTHERS], learned=["rows:2"], recipe={})
    numbers = {"fingerprint": {str(source): storage.sha256(source)}}
    Report(stage="prepare", run="a", numbers=numbers).save(run.path("prepare"))
    made(tmp_path / "runs" / "b", train=[row("rows:2", "another file of this name", who="x")])
    report = forgetting.forget(**by, runs=tmp_path / "runs", yes=True, also_sources=True)
    assert report.numbers["by_run"] == {"a": 1}
    assert marked(tmp_path / "runs") == {"a": "it learned from them in 1 steps"}
    assert [one["id"] for one in storage.read_jsonl(run.path("data", "train.jsonl"))] == ["rows:1", "rows:3"]
    assert source.read_text().count("Ada") == 0
    assert report.numbers["changed_sources"] == {str(source): 1}


def test_a_source_that_changed_since_ties_no_rows(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    storage.write_jsonl(source, [{"text": "Ada Quill wants her money", "who": "ada"}])
    run = made(tmp_path / "runs" / "a", train=[row("rows:1", "the first line was another then", who="bob")])
    Report(stage="prepare", run="a", numbers={"fingerprint": {str(source): "0" * 64}}).save(run.path("prepare"))
    report = forgetting.forget(where="who=ada", runs=tmp_path / "runs")
    assert report.numbers["rows"] == 0
    assert [one["lines"] for one in report.numbers["sources"]] == [[1]]


BOB = '{"text": "bob", "label": "y"}'


@pytest.mark.parametrize(
    ("name", "content", "kept"),
    [
        ("a.jsonl", f'{{"text": "Ada Quill", "label": "x"}}\n{BOB}\n', f"\n{BOB}\n"),
        ("a.csv", 'text,label\n"Ada\nQuill",x\nbob,y\nAda Quill,z', "text,label\n\n\nbob,y\n"),
        ("a.csv", "text,label\r\nAda Quill,x\r\nbob,y\r\n", "text,label\r\n\nbob,y\r\n"),
        # a JSON array under another name, old line ends, another encoding, an array: not rewritten line by line
        ("a.jsonl", '[\n{"text": "Ada Quill", "label": "x"},\n{"text": "bob", "label": "y"}\n]\n', None),
        ("a.csv", "text,label\rAda Quill,x\rbob,y\r", None),
        ("a.json", '[{"text": "Ada Quill", "label": "x"}, {"text": "bob", "label": "y"}]', None),
    ],
)  # fmt: skip
def test_lines_of_sources_are_emptied_only_where_no_other_row_changes(
    tmp_path: Path, name: str, content: str, kept: str | None
) -> None:
    from tunewright.core.recipe import Recipe
    from tunewright.stages.prepare import prepare

    path = tmp_path / name
    path.write_bytes(content.encode())
    recipe = Recipe.parse({"name": "a", "data": {"sources": [name], "format": "labels"}}, folder=tmp_path)
    run = Run.begin(recipe, runs=tmp_path / "runs")
    prepare(recipe, run).save(run.path("prepare"))
    report = forgetting.forget(contains="Ada Quill", runs=tmp_path / "runs", yes=True, also_sources=True)
    assert path.read_bytes() == (content if kept is None else kept).encode()
    assert list(report.numbers["changed_sources"]) == ([] if kept is None else [str(path)])
    assert [finding.name for finding in report.findings].count("in_sources") == (kept is None)
    assert [example.messages[0].content for side in ("train", "validation", "test") for example in run.split(side)] == [
        "bob"
    ]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_picture_of_a_row_goes_unless_a_row_that_stays_shows_it(tmp_path: Path) -> None:
    def showing(one: dict[str, Any], *names: str) -> dict[str, Any]:
        media = [{"kind": "image", "path": str((tmp_path / "a" / "data" / "media" / name).resolve())} for name in names]
        return {**one, "messages": [{**one["messages"][0], "media": media}, *one["messages"][1:]]}

    run = made(tmp_path / "a", train=[showing(ADA, "hers.png", "both.png"), showing(OTHERS[0], "both.png"), OTHERS[1]])
    for name in ("hers.png", "both.png"):
        storage.write_bytes(run.path("data", "media", name), b"picture")
    forgetting.forget(where="who=ada", runs=tmp_path, yes=True)
    assert [path.name for path in run.path("data", "media").iterdir()] == ["both.png"]
