"""Requests that are made to harm: refused in time and by name, and the next one is answered."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tunewright.server.app import serve
from tunewright.workspace.place import Workspace

from .conftest import Place
from .locked import Locked, opened

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


@pytest.fixture(scope="module")
def locked(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    with opened(tmp_path_factory.mktemp("attacks"), place.base) as application:
        yield application


@pytest.fixture(autouse=True)
def the_next_request_is_answered(locked: Locked) -> Iterator[None]:
    yield
    answer = locked.ask("POST", CHAT, json={"model": "tiny", "messages": HELLO, "max_tokens": 2})
    assert answer.status_code == 200, answer.text


def refused(locked: Locked, path: str, **options: Any) -> dict[str, Any]:
    """The error that a request gets."""
    given = {"messages": HELLO} if path == CHAT else {"prompt": "x"}
    body = json.dumps({"model": "tiny"} | given | options)  # NaN too
    answer = locked.ask("POST", path, content=body.encode(), headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 16_384),
        ("n", -1),
        ("max_tokens", 10**9),
        ("max_tokens", 10**30),
        ("stop", ["x"] * 100_000),
        ("stop", ["x" * 100_000]),
        ("top_k", 1.5),
        ("top_k", 10**40),
        ("seed", 10**40),
        ("logit_bias", {"-1": 5}),
        ("logit_bias", {"999999999": -100}),
        ("logit_bias", {"a": "b"}),
        ("best_of", 10**6),
        ("temperature", 1e308),
        ("top_p", -1e308),
        ("prompt_embeds", "gASVIAAA"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_absurd_parameters_are_refused_by_name(locked: Locked, path: str, name: str, value: Any) -> None:
    error = refused(locked, path, **{name: value})
    if error["code"] != "context_length_exceeded":
        assert (error["param"] or "").startswith(name)


@pytest.mark.parametrize(("path", "value"), [(CHAT, 10**9), (TEXT, 10**9), (TEXT, True), (TEXT, -1)])
def test_absurd_logprobs_are_refused(locked: Locked, path: str, value: Any) -> None:
    assert refused(locked, path, logprobs=value)["param"] == "logprobs"


@pytest.mark.parametrize("name", ["top_k", "temperature", "top_p", "seed", "n", "max_tokens"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused(locked: Locked, name: str, value: float) -> None:
    refused(locked, CHAT, **{name: value})


@pytest.mark.parametrize(
    "given",
    [
        {"chat_template": "{{ ''.__class__ }}"},
        *({"chat_template_kwargs": {key: True}} for key in ("tokenize", "tools", "padding", "return_tensors", "x")),
        {"add_generation_prompt": False},
        {"continue_final_message": True},
        {"documents": [{"text": "x"}]},
        {"mm_processor_kwargs": {}},
    ],
)
def test_nothing_of_the_template_is_a_clients(locked: Locked, given: dict[str, Any]) -> None:
    [name] = given
    assert refused(locked, CHAT, **given)["param"] == name


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


SCHEMAS = {
    "200 deep": nested(200),
    "of itself alone": {"$ref": "#"},
    "in a circle": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "elsewhere": {"$ref": "http://169.254.169.254/latest"},
    "a file": {"$ref": "file:///etc/passwd"},
    "unknown type": {"type": "strange"},
    "bad expression": {"type": "string", "pattern": "(["},
    "too wide": {"type": "object", "properties": {f"p{number}": {"type": "integer"} for number in range(20_000)}},
    "too many": {"enum": [f"v{number}" for number in range(100_000)]},
}
HARD = {
    "backtracking": {"type": "string", "pattern": "(a+)+$"},
    "states": {"type": "string", "pattern": "(a|b)*a(a|b){60}c"},
    "repeated": {"type": "string", "pattern": "((a{1000}){1000}){1000}"},
    "long": {"type": "array", "items": {"type": "integer"}, "minItems": 10**8},
    "tree": {"type": "object", "properties": {"a": {"$ref": "#"}}, "additionalProperties": False},
}


def asked_in(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_that_cannot_be_followed_are_refused(locked: Locked, name: str) -> None:
    before = time.process_time()
    refused(locked, CHAT, response_format=asked_in(SCHEMAS[name]), max_tokens=8)
    assert time.process_time() - before < 5  # an endless one would take for ever


@pytest.mark.parametrize("name", HARD)
def test_schemas_that_are_hard_hinder_nobody(locked: Locked, name: str) -> None:
    body = {"model": "tiny", "messages": HELLO, "response_format": asked_in(HARD[name]), "max_tokens": 16}
    before = time.process_time()
    assert locked.ask("POST", CHAT, json=body).status_code in (200, 400)
    assert time.process_time() - before < 10


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../../etc",
            "/etc/passwd",
            "a/../b",
            "..%2f..%2fetc",
            "%252e%252e",
            "..\\..\\x",
            "tiny\x00",
            "\uff0e\uff0e/",
        ),
        *("x" * 300, "CON", "nul.txt", "tiny/", "tiny ", "TINY", ".", "..", "~root", "file:///etc/passwd"),
    ],
)
def test_names_are_looked_up_and_never_paths(locked: Locked, name: str) -> None:
    answers = [
        locked.ask("POST", path, json={"model": name} | given)
        for path, given in ((CHAT, {"messages": HELLO}), (TEXT, {"prompt": "x"}), ("/v1/embeddings", {"input": "x"}))
    ]
    if name.strip("."):  # else a client's own path
        answers.append(locked.ask("GET", f"/v1/models/{quote(name, safe='/%')}"))
    for answer in answers:
        assert answer.status_code in (400, 404) and "root:" not in answer.text and "Traceback" not in answer.text


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "/etc/passwd"}},
    ],
)
def test_nothing_is_fetched_for_a_message(locked: Locked, part: dict[str, Any]) -> None:
    assert refused(locked, CHAT, messages=[{"role": "user", "content": [part]}])["param"] == "messages.0.content"


def test_a_million_values_are_refused_before_they_are_read(locked: Locked) -> None:
    body = b'{"model": "tiny", "messages": [' + b"0," * 1_000_000 + b"0]}"
    answer = locked.ask("POST", CHAT, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("open_", ["[", '{"a":', '{"messages":['])
def test_a_body_nested_without_end_is_refused(locked: Locked, open_: str) -> None:
    assert locked.ask("POST", CHAT, content=(open_ * 100_000).encode()).status_code == 400
    whole = open_ * 5_000 + "1" + ("]" if open_ == "[" else "]}" if open_.endswith("[") else "}") * 5_000
    assert locked.ask("POST", CHAT, content=whole.encode()).status_code == 400


def test_a_line_of_the_log_stays_one(locked: Locked, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        locked.ask("GET", "/v1/models/a%0D%0AFAKE%1B%5B31m")
        locked.ask("POST", CHAT, json={"model": "a\r\nFAKE\x1b[31m", "messages": HELLO})
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("tunewright")]
    assert [line for line in lines if "FAKE" in line]
    assert not [line for line in lines if "\n" in line or "\x1b" in line or "\r" in line]


def test_a_workspace_file_runs_nothing(tmp_path: Path) -> None:
    from tunewright.core.errors import RecipeError

    sentinel = tmp_path / "sentinel"
    (tmp_path / ".tunewright").mkdir()
    config = tmp_path / ".tunewright" / "workspace.yaml"
    for text in (
        f"organization: !!python/object/apply:os.system ['touch {sentinel}']",
        f"!!python/object/new:subprocess.Popen [['touch', '{sentinel}']]",
        "organization: ${HOME}",
        "include: /etc/passwd",
        "? !!python/name:os.system ''",
    ):
        config.write_text(text)
        with pytest.raises(RecipeError):
            Workspace.open(tmp_path)
    assert not sentinel.exists()


def test_a_workspace_with_a_key_may_be_served_elsewhere_and_none_without(tmp_path: Path) -> None:
    from tunewright.core.errors import TunewrightError
    from tunewright.workspace import keys

    for host in ("0.0.0.0", "::", "198.51.100.7"):
        with pytest.raises(TunewrightError, match="keys create"):
            serve(workspace=tmp_path, host=host, port=0)
    with Workspace.open(tmp_path).database.writing() as session:
        keys.create(session, name="first")
    with pytest.raises(TunewrightError, match=r"Cannot listen on 198\.51"):  # not an address of this machine
        serve(workspace=tmp_path, host="198.51.100.7", port=0)


@pytest.mark.parametrize(("path", "asked"), [(CHAT, {"messages": [*HELLO, *HELLO]}), (TEXT, {"prompt": "hello " * 20})])
def test_a_prompt_is_not_read_faster_for_what_another_project_asked(
    place: Place, tmp_path: Path, path: str, asked: dict[str, Any]
) -> None:
    body = {"model": "tiny", "max_tokens": 2} | asked
    with opened(tmp_path, place.base) as locked:
        ours, theirs = locked.key(), locked.key(project="other")

        def cached(key: str) -> int:
            answer = locked.ask("POST", path, key, json=body)
            return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])

        assert cached(ours) == 0 and cached(ours) > 0
        assert cached(theirs) == 0 and cached(theirs) > 0
