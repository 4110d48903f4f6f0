"""The probe measures this machine, once, quickly."""

from __future__ import annotations

import ctypes
import os
import time

import psutil
import pytest

from tunewright.models import hardware


def test_probe_measures_a_plausible_machine_in_about_a_second() -> None:
    hardware.probe.cache_clear()
    started = time.monotonic()
    found = hardware.probe()
    assert time.monotonic() - started < 5
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.memory_bytes > 2**28
    assert 0.5 < found.gflops["float32"] < 1e6
    assert found.training_bytes == (found.gpu_bytes if found.gpu_name else found.memory_bytes)


def test_probe_is_kept_for_the_process() -> None:
    assert hardware.probe() is hardware.probe()


def test_bfloat16_is_best_only_where_it_is_clearly_faster() -> None:
    found = hardware.probe()
    faster = found.gflops.get("bfloat16", 0.0) > hardware.CLEARLY_FASTER * found.gflops["float32"]
    assert found.best_dtype == ("bfloat16" if faster else "float32")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc keeps what was freed")
def test_what_was_freed_in_pieces_is_given_back() -> None:
    blocks = [bytes(60_000) + b"x" for _ in range(2_000)]  # too small to be the system's at once
    kept = blocks[::50]
    del blocks
    before = psutil.Process().memory_info().rss
    hardware.give_back_memory()
    assert psutil.Process().memory_info().rss < before - 50e6 and kept
