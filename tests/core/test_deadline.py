"""A limit of time reaches the block it is for, and nothing else."""

from __future__ import annotations

import threading
import time

import pytest

from tunewright.core.deadline import TooLong, within


def spin(seconds: float) -> int:
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        try:
            count += 1
        except Exception:
            count -= 1
    return count


def test_what_takes_too_long_is_interrupted() -> None:
    began = time.monotonic()
    with pytest.raises(TooLong), within(0.1):
        spin(30)
    assert time.monotonic() - began < 20


def test_what_is_done_in_time_is_left_alone() -> None:
    with within(30):
        assert spin(0.01) > 0
    with pytest.raises(KeyError), within(30):
        raise KeyError


def test_only_its_own_thread_is_interrupted() -> None:
    found: list[str] = []

    def other() -> None:
        try:
            with within(0.1):
                spin(30)
        except TooLong:
            found.append("interrupted")

    thread = threading.Thread(target=other)
    thread.start()
    with within(30):
        while thread.is_alive():
            spin(0.01)
    assert found == ["interrupted"]


def test_it_never_arrives_later() -> None:
    """The time is over about when the block is: whichever comes first, nothing is left behind."""
    interrupted, takes, rounds = 0, 0.0015, 300
    for _ in range(rounds):
        try:
            with within(0.002):
                spin(takes)
            takes *= 1.05  # until it is interrupted, however late this machine's timers are
        except TooLong:
            interrupted += 1
            takes *= 0.9
        spin(0.0005)
    assert 0 < interrupted < rounds


def test_another_error_is_told_rather_than_the_time() -> None:
    for _ in range(50):
        with pytest.raises((KeyError, TooLong)), within(0.002):
            spin(0.002)
            raise KeyError
        spin(0.0005)
