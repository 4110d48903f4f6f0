"""A server's life: keys, hanging up, a release deployed meanwhile, a full queue, a clean end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from server_process import Server, start

from tunewright.core.errors import NotThere, TunewrightError

from .conftest import Place

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
LONG = {"model": "endless", "messages": HELLO, "max_tokens": 4000, "n": 8}


def test_hanging_up_ends_the_work(server: Server) -> None:
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=LONG | {"stream": True}, timeout=60) as answer:
        lines = answer.iter_lines()  # held: the client hangs up when it goes
        next(lines)
        assert server.wait_for(8, seconds=30)
    assert server.wait_for(0, seconds=5)


def test_hanging_up_before_a_whole_answer_ends_the_work(server: Server) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/chat/completions", json=LONG, timeout=httpx.Timeout(60, read=1))
    assert server.wait_for(0, seconds=5)


def test_a_release_deployed_meanwhile_answers(server: Server, place: Place) -> None:
    client = server.client()

    def ask(model: str) -> Any:
        return client.chat.completions.create(model=model, messages=HELLO)

    first = ask("hot")
    assert first.model == "hot:001"
    with httpx.stream(
        "POST",
        f"{server.url}/v1/chat/completions",
        json={"model": "hot", "messages": HELLO, "stream": True, "max_tokens": 12},
        timeout=60,
    ) as begun:
        place.release("hot", 60)
        until = time.monotonic() + 30
        while (second := ask("hot")).model == "hot:001" and time.monotonic() < until:
            time.sleep(0.2)
        chunks = [json.loads(line[6:]) for line in begun.iter_lines() if line.startswith("data: {")]
        assert {chunk["model"] for chunk in chunks} == {"hot:001"}
    assert second.model == "hot:002"
    assert second.choices[0].message.content != first.choices[0].message.content
    assert ask("hot:001").choices[0].message.content == first.choices[0].message.content
    assert {"hot", "hot:001", "hot:002"} <= {model.id for model in client.models.list()}


def test_a_damaged_release_is_passed_over(server: Server, place: Place) -> None:
    before = server.client().chat.completions.create(model="whole", messages=HELLO, temperature=0)
    damaged = place.release("whole", 7)
    (damaged / "adapter" / "adapter_model.safetensors").write_bytes(b"broken")
    time.sleep(2.2)
    after = server.client().chat.completions.create(model="whole", messages=HELLO, temperature=0)
    assert after.choices[0].message.content == before.choices[0].message.content
    with pytest.raises(openai.NotFoundError, match="damaged"):
        server.client().chat.completions.create(model="whole:002", messages=HELLO)


@pytest.fixture(scope="module")
def locked(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with keys and room for two answers and one that waits."""
    log = tmp_path_factory.mktemp("locked") / "server.log"
    server = start(place.runs, ["endless"], log, keys=["first-key", "second-key"], max_live=2, max_waiting=1)
    yield server
    server.stop()


def test_keys_guard_every_path_but_health(locked: Server) -> None:
    for key in ("first-key", "second-key"):
        assert locked.client(key).models.list().data
    for key in ("wrong", "first-ke", "FIRST-KEY"):
        with pytest.raises(openai.AuthenticationError) as refused:
            locked.client(key).models.list()
        assert refused.value.code == "invalid_api_key"
    from tunewright.server.app import build
    from tunewright.server.front import Front

    paths = {route.path for route in build(Front(None)).routes}  # type: ignore[arg-type,attr-defined]
    assert {"/healthz", "/v1/models", "/v1/chat/completions", "/v1/completions"} <= paths
    for path in {*paths, "/", "/docs", "/v1/files"} - {"/healthz"}:
        for method in ("GET", "POST"):
            answer = httpx.request(method, locked.url + path.replace("{name:path}", "endless"))
            assert answer.status_code == 401, path
            assert answer.headers["x-request-id"]
    assert httpx.get(f"{locked.url}/healthz").status_code == 200
    assert httpx.get(f"{locked.url}/healthz", headers={"host": "our.example"}).status_code == 200


def test_a_full_queue_says_when_to_come_again(locked: Server) -> None:
    client = locked.client("first-key")
    with client.chat.completions.create(model="endless", messages=HELLO, max_tokens=3000, n=3, stream=True) as held:
        next(iter(held))
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model="endless", messages=HELLO)
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60
        assert refused.value.code == "queue_full"
    assert locked.wait_for(0, seconds=5)
    assert client.chat.completions.create(model="endless", messages=HELLO, max_tokens=3).choices


def test_the_end_lets_a_short_answer_finish_and_cuts_a_long_one(locked: Server) -> None:
    client = locked.client("first-key")
    done: list[str] = []
    seen = threading.Barrier(3)

    def follow(name: str, tokens: int) -> None:
        try:
            chunks = iter(
                client.chat.completions.create(model="endless", messages=HELLO, max_tokens=tokens, stream=True)
            )
            next(chunks)
            seen.wait(timeout=60)
            done.append(f"{name} {[chunk.choices[0].finish_reason for chunk in chunks][-1]}")
        except (openai.APIError, httpx.HTTPError):
            done.append(f"{name} cut")

    threads = [threading.Thread(target=follow, args=one) for one in (("short", 20), ("long", 4000))]
    for thread in threads:
        thread.start()
    seen.wait(timeout=60)
    started = time.monotonic()
    assert locked.stop() == 0
    assert time.monotonic() - started < 50
    for thread in threads:
        thread.join(timeout=10)
    assert "short length" in done
    assert len(done) == 2


def test_other_addresses_need_keys(place: Place) -> None:
    from tunewright.server.app import serve

    for host in ("0.0.0.0", "::", "", "192.168.0.1", "example.com"):
        with pytest.raises(TunewrightError, match="keys"):
            serve(["red"], runs_folder=place.runs, host=host)
    with pytest.raises(TunewrightError, match="key"):
        serve(["red"], runs_folder=place.runs, keys=[" "])


def test_what_cannot_be_served_is_told(place: Place, server: Server, tmp_path: Path) -> None:
    from tunewright.core import storage
    from tunewright.server.app import serve

    with pytest.raises(NotThere, match="no run 'none'"):
        serve(["none"], runs_folder=place.runs)
    storage.write_json(tmp_path / "young" / "run.json", {"name": "young"})
    with pytest.raises(NotThere, match="deploy"):
        serve(["young"], runs_folder=tmp_path, port=0)
    with pytest.raises(TunewrightError, match="Choose another port"):
        serve(["red"], runs_folder=place.runs, port=int(server.url.rpartition(":")[2]))


def test_the_command_tells_the_port_it_was_given(place: Place) -> None:
    command = [
        sys.executable,
        "-m",
        "tunewright.cli",
        "serve",
        "red",
        "--runs",
        str(place.runs),
        "--port",
        "0",
        "--json",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["numbers"]["address"]
        try:
            assert httpx.get(f"{address}/models", timeout=60).json()["data"]
        finally:
            process.terminate()
        assert process.wait(timeout=60) == 0 and process.stdout.read() == b""
