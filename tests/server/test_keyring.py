"""Keys of a workspace at the door: who they let in, what they may do, and what they may spend."""

from __future__ import annotations

import asyncio
import hmac
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tunewright.server import keyring as keyring_module
from tunewright.server.keyring import Keyring
from tunewright.workspace import job_keys, jobs, keys
from tunewright.workspace.database import Database, sqlite_url
from tunewright.workspace.keys import Limits
from tunewright.workspace.tables import Job, JobKey, Traffic

from .conftest import Place
from .locked import Locked, opened

HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


@pytest.fixture
def locked(place: Place, tmp_path: Path) -> Iterator[Locked]:
    with opened(tmp_path, place.base) as application:
        yield application


def code(answer: Any) -> tuple[int, str | None]:
    """An error's status and code."""
    return answer.status_code, answer.json()["error"]["code"]


def test_without_keys_this_machine_may_do_everything_until_there_is_one(locked: Locked) -> None:
    assert locked.ask("GET", "/v1/keys").json()["data"] == []
    made = locked.ask("POST", "/v1/keys", json={"name": "first", "scopes": ["admin"]}).json()
    assert made["key"].startswith(made["begins_with"]) and made["last_used_at"] is None
    assert code(locked.ask("GET", "/v1/keys")) == (401, "invalid_api_key")
    listing = locked.ask("GET", "/v1/keys", made["key"]).json()["data"]
    assert [row["id"] for row in listing] == [made["id"]]
    assert "key" not in listing[0] and "digest" not in listing[0]
    # a workspace whose keys are all revoked stays locked
    assert locked.ask("DELETE", f"/v1/keys/{made['id']}", made["key"]).json()["deleted"]
    assert code(locked.ask("GET", "/v1/models", made["key"])) == (401, "invalid_api_key")
    assert code(locked.ask("GET", "/v1/models")) == (401, "invalid_api_key")


def test_a_key_may_do_what_its_scopes_say(locked: Locked) -> None:
    for scope, statuses in {"infer": (200, 403), "train": (403, 403), "admin": (200, 200)}.items():
        key = locked.key(scopes=(scope,))
        assert (locked.ask("GET", "/v1/models", key).status_code, locked.ask("GET", "/v1/keys", key).status_code) == (
            statuses
        )
    assert code(locked.ask("GET", "/v1/keys", locked.key(scopes=("infer",)))) == (403, "scope_missing")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic KEY", "KEY", "Bearer KEYx", "Bearer \xff", "Bearer KEY KEY"]
)
def test_what_is_no_key_is_refused(locked: Locked, header: str) -> None:
    key = locked.key()
    header = header.replace("KEY", key)
    answer = locked.http.get("/v1/models", headers={"authorization": header.encode("latin-1")} if header else {})
    assert code(answer) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert key not in answer.text


def test_an_expired_key_opens_nothing(place: Place, tmp_path: Path) -> None:
    now = [time.time()]
    with opened(tmp_path, place.base, now=lambda: now[0]) as locked:
        key = locked.key(expires=now[0] + 60)
        assert locked.ask("GET", "/v1/models", key).status_code == 200
        now[0] += 61
        assert code(locked.ask("GET", "/v1/models", key)) == (401, "invalid_api_key")


def test_a_key_revoked_by_another_process_is_refused_within_a_second(place: Place, tmp_path: Path) -> None:
    now = [time.time()]
    with opened(tmp_path, place.base, now=lambda: now[0]) as locked:
        key = locked.key()
        assert locked.ask("GET", "/v1/models", key).status_code == 200
        other = Database(locked.front.place.database.url)
        with other.writing() as session:
            keys.revoke(session, keys.listed(session)[0].id)
        now[0] += keyring_module.FRESH_SECONDS
        assert code(locked.ask("GET", "/v1/models", key)) == (401, "invalid_api_key")


def test_given_keys_may_do_everything_in_any_project(place: Place, tmp_path: Path) -> None:
    with opened(tmp_path, place.base, given=("given-key",)) as locked:
        other = {"openai-project": "other"}
        assert code(locked.ask("GET", "/v1/keys")) == (401, "invalid_api_key")
        made = locked.ask("POST", "/v1/keys", "given-key", json={"name": "x"}, headers=other).json()
        assert made["project"] == "other"
        assert locked.ask("GET", "/v1/keys", "given-key").json()["data"] == []
        assert len(locked.ask("GET", "/v1/keys", "given-key", headers=other).json()["data"]) == 1
        refused = locked.ask("GET", "/v1/keys", "given-key", headers={"openai-project": "../x"})
        assert code(refused) == (400, "invalid_value")


