"""Budgets: taken before the work, corrected after it, filled evenly, and of one day."""

from __future__ import annotations

import pytest

from tunewright.core.spans import DAY_SECONDS
from tunewright.server.budgets import Budget, duration
from tunewright.server.protocol import ApiError
from tunewright.workspace.keys import Limits


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0 * DAY_SECONDS

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_requests_come_back_evenly(clock: Clock) -> None:
    budget = Budget(Limits(requests_per_minute=6), now=clock)
    for _ in range(6):
        budget.count_request()
    with pytest.raises(ApiError) as refused:
        budget.count_request()
    assert (refused.value.status, refused.value.headers["retry-after"]) == (429, "10")
    assert refused.value.body["error"]["code"] == "rate_limit_exceeded"
    clock.time += 9.9
    with pytest.raises(ApiError):
        budget.count_request()
    clock.time += 0.1
    budget.count_request()
    clock.time += 3600
    for _ in range(6):
        budget.count_request()
    with pytest.raises(ApiError):
        budget.count_request()


def test_what_was_not_needed_comes_back_once(clock: Clock) -> None:
    budget = Budget(Limits(tokens_per_minute=100, tokens_per_day=150), now=clock)
    held = budget.reserve(90)
    with pytest.raises(ApiError) as refused:
        budget.reserve(20)
    assert refused.value.headers["retry-after"] == "6"
    held.settle(30)
    held.settle(0)
    assert budget.take_unwritten() == {1000: 30}
    budget.reserve(70)
    with pytest.raises(ApiError):
        budget.reserve(1)


def test_more_than_the_limit_is_not_to_be_tried_again(clock: Clock) -> None:
    with pytest.raises(ApiError, match="needs 101") as refused:
        Budget(Limits(tokens_per_minute=100), now=clock).reserve(101)
    assert refused.value.headers == {"x-should-retry": "false"}


def test_a_day_begins_anew_at_midnight_and_settles_on_its_own_day(clock: Clock) -> None:
    budget = Budget(Limits(tokens_per_day=100), spent_today=40, now=clock)
    clock.time += DAY_SECONDS - 30
    held = budget.reserve(60)
    with pytest.raises(ApiError) as refused:
        budget.reserve(1)
    assert refused.value.headers["retry-after"] == "30" and "a day" in str(refused.value)
    clock.time += 31
    budget.reserve(100)
    held.settle(10)
    assert budget.take_unwritten() == {1000: 10, 1001: 100}
    assert budget.take_unwritten() == {}
    with pytest.raises(ApiError):
        budget.reserve(1)


def test_an_answer_longer_than_reserved_is_owed(clock: Clock) -> None:
    budget = Budget(Limits(tokens_per_minute=60), now=clock)
    budget.reserve(60).settle(90)
    clock.time += 29
    with pytest.raises(ApiError):
        budget.reserve(1)
    clock.time += 2
    budget.reserve(1)


def test_headers_tell_the_tighter_of_two_limits(clock: Clock) -> None:
    budget = Budget(Limits(requests_per_minute=60, tokens_per_minute=600, tokens_per_day=650), now=clock)
    budget.count_request()
    budget.reserve(100)
    told = {name.decode(): value.decode() for name, value in budget.headers()}
    assert told == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "500",
        "x-ratelimit-reset-tokens": "10s",
    }
    clock.time += 60
    budget.reserve(100)
    told = {name.decode(): value.decode() for name, value in budget.headers()}
    assert (told["x-ratelimit-limit-tokens"], told["x-ratelimit-remaining-tokens"]) == ("650", "450")
    assert Budget(now=clock).headers() == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.25, "250ms"), (1, "1s"), (5.2, "6s"), (90, "1m30s"), (7200, "2h0m0s")]
)
def test_durations_are_told_as_the_api_tells_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
