"""The serving benchmark asks so many at once, keeps the order, and tells of memory and answers what was measured."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The benchmark's modules, which are scripts beside each other."""
    sys.path.insert(0, str(FOLDER))
    import page
    import serving
    import serving_load

    yield SimpleNamespace(page=page, serving=serving, load=serving_load)
    sys.path.remove(str(FOLDER))


def test_so_many_are_asked_at_once_and_answers_keep_their_order(bench: SimpleNamespace) -> None:
    open_: list[int] = []
    most = 0

    async def ask(number: int) -> int:
        nonlocal most
        open_.append(number)
        most = max(most, len(open_))
        for _ in range(10 - number):  # later ones are answered sooner
            await asyncio.sleep(0)
        open_.remove(number)
        return number

    found: Any = asyncio.run(bench.load.together([partial(ask, number) for number in range(10)], at_once=4))
    assert found == list(range(10)) and most == 4


def test_memory_that_grows_steadily_is_told_by_the_hour(bench: SimpleNamespace) -> None:
    memory = [(5.0 * n, (100 + (50 if n < 3 else 0) + n) * 2**20) for n in range(20)]  # one MiB in five seconds
    told = bench.serving.growth(memory)
    assert told["memory_mib_an_hour"] == pytest.approx(720) and told["memory_mib"] == 119


def test_quantiles_take_the_larger_neighbour(bench: SimpleNamespace) -> None:
    assert bench.serving.share([3.0, 1.0, 2.0], 0.99) == 3 and bench.serving.share([3.0, 1.0, 2.0], 0.5) == 2


def test_the_page_tells_every_figure(bench: SimpleNamespace) -> None:
    about = {"date": "2026-01-02T03:04:05", "processor": "P", "threads": 2, "versions": {"x": "1"}}
    found = {
        "machine": about,
        "chats": {
            "tokens_per_second_one": 500.0,
            "tokens_per_second_many": 2000.0,
            "times_as_fast": 4.0,
            "first_token_p50": 0.1,
            "first_token_p99": 0.2,
            "longest_gap_p99": 0.3,
        },
        "prefix": {"cold_seconds": 0.4, "shared_system_seconds": 0.06, "next_turn_seconds": 0.05},
        "no-prefix": {"cold_seconds": 0.41, "shared_system_seconds": 0.41, "next_turn_seconds": 0.42},
        "adapters": {
            "tokens_per_second_mixed": 1500.0,
            "tokens_per_second_one_adapter": 1600.0,
            "answers": 64,
            "wrong_answers": 0,
        },
    }
    text = "\n".join(bench.page.serving_lines(found))
    kept = "| nothing kept | 0.410 s | 0.410 s | 0.420 s |"
    for told in ("4.0 times", "0.200 s", kept, "1,500 tokens/s", "Of 64 answers 0"):
        assert told in text
    soak = {
        "machine": about, "minutes": 20.0, "requests_per_second": 30.0, "answered": 36000, "lost": 0, "mixed": 0,
        "versions_seen": 120, "first_token_p50": 0.1, "first_token_p99": 0.5, "memory_mib": 600.0,
        "memory_mib_an_hour": 1.5,
    }  # fmt: skip
    text = "\n".join(bench.page.soak_lines(soak))
    assert "36,000 answers (30.0 a second), 0 lost, 0 not exactly" in text and "+2 MiB an hour" in text
