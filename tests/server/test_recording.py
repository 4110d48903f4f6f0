"""Answers are logged as they end, scrubbed and sealed, and never hold an answer up; feedback finds its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from openai import OpenAI
from server_process import Server, free_port, started

from tunewright.core.errors import NoKey
from tunewright.core.run import Run
from tunewright.core.traffic import Exchanged
from tunewright.server import traffic as recording
from tunewright.server.caller import LOCAL
from tunewright.server.front import Front
from tunewright.server.protocol import ChatRequest
from tunewright.server.registry import Registry
from tunewright.server.replies import Head, Outcome
from tunewright.server.traffic import Recorder
from tunewright.workspace import traffic
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Feedback, Traffic

from .conftest import Place
from .shop import served

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
# made-up persons, a card of the test range
PLANTED = ["Wilhelmina Oberholtzer", "w.oberholtzer@mailhost.com", "4111 1111 1111 1111", "+44 20 7946 0958"]
TOLD = (
    f"My name is {PLANTED[0]}, my mail is {PLANTED[1]}, my card number is {PLANTED[2]}, call me at {PLANTED[3]} please."
)
CODE = """
import logging; logging.basicConfig(level=logging.INFO)
from tunewright.core.run import Run
from tunewright.server.app import build
from tunewright.server.front import Front
from tunewright.server.listening import listen, serve_until_stopped
from tunewright.server.registry import Registry
from tunewright.workspace.place import Workspace
runs = {runs!r}
front = Front(Registry([Run.open(name, runs=runs) for name in {names!r}]), workspace=Workspace.open({workspace!r}))
front.models.start()
serve_until_stopped(build(front), listen("127.0.0.1", {port}))
"""


def serve(place: Place, folder: Path, names: list[str], options: str) -> Server:
    """A server over releases and a workspace whose traffic has these options."""
    (folder / ".tunewright").mkdir(parents=True, exist_ok=True)
    (folder / ".tunewright" / "workspace.yaml").write_text(f"traffic: {{{options}}}\n", encoding="utf-8")
    port = free_port()
    code = CODE.format(runs=str(place.runs), names=names, workspace=str(folder), port=port)
    return started(code, port, folder / "server.log")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace."""
    return tmp_path_factory.mktemp("logged")


@pytest.fixture(scope="module")
def logged(place: Place, folder: Path) -> Iterator[str]:
    """The address of a server that logs everything but what asks `red`."""
    runs = [Run.open(name, runs=place.runs) for name in ("desk", "blue", "red", "endless")]
    with served(Front(Registry(runs), workspace=opened(folder, "log: [desk, blue, endless]"))) as url:
        yield url


@pytest.fixture(scope="module")
def asks(logged: str) -> OpenAI:
    """Its client."""
    return OpenAI(base_url=f"{logged}/v1", api_key="none", max_retries=0, timeout=30)


def rows(folder: Path, *ids: str, many: int = 1, texts: bool = True) -> list[Exchanged]:
    """Logged answers, as soon as there are so many."""
    place = Workspace.open(folder)
    until = time.monotonic() + 20
    found: list[Exchanged] = []
    while time.monotonic() < until and len(found) < (len(ids) or many):
        found = list(traffic.read(place, ids=ids or None, texts=texts))
        time.sleep(0.02)
    place.database.close()
    return found


def test_an_answer_is_logged_with_its_figures_and_texts(asks: OpenAI, folder: Path) -> None:
    answer = asks.chat.completions.create(model="desk", messages=HELLO, metadata={"team": "a"}, user="u-1")
    (row,) = rows(folder, answer.id)
    assert (row.model, row.release, row.finish, row.project) == ("desk", "desk:001", "stop", "default")
    assert row.fingerprint[:12] == str(answer.system_fingerprint).removeprefix("fp_")
    assert answer.usage is not None and (row.prompt_tokens, row.completion_tokens) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert row.first_token_seconds is not None and 0 < row.first_token_seconds <= row.seconds < 60
    assert row.confidence is not None and 1 / 3 <= row.confidence <= 1
    assert (row.messages, row.answer) == (HELLO, answer.choices[0].message.content)
    assert row.notes == {"team": "a"}


