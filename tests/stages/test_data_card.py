"""The data card: where rows went, which rows a finding names, how it is mended, and rows as the model will see them."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, Place, Report
from tunewright.core.run import Run
from tunewright.stages import data_card, flowing, page, preview, remedies
from tunewright.stages.prepare import prepare

SIDES = [("train", 700), ("validation", 150), ("test", 140)]


def desk(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Run:
    """A prepared run with its report saved."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {"name": "desk", "data": {"sources": ["rows.jsonl"]}} | options
    recipe = Recipe.parse(values, folder=folder)
    run = Run.begin(recipe, runs=folder / "runs")
    storage.write_text(run.path("recipe.given.yaml"), recipe.to_yaml({}))
    prepare(recipe, run).save(run.path("prepare"))
    return run


def said(*turns: str) -> dict[str, Any]:
    roles = itertools.cycle(("user", "assistant"))
    return {"messages": [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]}


def asked(num: int) -> list[dict[str, Any]]:
    return [said(f"What is {n} times seven?", f"{n * 7}") for n in range(num)]


def test_streams_are_as_thick_as_their_rows_and_end_where_they_should() -> None:
    found = flowing.funnel(1000, [("quarantined", "quarantined", 4), ("exact copies", "duplicates", 6)], SIDES)
    assert found is not None
    assert (found.num_read, found.num_kept) == (1000, 990)
    heights = [one.node[1] for one in found.sides]
    assert heights[0] / heights[1] == pytest.approx(700 / 150, rel=0.02)
    assert sum(heights) == pytest.approx(found.kept[1], abs=0.2)
    assert found.kept[1] + 2 * flowing.LEAST == pytest.approx(found.read)  # both drops are thin, yet seen
    tops = [one.node[0] for one in found.sides]
    assert [round(b - a) for a, b in itertools.pairwise(tops)] == [
        round(height + flowing.GAP) for height in heights[:-1]
    ]
    assert [one.at for one in found.drops] == [25.0, 75.0]


@pytest.mark.parametrize("num", [0, 1, 5])
def test_every_point_lies_inside_the_figure(num: int) -> None:
    drops = [(f"kind {n}", "fixed", 10**n) for n in range(num)]
    for sides in (SIDES, [("train", 1_000_000), ("validation", 1), ("test", 1)], [("test", 3)]):
        kept = sum(n for _, n in sides)
        found = flowing.funnel(kept + sum(n for *_, n in drops), drops, sides)
        assert found is not None
        for path in [one.path for one in (*found.drops, *found.sides)]:
            values = [float(value) for value in re.findall(r"-?\d+(?:\.\d+)?", path)]
            assert min(values) >= 0 and max(values) <= flowing.BOX
        labels = [one.at for one in found.sides]
        assert all(b - a >= 14.9 for a, b in itertools.pairwise(labels)) and labels[-1] <= 100


def test_no_rows_make_no_figure() -> None:
    assert flowing.funnel(0, [], SIDES) is None
    assert flowing.funnel(5, [("quarantined", "quarantined", 5)], [("train", 0)]) is None


def test_every_row_that_was_read_is_in_the_figure(tmp_path: Path) -> None:
    run = desk(tmp_path, [*asked(60), *asked(4), {"messages": []}])
    card = data_card.data_card(run.report("prepare"), run)
    assert card is not None and card.funnel is not None
    assert {one.kind: one.num for one in card.funnel.drops} == {"quarantined": 1, "duplicates": 4}
    assert sum(one.num for one in (*card.funnel.drops, *card.funnel.sides)) == card.funnel.num_read == 65
    [(file, counts)] = card.sources
    assert file.endswith("rows.jsonl") and counts["rows_kept"] == 60


def test_places_are_told_by_file() -> None:
    found = [Place(source="a/train.jsonl", line=line) for line in (3, 17)] + [Place(source="b.csv", line=4)]
    assert data_card.places(found, 3) == "train.jsonl: 3, 17; b.csv: 4"
    assert data_card.places(found * 4, 120) == "train.jsonl: 3, 17; b.csv: 4; train.jsonl: 3, 17; b.csv: 4 and 114 more"
    assert data_card.places([], 9) == ""


def test_a_fix_is_offered_with_those_that_were_applied_before(tmp_path: Path) -> None:
    options = {"data": {"sources": ["rows.jsonl"], "fix": ["near_twins"]}}
    run = desk(tmp_path, asked(60), **options)
    twins, other = (Finding(name=name, message="", fix="leave out") for name in ("near_twins", "contradictions"))
    assert remedies.fix_command(run, twins) is None
    wanted = f"tunewright prepare {run.folder} --fix near_twins --fix contradictions --runs {tmp_path / 'runs'}"
    assert remedies.fix_command(run, other) == wanted
    assert remedies.fix_command(run, Finding(name="several_answers", message="")) is None
    run.update(recipe="my desk.yaml")
    assert "prepare 'my desk.yaml' --fix" in str(remedies.fix_command(run, other))


