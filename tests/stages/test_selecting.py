"""Rows are chosen from a file, a run or inside prepare; each is written as it was, and every row has one fate."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tunewright as tw
from tunewright.core import storage
from tunewright.core.errors import DataError, NotThere, RecipeError
from tunewright.core.run import Run
from tunewright.stages import selecting

LABELS = ("card", "fees", "access")
FORMS = {"card": "my card {} was lost in {}", "fees": "which fees do {} and {} cost", "access": "no access to {} at {}"}


def rows(count: int, word: str = "word") -> list[dict[str, Any]]:
    found = []
    for number in range(count):
        label = LABELS[number % 3]
        text = FORMS[label].format(f"{word}{number}", f"{word}{number % 7}")
        found.append({"text": text, "label": label, "customer": number % 11})
    return found


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    def write(**data: Any) -> Path:
        storage.write_jsonl(tmp_path / "rows.jsonl", rows(120))
        values = {"name": "desk", "data": {"sources": ["rows.jsonl"], **data.pop("data", {})}, **data}
        storage.write_json(tmp_path / "recipe.json", values)
        return tmp_path / "recipe.json"

    return write


def choose(source: Any, out: Path, **values: Any) -> Any:
    options = {key: values.pop(key) for key in ("best", "by", "diverse", "balance", "like", "prefer") if key in values}
    return selecting.select(source, selecting.options(**options), out=out, **values)


def test_rows_of_a_file_stay_as_they_were_in_their_order(tmp_path: Path) -> None:
    storage.write_jsonl(tmp_path / "rows.jsonl", [*rows(60), {"text": ""}])
    out, rest = tmp_path / "best.jsonl", tmp_path / "rest.jsonl"
    report = choose(tmp_path / "rows.jsonl", out, rest=rest, best=20, by="length")
    kept, left = list(storage.read_jsonl(out)), list(storage.read_jsonl(rest))
    assert (len(kept), len(left)) == (20, 40)
    assert [row for row in rows(60) if row in kept] == kept, "unchanged, in order"
    assert min(len(row["text"]) for row in kept) >= max(len(row["text"]) for row in left)
    assert (report.numbers["rows"], report.numbers["unusable"], report.numbers["chosen"]) == (61, 1, 20)
    first = out.read_bytes()
    choose(tmp_path / "rows.jsonl", out, best=20, by="length")
    assert out.read_bytes() == first, "the same each time"


def test_scores_are_written_when_asked_for_and_add_up(tmp_path: Path) -> None:
    storage.write_jsonl(tmp_path / "rows.jsonl", rows(30))
    choose(tmp_path / "rows.jsonl", tmp_path / "one.jsonl", best="50%", by="length", with_scores=True)
    choose(tmp_path / "one.jsonl", tmp_path / "two.jsonl", best=5, by="density", with_scores=True)
    for row in storage.read_jsonl(tmp_path / "two.jsonl"):
        assert set(row["scores"]) == {"length", "density"} and row["scores"]["length"] == len(row["text"])


def test_of_a_recipe_training_rows_are_chosen_by_the_inputs_of_another_side(recipe: Any, tmp_path: Path) -> None:
    path, out = recipe(), tmp_path / "best.jsonl"
    report = choose(path, out, best=10, by="relevance", runs=tmp_path / "runs")
    train = {example.id: example for example in Run(tmp_path / "runs" / "desk").split("train")}
    kept = list(storage.read_jsonl(out))
    assert len(kept) == 10 and all(row == train[row["id"]].to_row() for row in kept)
    assert all("customer" in row["meta"] for row in kept)
    assert "like the inputs of validation" in report.numbers["how"]
    storage.write_jsonl(tmp_path / "like.jsonl", [{"text": "which fees do I pay", "label": "?"}] * 3)
    choose("desk", out, best=10, by="relevance", like=str(tmp_path / "like.jsonl"), runs=tmp_path / "runs")
    assert {row["label"] for row in storage.read_jsonl(out)} == {"fees"}


def test_balance_and_lost_labels_are_told(tmp_path: Path) -> None:
    uneven = [row for number, row in enumerate(rows(90)) if row["label"] != "access" or number < 6]
    storage.write_jsonl(tmp_path / "rows.jsonl", uneven)
    lost = choose(tmp_path / "rows.jsonl", tmp_path / "a.jsonl", best=10, by="length")
    assert [finding.name for finding in lost.findings] == ["labels_lost"]
    even = choose(tmp_path / "rows.jsonl", tmp_path / "b.jsonl", best=12, by="length", balance=True, diverse=0.4)
    counts = Counter(row["label"] for row in storage.read_jsonl(tmp_path / "b.jsonl"))
    assert counts == {"card": 5, "fees": 5, "access": 2} and not even.findings


def test_prepare_keeps_only_chosen_training_rows_and_counts_add_up(recipe: Any, tmp_path: Path) -> None:
    whole = tw.prepare(recipe(), runs=tmp_path / "whole").numbers["rows"]
    path = recipe(data={"select": {"best": 20, "by": "quality", "diverse": 0.3}})
    report = tw.prepare(path, runs=tmp_path / "runs")
    counts = report.numbers["rows"]
    assert counts["train"] == 20 and counts["not_selected"] == whole["train"] - 20
    assert (counts["validation"], counts["test"]) == (whole["validation"], whole["test"])
    assert counts["read"] == 120 == counts["kept"] + counts["not_selected"] + counts["duplicates"]
    told = next(finding for finding in report.findings if finding.name == "selected")
    assert told.count == counts["not_selected"] and "best by quality" in told.message
    kept = {row["id"] for row in storage.read_jsonl(tmp_path / "runs/desk/data/train.jsonl")}
    assert kept <= {row["id"] for row in storage.read_jsonl(tmp_path / "whole/desk/data/train.jsonl")}
    assert "selected" not in [finding.name for finding in tw.prepare(recipe(), runs=tmp_path / "whole").findings]


def test_perplexity_asks_the_model_that_is_named(tiny: Callable[[str], Path], recipe: Any, tmp_path: Path) -> None:
    select = {"data": {"select": {"best": 10, "by": "perplexity", "prefer": "low"}}}
    with pytest.raises(RecipeError, match="the recipe names none"):
        tw.prepare(recipe(**select), runs=tmp_path / "runs")
    base = str(tiny("llama"))
    tw.prepare(recipe(**select, model=base), runs=tmp_path / "runs")
    inside = [row["id"] for row in storage.read_jsonl(tmp_path / "runs/desk/data/train.jsonl")]
    tw.prepare(recipe(), runs=tmp_path / "whole")
    out = tmp_path / "low.jsonl"
    choose("desk", out, best=10, by="perplexity", prefer="low", model=base, runs=tmp_path / "whole", with_scores=True)
    assert [row["id"] for row in storage.read_jsonl(out)] == inside
    assert all(row["scores"]["perplexity"] > 1 for row in storage.read_jsonl(out))


def test_perplexity_is_that_of_the_answers_tokens(open_tiny: Callable[..., Any]) -> None:
    import torch

    from tunewright.core import catalog
    from tunewright.core.example import Example, Message
    from tunewright.stages import perplexity

    model = open_tiny()
    said = [Message(role="user", content="Where is my card?"), Message(role="assistant", content="On its way.")]
    example = Example(id="one", messages=said)
    row = catalog.build("objectives", "sft").encode(example, model.chat, max_tokens=200)[0]
    with torch.no_grad():
        logits = model.net(torch.tensor([row.items])).logits[0].log_softmax(-1)
    own = [float(logits[at - 1, row.items[at]]) for at, weight in enumerate(row.weights) if weight]
    found = perplexity.of_answers(model, [example, Example(id="two", messages=said[:1])])
    assert found[0] == pytest.approx(float(torch.tensor(own).mean().neg().exp()), rel=1e-4)
    assert not found[1] > 0, "nothing is said, so there is no score"
    ratio = perplexity.difficulty(model, [example])[0]
    assert not ratio >= 1


def test_the_grader_of_a_recipe_judges_the_answers(recipe: Any, tmp_path: Path) -> None:
    path = recipe(evaluate={"graders": [{"kind": "regex", "pattern": "^fees$"}, "exact"]})
    choose(path, tmp_path / "best.jsonl", best=5, by="grader", runs=tmp_path / "runs")
    assert {row["label"] for row in storage.read_jsonl(tmp_path / "best.jsonl")} == {"fees"}
    with pytest.raises(RecipeError, match="judges alone"):
        choose(tmp_path / "rows.jsonl", tmp_path / "best.jsonl", best=5, by="grader")


def test_what_cannot_be_chosen_is_told_in_a_sentence(tmp_path: Path) -> None:
    storage.write_jsonl(tmp_path / "rows.jsonl", rows(9))
    storage.write_jsonl(tmp_path / "chat.jsonl", [{"prompt": f"Say {n}", "completion": "yes"} for n in range(9)])
    file, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    for problem, source, values in (
        ("is no number of rows", file, {"best": "many"}),
        ("is no number of rows", file, {"best": 0}),
        ("Input should be 'quality'", file, {"best": 3, "by": "beauty"}),
        ("has no validation rows", file, {"best": 3, "by": "relevance"}),
        ("There is no file", file, {"best": 3, "by": "relevance", "like": "nowhere.jsonl"}),
        ("9 of 9 rows have none", tmp_path / "chat.jsonl", {"best": 3, "by": "agreement"}),
        ("balance evens out labels", tmp_path / "chat.jsonl", {"best": 3, "balance": True}),
        ("none is named", file, {"best": 3, "by": "perplexity"}),
        ("ends in .jsonl", file, {"best": 3, "out": tmp_path / "out.csv"}),
        ("There is no", tmp_path / "nowhere.jsonl", {"best": 3}),
    ):
        with pytest.raises((DataError, RecipeError, NotThere), match=problem):
            choose(source, **{"out": out, **values})
    assert not out.exists()


def test_the_command_prints_its_report_as_json(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from tunewright.cli import app

    storage.write_jsonl(tmp_path / "rows.jsonl", rows(30))
    asked = ["data", "select", str(tmp_path / "rows.jsonl"), "--best", "10%", "--by", "density", "--balance"]
    done = CliRunner().invoke(app(), [*asked, "--out", str(tmp_path / "out.jsonl"), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["numbers"]["chosen"] == 3
    assert Counter(row["label"] for row in storage.read_jsonl(tmp_path / "out.jsonl")) == dict.fromkeys(LABELS, 1)
