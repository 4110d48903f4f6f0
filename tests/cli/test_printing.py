"""Reports fit 80 columns and read without colour; the progress line tells what goes on."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tunewright.cli import printing
from tunewright.cli.progress import Progress, State, duration
from tunewright.core.report import Finding, GuardResult, Measure, ProofResult, Report
from tunewright.stages.showing import Piece, ShownRow

FIGURE = {"value": 0.9123, "low": 0.871, "high": 0.943, "n": 230}
WORSE = {"value": 0.4, "low": 0.3, "high": 0.5, "n": 230}
REPORT = Report(
    stage="run",
    run="desk",
    verdict="GO",
    reason="intent is 0.912, at least 0.871 with 95 % confidence; 0.8 was asked for and base and few_shot are beaten.",
    numbers={"prepare": {"rows": {"read": 1500, "kept": 1480, "quarantined": 20, "duplicates": 0, "train": 1250}}},
    findings=[
        Finding(name="b", severity="info", message="All rows share one system message."),
        Finding(name="a", severity="problem", message="Something is quite wrong. " * 6, count=12, remedy="Mend it."),
    ],
    proofs=[ProofResult(name="merge", claim="merged == base + adapter", measured=1.2e-6, bound=1e-4, holds=True)],
    contestants={
        "tuned": {"intent": FIGURE, "seconds": 3.2, "slices": {"hand": {"intent": FIGURE}}},
        "base": {"intent": WORSE, "seconds": 3.1, "slices": {"hand": {"intent": WORSE}}},
        "few_shot": {"intent": WORSE, "seconds": 130.0, "slices": {"hand": {"intent": WORSE}}},
    },
    next="tunewright chat runs/desk",
)


def _printed(report: Report, *, color: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=color, color_system="truecolor" if color else None)
    printing.print_report(report, console=console)
    return file.getvalue()


def test_a_report_fits_80_columns_and_needs_no_colour() -> None:
    text = _printed(REPORT)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    for words in ("GO  intent is 0.912", "0.912 0.871-0.943", "hand (n 230)", "problem: ", "all hold", "1,480 kept"):
        assert words in text
    assert text.index("problem:") < text.index("info:")
    assert text.rstrip().endswith("next      tunewright chat runs/desk")


def test_many_contestants_stand_below_each_other() -> None:
    graders = ["intent", "a_longer_name", "form", "rouge"]
    costs = {"seconds": 3.2, "latency_p95": 0.25, "cost_per_1000": 1.5}
    names = ["tuned", "base", "tuned-with-examples", "few_shot", "big-model"]
    own = dict.fromkeys(graders, WORSE) | costs
    everyone = {name: own | {"slices": {"hand": dict.fromkeys(graders, WORSE)}} for name in names}
    everyone["big-model"] = {"intent": FIGURE, "seconds": 2.0}
    text = _printed(REPORT.model_copy(update={"contestants": everyone}))
    assert max(map(len, text.splitlines())) <= 80
    assert "\u2026" not in text
    for words in (*graders, *names, "0.912 0.871-0.943", "0.25 s", "95 of 100 within", "cost of 1,000"):
        assert words in text


@pytest.mark.parametrize(
    ("stage", "numbers", "line"),
    [
        ("init", {"recipe": "a.yaml", "template": "labels"}, "wrote a.yaml, the starter 'labels'"),
        (
            "init",
            {"recipe": "a.yaml", "template": "chat", "format": "sharegpt"},
            "wrote a.yaml, the starter 'chat'; the data has the format sharegpt",
        ),
        (
            "answer",
            {"rows": 1200, "answered": 1199, "problems": 1, "out": "b.csv", "release": "desk:001", "seconds": 3.2},
            "desk:001 answered 1,199 of 1,200 rows in 3.2 s: b.csv",
        ),
        (
            "deploy",
            {"release": "001", "folder": "runs/d/releases/001", "formats": {"adapter": 790_000, "merged": 19_400_000}},
            "release 001 in runs/d/releases/001: adapter 0.8 MB, merged 19.4 MB",
        ),
    ],
)
def test_what_was_written_is_told_in_a_line(stage: str, numbers: dict[str, object], line: str) -> None:
    assert list(printing.stage_lines(stage, numbers)) == [line]


def test_what_became_of_the_rows_is_a_sum() -> None:
    rows = {"read": 1500, "kept": 1470, "quarantined": 20, "duplicates": 0, "twins_dropped": 10, "not_selected": 0}
    rows |= {"train": 1250, "validation": 120, "test": 100}
    assert list(printing.stage_lines("prepare", {"format": "labels", "rows": rows, "labels": {"a": {}}})) == [
        "1,500 rows of labels - 20 quarantined - 10 twins of rows that measure = 1,470 kept",
        "1,250 train + 120 validation + 100 test; 1 labels",
    ]


def test_after_preparing_fixes_are_commands_and_rows_are_shown(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "[b] " * 200}, {"role": "assistant", "content": "card\nlost"}]}
    lines = "".join(json.dumps(row | {"id": f"rows:{number}"}) + "\n" for number in range(9))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(lines)
    findings = [
        Finding(name="small", message="A trifle."),
        Finding(name="twins", severity="warning", message="Twins.", fix="leave the later ones out" * 4),
    ]
    file = io.StringIO()
    report = Report(stage="prepare", run="r", findings=findings)
    printing.print_report(report, folder=tmp_path, console=Console(file=file, width=80))
    text = file.getvalue()
    assert text.index("warning: Twins.") < text.index("info: A trifle.")
    command = f"    tunewright prepare {tmp_path} --fix twins --runs {tmp_path.parent}  # leave the later"
    assert command in text  # in one line, to be copied
    assert text.count("[[card") == 5
    assert "[b] [b]" in text and "..." in text


def test_starters_stand_below_each_other() -> None:
    file = io.StringIO()
    printing.print_starters({"labels": "Sorts. " * 15, "instruction": "Many."}, console=Console(file=file, width=80))
    first, second, third = file.getvalue().splitlines()
    assert first.startswith("labels       Sorts.") and second.startswith("             Sorts.")
    assert third.rstrip() == "instruction  Many."


def test_a_verdict_has_its_colour() -> None:
    assert "\x1b[1;32mGO" in _printed(REPORT, color=True)
    assert "\x1b[1;31mNO-GO" in _printed(REPORT.model_copy(update={"verdict": "NO-GO"}), color=True)


def test_a_broken_proof_is_spelled_out() -> None:
    broken = ProofResult(name="bos", claim="exactly one BOS", measured="2 in row 7", bound="1", holds=False)
    text = _printed(REPORT.model_copy(update={"proofs": [*REPORT.proofs, broken]}))
    assert "BROKEN" in text and "exactly one BOS" in text and "2 in row 7" in text


def test_words_of_users_are_not_markup() -> None:
    finding = Finding(name="x", message="label [red] and [/nothing] stay as they are")
    assert "label [red] and [/nothing]" in _printed(REPORT.model_copy(update={"findings": [finding]}))


def test_learned_text_is_marked_without_colour() -> None:
    file = io.StringIO()
    row = ShownRow("rows:1", [Piece("<|user|>hi [b]<|end|>", False, 5), Piece("hello<|end|>", True, 2)])
    printing.print_rows([row], console=Console(file=file, width=80))
    assert "rows:1  7 tokens, 2 learned" in file.getvalue()
    assert "<|user|>hi [b]<|end|>[[hello<|end|>]]" in file.getvalue()


def _told(events: list[dict[str, object]]) -> str:
    file = io.StringIO()
    with Progress(Console(file=file, width=80)) as progress:
        for event in events:
            progress(event)
    return file.getvalue()


def test_progress_tells_stages_and_warnings_in_plain_lines() -> None:
    text = _told(
        [
            {"event": "stage_kept", "stage": "prepare"},
            {"event": "stage_begins", "stage": "train"},
            {"event": "step", "step": 1, "total": 9, "loss": 1.0, "lr": 1e-3, "tokens": 100, "seconds": 0.1},
            {"event": "validation", "step": 1, "loss": 0.9, "best": True},
            {"event": "alarm", "step": 4, "what": "validation loss rises"},
            {"event": "proof", "name": "bos"},
            {"event": "stage_done", "stage": "train", "verdict": None, "seconds": 75.0},
        ]
    )
    assert text.splitlines() == [
        "prepare   done before, kept",
        "train ...",
        "alarm: step 4: validation loss rises",
        "train     done in 75 s",
    ]


def test_time_left_counts_from_where_a_resumed_loop_began() -> None:
    state = State("train", done=60, total=100, began=0.0, began_at=50, loss=0.5, lr=1e-3, speed=1234.0)
    assert state.left(20.0) == pytest.approx(80.0)
    assert state.words(20.0) == "60/100  loss 0.500  1,234 tokens/s  lr 1.0e-03  80 s left"
    state.best = 0.45
    assert state.words(20.0).startswith("60/100  loss 0.500  best validation loss 0.450  1,234")


def test_the_first_step_already_tells_a_time_left() -> None:
    progress = Progress(Console(file=io.StringIO(), width=80))
    progress({"event": "step", "step": 1, "total": 11, "loss": 1.0, "lr": 1e-3, "tokens": 100, "seconds": 2.0})
    assert progress.state is not None
    assert progress.state.left(progress.state.began + 2.0) == pytest.approx(20.0)


def test_durations_read_at_a_glance() -> None:
    assert [duration(s) for s in (0.25, 3.21, 42.4, 130, 7300)] == ["0.25 s", "3.2 s", "42 s", "2 min", "2 h 02 min"]


def test_guards_tell_their_figures_and_which_of_them_gate() -> None:
    held = Measure(name="lost accuracy", value=0.02, low=-0.01, high=0.05, base=0.4, tuned=0.38, bound=0.1)
    leaking = Measure(name="secrets said", value=1.0, bound=0.0)
    told = Measure(name="nats lost", value=0.3, low=0.2, high=0.4)
    guards = [
        GuardResult(guard="forgetting", question="What was lost?", measures=[held]),
        GuardResult(guard="memorisation", question="What leaks?", measures=[leaking]),
        GuardResult(guard="robustness", question="What breaks it?", measures=[told]),
    ]
    whole = _printed(Report(stage="evaluate", run="desk", guards=guards))
    assert "BROKEN" in whole and "nats lost" in whole and "at most 0.1" in whole
    brief = _printed(Report(stage="run", run="desk", guards=guards))
    assert "nats lost" not in brief and "without a bound: robustness" in brief