def test_the_project_header_must_be_the_keys_project(locked: Locked) -> None:
    key = locked.key(project="ours")
    for headers, status in (
        ({"openai-organization": "org-any"}, 200),
        ({"openai-project": "ours"}, 200),
        ({"openai-project": ""}, 200),
        ({"openai-project": "theirs"}, 401),
    ):
        answer = locked.ask("GET", "/v1/models", key, headers=headers)
        assert answer.status_code == status
    assert answer.json()["error"]["code"] == "mismatched_project"


def test_admins_see_the_keys_of_their_project_alone(locked: Locked) -> None:
    ours, theirs = locked.key(project="ours"), locked.key(project="theirs")
    [row] = locked.ask("GET", "/v1/keys", theirs).json()["data"]
    for method in ("GET", "DELETE"):
        answer = locked.ask(method, f"/v1/keys/{row['id']}", ours)
        nothing = locked.ask(method, f"/v1/keys/{row['id'][:-1]}_", ours)
        assert answer.status_code == 404
        assert answer.text.replace(row["id"], "") == nothing.text.replace(row["id"][:-1] + "_", "")
    assert (
        locked.ask("GET", f"/v1/keys/{row['id']}", theirs).json()
        == locked.ask("GET", "/v1/keys", theirs).json()["data"][0]
    )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["god"]}, None),
        ({"name": "x", "key": "mine"}, "key"),
        ({"name": "x", "digest": "0"}, "digest"),
        ({"name": "x", "project": "another"}, "project"),
        ({"name": "x", "tokens_per_day": 0}, "tokens_per_day"),
        ({"name": "x", "expires_in_seconds": 2**60}, "expires_in_seconds"),
        ({"name": "x\u202e"}, None),
    ],
)
def test_a_key_that_cannot_be_is_refused(locked: Locked, body: dict[str, Any], param: str | None) -> None:
    answer = locked.ask("POST", "/v1/keys", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_key_names_only_its_models(locked: Locked) -> None:
    key = locked.key(scopes=("infer",), models=["ft:*"])
    assert locked.ask("GET", "/v1/models", key).json()["data"] == []
    hidden, none = (locked.ask("GET", f"/v1/models/{name}", key) for name in ("tiny", "tinx"))
    assert hidden.status_code == none.status_code == 404
    assert hidden.text == none.text.replace("tinx", "tiny")
    assert "tiny" not in none.text  # nor is what it may not ask told as the nearest name
    for path, body in (
        ("chat/completions", HELLO),
        ("completions", {"model": "tiny", "prompt": "x"}),
        ("embeddings", {"model": "tiny", "input": "x"}),
    ):
        assert code(locked.ask("POST", f"/v1/{path}", key, json=body)) == (404, "model_not_found")
    job = {"model": "tiny", "training_file": "file-x"}
    trainer = locked.key(scopes=("train",), models=["ft:*"])
    assert code(locked.ask("POST", "/v1/fine_tuning/jobs", trainer, json=job)) == (400, "model_not_available")
    assert code(locked.ask("POST", "/v1/fine_tuning/jobs", locked.key(), json=job)) == (400, "file_not_found")
    allowed = locked.key(scopes=("infer",), models=["t?ny"])
    assert locked.ask("POST", "/v1/chat/completions", allowed, json=HELLO).status_code == 200
    assert [model["id"] for model in locked.ask("GET", "/v1/models", allowed).json()["data"]] == ["tiny"]


def test_requests_beyond_the_budget_get_429(locked: Locked) -> None:
    key = locked.key(scopes=("infer",), limits=Limits(requests_per_minute=2))
    for left in ("1", "0"):
        assert locked.ask("GET", "/v1/models", key).headers["x-ratelimit-remaining-requests"] == left
    refused = locked.ask("GET", "/v1/models", key)
    assert code(refused) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert locked.ask("GET", "/v1/models", locked.key()).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_reserved_before_and_settled_after(locked: Locked, stream: bool) -> None:
    key = locked.key(scopes=("infer",), limits=Limits(tokens_per_day=10_000))
    body = HELLO | {"stream": stream, "stream_options": {"include_usage": True}} if stream else HELLO
    first = locked.ask("POST", "/v1/chat/completions", key, json=body)
    assert first.status_code == 200
    used = locked.ask("POST", "/v1/chat/completions", key, json=HELLO | {"seed": 1}).json()["usage"]["prompt_tokens"]
    assert (
        int(first.headers["x-ratelimit-remaining-tokens"]) == 10_000 - used - 4
    )  # while it is written, all it may need
    refused = locked.ask("POST", "/v1/chat/completions", key, json=HELLO | {"max_tokens": 4000})
    assert refused.status_code == 200
    too_much = locked.ask("POST", "/v1/chat/completions", key, json=HELLO | {"max_tokens": 3000, "n": 4})
    assert code(too_much) == (429, "rate_limit_exceeded")
    assert too_much.json()["error"]["type"] == "tokens"


def test_the_days_budget_survives_a_restart(place: Place, tmp_path: Path) -> None:
    with opened(tmp_path, place.base) as locked:
        key = locked.key(scopes=("infer",), limits=Limits(tokens_per_day=300))
        usage = locked.ask("POST", "/v1/chat/completions", key, json=HELLO).json()["usage"]["total_tokens"]
    with opened(tmp_path, place.base) as locked:
        answer = locked.ask("GET", "/v1/models", key)
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) == 300 - usage
        assert code(locked.ask("POST", "/v1/chat/completions", key, json=HELLO | {"max_tokens": 300})) == (
            429,
            "rate_limit_exceeded",
        )
        assert locked.ask("GET", "/v1/keys", locked.key()).json()["data"][-1]["last_used_at"]


