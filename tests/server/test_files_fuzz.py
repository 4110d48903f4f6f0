"""Whatever a client sends about files, the answer is in the API's shape, never a 500, and nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tunewright.server.app import build
from tunewright.server.front import Front
from tunewright.server.registry import Registry
from tunewright.workspace import files
from tunewright.workspace.place import Workspace

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
PURPOSE = st.sampled_from(files.PURPOSES) | TEXT
NUMBER = st.integers(-5, 20000).map(str) | TEXT


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def asked(place: Workspace) -> TestClient:
    """The application without a process; nothing works beside the answers."""
    app = build(Front(Registry([], bases={}), workspace=place))
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def sound(answer: Any) -> bool:
    if answer.status_code < 400:
        return True
    error = answer.json()["error"]
    return answer.status_code < 500 and {*error} == {"message", "type", "param", "code"} and bool(error["message"])


@FUZZ
@given(name=TEXT, purpose=PURPOSE, seconds=NUMBER, anchor=st.just("created_at") | TEXT, content=st.binary(max_size=200))
def test_forms(
    asked: TestClient, place: Workspace, name: str, purpose: str, seconds: str, anchor: str, content: bytes
) -> None:
    form = {"purpose": purpose, "expires_after[anchor]": anchor, "expires_after[seconds]": seconds}
    before = {path.name for path in Path(place.files).iterdir()}
    answer = asked.post("/v1/files", data=form, files={"file": (name, content)})
    assert sound(answer), answer.text
    after = {path.name for path in Path(place.files).iterdir()}
    if answer.status_code != 200:
        assert after == before
        return
    made = answer.json()
    assert after - before == {made["id"]} and made["bytes"] == len(content) > 0
    assert asked.get(f"/v1/files/{made['id']}/content").content == content
    assert asked.get(f"/v1/files/{made['id']}").json() == made


@FUZZ
@given(body=st.binary(max_size=300), boundary=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_bodies(asked: TestClient, place: Workspace, body: bytes, boundary: str) -> None:
    before = {path.name for path in Path(place.files).iterdir()}
    kind = f"multipart/form-data; boundary={boundary}"
    answer = asked.post("/v1/files", content=f"--{boundary}\r\n".encode() + body, headers={"content-type": kind})
    assert sound(answer) and answer.status_code >= 400
    assert {path.name for path in Path(place.files).iterdir()} == before


@FUZZ
@given(limit=NUMBER, after=TEXT, order=st.sampled_from(["asc", "desc"]) | TEXT, purpose=PURPOSE, other=TEXT)
def test_lists(asked: TestClient, limit: str, after: str, order: str, purpose: str, other: str) -> None:
    for query in ({"limit": limit}, {"after": after}, {"order": order}, {"purpose": purpose}, {other: "1"}):
        assert sound(asked.get("/v1/files", params=query))


@FUZZ
@given(file_id=st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=40))
def test_ids(asked: TestClient, file_id: str) -> None:
    from urllib.parse import quote

    path = f"/v1/files/{quote(file_id, safe='')}"
    for answer in (asked.get(path), asked.delete(path), asked.get(f"{path}/content")):
        assert sound(answer) and answer.status_code in (200, 404, 405)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@FUZZ
@given(size=JSON, name=JSON, mime=JSON, purpose=PURPOSE, parts=JSON, md5=JSON)
def test_uploads(asked: TestClient, size: Any, name: Any, mime: Any, purpose: str, parts: Any, md5: Any) -> None:
    whole = {"bytes": 3, "filename": "a", "mime_type": "text/plain", "purpose": "batch"}
    for change in ({"bytes": size}, {"filename": name}, {"mime_type": mime}, {"purpose": purpose}):
        assert sound(asked.post("/v1/uploads", json=whole | change))
    made = asked.post("/v1/uploads", json=whole).json()
    answer = asked.post(f"/v1/uploads/{made['id']}/complete", json={"part_ids": parts, "md5": md5})
    assert sound(answer) and answer.status_code >= 400


KEYS = st.sampled_from([
    "messages", "prompt", "completion", "input", "preferred_output", "non_preferred_output", "tools", "role", "content",
    "tool_calls", "weight", "type", "image_url", "url", "text",
])  # fmt: skip
WORDS = st.sampled_from(["user", "assistant", "tool", "system", "text", "image_url", "/etc/hosts"]) | TEXT
VALUES = st.recursive(
    st.none() | st.integers(-1, 2) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=16,
)


@settings(FUZZ, max_examples=150)
@given(rows=st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
def test_rows(asked: TestClient, rows: list[Any]) -> None:
    content = b"\n" + b"\n".join(json.dumps(row).encode() for row in rows)
    answer = asked.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", content)})
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["status"] == ("error" if made["status_details"] else "processed")
