"""Exit codes, errors for people, and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import Refused, RunBusy, Stopped
from tunewright.core.report import ProofResult, Report
from tunewright.stages import flow

Call = Callable[..., Any]  # the fixture of conftest.py
BROKEN = ProofResult(name="merge", claim="merged == base + adapter", measured=0.5, bound=1e-5, holds=False)


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report(stage="run", run="x", verdict="GO"), 0),
        (Report(stage="run", run="x"), 0),
        (Report(stage="run", run="x", verdict="NO-GO", reason="too low"), 3),
        (Report(stage="run", run="x", verdict="NEED MORE", reason="120 more"), 4),
        (Report(stage="run", run="x", verdict="GO", proofs=[BROKEN]), 3),
    ],
)
def test_the_verdict_is_the_exit_code(
    call: Call, recipe: Path, monkeypatch: pytest.MonkeyPatch, report: Report, code: int
) -> None:
    monkeypatch.setattr(flow, "run", lambda *_, **__: report)
    assert call("run", str(recipe)).code == code
    assert call("run", str(recipe), "--json").code == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Stopped("Stopped; the same command goes on."), 75),
        (Refused("No GO."), 3),
        (RunBusy("Process 7 works on it."), 2),
    ],
)
def test_an_error_tells_its_message_without_a_traceback(
    call: Call, recipe: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*_: Any, **__: Any) -> Report:
        raise error

    monkeypatch.setattr(flow, "train", fail)
    ended = call("train", str(recipe), "--json")
    assert ended.code == code
    assert ended.out == ""
    assert str(error) in ended.err
    assert "Traceback" not in ended.err


def test_a_bug_shows_its_traceback_and_ends_with_1(call: Call, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "train", lambda *_, **__: 1 / 0)
    ended = call("train", str(recipe))
    assert ended.code == 1
    assert "ZeroDivisionError" in ended.err
    assert "bug in tunewright" in ended.err


def test_a_full_disk_is_no_bug(call: Call, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Report:
        raise OSError(28, "No space left on device", "runs/x/run.json")

    monkeypatch.setattr(flow, "train", fail)
    ended = call("train", str(recipe))
    assert ended.code == 2
    assert "runs/x/run.json: No space left on device" in ended.err


def test_options_reach_the_flow(call: Call, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def remember(source: Path, **options: Any) -> Report:
        seen.update(options, source=source)
        return Report(stage="deploy", run="x")

    monkeypatch.setattr(flow, "deploy", remember)
    words = ["--set", "train.lr=1e-3", "--set", "model=nano", "--runs", "elsewhere", "--fresh", "--override", "a trial"]
    assert call("deploy", str(recipe), *words).code == 0
    assert seen["changes"] == ["train.lr=1e-3", "model=nano"]
    assert (seen["source"], seen["runs"]) == (recipe, Path("elsewhere"))
    assert (seen["fresh"], seen["override"]) == (True, "a trial")


def test_json_stays_pure_when_a_library_prints(call: Call, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chatty(*_: Any, listeners: Any, **__: Any) -> Report:
        print("a library says hello")
        for listener in listeners:
            listener({"event": "stage_begins", "stage": "prepare"})
        return Report(stage="prepare", run="x")

    monkeypatch.setattr(flow, "prepare", chatty)
    ended = call("prepare", str(recipe), "--json")
    assert json.loads(ended.out)["stage"] == "prepare"
    assert "a library says hello" in ended.err


def test_a_mistyped_key_names_the_nearest(call: Call, recipe: Path) -> None:
    ended = call("check", str(recipe), "--set", "trian.lr=1")
    assert ended.code == 2
    assert "Unknown key in the recipe 'trian'. Did you mean 'train'?" in ended.err
    assert ended.out == ""


def test_several_problems_come_as_a_list(call: Call, recipe: Path) -> None:
    ended = call("check", str(recipe), "--set", "train.lr=-1", "--set", "train.bacth=8", "--json")
    assert ended.code == 2
    assert "2 problems" in ended.err
    assert "train.lr" in ended.err and "Did you mean 'batch'?" in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    "arguments", [["run"], ["evalute", "x"], ["train", "x", "--epochs", "3"], ["train", "none.yaml"]]
)
def test_wrong_usage_ends_with_2(call: Call, arguments: list[str]) -> None:
    ended = call(*arguments)
    assert ended.code == 2
    assert ended.err and "Traceback" not in ended.err


@pytest.mark.parametrize(
    "arguments", [["prove", "desk"], ["show", "desk"], ["chat", "desk", "--say", "hi"], ["serve", "desk"]]
)
def test_a_run_that_is_not_there_is_named(call: Call, arguments: list[str]) -> None:
    ended = call(*arguments)
    assert ended.code == 2
    assert "There is no run 'desk'" in ended.err


def test_check_prints_the_recipe_with_reasons(call: Call, recipe: Path) -> None:
    ended = call("check", str(recipe))
    assert ended.code == 0
    assert "schedule: cosine  # default: how the learning rate falls" in ended.out
    assert f"tunewright run {recipe}" in ended.out
    numbers = json.loads(call("check", str(recipe), "--json").out)["numbers"]
    assert numbers["recipe"]["name"] == "tickets"


def test_schema_is_json(call: Call) -> None:
    assert "method" in json.loads(call("schema").out)["properties"]


def test_version(call: Call) -> None:
    from tunewright import __version__

    assert call("--version").out.strip() == __version__