def test_the_same_rows_are_drawn_again_and_learned_turns_are_told(tmp_path: Path) -> None:
    run = desk(tmp_path, asked(60))
    rows = preview.drawn(run)
    assert len({row.id for row in rows}) == preview.NUM_ROWS and rows == preview.drawn(run)
    assert preview.drawn(run, 5) == rows[:5]
    assert [(one.role, one.learned) for one in rows[0].stretches] == [("user", False), ("assistant", True)]
    assert not any(row.in_template for row in rows)
    text = page.render(run)
    assert text.count('class="drawn"') == preview.NUM_ROWS and "15 more rows" in text


def test_what_is_not_learned_is_not_coloured(tmp_path: Path) -> None:
    rows = [said("Hi", "Hm?", f"card {n}", "A" * 5000) for n in range(30)]
    for row in rows:
        row["messages"][1]["weight"] = 0
    run = desk(tmp_path, rows)
    stretches = preview.drawn(run, 1)[0].stretches
    assert [one.learned for one in stretches] == [False, False, False, True]
    assert stretches[3].num_left_out == 3800 and len(stretches[3].text) < 1300


def test_a_worse_answer_and_a_prompt_alone_are_never_learned(tmp_path: Path) -> None:
    pairs = [{"prompt": f"Say {n}", "chosen": f"{n}!", "rejected": "No."} for n in range(30)]
    run = desk(tmp_path, pairs, objective="dpo")
    told = [(one.role, one.learned) for one in preview.drawn(run, 1)[0].stretches]
    assert told == [("user", False), ("assistant", True), ("rejected", False)]


def test_tokens_are_shown_of_rows_that_are_still_the_same(tmp_path: Path) -> None:
    from tunewright.models.opening import open_chat

    run = desk(tmp_path, asked(60))
    recipe = Recipe.load(run.path("recipe.given.yaml"))
    preview.write(recipe, run, open_chat(recipe.model))
    row = preview.drawn(run, 1)[0]
    assert row.in_template and 0 < row.num_learned < row.num_tokens
    learned = "".join(one.text for one in row.stretches if one.learned)
    assert re.fullmatch(r"\d+<\|im_end\|>", learned)
    changed = run.path("data", "train.jsonl").read_text().replace("times seven", "times eight")
    run.path("data", "train.jsonl").write_text(changed)
    assert not preview.drawn(run, 1)[0].in_template


def test_a_broken_file_of_rows_leaves_the_page_standing(tmp_path: Path) -> None:
    run = desk(tmp_path, asked(30))
    run.path("data", "train.jsonl").write_text('{"id": 3}\n{"x"\n')
    assert preview.drawn(run) == []
    assert "</html>" in page.render(run)


def test_languages_are_shares_of_what_was_looked_at() -> None:
    figures = {"rows_looked_at": 90, "prompt": {"en": 0.9, "de": 0.1}, "answer": {"en": 3, "fr": 1}}
    report = Report(stage="prepare", run="r", numbers={"languages": figures})
    card = data_card.data_card(report)
    assert card is not None
    shown = [("en (prompt)", 0.9), ("en (answer)", 0.75), ("fr (answer)", 0.25), ("de (prompt)", 0.1)]
    assert card.languages == [(name, pytest.approx(share)) for name, share in shown]


def test_tokens_are_told_as_soon_as_they_are_known() -> None:
    tokens = {"rows": {"median": 40, "max": 1200}, "learned_share": 0.25}
    prepared = Report(stage="prepare", run="r", numbers={"tokens": tokens})
    card = data_card.data_card(prepared)
    assert card is not None and dict(card.facts)["tokens in a row"] == "40, at most 1,200"
    chosen = Report(stage="choose", run="r", numbers={"lengths": {"median": 41, "longest": 900}, "seconds": 12.0})
    card = data_card.data_card(prepared, chosen=chosen)
    assert card is not None and dict(card.facts)["tokens in a row"] == "41, at most 900"
    assert dict(card.facts)["expected training time"] == "12 s"


def test_findings_stand_worst_first_and_remarks_apart() -> None:
    found = [
        Finding(name="a", message="small", count=1),
        Finding(name="b", message="bad", severity="problem"),
        Finding(name="c", message="few", severity="warning", count=2),
        Finding(name="d", message="many", severity="warning", count=20),
    ]
    card = data_card.data_card(Report(stage="prepare", run="r", numbers={}, findings=found))
    assert card is not None
    assert [one.finding.name for one in card.faults] == ["b", "d", "c"]
    assert [one.finding.name for one in card.remarks] == ["a"]
