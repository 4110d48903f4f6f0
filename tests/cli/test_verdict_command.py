"""The verdict for programs: printed alone, with its exit code; and the schema of what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import typer

from tunewright.cli import schema, show
from tunewright.core import storage
from tunewright.core.errors import NotThere
from tunewright.core.report import Report, Verdict
from tunewright.core.run import Run


@pytest.mark.parametrize(("verdict", "code"), [("GO", 0), ("NO-GO", 3), ("NEED MORE", 4)])
def test_the_verdict_alone_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verdict: Verdict, code: int
) -> None:
    run = Run(tmp_path / "desk")
    storage.write_json(run.path("run.json"), {"name": "desk", "state": "done"})
    with pytest.raises(NotThere, match="has not been evaluated"):
        show.show("desk", verdict=True, runs=tmp_path)
    Report(stage="evaluate", run="desk", verdict=verdict, reason="so", numbers={"rows": 3}).save(run.path("evaluate"))
    with pytest.raises(typer.Exit) as ended:
        show.show("desk", verdict=True, runs=tmp_path, as_json=True)
    assert ended.value.exit_code == code
    printed = json.loads(capsys.readouterr().out)
    schema.schema(report=True)
    jsonschema.validate(printed, json.loads(capsys.readouterr().out))
    assert printed["verdict"] == verdict
    schema.schema()
    assert "evaluate" in json.loads(capsys.readouterr().out)["properties"]
