"""Made rows come to the training side alone, whatever way they take, and nothing near to a measuring row gets there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError, NotThere, RecipeError
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data.overlap import Near
from tunewright.stages import more_rows
from tunewright.stages.prepare import prepare

WHAT = ["card", "phone", "parcel", "ticket", "invoice", "contract", "payment", "transfer"]
HOW = ["Where is my {}? It should be here, I think.", "I can't find the {} that my father sent to Oslo.", "Stop my {}."]
HOW += ["How long does a {} usually take to arrive?", "Why was the {} refused twice this week?"]
Rows = list[dict[str, Any]]


def rows_of(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Forty different rows of eight labels."""
    path = tmp_path / "rows.jsonl"
    found = [{"text": how.format(what), "label": what, "channel": "mail"} for how in HOW for what in WHAT]
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return path


@pytest.fixture
def prepared(tmp_path: Path, rows: Path) -> Callable[..., tuple[Report, Run]]:
    """Prepare with the given data options in a run of its own."""
    count = 0

    def prepared(**data: Any) -> tuple[Report, Run]:
        nonlocal count
        count += 1
        values = {"name": f"run-{count}", "data": {"sources": [str(rows)], **data}}
        run = Run.begin(Recipe.parse(values, folder=tmp_path), runs=tmp_path / "runs")
        return prepare(Recipe.parse(values, folder=tmp_path), run), run

    return prepared


def side(run: Run, name: str) -> Rows:
    return rows_of(run.path("data", f"{name}.jsonl"))


def made_of(run: Run) -> Rows:
    return [row for row in side(run, "train") if "made" in row.get("meta", {})]


def test_rows_are_made_from_training_rows_alone(prepared: Callable) -> None:
    plain, before = prepared()
    report, run = prepared(augment={"edits": ["typos", "casing"], "per_row": 2})
    for name in ("validation", "test"):
        assert side(run, name) == side(before, name)
    own, made = side(before, "train"), made_of(run)
    assert side(run, "train")[: len(own)] == own
    assert {row["meta"]["made"]["from"] for row in made} <= {row["id"] for row in own}
    numbers = report.numbers["augment"]
    assert numbers["rows_before"] == len(own) == plain.numbers["rows"]["train"]
    assert numbers["made"] == len(made) == sum(numbers["by_edit"].values())
    assert numbers["made"] + sum(numbers["thrown_away"].values()) + numbers["unchanged"] == 2 * len(own)
    assert report.numbers["training_rows"] == len(own) + len(made)
    assert {"typos", "casing"} == set(numbers["by_edit"])
    by_id = {row["id"]: row for row in own}
    for row in made:
        origin = by_id[row["meta"]["made"]["from"]]
        assert row["label"] == origin["label"]
        assert row["messages"][-1] == origin["messages"][-1]
        assert row["meta"]["channel"] == "mail"
    finding = next(one for one in report.findings if one.name == "augmented")
    assert finding.count == len(made)