def test_a_stream_is_logged_and_one_that_is_cut_too(asks: OpenAI, folder: Path) -> None:
    chunks = list(asks.chat.completions.create(model="blue", messages=HELLO, stream=True, logprobs=True, max_tokens=6))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    (row,) = rows(folder, chunks[0].id)
    assert (row.answer, row.finish) == (said, chunks[-1].choices[0].finish_reason)
    assert row.confidence is not None and 0 < row.confidence <= 1
    with asks.chat.completions.create(model="endless", messages=HELLO, stream=True, max_tokens=4000) as stream:
        id = next(iter(stream)).id
        next(iter(stream))
    (row,) = rows(folder, id)
    assert row.finish == "cut" and 0 < row.completion_tokens < 4000 and row.answer


def test_what_is_not_asked_for_is_not_kept(asks: OpenAI, folder: Path) -> None:
    asks.chat.completions.create(model="red", messages=HELLO)
    private = asks.chat.completions.create(model="blue", messages=HELLO, store=False, metadata={"team": "b"})
    tokens = asks.completions.create(model="blue", prompt=[[5, 6, 7]], max_tokens=2)
    text = asks.completions.create(model="blue", prompt="once upon", max_tokens=2)
    found = {row.id: row for row in rows(folder, private.id, tokens.id, text.id)}
    assert found[private.id].messages is None and found[private.id].answer is None
    assert found[private.id].notes == {"team": "b"} and found[private.id].seconds > 0
    assert found[tokens.id].messages is None
    assert found[text.id].messages == [{"role": "user", "content": "once upon"}]
    assert not [row for row in rows(folder, many=3, texts=False) if row.release == "red:001"]


