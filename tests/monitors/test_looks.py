"""From traffic to a report: of a file or of a workspace, beside rows or earlier traffic; alarms, looks and the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_traffic import PLANTS, drawn
from sqlalchemy import select

import tunewright as tw
from tunewright.core import storage
from tunewright.core.errors import DataError, NotThere, RecipeError
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.core.traffic import Exchanged
from tunewright.stages import monitor_card, monitor_scene, page, traffic_file
from tunewright.workspace import traffic as logged
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Delivery


def written(rows: list[Exchanged], path: Path, **more: Any) -> Path:
    """A file of requests and responses, as a gateway logs them."""
    lines = [
        {
            "id": one.id,
            "created": one.created,
            "seconds": one.seconds,
            "request": {"model": "shop", "messages": one.messages},
            "response": {
                "choices": [{
                    "message": {"role": "assistant", "content": one.answer},
                    "finish_reason": one.finish,
                    "logprobs": {"content": [{"token": one.answer, "logprob": float(np.log(one.confidence or 1))}]},
                }],
                "usage": {"prompt_tokens": one.prompt_tokens, "completion_tokens": one.completion_tokens},
            },
        }
        | more
        for one in rows
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def look(run: Run, traffic: Path, *changes: str, **options: Any) -> Report:
    return tw.monitor("shop", traffic=traffic, workspace=run.folder.parents[1], changes=list(changes), **options)


def test_traffic_as_it_was_tested_is_a_go(run: Run, tmp_path: Path) -> None:
    report = look(run, written(drawn(250), tmp_path / "t.jsonl"))
    assert (report.verdict, report.exit_code) == ("GO", 0)
    assert report.numbers["requests"] == 250
    assert report.numbers["alarms"] == []
    assert {figure["name"] for figure in report.numbers["monitors"]["drift"]["figures"]} >= {"labels", "novelty"}
    assert run.report("monitor") == report
    assert "nothing stands out" in run.path("report.html").read_text()


def test_a_new_topic_is_an_alarm_that_names_its_requests(run: Run, tmp_path: Path) -> None:
    report = look(run, written(drawn(250, plant=PLANTS["topic"], share=0.3), tmp_path / "t.jsonl"))
    assert (report.verdict, report.exit_code) == ("NO-GO", 3)
    assert "drift: novelty" in report.numbers["alarms"]
    finding = next(finding for finding in report.findings if finding.name == "drift: novelty")
    assert finding.severity == "problem" and finding.examples and finding.examples[0].startswith("c")
    kept = storage.read_json(run.path("monitor", "report.json"))
    assert "tomato" not in json.dumps(kept), "texts of users stay where they are sealed"


def test_little_traffic_needs_more(run: Run, tmp_path: Path) -> None:
    report = look(run, written(drawn(10), tmp_path / "t.jsonl"), "monitor.monitors=[drift, quality]")
    assert (report.verdict, report.exit_code) == ("NEED MORE", 4)
    assert "too few" in (report.reason or "")
    assert report.numbers["need"] > 10


def test_a_reference_without_rows_is_said_to_be_what_lacks(run: Run, tmp_path: Path) -> None:
    late = [replace(one, created=one.created + 7200) for one in drawn(60, seed=2)]
    traffic = written([*drawn(5), *late], tmp_path / "t.jsonl")
    report = look(run, traffic, "monitor.monitors=[drift]", "monitor.reference=traffic", "monitor.first=1h")
    assert report.verdict == "NEED MORE" and "what 60 requests are compared with has fewer" in (report.reason or "")
    assert "monitor.reference" in (report.findings[0].remedy or "")


def test_the_first_traffic_can_be_the_reference(run: Run, tmp_path: Path) -> None:
    """Traffic that never was like the test rows is no drift, what changes later is."""
    early = drawn(300, plant=PLANTS["topic"], share=0.5)
    late = drawn(250, plant=PLANTS["topic"], share=0.5, seed=2)
    changed = drawn(250, plant=PLANTS["labels"], share=0.6, seed=3)
    file = written([*early, *[replace(one, created=one.created + 7200) for one in late]], tmp_path / "a.jsonl")
    same = ("monitor.reference=traffic", "monitor.first=1h")
    report = look(run, file, *same)
    assert (report.verdict, report.numbers["requests"]) == ("GO", 250)
    file = written([*early, *[replace(one, created=one.created + 7200) for one in changed]], tmp_path / "b.jsonl")
    assert "drift: labels" in look(run, file, *same).numbers["alarms"]
    assert look(run, file).verdict == "NO-GO"


def test_training_rows_can_be_the_reference_of_questions(run: Run, tmp_path: Path) -> None:
    file = written(drawn(250), tmp_path / "t.jsonl")
    recipe = run.recipe().changed("monitor", reference="train")
    rows, failed = traffic_file.read(file)
    scene = monitor_scene.scene(recipe, run, run.path("releases", "001"), rows)
    assert failed == 0
    assert [one.id for one in scene.inputs[:2]] == ["l0", "l1"]
    assert [one.id for one in scene.held_out[:2]] == ["t0", "t1"]
    assert look(run, file, "monitor.reference=train").verdict == "GO"


def test_every_look_is_a_point_of_the_page(run: Run, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        look(run, written(drawn(100, seed=seed), tmp_path / "t.jsonl"))
    found = monitor_card.card(run)
    assert found is not None and found.num_looks == 3
    labels = next(row for row in found.rows if row.name == "drift: labels")
    assert labels.path.count("L") == 2
    assert "<h2>Traffic</h2>" in page.render(run)


def test_the_example_of_the_page_works() -> None:
    text = (Path(__file__).parents[2] / "docs" / "monitor.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, "docs/monitor.md", "exec"), {})


# --- files ---


def test_a_file_tells_confidence_feedback_and_failures(tmp_path: Path) -> None:
    path = written(drawn(2), tmp_path / "t.jsonl", thumb="down", correction="refund")
    with path.open("a") as file:
        file.write(json.dumps({"request": {"messages": []}, "error": {"message": "timeout"}}) + "\n")
    rows, failed = traffic_file.read(path)
    assert (len(rows), failed) == (2, 1)
    assert rows[0].confidence == pytest.approx(drawn(1)[0].confidence)
    assert (rows[0].thumb, rows[0].correction, rows[0].prompt_tokens) == ("down", "refund", 40)


@pytest.mark.parametrize("line", ['{"text": "hello"}', "no json", "[1]"])
def test_a_file_of_something_else_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.jsonl").write_text(f"{line}\n")
    with pytest.raises(DataError, match=r"t\.jsonl:1 is no logged request"):
        traffic_file.read(tmp_path / "t.jsonl")


def test_wrong_windows_and_places_are_told(run: Run, tmp_path: Path) -> None:
    file = written(drawn(5), tmp_path / "t.jsonl")
    with pytest.raises(RecipeError, match="neither a span"):
        look(run, file, since="yesterday")
    with pytest.raises(RecipeError, match="since lies after until"):
        look(run, file, since="2026-01-02", until="2026-01-01")
    with pytest.raises(RecipeError, match=r"monitor.looks"):
        look(run, file, "monitor.looks=0")
    with pytest.raises(NotThere, match="is no workspace"):
        tw.monitor("shop", workspace=tmp_path)
    with pytest.raises(NotThere, match="There is no file"):
        look(run, tmp_path / "gone.jsonl")


# --- the workspace ---


def test_logged_traffic_is_looked_at_under_every_name_of_the_release(run: Run, place: Workspace) -> None:
    rows = drawn(250, plant=PLANTS["topic"], share=0.3)
    rows = [replace(one, release="ft:nano:local:shop:1") if n % 2 else one for n, one in enumerate(rows)]
    other = replace(rows[0], id="other", release="else:001")
    logged.write(place, [logged.Entry(one) for one in [*rows, other]])
    window = {"since": 1.7e9, "until": 1.7e9 + 1000, "workspace": place.folder}
    report = tw.monitor("ft:nano:local:shop:1", **window)
    assert report.numbers["requests"] == 250
    assert report.verdict == "NO-GO"
    tw.monitor("shop", **window)
    with place.database.reading() as session:
        events = session.scalars(select(Delivery)).all()
    assert len(events) == 1, "the same alarm of the same window is told once"
    assert events[0].body["type"] == "monitor.alarm"
    assert events[0].body["data"]["models"] == ["ft:nano:local:shop:1"]
    assert "tomato" not in json.dumps(events[0].body)


def test_rows_are_scrubbed_as_the_traffic_was(run: Run, place: Workspace) -> None:
    """Names that logging took out of questions must not look like a change of their wording."""
    from tunewright.stages.monitor import cleaning

    clean = cleaning(place)
    assert "ada@lovelace-engines.co.uk" not in clean("Write to ada@lovelace-engines.co.uk please")
    scene = monitor_scene.scene(run.recipe(), run, run.path("releases", "001"), [], clean=lambda text: "clean")
    assert {one.question for one in scene.held_out} == set(scene.training) == {"clean"}