def test_no_made_row_is_near_to_a_row_that_measures(prepared: Callable, rows: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.jsonl"
    near = [{"text": "Where is my card? It should be here, i thinkk.", "label": "card"}]
    test.write_text("".join(json.dumps(row) + "\n" for row in near))
    report, run = prepared(test=str(test), augment={"edits": ["typos"], "per_row": 5})
    texts = [row["messages"][0]["content"] for name in ("test", "validation") for row in side(run, name)]
    measured = Near(texts, threshold=0.8)
    assert [row for row in made_of(run) if list(measured.of(row["messages"][0]["content"]))] == []
    assert report.numbers["augment"]["thrown_away"]["near_test"] >= 1
    told = next(one for one in report.findings if one.name == "made_rows_thrown_away")
    assert told.count == sum(report.numbers["augment"]["thrown_away"].values())


def test_the_same_seed_makes_the_same_rows_and_more_rows_change_none(prepared: Callable, rows: Path) -> None:
    options = {"edits": ["typos", "dropout", "order"], "per_row": 2}
    _, first = prepared(augment=options)
    _, again = prepared(augment=options)
    _, other = prepared(augment=options | {"seed": 1})
    before = {row["id"]: row for row in made_of(first)}
    assert made_of(again) == list(before.values())
    assert made_of(other) != list(before.values())
    with rows.open("a", encoding="utf-8") as file:
        file.writelines(
            json.dumps({"text": f"Entirely other words {n} of it", "label": "card"}) + "\n" for n in range(9)
        )
    _, grown = prepared(augment=options)
    after = {row["id"]: row for row in made_of(grown)}
    both = before.keys() & after.keys()
    assert len(both) >= 0.9 * len(before)
    assert all(before[id] == after[id] for id in both)


def test_labels_are_balanced_as_far_as_rows_go(prepared: Callable, rows: Path) -> None:
    few = [row for row in rows_of(rows) if row["label"] not in ("card", "phone")]
    few += [row for row in rows_of(rows) if row["label"] in ("card", "phone")][::3]
    rows.write_text("".join(json.dumps(row) + "\n" for row in few))
    edits = ["typos", "casing", "punctuation", "dropout"]
    share = {"split": {"train": 1, "validation": 0, "test": 0}}
    report, run = prepared(augment={"edits": edits, "balance": "largest"}, **share)
    counts = Counter(row["label"] for row in side(run, "train"))
    assert set(counts.values()) == {5}
    assert report.numbers["augment"]["smallest_label"]["after"] == 5
    report, run = prepared(augment={"edits": ["casing"], "balance": 50}, **share)
    told = next(one for one in report.findings if one.name == "balance_not_reached")
    assert told.count == 8
    with pytest.raises(DataError, match="no training row has a label"):
        prepared(augment={"edits": ["casing"], "balance": 5}, format="completion",
                 fields={"prompt": "text", "completion": "label"})  # fmt: skip


def test_a_share_of_the_rows_gives_one_row_each(prepared: Callable) -> None:
    _, run = prepared(augment={"edits": ["typos"], "share": 0.4})
    made = made_of(run)
    assert 0 < len(made) < 0.7 * (len(side(run, "train")) - len(made))
    assert max(Counter(row["meta"]["made"]["from"] for row in made).values()) == 1


def test_a_file_of_made_rows_comes_back_through_more(prepared: Callable, tmp_path: Path) -> None:
    _, run = prepared()
    out = tmp_path / "more.jsonl"
    report = more_rows.augment(run.folder, out, {"edits": ["typos"]}, runs=tmp_path / "runs")
    assert report.numbers["made"] == len(rows_of(out)) > 20
    again, grown = prepared(more=[str(out)])
    assert again.numbers["more"] == {
        "rows_read": len(rows_of(out)), "rows_quarantined": 0, "rows_dropped": 0, "rows_kept": len(rows_of(out)),
        "made": len(rows_of(out)),
    }  # fmt: skip
    assert made_of(grown) == rows_of(out)
    assert side(grown, "test") == side(run, "test")


def test_rows_made_from_a_row_that_measures_now_are_thrown_away(prepared: Callable, tmp_path: Path) -> None:
    _, run = prepared()
    out = tmp_path / "more.jsonl"
    more_rows.augment(run.folder, out, {"edits": ["dropout", "order"], "per_row": 2}, runs=tmp_path / "runs")
    report, other = prepared(more=[str(out)], split={"seed": 5})
    held = {row["id"] for name in ("test", "validation") for row in side(other, name)}
    origins = [row["meta"]["made"]["from"] for row in rows_of(out)]
    assert any(origin in held for origin in origins)
    kept = [row["meta"]["made"]["from"] for row in made_of(other)]
    assert not held & set(kept)
    assert report.numbers["more"]["rows_dropped"] >= sum(origin in held for origin in origins)


def test_made_rows_are_refused_where_rows_are_split(prepared: Callable, tmp_path: Path, rows: Path) -> None:
    out = tmp_path / "more.jsonl"
    more_rows.augment(rows, out, {"edits": ["typos"]}, runs=tmp_path / "runs")
    with pytest.raises(DataError, match=r"was made by tunewright.*data\.more"):
        prepared(sources=[str(rows), str(out)])
    with pytest.raises(DataError, match="was made by tunewright"):
        prepared(test=str(out))


def test_rows_of_another_origin_come_to_the_training_side_alone(prepared: Callable, tmp_path: Path, rows: Path) -> None:
    other = tmp_path / "other.csv"
    lines = ["text,label", "Something else about a visa,card", "Something else about a visa.,card", ",card"]
    _, run = prepared()
    lines.append(f'"{side(run, "test")[0]["messages"][0]["content"]}",card')
    other.write_text("\n".join(lines) + "\n")
    report, run = prepared(more=[str(other)], max_bad=0.5)
    assert report.numbers["more"] | {"made": 0} == {
        "rows_read": 4, "rows_quarantined": 1, "rows_dropped": 1, "rows_kept": 2, "made": 0
    }  # fmt: skip
    assert [row["id"] for row in side(run, "train")][-2:] == ["other:2", "other:3"]
    assert [(row["from"], row["line"]) for row in rows_of(run.path("data", "quarantine.jsonl"))] == [("more", 4)]


def test_rows_that_come_in_later_are_scrubbed_too(prepared: Callable, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    rows = [{"text": "Call me back at jane.doe@company.org about a visa", "label": "card"}]
    other.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "", "label": "jane.doe@company.org"}]))
    report, run = prepared(
        more=[str(other)], max_bad=0.6, scrub={"types": ["EMAIL_ADDRESS"]}, augment={"edits": ["order"]}
    )
    assert report.numbers["more"]["rows_kept"] == 1
    for file in run.folder.rglob("*"):
        assert not file.is_file() or b"jane.doe" not in file.read_bytes(), file