def test_feedback_finds_its_answer_at_once(asks: OpenAI, logged: str, folder: Path) -> None:
    answer = asks.chat.completions.create(model="desk", messages=HELLO)

    def say(**body: Any) -> httpx.Response:
        return httpx.post(f"{logged}/v1/feedback", json=body)

    first = say(id=answer.id, thumb="down", correction="lost card")
    assert first.status_code == 200, first.text
    assert first.json() | {"object": "feedback", "answer": answer.id, "correction": "lost card"} == first.json()
    assert say(id=answer.id, correction=[{"role": "assistant", "content": "exchange rate"}]).status_code == 200
    assert say(id=answer.id, comment="by w.oberholtzer@mailhost.com").status_code == 200
    (row,) = rows(folder, answer.id)
    assert (row.thumb, row.correction) == ("down", [{"role": "assistant", "content": "exchange rate"}])
    assert row.comment is not None and row.comment.startswith("by ") and PLANTED[1] not in row.comment
    shown = httpx.get(f"{logged}/v1/feedback", params={"limit": 2}).json()
    assert shown["has_more"] and [one["correction"] for one in shown["data"]][1] == row.correction
    rest = httpx.get(f"{logged}/v1/feedback", params={"after": shown["last_id"]}).json()
    assert first.json()["id"] in [one["id"] for one in rest["data"]]
    for limit in ("0", "101", "many", "9" * 5000):
        refused = httpx.get(f"{logged}/v1/feedback", params={"limit": limit})
        assert refused.status_code == 400 and refused.json()["error"]["param"] == "limit"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"id": "chatcmpl-none", "thumb": "up"}, 404, "id"),
        ({"id": "chatcmpl-none"}, 400, "thumb"),
        ({"id": "chatcmpl-none", "thumb": "sideways"}, 400, "thumb"),
        ({"thumb": "up"}, 400, "id"),
        ({"id": "chatcmpl-none", "thumb": "up", "stars": 5}, 400, "stars"),
    ],
)
def test_feedback_that_is_no_use_is_refused(logged: str, body: dict[str, Any], status: int, param: str) -> None:
    answer = httpx.post(f"{logged}/v1/feedback", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param


def test_a_correction_is_what_the_assistant_should_have_said(asks: OpenAI, logged: str) -> None:
    id = asks.chat.completions.create(model="desk", messages=HELLO).id
    answer = httpx.post(f"{logged}/v1/feedback", json={"id": id, "correction": HELLO})
    assert answer.status_code == 400 and "'user'" in answer.json()["error"]["message"]


def test_planted_persons_are_nowhere_in_the_files(place: Place, tmp_path: Path) -> None:
    server = serve(place, tmp_path, ["blue", "endless"], "log: true")
    client = server.client()
    said: list[Any] = [{"role": "system", "content": TOLD}, {"role": "user", "content": TOLD}]
    tools: list[Any] = [{"type": "function", "function": {"name": "look_up", "description": TOLD, "parameters": {}}}]
    asked: dict[str, Any] = {"model": "blue", "messages": said, "tools": tools, "max_tokens": 4}
    asked |= {"user": PLANTED[1], "metadata": {"customer": PLANTED[0], "note": TOLD}}
    answer = client.chat.completions.create(**asked)
    with client.chat.completions.create(**asked | {"model": "endless", "max_tokens": 2000}, stream=True) as stream:
        cut = next(iter(stream)).id
    body = {"id": answer.id, "thumb": "down", "correction": f"Write to {PLANTED[1]}.", "comment": TOLD}
    assert httpx.post(f"{server.url}/v1/feedback", json=body).status_code == 200
    first, second = rows(tmp_path, answer.id, cut)
    assert first.messages is not None and "my card number is" in first.messages[1]["content"]
    assert first.tools is not None and second.messages is not None
    assert PLANTED[0] not in str((first, second)) and PLANTED[1] not in str((first, second))
    everywhere = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert answer.id.encode() in everywhere, "the log beside the database is among the files"
    last = client.chat.completions.create(model="blue", messages=said, max_tokens=2).id
    assert server.stop() == 0
    assert rows(tmp_path, last), "what waits is written when the server ends"
    everywhere += b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for planted in (*PLANTED, *PLANTED[0].split(), "my card number is"):
        assert planted.encode() not in everywhere, planted


# --- without a server ---


def opened(folder: Path, options: str = "log: true") -> Workspace:
    (folder / ".tunewright").mkdir()
    (folder / ".tunewright" / "workspace.yaml").write_text(f"traffic: {{{options}}}\n", encoding="utf-8")
    return Workspace.open(folder)


def ended(text: str = "hello", **asked: Any) -> Any:
    """An exchange that is over, as far as a recorder looks at it."""
    request = ChatRequest(model="desk", messages=[{"role": "user", "content": text}], **asked)
    decode = SimpleNamespace(labels=["lost card"])
    return SimpleNamespace(
        asked=request,
        served=SimpleNamespace(name="desk:001", fingerprint="f" * 64, decode=decode),
        head=Head("chat.completion", "desk:001", "fp"),
        heard=[Outcome(text="lost card", finish="stop", num_tokens=2)],
        job=SimpleNamespace(num_tokens=2),
        account=SimpleNamespace(prompt_tokens=3),
        first=time.monotonic(),
        failed=False,
        told=[],
    )


def take(recorder: Recorder, one: Any) -> None:
    recorder.watch(one, LOCAL, arrived=time.monotonic())
    for tell in one.told:
        tell(one)


def test_what_is_too_much_is_dropped_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = opened(tmp_path)
    monkeypatch.setattr(recording, "MOST_WAITING", 5)
    recorder = Recorder(place)
    for _ in range(8):
        take(recorder, ended())
    monkeypatch.setattr(recording, "MOST_WAITING_CHARACTERS", 100)
    recorder.write()
    assert len(list(traffic.read(place))) == 5 and traffic.num_dropped(place) == 3
    assert "3 answers were not logged" in caplog.text
    take(recorder, ended("x" * 200))
    take(recorder, ended())
    recorder.write()
    assert len(list(traffic.read(place))) == 6 and traffic.num_dropped(place) == 4


def test_a_database_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = opened(tmp_path)
    recorder = Recorder(place)
    take(recorder, ended())
    with monkeypatch.context() as broken:
        broken.setattr(traffic, "write", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            recorder.write()
    take(recorder, ended())
    recorder.write()
    assert len(list(traffic.read(place))) == 2


def test_an_answer_never_fails_for_its_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(opened(tmp_path))
    broken = ended()
    broken.heard = []
    take(recorder, broken)
    assert "could not be logged" in caplog.text


def test_a_share_of_the_texts_is_kept_and_long_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = opened(tmp_path, "log: true, sample: 0.25")
    recorder = Recorder(place)
    for _ in range(400):
        take(recorder, ended())
    recorder.write()
    kept = sum(row.messages is not None for row in traffic.read(place))
    assert 60 <= kept <= 140  # 0.25 of 400, more than four standard deviations either way
    monkeypatch.setattr(recording, "MOST_KEPT_CHARACTERS", 40)
    recorder.options = recorder.options.model_copy(update={"sample": 1.0})
    long, short = ended("x" * 60), ended("x" * 5)
    take(recorder, long)
    take(recorder, short)
    recorder.write()
    found = {row.id: row.messages for row in traffic.read(place)}
    assert found[f"chatcmpl-{long.head.id}"] is None
    assert found[f"chatcmpl-{short.head.id}"] == [{"role": "user", "content": "xxxxx"}]


def test_a_row_that_must_be_dropped_keeps_its_figures_alone(tmp_path: Path) -> None:
    place = opened(tmp_path, "log: true, scrub: {actions: {EMAIL_ADDRESS: drop}}")
    recorder = Recorder(place)
    take(recorder, ended(TOLD))
    take(recorder, ended("nobody is named"))
    recorder.write()
    dropped, kept = traffic.read(place)
    assert (dropped.messages, dropped.answer, dropped.prompt_tokens) == (None, None, 3)
    assert kept.messages == [{"role": "user", "content": "nobody is named"}]


def test_days_that_are_over_are_deleted_with_what_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = opened(tmp_path, "log: true, keep_days: 1")
    recorder = Recorder(place)
    old, young = ended(), ended()
    old.head = Head("chat.completion", "desk:001", "fp", created=int(time.time()) - 90_000)
    monkeypatch.setattr(recording, "EXPIRE_SECONDS", 1e9)
    recorder.write()  # looks for old ones now, and not again before long
    take(recorder, old)
    take(recorder, young)
    recorder.write()
    sealer = traffic.sealer_of(place)
    assert sealer is not None
    with place.database.writing() as session:
        for number, one in enumerate((old, young)):
            about = f"chatcmpl-{one.head.id}"
            traffic.add_feedback(session, sealer, id=f"feedback-{number}", traffic_id=about, project="p", thumb="up")
    monkeypatch.setattr(recording, "EXPIRE_SECONDS", 0.0)
    recorder.write()
    with place.database.reading() as session:
        assert [row.id for row in session.query(Traffic)] == [f"chatcmpl-{young.head.id}"]
        assert [row.id for row in session.query(Feedback)] == ["feedback-1"]
    everywhere = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert old.head.id.encode() not in everywhere


def test_users_are_known_by_a_digest_alone(tmp_path: Path) -> None:
    place = opened(tmp_path)
    recorder = Recorder(place)
    for asked in ({"user": "ann"}, {"safety_identifier": "ann"}, {"metadata": {"user": "ann"}}, {"user": "bob"}):
        take(recorder, ended(**asked))
    recorder.write()
    assert all(row.notes == {} for row in traffic.read(place))
    assert len(traffic.forget(place, people=["ann"])) == 3
    assert len(list(traffic.read(place))) == 1


def test_a_key_may_be_a_passphrase_and_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.privacy import vault

    monkeypatch.setenv("TRAFFIC_PASSPHRASE", "correct horse battery staple")
    place = opened(tmp_path, "log: true, vault: {passphrase: env:TRAFFIC_PASSPHRASE}")
    recorder = Recorder(place)
    take(recorder, ended())
    recorder.write()
    assert not (place.state / "traffic.key").exists()
    assert len(list(traffic.read(place))) == 1
    monkeypatch.setattr(vault, "_open", {})
    monkeypatch.setattr(vault, "_unwrapped", {})
    monkeypatch.delenv("TRAFFIC_PASSPHRASE")
    with pytest.raises(NoKey, match="TRAFFIC_PASSPHRASE"):
        Recorder(place)


def test_writers_at_once_write_each_answer_once(tmp_path: Path) -> None:
    place = opened(tmp_path)
    recorder = Recorder(place)
    for _ in range(150):
        take(recorder, ended())
    threads = [threading.Thread(target=recorder.write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(traffic.read(place))) == 150
