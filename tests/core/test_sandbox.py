"""Source of others runs apart: what it says comes back, and it cannot run, grow or stay longer than it may."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
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


@pytest.mark.parametrize("leaving", ["", "os.setsid(); "])
def test_what_it_began_ends_with_it(leaving: str) -> None:
    if leaving and sys.platform != "linux":
        pytest.skip("only Linux ends processes that left their group")
    ran = sandbox.run(
        f"import os, time\nif os.fork() == 0:\n    {leaving}time.sleep(60)\nprint(os.getcwd(), flush=True)"
    )
    deadline = time.monotonic() + 5
    while _at_work(ran.stdout.strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _at_work(ran.stdout.strip())


def _at_work(folder: str) -> list[str]:
    """Processes whose working folder this is, or was."""
    assert folder.startswith("/")
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith(folder):
                found.append(link.parent.name)
    return found


def test_a_program_that_reads_nothing_gets_much_to_read() -> None:
    assert sandbox.run("print(1)", stdin="x" * 5_000_000).stdout == "1\n"


linux = pytest.mark.skipif(sys.platform != "linux", reason="namespaces and Landlock are Linux's")


@linux
def test_a_fork_bomb_is_held_small_and_leaves_nobody() -> None:
    ran = sandbox.run(
        "import os, time\n"
        "number = 0\n"
        "try:\n"
        "    while True:\n"
        "        if os.fork() == 0:\n"
        "            os.setsid(); time.sleep(60)\n"
        "        number += 1\n"
        "except OSError:\n"
        "    print(number, os.getcwd())\n"
    )
    number, folder = ran.stdout.split()
    assert int(number) <= sandbox.confined.MOST_PROCESSES
    assert not _at_work(folder)


@linux
def test_it_writes_and_reads_nothing_of_others(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame")
    os.chmod(tmp_path, 0o777)
    ran = sandbox.run(
        "import pathlib\n"
        f"there = pathlib.Path({str(tmp_path)!r})\n"
        "for act in (lambda: (there / 'secret').read_text(), lambda: (there / 'new').write_text('x'),\n"
        "            lambda: (there / 'secret').unlink(), lambda: list(there.iterdir())):\n"
        "    try:\n"
        "        act(); print('could')\n"
        "    except PermissionError:\n"
        "        print('could not')\n"
    )
    assert ran.stdout.split("\n")[:4] == ["could not"] * 4, ran.stderr
    assert (tmp_path / "secret").read_text() == "sesame"


@linux
def test_the_environment_of_other_processes_stays_hidden() -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"SECRET_KEY": "sesame"})
    try:
        ran = sandbox.run(
            "import glob\n"
            "for path in glob.glob('/proc/[0-9]*/environ'):\n"
            "    try:\n"
            "        print('sesame' in open(path).read())\n"
            "    except OSError:\n"
            "        pass\n"
            "print('looked')\n"
        )
    finally:
        other.communicate(b"\n")
    assert ran.stdout == "looked\n"


@linux
def test_there_is_no_network() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    with server:
        ran = sandbox.run(
            f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=2)"
        )
    assert ran.status == "failed"


@linux
def test_its_parents_cannot_be_killed_by_it() -> None:
    ran = sandbox.run("import os\nos.kill(os.getppid(), 9)\nprint('alive')\nos.kill(-1, 9)")
    assert ran.stdout == "alive\n"


def test_a_file_grows_to_its_limit_only() -> None:
    ran = sandbox.run("open('big', 'wb').write(b'0' * (3 << 20))", files=2)
    assert "File too large" in ran.why or ran.why == "ended without a word"


def test_a_flood_of_output_is_cut_and_hinders_nobody() -> None:
    ran = sandbox.run("import sys\nfor _ in range(40): sys.stdout.write('x' * (1 << 20))", seconds=20)
    assert ran.status == "done" and len(ran.stdout) == sandbox.MOST_SAID
