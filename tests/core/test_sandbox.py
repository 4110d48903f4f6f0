"""Source of others runs apart: what it says comes back, and it cannot run, grow or stay longer than it may."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tunewright.core import sandbox


def test_what_a_program_says_comes_back() -> None:
    ran = sandbox.run(
        "import sys\nprint(sys.stdin.read().upper())\nprint('so', file=sys.stderr)", stdin="gr\u00fc\u00df"
    )
    assert (ran.stdout.strip(), ran.stderr.strip(), ran.status, ran.why) == ("GR\u00dcSS", "so", "done", "")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise ValueError('no such row')", "ValueError: no such row"),
        ("import sys; sys.exit('as it should not be')", "as it should not be"),
        ("x = (", "SyntaxError"),
        ("print(len(bytearray(1 << 31)))", "MemoryError"),
    ],
)
def test_a_program_that_fails_says_why(source: str, why: str) -> None:
    ran = sandbox.run(source, memory=256)
    assert ran.status == "failed"
    assert why in ran.why


@pytest.mark.parametrize("source", ["while True: pass", "import time; time.sleep(60)", "while True: print('x' * 9999)"])
def test_a_program_without_end_is_stopped(source: str) -> None:
    started = time.monotonic()
    ran = sandbox.run(source, seconds=0.6)
    assert ran.status == "late"
    assert time.monotonic() - started < 10
    assert len(ran.stdout) <= sandbox.MOST_SAID


def test_its_home_is_empty_its_own_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "sesame")
    ran = sandbox.run(
        "import os\nprint(os.getcwd(), os.path.expanduser('~'), os.listdir(), os.environ.get('SECRET_KEY'))\n"
        "open('left', 'w').write('here')"
    )
    assert ran.status == "done", ran.stderr
    folder, home, rest = ran.stdout.strip().split(" ", 2)
    assert folder == home and rest == "[] None"
    assert not Path(folder).exists()


def test_what_it_began_ends_with_it() -> None:
    ran = sandbox.run(
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)"
    )
    child = int(ran.stdout)
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(child)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_program_that_reads_nothing_gets_much_to_read() -> None:
    assert sandbox.run("print(1)", stdin="x" * 5_000_000).stdout == "1\n"
