"""evaluate/report.json keeps its keys: the schema takes what evaluation writes, and refuses what cannot be read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from tunewright.core.judgement import EvaluationReport, Figure, schema
from tunewright.core.report import GuardResult, Measure, Report

DOCS = Path(__file__).parents[2] / "docs" / "evaluate.md"
FIGURE = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 200}
COMPARED = {"grader": "exact", "against": "base", "difference": 0.3, "low": 0.2, "high": 0.4, "p": 0.01, "p_holm": 0.02}
REPORT = Report(
    stage="evaluate",
    run="desk",
    verdict="NEED MORE",
    reason="exact is 0.9",
    contestants={
        "tuned": {"exact": FIGURE, "seconds": 3.1, "latency_p95": None, "slices": {"hand": {"exact": FIGURE}}}
    },
    numbers={
        "rows": 200,
        "grader": "exact",
        "comparisons": [COMPARED | {"wins": 70, "losses": 10, "n": 200, "test": "mcnemar"}],
        "need": 271,
        "something_new": 1,
    },
    guards=[
        GuardResult(guard="g", question="?", measures=[Measure(name="m", value=0.3, low=0.1, high=0.5, bound=0.2)]),
    ],
)


def test_what_evaluation_writes_fits_the_schema(tmp_path: Path) -> None:
    REPORT.save(tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(written, schema())
    assert written["guards"][0]["state"] == written["guards"][0]["measures"][0]["state"] == "open"
    read = EvaluationReport.model_validate(written)
    assert read.numbers.comparisons[0].p_holm == 0.02 and read.numbers.need == 271
    assert Figure.model_validate(read.contestants["tuned"].model_extra["exact"]).low == 0.8
    assert Report.load(tmp_path) == REPORT


@pytest.mark.parametrize(
    "wrong",
    [{"stage": "train"}, {"verdict": "MAYBE"}, {"numbers": {"rows": "many"}}, {"contestants": {"a": {"seconds": "x"}}}],
)
def test_what_programs_cannot_read_is_refused(wrong: dict) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(REPORT.model_dump(mode="json") | wrong, schema())


def test_every_key_is_told_of_on_its_page() -> None:
    text = DOCS.read_text(encoding="utf-8")
    named = {
        key
        for part in schema()["$defs"].values()
        if part["title"] in ("ContestantFigures", "Compared", "Numbers", "Measure", "GuardResult", "Figure")
        for key in part["properties"]
    }
    assert not sorted(key for key in named if not re.search(rf"`[^`]*\b{key}\b[^`]*`", text))
