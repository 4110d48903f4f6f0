"""What a model says is shown and written, and never obeyed by a terminal or a spreadsheet."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunewright.cli import chat
from tunewright.stages.answer_files import Writer

EVIL = "a\x1b[2J\x1b]0;title\x07b\x9b31m\rc\n\td"


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, terminal: bool) -> str:
    given = SimpleNamespace(text=EVIL, finish="stop", escalate=None)
    speaker: Any = SimpleNamespace(answer=lambda *_, **__: [given], shares=lambda _: [])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    chat._answer(speaker, [], False)
    return capsys.readouterr().out


def test_a_terminal_is_sent_no_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(monkeypatch, capsys, terminal=True)
    assert not set(shown) & set("\x1b\x07\x9b\r") and shown.endswith("c\n\td\n")


def test_a_pipe_gets_the_answer_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(monkeypatch, capsys, terminal=False) == EVIL + "\n"


def test_cells_of_answers_are_no_formulas_and_stay_so_when_the_file_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "answered.csv"
    texts = ["=cmd|'/c calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=1", "plain", "'quoted'"]
    for _ in range(3):  # taken up again
        writer = Writer(out, columns=["=ask", "answer"], about={})
        begun = writer.begin()
        for text in texts[begun:]:
            writer.add({"=ask": text, "answer": text})
            writer.flush()
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert [row[1] for row in rows] == ["answer", *("'" + text for text in texts[:7]), *texts[7:]]
    assert rows[0][0] == "'=ask" and all(row[0] == row[1] for row in rows[1:])
