"""Webhook endpoints with the official client: set, tried, changed, each told of its own project's jobs alone."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.webhooks.deleted_webhook_endpoint import DeletedWebhookEndpoint
from openai.types.webhooks.webhook_endpoint import WebhookEndpoint
from openai.types.webhooks.webhook_endpoint_list import WebhookEndpointList
from openai.types.webhooks.webhook_endpoint_test_result import WebhookEndpointTestResult
from openai.types.webhooks.webhook_endpoint_with_secret import WebhookEndpointWithSecret
from openai.types.webhooks.webhook_event_type_list import WebhookEventTypeList
from server_process import Server, start
from sqlalchemy import select, update

from tunewright.core import storage
from tunewright.core.errors import EndpointError
from tunewright.server import outgoing
from tunewright.server import webhooks as sending
from tunewright.workspace import jobs, keys, webhook_endpoints
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Delivery, Job
from tunewright.workspace.webhook_endpoints import OLD_SECONDS

from .conftest import Place
from .listener import Listener, listening
from .strict_types import fits

ENDED: list[Any] = ["fine_tuning.job.succeeded", "fine_tuning.job.failed"]


@pytest.fixture(scope="module")
def workspace(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("hooks")
    config = {"models": {"tiny": str(place.base)}, "webhooks_inside": True, "jobs": {"at_once": 0}}
    storage.write_json(folder / ".tunewright" / "workspace.yaml", config)
    return Workspace.open(folder)


@pytest.fixture(scope="module")
def server(workspace: Workspace) -> Iterator[Server]:
    server = start(workspace.runs, [], workspace.folder / "log", workspace=str(workspace.folder))
    yield server
    server.stop()


@pytest.fixture
def client(server: Server, workspace: Workspace) -> OpenAI:
    """A client with a project of its own."""
    with workspace.database.writing() as session:
        number = len(keys.listed(session))
        made = keys.create(session, name="x", scopes=["admin"], project=f"team{number}")
    return server.client(made.secret)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as here:
        yield here


def project_of(workspace: Workspace, client: OpenAI) -> str:
    with workspace.database.reading() as session:
        found = keys.find(session, keys.digest(client.api_key))
    assert found is not None
    return found.project


def end_job(place: Workspace, job_id: str, *, project: str, to: str = "succeeded") -> None:
    with place.database.writing() as session:
        session.add(Job(id=job_id, project=project, model="tiny", base="tiny", run="r", status="running",
                        training_file="f", seed=0, method={}))  # fmt: skip
    with place.database.writing() as session:
        assert jobs.move(session, job_id, since=["running"], to=to)


def send(place: Workspace, *, now: bool = True) -> None:
    if now:
        with place.database.writing() as session:
            session.execute(update(Delivery).values(next_try=0))
    sending.sender(place, going=lambda: True)()


def test_an_endpoint_lives_as_the_client_has_it(client: OpenAI, listener: Listener) -> None:
    raw = client.webhooks.with_raw_response
    types = fits(WebhookEventTypeList, client.webhooks.event_types.with_raw_response.list().text)["data"]
    assert types[:3] == ["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
    assert types[3:] == ["eval.run.succeeded", "eval.run.failed", "eval.run.canceled"]
    made = fits(WebhookEndpointWithSecret, raw.create(name="jobs", url=listener.url, event_types=types).text)
    one, secret = made["id"], made.pop("signing_secret")
    assert secret.startswith("whsec_") and made["signing_secret_hint"] == f"whsec_...{secret[-4:]}"
    assert fits(WebhookEndpoint, raw.retrieve(one).text) == made
    assert secret not in raw.list().text
    same = fits(WebhookEndpoint, raw.update(one, name="jobs", event_types=types).text)
    assert same == made, "what changes nothing does not count as a change"
    changed = fits(WebhookEndpoint, raw.update(one, name="ends", event_types=ENDED).text)
    assert (changed["name"], changed["event_types"], changed["url"]) == ("ends", ENDED, listener.url)
    others = [client.webhooks.create(name=f"n{n}", url=listener.url, event_types=ENDED).id for n in range(2)]
    assert fits(WebhookEndpointList, raw.list(limit=2).text)["has_more"] is True
    assert [found.id for found in client.webhooks.list(limit=2)] == [*reversed(others), one]
    assert fits(DeletedWebhookEndpoint, raw.delete(one).text)["deleted"] is True
    with pytest.raises(openai.NotFoundError) as gone:
        client.webhooks.retrieve(one)
    assert gone.value.code == "webhook_endpoint_not_found"


def test_a_test_sends_a_signed_event(client: OpenAI, listener: Listener) -> None:
    made = client.webhooks.create(name="x", url=listener.url, event_types=ENDED)
    listener.answers = [204, 410]
    told = fits(
        WebhookEndpointTestResult,
        client.webhooks.with_raw_response.test(made.id, event_type="fine_tuning.job.cancelled").text,
    )
    assert (told["status_code"], told["event_type"]) == (204, "fine_tuning.job.cancelled")
    ((_, headers, body),) = listener.got
    event = client.webhooks.unwrap(body, headers, secret=made.signing_secret)
    assert event.type == "fine_tuning.job.cancelled"
    assert headers["host"] == listener.url.split("/")[2]
    assert client.webhooks.test(made.id, event_type="fine_tuning.job.failed").status_code == 410
    client.webhooks.update(made.id, url="http://127.0.0.1:9/")
    with pytest.raises(openai.BadRequestError, match="ConnectError") as refused:
        client.webhooks.test(made.id, event_type="fine_tuning.job.failed")
    assert refused.value.code == "webhook_unreachable"


def test_a_new_secret_signs_and_the_old_one_for_a_day_where_it_is_kept(
    client: OpenAI, listener: Listener, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.webhooks.create(name="x", url=listener.url, event_types=ENDED)
    rotate = client.webhooks.with_raw_response.rotate_secret
    kept = fits(WebhookEndpointWithSecret, rotate(made.id, keep_old_secret_active_for_24_hours=True).text)
    client.webhooks.test(made.id, event_type="fine_tuning.job.failed")
    secrets = [made.signing_secret, kept["signing_secret"], client.webhooks.rotate_secret(made.id).signing_secret]
    client.webhooks.test(made.id, event_type="fine_tuning.job.failed")
    good = [[_opens(client, one, secret) for secret in secrets] for one in listener.got]
    assert good == [[True, True, False], [False, False, True]]
    client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
    with workspace.database.reading() as session:
        row = webhook_endpoints.find(session, made.id, project=project_of(workspace, client))
    assert row is not None and len(webhook_endpoints.secrets_of(workspace, row)) == 2
    row.old_until = row.updated + OLD_SECONDS - 2 * OLD_SECONDS  # a day later
    assert len(webhook_endpoints.secrets_of(workspace, row)) == 1


def _opens(client: OpenAI, got: tuple[str, dict[str, str], bytes], secret: str) -> bool:
    try:
        client.webhooks.unwrap(got[2], got[1], secret=secret)
    except openai.InvalidWebhookSignatureError:
        return False
    return True


@pytest.fixture
def quiet(place: Place, tmp_path: Path) -> Workspace:
    """A workspace without a server, whose endpoints may be on this machine."""
    storage.write_json(tmp_path / ".tunewright" / "workspace.yaml", {"webhooks_inside": True})
    return Workspace.open(tmp_path)


def test_a_project_is_told_of_its_own_jobs_and_of_what_it_wants(quiet: Workspace, listener: Listener) -> None:
    with quiet.database.writing() as session:
        for project in ("ours", "theirs"):
            url = f"{listener.url}/{project}"
            webhook_endpoints.create(quiet, session, name="x", url=url, events=ENDED, project=project)
    for number, to in enumerate(("succeeded", "cancelled")):
        end_job(quiet, f"ftjob-{number}", project="ours", to=to)
    send(quiet)
    send(quiet)
    assert [path for path, _, _ in listener.got] == ["/hook/ours"] and b"ftjob-0" in listener.got[0][2]


def test_addresses_are_told_side_by_side(quiet: Workspace) -> None:
    """Each answers only once the other was asked."""
    both = threading.Barrier(2, timeout=10)
    with listening(before=both.wait) as one, listening(before=both.wait) as other:
        with quiet.database.writing() as session:
            for here in (one, other):
                webhook_endpoints.create(quiet, session, name="x", url=here.url, events=ENDED, project="default")
        end_job(quiet, "ftjob-1", project="default")
        send(quiet)
        with quiet.database.reading() as session:
            told = session.scalars(select(Delivery.delivered).where(Delivery.target != "")).all()
    assert len(told) == 2 and None not in told


def test_what_waits_goes_to_where_it_is_now_and_nothing_once_it_is_deleted(
    quiet: Workspace, listener: Listener
) -> None:
    with quiet.database.writing() as session:
        row = webhook_endpoints.create(
            quiet, session, name="x", url=f"{listener.url}/a", events=ENDED, project="default"
        )
    listener.answers = [500, 500]
    end_job(quiet, "ftjob-1", project="default")
    end_job(quiet, "ftjob-2", project="default")
    send(quiet)
    assert len(listener.got) == 1, "after a failure nothing more is sent there for a while"
    with quiet.database.writing() as session:
        found = webhook_endpoints.find(session, row.id, project="default")
        assert found is not None
        webhook_endpoints.change(found, url=f"{listener.url}/b")
    send(quiet)
    assert [path for path, _, _ in listener.got] == ["/hook/a", "/hook/b"]
    with quiet.database.writing() as session:
        found = webhook_endpoints.find(session, row.id, project="default")
        assert found is not None
        webhook_endpoints.remove(session, found)
        assert session.scalars(select(Delivery).where(Delivery.target == row.id)).all() == []
    end_job(quiet, "ftjob-3", project="default")
    send(quiet)
    assert len(listener.got) == 2


def test_secrets_are_in_no_table_and_their_key_is_the_owners_alone(quiet: Workspace) -> None:
    with quiet.database.writing() as session:
        row = webhook_endpoints.create(quiet, session, name="x", url="https://a.b", events=ENDED, project="default")
    secret = webhook_endpoints.secrets_of(quiet, row)[0]
    quiet.database.close()
    for file in quiet.state.glob("workspace.sqlite*"):
        assert secret.removeprefix("whsec_").encode() not in file.read_bytes()
    assert (quiet.state / "webhooks.key").stat().st_mode & 0o077 == 0
    (quiet.state / "webhooks.key").unlink()
    end_job(quiet, "ftjob-1", project="default")
    send(quiet)
    with quiet.database.reading() as session:
        told = session.scalars(select(Delivery).where(Delivery.target == row.id)).one()
    assert told.failure is not None and "webhooks.key" in told.failure


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "https://localhost/", "https://127.0.0.1/", "https://2130706433/", "https://0x7f.1/",
        "https://169.254.169.254/latest", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://0.0.0.0/",
        "https://[64:ff9b::a00:1]/", "https://a:b@example.com/", "https://ok\\@127.0.0.1/", "file:///etc/passwd",
        "https://", "https://example.com:99999999/", "nowhere",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"url|public address"):
        outgoing.check(url, inside=False)


def test_an_event_type_that_is_never_sent_is_refused(client: OpenAI, listener: Listener) -> None:
    with pytest.raises(openai.BadRequestError, match="never sent by this server") as refused:
        client.webhooks.create(name="x", url=listener.url, event_types=["batch.completed"])
    assert refused.value.param == "event_types.0"


def test_a_name_that_leads_inside_is_refused_when_it_is_looked_up(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is named, and if only one of its addresses is inside."""
    port = int(listener.url.split(":")[2].split("/")[0])
    for numbers in (["127.0.0.1"], ["8.8.8.8", "10.1.2.3"], ["fe80::1%eth0"]):
        answers = [(0, 0, 0, "", (number, port)) for number in numbers]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, answers=answers, **__: answers)
        with pytest.raises(EndpointError, match="own machine or network"):
            asyncio.run(outgoing.post(f"http://hook.example:{port}/", b"{}", {}, inside=False))
    assert listener.got == []