def test_rows_of_a_private_run_are_made_and_stay_encrypted(tmp_path: Path, rows: Path) -> None:
    from tunewright.privacy import vault
    from tunewright.stages import flow

    vault.new_key(tmp_path / "desk.key")
    data = {"sources": [str(rows)], "augment": {"edits": ["casing"]}}
    values = {"name": "desk", "data": data, "privacy": {"vault": {"key": str(tmp_path / "desk.key")}}}
    report = flow.prepare(Recipe.parse(values, folder=tmp_path), runs=tmp_path / "runs")
    run = Run.open("desk", runs=tmp_path / "runs")
    examples = list(run.split("train"))
    assert len(examples) == report.numbers["training_rows"]
    assert sum("made" in example.meta for example in examples) == report.numbers["augment"]["made"] > 0
    texts = [example.messages[0].content.encode() for example in examples]
    for file in run.folder.rglob("*"):
        assert not file.is_file() or not any(text in file.read_bytes() for text in texts), file


def test_a_version_tells_of_the_rows_that_came_in(prepared: Callable) -> None:
    report, run = prepared(augment={"edits": ["casing"]})
    step = json.loads(run.path("data", "version.json").read_text())["steps"][-1]
    assert step["what"] == "more rows"
    assert step["after"] == {"train": report.numbers["training_rows"]}
    assert step["after"]["train"] - step["before"]["train"] == report.numbers["augment"]["made"]


def test_of_a_file_the_test_rows_may_be_named(tmp_path: Path, rows: Path) -> None:
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps({"text": HOW[0].format("card").upper(), "label": "card"}) + "\n")
    out = tmp_path / "out.jsonl"
    report = more_rows.augment(rows, out, {"edits": ["punctuation"]}, test=[str(test)])
    assert report.numbers["thrown_away"]["of_held_out"] + report.numbers["thrown_away"].get("near_test", 0) == 1
    assert "no_test_rows_given" not in {finding.name for finding in report.findings}
    report = more_rows.augment(rows, tmp_path / "out2.jsonl", {"edits": ["punctuation"]})
    assert "no_test_rows_given" in {finding.name for finding in report.findings}


@pytest.mark.parametrize(
    ("values", "out", "error", "told"),
    [
        ({"edits": ["typoes"]}, "o.jsonl", RecipeError, "Did you mean 'typos'"),
        ({"edits": ["typos"], "per_row": 1, "share": 0.5}, "o.jsonl", RecipeError, "one of per_row, share and balance"),
        ({"edits": ["typos"], "balance": "all"}, "o.jsonl", RecipeError, "balance: must be 'largest'"),
        ({"edits": []}, "o.jsonl", RecipeError, "edits"),
        ({"edits": ["typos"]}, "o.csv", DataError, "ends in .jsonl"),
        ({"edits": ["typos"]}, "rows.jsonl", DataError, "there already"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, rows: Path, values: dict[str, Any], out: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        more_rows.augment(rows, tmp_path / out, values)


def test_a_source_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="no run and no file"):
        more_rows.augment("nowhere", tmp_path / "o.jsonl", {"edits": ["typos"]}, runs=tmp_path)


def test_a_model_rewords_rows_once_and_is_asked_nothing_twice(
    prepared: Callable, model_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "sk-secret")
    model_server.answer = lambda body: f"put differently: {body['messages'][-1]['content'].lower()[::-1]}"
    endpoint = {"url": model_server.url, "model": "tiny", "key": "env:A_KEY"}
    report, run = prepared(augment={"edits": ["paraphrase"], "endpoint": endpoint})
    asked = len(model_server.asked)
    assert asked == report.numbers["augment"]["asked"] == report.numbers["augment"]["rows_before"]
    assert all(row["messages"][0]["content"].startswith("put differently: ") for row in made_of(run))
    assert made_of(run)[0]["meta"]["made"]["model"] == "tiny"
    prepare(Recipe.parse({"name": run.name, "data": {"sources": [str(tmp_path / "rows.jsonl")], "augment": {
        "edits": ["paraphrase"], "endpoint": endpoint}}}, folder=tmp_path), run)  # fmt: skip
    assert len(model_server.asked) == asked
    for file in run.folder.rglob("*"):
        assert not file.is_file() or b"sk-secret" not in file.read_bytes()


def test_back_translation_asks_twice_in_turn(model_server: Any, tmp_path: Path, rows: Path) -> None:
    model_server.answer = lambda body: f"{body['messages'][-1]['content']} ja"
    endpoint = {"url": model_server.url, "model": "tiny"}
    out = tmp_path / "o.jsonl"
    report = more_rows.augment(
        rows, out, {"edits": [{"kind": "back_translation", "through": ["German"]}], "share": 0.2, "endpoint": endpoint}
    )
    made = rows_of(out)
    assert report.numbers["asked"] == 2 * len(made) > 0
    assert all(row["messages"][0]["content"].endswith(" ja ja") for row in made)
    assert {"German" in body["messages"][0]["content"] for body in model_server.asked} == {True, False}


def test_checks_name_what_a_recipe_lacks(tmp_path: Path, rows: Path) -> None:
    from tunewright.core import checks

    data = {"sources": [str(rows)], "more": ["none.jsonl"], "augment": {"edits": ["paraphrase", "typoes"]}}
    problems = checks.problems(Recipe.parse({"name": "r", "data": data}, folder=tmp_path))
    assert any("data.more: there is no" in problem for problem in problems)
    assert any("'paraphrase' asks a model, and none is named" in problem for problem in problems)
    assert any("Unknown edit 'typoes'" in problem for problem in problems)
