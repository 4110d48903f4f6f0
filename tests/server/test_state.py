"""What the server tells of itself: /healthz, /metrics and its log; never what somebody wrote."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from prometheus_client.parser import text_string_to_metric_families as families
from starlette.testclient import TestClient

from tunewright.server.account import Account, Answered
from tunewright.server.logs import JsonLines
from tunewright.server.metrics import MOST_MODELS, OTHERS, Metrics

from .conftest import Place

SECRET = "the-secret-word"
HELLO: list[Any] = [{"role": "user", "content": f"hello {SECRET}"}]


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Each sample by its name and its labels' values, in the order of the labels' names."""
    return {
        (sample.name, *sample.labels.values()): sample.value for family in families(text) for sample in family.samples
    }


def test_requests_tokens_and_state_are_told_to_prometheus_and_the_log(place: Place, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tunewright.cli", "serve", "red", "--runs", str(place.runs), "--port", "0"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([*command, "--json", "--log-format", "json"], stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["numbers"]["address"]
        client = OpenAI(base_url=address, api_key="none", max_retries=0, timeout=60)
        for _ in range(2):
            used = client.chat.completions.create(model="red", messages=HELLO, max_tokens=5).usage
            assert used is not None and used.prompt_tokens_details is not None
        httpx.post(f"{address}/chat/completions", json={"model": "nobody", "messages": HELLO})
        httpx.get(f"{address.removesuffix('v1')}{SECRET}")
        text = httpx.get(f"{address.removesuffix('v1')}metrics").text
        found = samples(text)
        route = "/v1/chat/completions"
        assert found["tunewright_requests_total", "POST", "red:001", route, "200"] == 2
        assert found["tunewright_requests_total", "POST", "", route, "404"] == 1
        assert found["tunewright_requests_total", "", "", "", "404"] == 1
        assert found["tunewright_tokens_total", "prompt", "red:001"] == 2 * used.prompt_tokens
        assert found["tunewright_tokens_total", "completion", "red:001"] == 2 * used.completion_tokens
        cached = used.prompt_tokens_details.cached_tokens
        assert found["tunewright_tokens_total", "cached", "red:001"] == cached and cached
        assert found["tunewright_prefix_hits_total", "red:001"] == 1
        assert found["tunewright_first_token_seconds_count", "red:001"] == 2
        assert found["tunewright_request_seconds_count", route] == 3
        assert found["tunewright_live",] == 0 and found["tunewright_adapters",] == 1
        assert found["tunewright_prefix_bytes",] > 0 and found["tunewright_models_loaded",] >= 1
        assert found["process_resident_memory_bytes",] > 0
        assert SECRET not in text and "nobody" not in text and "_created" not in text
        process.terminate()
        assert process.wait(timeout=60) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    chats = [line for line in lines if line.get("model")]
    assert [line["model"] for line in chats] == ["red:001", "red:001"]
    for told in chats:
        assert (told["prompt_tokens"], told["completion_tokens"]) == (used.prompt_tokens, used.completion_tokens)
        assert told["first_token_seconds"] <= told["seconds"]
    asked = [line.pop("path", None) for line in lines]
    assert f"/{SECRET}" in asked and SECRET not in str(lines)


def test_metrics_need_an_admins_key_where_there_are_keys() -> None:
    from tunewright.core.run import Run
    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.keyring import Keyring
    from tunewright.server.registry import Registry

    with TestClient(
        build(Front(Registry(list[Run]()), keyring=Keyring(["key"]))), base_url="http://127.0.0.1"
    ) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/metrics").status_code == 401
        answer = client.get("/metrics", headers={"authorization": "Bearer key"})
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
        other = client.get("/metrics", headers={"authorization": "Bearer key", "openai-project": "other"})
        assert other.status_code == 404  # they tell of all projects
    with TestClient(build(Front(Registry(list[Run]()))), base_url="http://other.example") as client:
        assert client.get("/metrics").status_code == 403


def test_jobs_are_counted_by_state(tmp_path: Path) -> None:
    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.registry import Registry
    from tunewright.workspace.place import Workspace
    from tunewright.workspace.tables import Job

    place = Workspace.open(tmp_path)
    with place.database.writing() as session:
        for number, status in enumerate(("queued", "queued", "failed")):
            session.add(
                Job(
                    id=f"j{number}",
                    model="nano",
                    base="nano",
                    run="r",
                    status=status,
                    training_file="f",
                    seed=1,
                    method={},
                )
            )
    front = Front(Registry([], bases=place.config.models), workspace=place)
    app = build(front)
    front.background.clear()  # else the supervisor would take them on
    with TestClient(app, base_url="http://127.0.0.1") as client:
        found = samples(client.get("/metrics").text)
    assert [found["tunewright_jobs", state] for state in ("queued", "failed", "running")] == [2, 1, 0]


def test_the_number_of_series_is_bounded() -> None:
    metrics = Metrics()
    for number in range(MOST_MODELS + 50):
        metrics.count(Answered("POST", "/v1/chat/completions", 200, 0.1, Account(model=f"m{number}", prompt_tokens=1)))
    found = samples(metrics.text().decode())
    assert found["tunewright_tokens_total", "prompt", OTHERS] == 50
    assert len([key for key in found if key[0] == "tunewright_requests_total"]) == MOST_MODELS + 1


def test_a_json_log_has_one_object_a_line_whatever_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.registry import Registry

    caplog.set_level(logging.INFO, "tunewright.server")
    with TestClient(build(Front(Registry([]))), base_url="http://127.0.0.1") as client:
        answer = client.get("/v1/models/%0d%0a%1b[31mforged line")
    [line] = [JsonLines().format(record) for record in caplog.records if "facts" in record.__dict__]
    assert line.isprintable() and line.isascii()
    told = json.loads(line)
    assert told["request"] == answer.headers["x-request-id"] and told["status"] == 404
    assert told["path"] == "/v1/models/\r\n\x1b[31mforged line" and told["level"] == "info"
    assert {"time", "key", "method", "seconds"} <= set(told)


def test_other_lines_and_errors_are_objects_too() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "p", 1, "%s failed", ("it",), (ValueError, error, None))
    told = json.loads(JsonLines().format(record))
    assert told["message"] == "it failed" and "two\nlines" in told["error"] and told["level"] == "error"