def test_use_is_not_written_at_each_request(locked: Locked, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[Any] = []
    monkeypatch.setattr(keys, "record", lambda *_, **values: writes.append(values))
    locked.front.background["keys"].stop()
    key = locked.key()
    for _ in range(20):
        assert locked.ask("GET", "/v1/models", key).status_code == 200
    assert not [one for one in writes if one["used"]]
    locked.front.keyring.write()
    locked.front.keyring.write()
    assert len([one for one in writes if one["used"]]) == 1


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "w.sqlite"))
    with database.writing() as session:
        made = keys.create(session, name="x", limits=Limits(tokens_per_day=100))
    ring = Keyring((), database)
    caller = asyncio.run(ring.caller(f"Bearer {made.secret}", None))
    caller.budget.reserve(30)
    with sqlite3.connect(tmp_path / "w.sqlite") as other:
        other.execute("ALTER TABLE spending RENAME TO hidden")
    with pytest.raises(keyring_module.SQLAlchemyError):
        ring.write()
    with sqlite3.connect(tmp_path / "w.sqlite") as other:
        other.execute("ALTER TABLE hidden RENAME TO spending")
    ring.write()
    with database.reading() as session:
        assert keys.spent_on(session, made.row.id, caller.budget.today) == 30


def test_a_running_jobs_key_asks_its_models_and_nothing_else(locked: Locked) -> None:
    database = locked.front.place.database
    about = {"model": "tiny", "base": "tiny", "run": "j", "seed": 1, "method": {}, "training_file": "file-x"}
    job = Job(id="ftjob-j", project="ours", status="running", **about)
    with database.writing() as session:
        session.add(job)
        session.flush()
        earlier, key = (job_keys.create(session, job, models) for models in (["*"], ["tiny", "ft:*"]))
    for own in ("", locked.key()):  # before there are keys, and after
        assert code(locked.ask("GET", "/v1/models", earlier)) == (401, "invalid_api_key")
        assert [model["id"] for model in locked.ask("GET", "/v1/models", key).json()["data"]] == ["tiny"]
        assert locked.ask("POST", "/v1/chat/completions", key, json=HELLO).status_code == 200
        assert code(locked.ask("POST", "/v1/chat/completions", key, json=HELLO | {"model": "ft:x"}))[0] == 404
        assert code(locked.ask("GET", "/v1/files", key)) == (403, "scope_missing")
        answer = locked.ask("GET", "/v1/models", key, headers={"openai-project": "theirs"})
        assert code(answer) == (401, "mismatched_project")
        assert "ftjob" not in locked.ask("GET", "/v1/keys", own).text
    with database.reading() as session:
        assert session.scalars(select(JobKey.digest)).all() == [keys.digest(key)]
    assert locked.ask("POST", "/v1/chat/completions", own, json=HELLO).status_code == 200
    locked.front.background["traffic"].stop()
    with database.writing() as session:
        logged = session.scalars(select(Traffic.key_id)).all()
        assert len(logged) == 1 and logged != ["ftjob-j"]
        jobs.move(session, job.id, since=["running"], to="paused")
        assert not session.scalars(select(JobKey)).all()
    locked.front.keyring.forget()
    assert code(locked.ask("GET", "/v1/models", key)) == (401, "invalid_api_key")


def test_every_given_key_is_compared_in_full(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    whole = hmac.compare_digest
    monkeypatch.setattr(keyring_module.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or whole(a, b))
    with opened(tmp_path, place.base, given=("first-key", "second-key")) as locked:
        for key in ("first-key", "second-key", "first-kez", "x"):
            compared.clear()
            locked.ask("GET", "/v1/models", key)
            given = compared[:2]
            assert {len(one) for pair in given for one in pair} == {64}  # digests, never keys
            assert {pair[1] for pair in given} == {keys.digest("first-key"), keys.digest("second-key")}


def test_a_database_that_does_not_answer_is_told(locked: Locked, monkeypatch: pytest.MonkeyPatch) -> None:
    key = locked.key()

    def broken(*_: Any) -> None:
        raise keyring_module.SQLAlchemyError("down")

    monkeypatch.setattr(keys, "find", broken)
    answer = locked.ask("GET", "/v1/models", key)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "2"
