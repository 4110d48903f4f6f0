"""Whatever is sent, the answer is never a 500, always in the API's shape, and the next request is answered."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tunewright.core import storage

from .conftest import Place, make_base
from .locked import Locked, opened
from .route_cases import CASES, MAKERS, NOWHERE, Case, table

ROUTES = [name for name, case in CASES.items() if case.model is not None]
BOUNDED = settings(
    database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), max_examples=40
)
NAMES = ["model", "messages", "n", "limit", "id", "name", "metadata", "suffix", "seed", "purpose", "stop", "__class__"]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**53, 2**63, 2**64, 10**30, 1e308]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "\x00", "\ud800", "../../etc/passwd", "ft:tiny:x:y:z", "tiny", "<|im_end|>", "auto", "'; --"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """An application whose base has a short context, so that no answer takes long."""
    folder = tmp_path_factory.mktemp("fuzz")
    make_base(folder / "tiny")
    config = storage.read_json(folder / "tiny" / "config.json")
    storage.write_json(folder / "tiny" / "config.json", config | {"max_position_embeddings": 96})
    with opened(folder, folder / "tiny") as application:
        yield application


@pytest.fixture(scope="module")
def key(locked: Locked) -> str:
    return locked.key()


def check(answer: Any, sent: Any) -> None:
    assert answer.status_code < 500, f"{sent!r}: {answer.text}"
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"], answer.text


def good(locked: Locked, name: str, key: str) -> None:
    """The next request is answered."""
    case = CASES[name]
    things = {kind: MAKERS[kind](locked, "default") for kind in case.kinds}
    answer = send(locked, name, key, things, **case.request(things))
    assert answer.status_code < 400 or (answer.status_code < 500 and not case.works), answer.text


def send(locked: Locked, name: str, key: str, things: dict[str, str], **options: Any) -> Any:
    return locked.ask(name.partition(" ")[0], CASES[name].url(table(locked.app)[name], things), key, **options)


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield here
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in children:
        yield from paths(one, (*here, name))


@st.composite
def changed(draw: st.DrawFn, body: dict[str, Any]) -> Any:
    """A good body with one to three places replaced, removed or added to."""
    made: Any = {"it": copy.deepcopy(body)}
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from([one for one in paths(made) if one]))
        parent = made
        for name in above:
            parent = parent[name]
        what = draw(st.sampled_from(["replace", "remove", "add"]))
        if what == "remove" and above:
            del parent[last]
        elif what == "add" and isinstance(parent[last], dict):
            parent[last][draw(st.sampled_from(NAMES))] = draw(VALUES)
        else:
            parent[last] = draw(VALUES)
    return made["it"]


@pytest.mark.parametrize("name", ROUTES)
def test_bodies_near_to_good_ones(locked: Locked, key: str, name: str) -> None:
    case = CASES[name]
    things = {kind: MAKERS[kind](locked, "default") for kind in case.kinds}

    @BOUNDED
    @given(changed(case.request(things)["json"]))
    def sent(body: Any) -> None:
        content = json.dumps(body).encode("utf-8", "surrogatepass")
        check(send(locked, name, key, things, content=content, headers={"content-type": "application/json"}), body)

    sent()
    good(locked, name, key)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("POST")])
def test_bytes_and_other_content_types(locked: Locked, key: str, name: str) -> None:
    case = CASES[name]
    things = {kind: MAKERS[kind](locked, "default") for kind in case.kinds}
    types = ["application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "a/b; c", ""]

    @BOUNDED
    @given(st.binary(max_size=200) | VALUES.map(lambda one: json.dumps(one).encode()), st.sampled_from(types))
    def sent(content: bytes, kind: str) -> None:
        check(send(locked, name, key, things, content=content, headers={"content-type": kind}), content)

    sent()
    for content in (b"", b"[" * 100_000, b'{"a":' * 50_000, b"[0," * 300_000, b"\xff" * 1000, b"1" * 5000, b"null"):
        check(send(locked, name, key, things, content=content, headers={"content-type": types[0]}), content[:20])
    good(locked, name, key)


@pytest.mark.parametrize("name", list(CASES))
def test_paths_and_queries(locked: Locked, key: str, name: str) -> None:
    case = CASES[name]
    route, method = table(locked.app)[name], name.partition(" ")[0]
    query = st.dictionaries(
        st.sampled_from(["after", "limit", "order", "purpose", "metadata[a]", "metadata", "model", "x", "since"]),
        st.text(max_size=12) | st.sampled_from(["0", "-1", "1e9", "9" * 30, "\x00", "null", "desc"]),
        max_size=3,
    )

    @BOUNDED
    @given(st.text(max_size=30) | st.sampled_from(["..", "a/b", "\x00", "%2e%2e", "x" * 3000, "{0}"]), query)
    def sent(text: str, asked: dict[str, str]) -> None:
        try:
            things = {of.kind: quote(text, safe="/") for of in case.path.values()}
        except UnicodeEncodeError:
            return
        path = case.url(route, things)
        options = case.request({kind: NOWHERE[kind] for kind in case.kinds})
        check(locked.ask(method, path or "/", key, params=asked, **options), (path, asked))

    sent()


def schema_of(locked: Locked) -> dict[str, Any]:
    """OpenAPI of the routes whose bodies are models."""
    described: dict[str, Any] = {}
    for name, route in table(locked.app).items():
        case: Case = CASES[name]
        operation: dict[str, Any] = {"responses": {"200": {"description": "the answer"}}}
        if case.model is not None:
            shape = case.request_model().model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
            described.setdefault("schemas", {}).update(shape.pop("$defs", {}))
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": shape}}}
        path = route.path.replace(":path}", "}")
        operation["parameters"] = [
            {"name": one, "in": "path", "required": True, "schema": {"type": "string"}} for one in case.path
        ]
        described.setdefault("paths", {}).setdefault(path, {})[name.partition(" ")[0].lower()] = operation
    info = {"title": "tunewright", "version": "1"}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": described["paths"],
        "components": {"schemas": described["schemas"]},
    }


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_requests_made_from_the_schemas(locked: Locked, key: str, mode: GenerationMode) -> None:
    headers = {"authorization": f"Bearer {key}"}
    for found in schemathesis.openapi.from_dict(schema_of(locked)).get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and operation.label not in ROUTES:
            continue  # any text may stand in a path

        @settings(BOUNDED, max_examples=15)
        @given(operation.as_strategy(generation_mode=mode))
        def sent(case: schemathesis.Case) -> None:
            made = case.as_transport_kwargs(base_url="http://localhost")
            made.pop("cookies", None)
            body = {"content": made.pop("data")} if isinstance(made.get("data"), bytes) else {}
            answer = locked.http.request(**made | body | {"headers": {**made["headers"], **headers}})
            check(answer, (case.method, case.path, case.body))

        sent()
    assert locked.ask("GET", "/v1/models", key).status_code == 200


def test_the_place_of_every_route_is_in_the_schema(locked: Locked) -> None:
    described = schema_of(locked)["paths"]
    assert sum(map(len, described.values())) == len(table(locked.app))


def test_a_500_would_be_seen(place: Place, tmp_path: Path) -> None:
    from tunewright.server.routing import needs

    with opened(tmp_path, place.base) as broken:

        @broken.app.post("/v1/broken")
        @needs("infer")
        def fail() -> None:
            raise KeyError("x")

        with pytest.raises(AssertionError):
            check(broken.ask("POST", "/v1/broken", broken.key()), "x")
