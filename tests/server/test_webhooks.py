"""Ended jobs are told to the owner's addresses: signed as the official client checks, until one takes it, once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from openai.types.webhooks import FineTuningJobSucceededWebhookEvent
from sqlalchemy import select, update

from tunewright.core import storage
from tunewright.core.errors import EndpointError, RecipeError
from tunewright.server import webhooks as sending
from tunewright.server.webhooks import Address
from tunewright.workspace import jobs, webhooks
from tunewright.workspace.config import Webhook
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Delivery, Job

from .conftest import Place
from .listener import Listener, listening
from .shop import shop_of

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as here:
        yield here


@pytest.fixture
def kept(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


@pytest.fixture
def send(kept: Workspace, listener: Listener) -> Callable[..., None]:
    """Sends what is due as the server does, to the listener; `now` makes what waits due."""

    def send(*events: str, now: bool = False) -> None:
        hook = Webhook(url=listener.url, secret="env:HOOK", events=list(events) or ["*"])
        if now:
            with kept.database.writing() as session:
                session.execute(update(Delivery).values(next_try=0))
        sending.send(kept, [hook], {listener.url: Address(listener.url, (SECRET.encode(),))})

    return send


def end_job(kept: Workspace, job_id: str = "ftjob-1", to: str = "succeeded") -> None:
    with kept.database.writing() as session:
        session.add(Job(id=job_id, model="tiny", base="tiny", run="r", status="running", training_file="f", seed=0,
                        method={}))  # fmt: skip
    with kept.database.writing() as session:
        assert jobs.move(session, job_id, since=["running"], to=to)


def test_the_official_client_unwraps_the_event(kept: Workspace, listener: Listener) -> None:
    end_job(kept)
    hook = Webhook(url=listener.url, secret="env:HOOK")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOOK", SECRET)
        sending.send(kept, [hook], {listener.url: Address(listener.url, (sending.secret_of(hook),))})
    ((path, headers, body),) = listener.got
    event = OpenAI(api_key="x").webhooks.unwrap(body, headers, secret=SECRET)
    assert isinstance(event, FineTuningJobSucceededWebhookEvent)
    assert (path, event.data.id, event.object) == ("/hook", "ftjob-1", "event")
    assert event.id == headers["webhook-id"] and abs(event.created_at - time.time()) < 60
    with pytest.raises(openai.InvalidWebhookSignatureError):
        OpenAI(api_key="x").webhooks.unwrap(body + b" ", headers, secret=SECRET)
    FineTuningJobSucceededWebhookEvent.model_validate_json(body, strict=True)


@pytest.mark.parametrize("to", jobs.ENDED)
def test_every_end_is_told_once(kept: Workspace, listener: Listener, send: Callable[..., None], to: str) -> None:
    end_job(kept, to=to)
    send()
    send(now=True)
    assert [f'"type":"fine_tuning.job.{to}"'.encode() in body for _, _, body in listener.got] == [True]


def test_a_change_that_is_taken_back_is_not_told(
    kept: Workspace, listener: Listener, send: Callable[..., None]
) -> None:
    end_job(kept, "ftjob-0")
    with pytest.raises(RuntimeError), kept.database.writing() as session:
        webhooks.announce(session, "monitor.alarm", {}, "evt_1")
        raise RuntimeError
    send("monitor.*")
    assert listener.got == []


def test_it_is_tried_again_until_it_is_taken(kept: Workspace, listener: Listener, send: Callable[..., None]) -> None:
    listener.answers += [500, 302, 404]
    end_job(kept)
    for tries in (1, 2, 3, 4):
        send(now=True)
        send()  # not due yet
        assert len(listener.got) == tries
    send(now=True)
    assert len(listener.got) == 4 and {path for path, _, _ in listener.got} == {"/hook"}  # no redirect was followed
    assert len({headers["webhook-id"] for _, headers, _ in listener.got}) == 1
    with kept.database.reading() as session:
        row = session.scalars(select(Delivery).where(Delivery.target == listener.url)).one()
    assert row.delivered is not None and row.attempts == 4 and row.failure is None


def test_pauses_double_and_end(kept: Workspace, listener: Listener, send: Callable[..., None]) -> None:
    listener.answers += [500] * 20
    end_job(kept)
    pauses = []
    for _ in range(14):
        send(now=True)
        with kept.database.reading() as session:
            row = session.scalars(select(Delivery).where(Delivery.target == listener.url)).one()
        pauses.append(round(row.next_try - time.time()))
        assert row.failure == "answered 500"
    assert pauses[:3] == [5, 10, 20] and pauses[-1] == 3600
    with kept.database.writing() as session:
        session.execute(update(Delivery).values(created=time.time() - webhooks.GIVEN_UP_SECONDS - 1))
    send(now=True)
    assert len(listener.got) == 14


def test_what_is_with_another_sender_is_left_to_it(kept: Workspace, listener: Listener) -> None:
    end_job(kept)
    hook = Webhook(url=listener.url, secret="env:HOOK")
    with kept.database.writing() as session:
        webhooks.spread(session, [hook])
        assert webhooks.take(session, [listener.url], most=9)
    sending.send(kept, [hook], {listener.url: Address(listener.url, (b"x",))})
    assert listener.got == []  # and after the lease it is tried again
    with kept.database.writing() as session:
        session.execute(update(Delivery).values(next_try=0))
    sending.send(kept, [hook], {listener.url: Address(listener.url, (b"x",))})
    assert len(listener.got) == 1


def test_only_named_addresses_and_wanted_events_are_sent(
    kept: Workspace, listener: Listener, send: Callable[..., None]
) -> None:
    with kept.database.writing() as session:
        for number, type in enumerate(("monitor.alarm", "fine_tuning.job.failed")):
            webhooks.announce(session, type, {"n": number}, f"evt_{number}")
            webhooks.announce(session, type, {"n": number}, f"evt_{number}")
        session.add(Delivery(event_id="evt_0", target=listener.url + "/removed", body={}, next_try=0))
    send("monitor.*")
    assert [(path, headers["webhook-id"]) for path, headers, _ in listener.got] == [("/hook", "evt_0")]


def test_nobody_there_is_a_failure_like_others(kept: Workspace) -> None:
    end_job(kept)
    hook = Webhook(url="http://127.0.0.1:9/hook", secret="env:HOOK")
    sending.send(kept, [hook], {hook.url: Address(hook.url, (b"x",))})
    with kept.database.reading() as session:
        row = session.scalars(select(Delivery).where(Delivery.target == hook.url)).one()
    assert row.delivered is None and "ConnectError" in str(row.failure)


def test_a_secret_that_is_missing_or_broken_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = Webhook(url="https://example.com", secret="env:HOOK")
    monkeypatch.delenv("HOOK", raising=False)
    with pytest.raises(EndpointError, match=r"secret of the webhook https://example\.com is missing"):
        sending.secret_of(hook)
    monkeypatch.setenv("HOOK", "whsec_?")
    with pytest.raises(RecipeError, match="base64"):
        sending.secret_of(hook)


@pytest.mark.parametrize(
    "hook",
    [
        {"url": "file:///etc", "secret": "env:X"},
        {"url": "https://a:b@c", "secret": "env:X"},
        {"url": "https://a", "secret": "whsec_abc"},
    ],
)
def test_an_address_or_a_secret_in_plain_is_refused(tmp_path: Path, hook: dict[str, str]) -> None:
    storage.write_json(tmp_path / ".tunewright" / "workspace.yaml", {"webhooks": [hook]})
    with pytest.raises(RecipeError, match="webhooks"):
        Workspace.open(tmp_path)


def test_a_server_goes_on_with_what_another_could_not_send(place: Place, tmp_path: Path, listener: Listener) -> None:
    (tmp_path / "secret").write_text(SECRET)
    hook = Webhook(url=listener.url, secret=f"file:{tmp_path}/secret")
    config = {"models": {"tiny": str(place.base)}, "webhooks": [hook.model_dump()]}
    storage.write_json(tmp_path / ".tunewright" / "workspace.yaml", config)
    kept = Workspace.open(tmp_path)
    end_job(kept, to="failed")
    listener.answers += [503]
    sending.send(kept, [hook], {hook.url: Address(hook.url, (b"x",))})
    with kept.database.writing() as session:
        session.execute(update(Delivery).values(next_try=0))
    with shop_of(tmp_path):
        until = time.monotonic() + 60
        while len(listener.got) < 2 and time.monotonic() < until:
            time.sleep(0.02)
    _, headers, body = listener.got[1]
    event = OpenAI(api_key="x").webhooks.unwrap(body, headers, secret=SECRET)
    assert event.type == "fine_tuning.job.failed"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(sys.prefix) / 'previous')!r})\n"
        "import openai; assert openai.__version__.startswith('2.')\n"
        f"event = openai.OpenAI(api_key='x').webhooks.unwrap({body!r}, {headers!r}, secret={SECRET!r})\n"
        "assert event.data.id == 'ftjob-1'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
