"""The walk through messy files: what docs/data.md says is what comes out, and what was planted is found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.stages import flow

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "messy-desk"
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
PLANTED: dict[str, int] = json.loads((FOLDER / "planted.json").read_text(encoding="utf-8"))
LOOK, MEND = re.findall(r"```bash\n(tunewright prepare .*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return flow.prepare(Recipe.load(FOLDER / "recipe.yaml"), runs=tmp_path_factory.mktemp("runs"))


def counts(report: Report) -> dict[str, int | None]:
    return {finding.name: finding.count for finding in report.findings}


def test_the_files_are_those_that_the_script_makes(tmp_path: Path) -> None:
    made = tmp_path / "examples" / "messy-desk"
    made.mkdir(parents=True)
    (made / "build.py").write_bytes((FOLDER / "build.py").read_bytes())
    (tmp_path / "examples" / "support-desk").symlink_to(FOLDER.parent / "support-desk")
    subprocess.run([sys.executable, str(made / "build.py")], check=True)
    for path in FOLDER.glob("*.[cj]s*"):
        assert (made / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_was_planted_is_found(looked: Report) -> None:
    found = counts(looked)
    for name in ("duplicates", "mojibake", "zero_width", "quarantined", "mixed_encodings", "label_spellings"):
        assert found[name] == PLANTED[name], name
    assert found["html_tags"] == found["html_entities"] == PLANTED["html"]
    assert found["normalised_twins"] == 2 * PLANTED["normalised_twins"]
    assert found["contradictions"] == 2 * PLANTED["contradictions"]
    assert (found["secrets"] or 0) >= PLANTED["secrets"]


def test_the_page_says_what_comes_out(looked: Report, tmp_path: Path) -> None:
    rows = looked.numbers["rows"]
    text = " ".join(PAGE.split())
    assert f"{rows['read']} rows are read: {rows['quarantined']} are quarantined" in text
    assert f"{rows['kept']} are kept: {rows['train']} to learn from, {rows['validation']} that watch" in text
    told = re.findall(r"`(\w+)` (\d+)", PAGE[PAGE.index("## Look") : PAGE.index("## Mend")])
    assert len(told) >= 10
    for name, count in told:
        assert counts(looked)[name] == int(count), name
    table = dict(re.findall(r"^\| (`.*?`) \| (.*) \|$", PAGE[PAGE.index("| fix |") :], re.MULTILINE))
    fixes = re.findall(r"--fix (\w+)", MEND)
    changed = [f"data.fix={json.dumps(fixes)}"]
    mended = flow.prepare(FOLDER / "recipe.yaml", changes=changed, runs=tmp_path)
    assert len(table) >= 6
    for names, cells in table.items():
        columns = [cell.split(", ") for cell in cells.split(" | ")]
        for place, name in enumerate(re.findall(r"`(\w+)`", names)):
            shown = [int(column[min(place, len(column) - 1)]) for column in columns]
            done = mended.numbers["fixes"][name]
            assert shown == [done["before"], done["dropped"], done["changed"]], name
