"""The commands that list, show, compare, export and forget data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]  # of conftest: a command line, how it ended
ROWS = [{"text": f"where is parcel {n}", "label": ("late", "lost")[n % 2], "who": f"c-{n % 5}"} for n in range(30)]


@pytest.fixture
def prepared(call: Call, tmp_path: Path) -> Path:
    """A run 'parcels' with 30 rows, of five customers; one row would colour the terminal."""
    rows = [*ROWS, {"text": "\x1b[31mred\x1b[0m parcel", "label": "late", "who": "c-9"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = "name: parcels\ndata: {sources: [rows.jsonl], format: labels}\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    (tmp_path / "other.yaml").write_text(recipe.replace("parcels", "other").replace("labels}", "labels, limit: 20}"))
    for name in ("recipe", "other"):
        assert call("prepare", f"{name}.yaml").code == 0
    return tmp_path


def test_list_shows_each_version_once(call: Call, prepared: Path) -> None:
    told = call("data", "list")
    assert told.code == 0
    assert told.out.count("from rows.jsonl (sha256 ") == 2
    versions = json.loads(call("data", "list", "--json").out)["numbers"]["versions"]
    assert [sum(row["rows"].values()) for row in versions] == [31, 20]
    assert versions[0]["id"] in told.out


def test_show_is_a_card_with_random_rows_in_which_nothing_moves_the_terminal(call: Call, prepared: Path) -> None:
    told = call("data", "show", "rows.jsonl", "--rows", "31")
    assert "31 read" in told.out
    assert "31 random rows" in told.out
    assert "\x1b[31m" not in told.out
    assert "\\u001b[31mred" in told.out
    report = json.loads(call("data", "show", "parcels", "--rows", "3", "--json").out)
    assert len(report["numbers"]["examples"]) == 3
    assert (
        report["numbers"]["version"]["id"]
        == json.loads(call("data", "list", "--json").out)["numbers"]["versions"][0]["id"]
    )
    newest = json.loads(call("data", "show", "--rows", "1", "--json").out)
    assert newest["run"] == "other"
    assert call("data", "show", "nothing").code == 2


def test_diff_counts_what_came_and_went(call: Call, prepared: Path) -> None:
    rows = json.loads(call("data", "diff", "other", "parcels", "--json").out)["numbers"]["rows"]
    assert rows == {"same": 20, "moved": 0, "changed": 0, "reworded": 0, "removed": 0, "added": 11}
    assert "11 added" in call("data", "diff", "other", "parcels").out


def test_export_writes_what_can_be_prepared_again(call: Call, prepared: Path) -> None:
    told = call("data", "export", "parcels", "--to", "shared", "--format", "csv")
    assert told.code == 0
    assert "format: labels" in told.out
    assert call("data", "export", "parcels", "--to", "shared", "--format", "csv").code == 2
    report = json.loads(call("data", "diff", "parcels", "shared", "--json").out)
    assert report["numbers"]["rows"] == {
        "same": 31, "moved": 0, "changed": 0, "reworded": 0, "removed": 0, "added": 0,
    }  # fmt: skip
    assert call("data", "export", "parcels", "--to", "x", "--format", "exel", "--json").code == 2


def test_forget_tells_first_and_then_does_it(call: Call, prepared: Path) -> None:
    told = call("data", "forget", "--where", "who=c-3")
    assert told.code == 0
    assert "10 rows would go" in told.out
    assert call("data", "audit").code == 2
    report = json.loads(call("data", "forget", "--where", "who=c-3", "--yes", "--sources", "--json").out)
    assert report["numbers"]["rows"] == 10
    assert report["numbers"]["changed_sources"] == {str(prepared / "rows.jsonl"): 6}
    for path in (prepared / "runs").rglob("*"):
        assert not path.is_file() or b'"c-3"' not in path.read_bytes(), path
    assert (prepared / "rows.jsonl").read_text().count("\n") == 31
    head = report["numbers"]["head"]
    assert call("data", "audit", "--head", head).code == 0
    log = prepared / "runs" / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"rows": 10', b'"rows": 01', 1))
    broken = call("data", "audit", "--head", head)
    assert broken.code == 3
    assert "record 1" in broken.out