def test_what_was_looked_up_is_what_is_asked(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look-up could lead inside; the certificate is still that of the name."""
    seen: list[str] = []
    known = socket.getaddrinfo

    def once(host: str, *arguments: Any, **options: Any) -> Any:
        seen.append(host)
        return known("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    monkeypatch.setattr(outgoing, "is_inner", lambda number: False)
    url = listener.url.replace("127.0.0.1", "hook.example")
    assert asyncio.run(outgoing.post(url, b"{}", {}, inside=False)) == 200
    assert listener.got[0][1]["host"] == url.split("/")[2]
    assert seen[0] == "hook.example" and "hook.example" not in seen[1:]


def test_a_certificate_is_checked_by_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the TLS hello names is the host of the url, not the number that is asked."""
    named: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        named.append((await reader.read(4096)).decode("latin-1"))
        writer.close()

    async def go() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = [(2, 1, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(outgoing, "is_inner", lambda number: False)
        with pytest.raises(EndpointError):
            await outgoing.post(f"https://hook.example:{port}/", b"{}", {}, inside=False)
        server.close()

    asyncio.run(go())
    assert "hook.example" in named[0]


def test_an_address_that_trickles_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "TIMEOUT_SECONDS", 0.2)

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            writer.write(b"x: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async def go() -> None:
        server = await asyncio.start_server(trickle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(EndpointError, match=r"no answer within 0\.2 seconds"):
            await outgoing.post(f"http://127.0.0.1:{port}/", b"{}", {}, inside=True)
        server.close()

    asyncio.run(go())
