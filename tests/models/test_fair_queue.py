"""The fair queue: nobody starves, a party's items keep their order, idle time saves nothing up."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from tunewright.models.fair_queue import FairQueue

COSTS = st.integers(1, 100)


def test_one_request_passes_a_thousand_of_another_party() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.put(f"a{number}", party="a", cost=50)
    assert queue.take() == "a0"
    queue.put("b", party="b", cost=500)
    queue.charge("a", 1)
    assert queue.take() == "b" and queue.take() == "a1"


@given(st.lists(st.tuples(st.sampled_from("abc"), COSTS)))
def test_a_partys_items_come_in_order_and_none_is_lost(asked: list[tuple[str, int]]) -> None:
    queue: FairQueue[tuple[int, str]] = FairQueue()
    for number, (party, cost) in enumerate(asked):
        queue.put((number, party), party=party, cost=cost)
    assert len(queue) == len(asked)
    taken = []
    while queue:
        first = queue.first()
        taken.append(queue.take())
        assert taken[-1] is first
    for party in "abc":
        assert [one for one in taken if one[1] == party] == [(n, p) for n, (p, _) in enumerate(asked) if p == party]
    assert len(taken) == len(asked)


@given(st.lists(COSTS, min_size=1, max_size=60), st.lists(COSTS, min_size=1, max_size=60), st.data())
def test_parties_that_wait_are_given_the_same_up_to_one_item(
    mine: list[int], theirs: list[int], data: st.DataObject
) -> None:
    """Theorem 4.4 of the paper: while both wait, what they were given differs by the largest cost at most."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for party, costs in (("a", mine), ("b", theirs)):
        for cost in costs:
            queue.put((party, cost), party=party, cost=cost)
    given_: dict[str, float] = defaultdict(float)
    largest = max(*mine, *theirs)
    while {party for party, _ in queue} == {"a", "b"}:
        party, cost = queue.take()
        given_[party] += cost
        more = data.draw(st.integers(0, largest))
        queue.charge(party, more)
        given_[party] += more
        assert abs(given_["a"] - given_["b"]) <= 2 * largest


@given(st.lists(COSTS, min_size=1, max_size=20), COSTS)
def test_idle_time_saves_nothing_up(costs: list[int], own: int) -> None:
    queue: FairQueue[str] = FairQueue()
    for cost in costs:
        queue.put("a", party="a", cost=cost)
    for _ in costs[:-1]:
        queue.take()
    queue.put("b1", party="b", cost=own)
    queue.put("b2", party="b", cost=own)
    taken = [queue.take() for _ in range(3)]
    assert taken.index("a") < 2  # the newcomer does not go on until it has caught up


def test_an_item_can_leave_out_of_turn() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in "xyz":
        queue.put(item)
    assert queue.remove("y") and not queue.remove("y")
    assert list(queue) == ["x", "z"]
    assert queue.remove("x") and queue.remove("z") and not queue
