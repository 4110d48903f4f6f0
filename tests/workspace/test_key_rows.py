"""Keys are kept as hashes, found by them, revoked for good; what they spend is added up by day."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError, NotThere
from tunewright.workspace import keys
from tunewright.workspace.config import named
from tunewright.workspace.database import Database, sqlite_url


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(sqlite_url(tmp_path / "w.sqlite"))


def test_a_key_is_found_by_its_digest_and_is_nowhere_in_the_files(database: Database, tmp_path: Path) -> None:
    with database.writing() as session:
        assert not keys.exist(session)
        made = keys.create(session, name="team", scopes=["train", "infer", "train"], models=["ft:*", "ft:*"])
    assert made.secret.startswith("tw-") and len(made.secret) == 27
    with database.reading() as session:
        row = keys.find(session, keys.digest(made.secret))
        assert row is not None and row.id == made.row.id and keys.usable(row, time.time())
        assert (row.scopes, row.models, row.project) == (["infer", "train"], ["ft:*"], "default")
        assert keys.find(session, keys.digest(made.secret + "x")) is None
    database.close()
    assert not [path for path in tmp_path.iterdir() if made.secret.encode() in path.read_bytes()]


def test_a_revoked_or_expired_key_is_not_usable_and_stays_in_the_list(database: Database) -> None:
    with database.writing() as session:
        first, second = (keys.create(session, name=name, expires=time.time() + 60).row for name in ("a", "b"))
        assert keys.revoke(session, first.id, project="another") is None
        moment = getattr(keys.revoke(session, first.id), "revoked", None)
        assert moment and getattr(keys.revoke(session, first.id), "revoked", None) == moment
        assert not keys.usable(first, time.time())
        assert keys.usable(second, time.time()) and not keys.usable(second, time.time() + 61)
        assert [row.name for row in keys.listed(session)] == ["a", "b"]
        assert not keys.listed(session, project="another")
        assert keys.exist(session)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": " "}, DataError),
        ({"name": "x" * 200}, DataError),
        ({"name": "red\x1b[31m"}, DataError),
        ({"scopes": []}, DataError),
        ({"scopes": ["god"]}, NotThere),
        ({"project": "../x"}, DataError),
        ({"project": "x" * 65}, DataError),
        ({"project": "x\n"}, DataError),
        ({"models": ["x"] * 101}, DataError),
        ({"models": [""]}, DataError),
        ({"expires": 1.0}, DataError),
        ({"expires": float("nan")}, DataError),
    ],
)
def test_what_a_key_cannot_have_is_refused(database: Database, options: dict[str, Any], error: type) -> None:
    with pytest.raises(error), database.writing() as session:
        keys.create(session, **{"name": "x", **options})


@pytest.mark.parametrize("value", [0, -1, 2**60])
def test_a_limit_that_lets_nothing_through_is_refused(value: int) -> None:
    with pytest.raises(DataError, match="tokens_per_day"):
        keys.Limits(tokens_per_day=value)


@pytest.mark.parametrize(
    ("models", "name", "covered"),
    [
        (["desk"], "desk", True),
        (["desk"], "desk:001", False),
        (["ft:nano:*"], "ft:nano:local::abc", True),
        (["ft:nano:*", "desk"], "nano", False),
    ],
)
def test_models_are_names_or_globs(models: list[str], name: str, covered: bool) -> None:
    assert named(models, name) is covered


def test_use_and_spending_are_added_up(database: Database) -> None:
    with database.writing() as session:
        key_id = keys.create(session, name="x").row.id
    for _ in range(2):
        with database.writing() as session:
            keys.record(session, used={key_id: 5.0}, spent={(key_id, 7): 30, (key_id, 8): 1})
    with database.writing() as session:
        keys.record(session, used={}, spent={(key_id, 7): -20})  # what was reserved and not needed
    with database.reading() as session:
        assert [keys.spent_on(session, key_id, day) for day in (6, 7, 8)] == [0, 40, 2]
        assert keys.listed(session)[0].used == 5.0
