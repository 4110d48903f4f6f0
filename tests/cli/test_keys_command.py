"""Keys from the command line: shown once, listed, revoked; what cannot be is told in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.workspace import keys
from tunewright.workspace.place import Workspace

Call = Callable[..., Any]  # the fixture of conftest.py


def test_a_key_is_made_listed_and_revoked(call: Call, tmp_path: Path) -> None:
    here = ("--workspace", str(tmp_path))
    assert "No keys" in call("keys", "list", *here).out
    made = call("keys", "create", "team-a", "--scope", "train", "--model", "ft:*", "--days", "1", *here)
    secret = made.out.strip()
    assert secret.startswith("tw-") and "not shown again" in made.err
    options = ("--project", "x", "--requests-per-minute", "9", "--tokens-per-minute", "5000", "--json")
    other = json.loads(call("keys", "create", "bot", *options, *here).out)
    assert (other["project"], other["requests_per_minute"], other["tokens_per_day"]) == ("x", 9, None)

    text = call("keys", "list", *here).out
    assert secret not in text and secret[:7] in text and "9/min" in text and "5,000/min" in text
    rows = json.loads(call("keys", "list", "--json", "--project", "default", *here).out)
    assert [(row["name"], row["scopes"], row["models"]) for row in rows] == [("team-a", ["train"], ["ft:*"])]

    assert "is revoked" in call("keys", "revoke", rows[0]["id"], *here).out
    assert "revoked" in call("keys", "list", *here).out
    with Workspace.open(tmp_path).database.reading() as session:
        row = keys.find(session, keys.digest(secret))
        assert row is not None and row.revoked is not None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["create", "x", "--scope", "god"], "Unknown scope"),
        (["create", "x", "--days", "-1"], "still to come"),
        (["create", "x", "--project", "../y"], "cannot be a project's name"),
        (["revoke", "key_none"], "There is no key"),
    ],
)
def test_what_cannot_be_is_told(call: Call, tmp_path: Path, words: list[str], told: str) -> None:
    ended = call("keys", *words, "--workspace", str(tmp_path))
    assert ended.code == 2 and told in ended.err and "Traceback" not in ended.err
