"""Help answers at once, loads nothing heavy, and begins with an example."""

from __future__ import annotations

import json
import pkgutil
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tunewright.cli import COMMANDS, alias, data, keys, migrate

Call = Callable[..., Any]  # of conftest: a command line, how it ended
GROUPS = {"alias": alias, "data": data, "keys": keys, "migrate": migrate}
GROUPED = [f"{name} {module.name}" for name, group in GROUPS.items() for module in pkgutil.iter_modules(group.__path__)]

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "datasets",
    "polars",
    "sklearn",
    "scipy",
    "numpy",
    "fastapi",
    "pydantic",
    "rich",
)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, json\n"
        "sys.argv = ['tunewright', '--help']\n"
        "from tunewright.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr))
    assert "typer" in loaded
    assert not loaded & set(HEAVY)


def test_help_answers_in_half_a_second() -> None:
    seconds = []
    for _ in range(4):  # processor time, the least of a few: a busy machine is not our doing
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "tunewright.cli", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5


def test_check_and_init_load_no_torch() -> None:
    code = (
        "import sys\n"
        "from tunewright.stages import flow, starting\n"
        "from tunewright.cli import printing, progress\n"
        "starting.listing()\n"
        "assert not {'torch', 'transformers', 'polars'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [*(name for name in COMMANDS if name not in GROUPS), *GROUPED])
def test_every_command_begins_its_help_with_an_example_and_has_json(name: str, call: Call) -> None:
    text = call(*name.split(), "--help").out
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert lines[0].startswith(f"Usage: tunewright {name}")
    assert lines[1].startswith(f"tunewright {name}")
    assert "--json" in text
