"""An alias gives each release its share, the same user the same release, and goes back where it came from."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.core.errors import NotThere, TunewrightError
from tunewright.workspace import aliases
from tunewright.workspace.aliases import order
from tunewright.workspace.database import Database, sqlite_url

USERS = 10_000
SIGMAS = 5.0  # a right share is further off once in two million


@st.composite
def shares(draw: st.DrawFn) -> dict[str, float]:
    weights = draw(st.lists(st.integers(1, 100), min_size=1, max_size=5))
    return {f"desk:{number:03d}": weight / sum(weights) for number, weight in enumerate(weights, 1)}


@settings(max_examples=12, deadline=None)
@given(shares(), st.text("abc-", min_size=1, max_size=8))
def test_each_release_gets_its_share_of_users(given_shares: dict[str, float], alias: str) -> None:
    chosen = [order(given_shares, alias=alias, user=f"user-{number}")[0] for number in range(USERS)]
    for name, share in given_shares.items():
        spread = math.sqrt(share * (1 - share) * USERS)
        assert abs(chosen.count(name) - share * USERS) <= SIGMAS * spread + 1e-6


@settings(max_examples=50, deadline=None)
@given(shares(), st.text(max_size=30))
def test_a_user_stays(given_shares: dict[str, float], user: str) -> None:
    first = order(given_shares, alias="live", user=user)
    assert sorted(first) == sorted(given_shares)
    assert order(dict(reversed(given_shares.items())), alias="live", user=user) == first


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 0.5), st.floats(0.5, 0.99), st.text(max_size=30))
def test_who_was_on_the_canary_stays_there_when_its_share_grows(small: float, large: float, user: str) -> None:
    before = order({"old": 1 - small, "new": small}, alias="live", user=user)[0]
    after = order({"old": 1 - large, "new": large}, alias="live", user=user)[0]
    assert (before, after) != ("new", "old")


def test_users_are_dealt_anew_by_each_alias() -> None:
    even = {"a": 0.5, "b": 0.5}
    same = sum(order(even, alias="x", user=str(n))[0] == order(even, alias="y", user=str(n))[0] for n in range(1000))
    assert 400 < same < 600


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(sqlite_url(tmp_path / "w.sqlite"))


def is_model(name: str) -> bool:
    return name in ("a", "b", "c")


def test_promoting_and_going_back_is_recorded(database: Database) -> None:
    with database.writing() as session:
        aliases.put(session, "live", "p", {"a": 1.0}, is_model=is_model, by="key-1")
        aliases.put(session, "live", "p", {"a": 0.9, "b": 0.1}, is_model=is_model, why="canary")
        aliases.promote(session, "live", "p", "b", is_model=is_model, by="key-2")
        assert aliases.current(session, "live", "p").shares == {"b": 1.0}  # type: ignore[union-attr]
        assert aliases.roll_back(session, "live", "p", is_model=is_model).shares == {"a": 0.9, "b": 0.1}
        assert aliases.roll_back(session, "live", "p", is_model=is_model, why="worse").shares == {"a": 1.0}
        with pytest.raises(NotThere, match="no other shares"):
            aliases.roll_back(session, "live", "p", is_model=is_model)
        aliases.put(session, "live", "p", {"c": 1.0}, is_model=is_model)
        assert aliases.roll_back(session, "live", "p", is_model=is_model).shares == {"a": 1.0}
        rows = aliases.history(session, "live", "p")
    told = [(row.action, row.by, row.why) for row in reversed(rows)]
    assert told[:5] == [
        ("set", "key-1", ""),
        ("set", "", "canary"),
        ("promote", "key-2", ""),
        ("roll_back", "", ""),
        ("roll_back", "", "worse"),
    ]


def test_projects_have_aliases_of_their_own(database: Database) -> None:
    with database.writing() as session:
        aliases.put(session, "live", "p", {"a": 1.0}, is_model=is_model)
        aliases.put(session, "live", "q", {"b": 1.0}, is_model=is_model)
        aliases.remove(session, "live", "p")
        assert aliases.current(session, "live", "p") is None and aliases.every(session, "p") == []
        assert [row.shares for row in aliases.every(session, "q")] == [{"b": 1.0}]
        with pytest.raises(NotThere):
            aliases.promote(session, "live", "p", "a", is_model=is_model)
        assert len(aliases.history(session, "live", "p")) == 2


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("Live", {"a": 1.0}, "cannot be an alias"),
        ("../x", {"a": 1.0}, "cannot be an alias"),
        ("live\n", {"a": 1.0}, "cannot be an alias"),
        ("a", {"b": 1.0}, "is a model already"),
        ("live", {}, "1 to 16 models"),
        ("live", {"a": 0.5, "b": 0.4}, "sum to 1"),
        ("live", {"a": 1.5, "b": -0.5}, "above 0"),
        ("live", {"a": 0.0, "b": 1.0}, "above 0"),
        ("live", {"a": float("nan")}, "above 0"),
        ("live", {"a": 0.5, "z": 0.5}, "no model 'z'"),
    ],
)
def test_what_an_alias_cannot_be_is_told(database: Database, name: str, wanted: dict[str, float], message: str) -> None:
    with pytest.raises(TunewrightError, match=message), database.writing() as session:
        aliases.put(session, name, "p", wanted, is_model=is_model)
    with database.reading() as session:
        assert aliases.history(session, name, "p") == []
