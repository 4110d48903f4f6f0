"""Files and uploads through the official client of both majors, curl and raw requests, against a real server."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types import FileDeleted, FileObject, Upload
from openai.types.uploads import UploadPart
from pydantic import TypeAdapter
from server_process import Server, start

from tunewright.core import storage

from .conftest import Place
from .shop import shop_of

ROW = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
CHAT = b"".join(json.dumps(ROW).encode() + b"\n" for _ in range(12))


@pytest.fixture(scope="module")
def begin(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[Server, Path]]]:
    """Starts a server over a workspace: a new one, or one that is there."""
    servers = []

    def begin(folder: Path | None = None) -> tuple[Server, Path]:
        folder = folder or tmp_path_factory.mktemp("workspace")
        config = {"models": {"tiny": str(place.base)}, "files": {"largest_mib": 1, "upload_gib": 0.001}}
        storage.write_json(folder / ".tunewright" / "workspace.yaml", config)
        log = folder / f"server-{time.monotonic_ns()}.log"
        servers.append(start(folder / "runs", [], log, workspace=str(folder)))
        return servers[-1], folder

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def kept(begin: Callable[..., tuple[Server, Path]]) -> tuple[Server, Path]:
    """The server that most tests share, and its workspace."""
    return begin()


@pytest.fixture
def api(kept: tuple[Server, Path]) -> OpenAI:
    """The official client."""
    return kept[0].client()


def bytes_of(folder: Path) -> set[str]:
    """What lies in a workspace's files."""
    return {path.name for path in (folder / ".tunewright" / "files").iterdir()}


def until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def half_sent(server: Server) -> socket.socket:
    """A connection on which half a file has been sent."""
    address = httpx.URL(server.url)
    assert address.port is not None
    line = socket.create_connection((address.host, address.port))
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: 900000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    line.sendall(head.encode() + b"half of it")
    return line


def strict(kind: Any, answer: httpx.Response) -> Any:
    """The body as the client's type has it, no value bent."""
    assert answer.status_code == 200, answer.text
    return TypeAdapter(kind).validate_json(answer.content, strict=True)


def test_a_migration_script_does_its_usual_calls(api: OpenAI, kept: tuple[Server, Path]) -> None:
    made = api.files.create(file=("train.jsonl", CHAT), purpose="fine-tune")
    ready = api.files.wait_for_processing(made.id, poll_interval=0.05)
    assert (ready.status, ready.bytes, ready.filename) == ("processed", len(CHAT), "train.jsonl")
    assert made.id in {one.id for one in api.files.list(purpose="fine-tune")}
    assert api.files.content(made.id).content == CHAT
    assert api.files.delete(made.id).deleted
    assert made.id not in {one.id for one in api.files.list()}
    for call in (api.files.retrieve, api.files.content, api.files.delete):
        with pytest.raises(NotFoundError):
            call(made.id)
    until(lambda: made.id not in bytes_of(kept[1]))


def test_a_path_that_is_not_there_is_named(kept: tuple[Server, Path]) -> None:
    for method, path, status in (("POST", "/v1/responses", 404), ("PUT", "/v1/files", 405)):
        answer = httpx.request(method, f"{kept[0].url}{path}")
        told = answer.json()["error"]["message"]
        assert answer.status_code == status and told.startswith(f"This server has no {method} {path}. docs/serve.md")


def test_the_pages_example_works_as_it_stands(
    kept: tuple[Server, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    assert "http://127.0.0.1:8000" in example
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_bytes(CHAT)
    exec(example.replace("http://127.0.0.1:8000", kept[0].url), {})
    assert capsys.readouterr().out.startswith("processed None\nfile-")


def test_every_answer_is_of_the_clients_types(kept: tuple[Server, Path]) -> None:
    url = f"{kept[0].url}/v1"
    form = {"purpose": "fine-tune", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    made = strict(FileObject, httpx.post(f"{url}/files", data=form, files={"file": ("a.jsonl", CHAT)}))
    assert made.expires_at == made.created_at + 3600
    assert strict(FileObject, httpx.get(f"{url}/files/{made.id}")) == made
    page = httpx.get(f"{url}/files").json()
    TypeAdapter(list[FileObject]).validate_python(page["data"], strict=True)
    assert (page["object"], page["first_id"]) == ("list", page["data"][0]["id"])
    strict(FileDeleted, httpx.delete(f"{url}/files/{made.id}"))
    asked = {"bytes": len(CHAT), "filename": "b.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    upload = strict(Upload, httpx.post(f"{url}/uploads", json=asked))
    part = strict(UploadPart, httpx.post(f"{url}/uploads/{upload.id}/parts", files={"data": CHAT}))
    done = strict(Upload, httpx.post(f"{url}/uploads/{upload.id}/complete", json={"part_ids": [part.id]}))
    assert (done.status, done.file.status) == ("completed", "processed")
    assert upload.expires_at == upload.created_at + 3600


def test_the_major_version_before_works_too(kept: tuple[Server, Path]) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(Path(sys.prefix) / "previous")!r})
import openai
assert openai.__version__.startswith("2."), openai.__version__
api = openai.OpenAI(base_url={kept[0].url + "/v1"!r}, api_key="none")
made = api.files.create(file=("old.jsonl", {CHAT!r}), purpose="fine-tune",
                        expires_after={{"anchor": "created_at", "seconds": 7200}})
assert api.files.wait_for_processing(made.id).status == "processed"
assert api.files.content(made.id).content == {CHAT!r}
sent = api.uploads.upload_file_chunked(file={CHAT!r}, filename="u.jsonl", bytes={len(CHAT)}, part_size=100,
                                       mime_type="text/jsonl", purpose="fine-tune")
assert api.files.content(sent.file.id).content == {CHAT!r}
assert made.id in [one.id for one in api.files.list(limit=1)]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_works_too(kept: tuple[Server, Path], tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(CHAT)
    form = ["-F", "purpose=fine-tune", "-F", f"file=@{tmp_path}/train.jsonl"]
    told = subprocess.run(["curl", "-sSf", *form, f"{kept[0].url}/v1/files"], check=True, capture_output=True)
    made = TypeAdapter(FileObject).validate_json(told.stdout, strict=True)
    content = subprocess.run(
        ["curl", "-sSf", f"{kept[0].url}/v1/files/{made.id}/content"], check=True, capture_output=True
    )
    assert content.stdout == CHAT


def test_pages_come_to_an_end_in_both_orders(kept: tuple[Server, Path]) -> None:
    api = kept[0].client().with_options(project="pages")  # which has no other files
    made = [api.files.create(file=(f"{n}.txt", b"x"), purpose="user_data").id for n in range(5)]
    assert [one.id for one in api.files.list(limit=2, order="asc")] == made
    assert [one.id for one in api.files.list(limit=2)] == made[::-1]
    assert [one.id for one in api.files.list(limit=5, after=made[1], order="asc")] == made[2:]
    assert list(api.files.list(purpose="fine-tune")) == []
    for wrong in ({"limit": 0}, {"limit": 10001}, {"order": "up"}, {"after": "file-none"}, {"purpose": "fun"}):
        with pytest.raises(BadRequestError) as told:
            api.files.list(**wrong)
        assert told.value.param == next(iter(wrong))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"messages": []}\n', "line 1: empty"),
        (CHAT + b'{"prompt": "a", "completion": "b"}\n', "line 13: it has 'prompt' and 'completion'"),
        (CHAT + b"{broken\n", "line 13: not JSON"),
        (b'{"text": "a"}\n', "its keys are text"),
        (b" \n\n", "The file has no rows"),
        (gzip.compress(CHAT, mtime=0), "the file is packed (.gz)"),
        (json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/hosts"
         }}]}, ROW["messages"][1]]}).encode(), "'/etc/hosts' is no address"),
    ],
)  # fmt: skip
def test_rows_that_teach_nothing_are_told_with_their_line(api: OpenAI, content: bytes, told: str) -> None:
    made = api.files.create(file=("bad.jsonl", content), purpose="fine-tune")
    assert made.status == "error"
    assert told in str(made.status_details)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "completion": "b"},
        {"input": {"messages": ROW["messages"][:1]}, "preferred_output": ROW["messages"][1:],
         "non_preferred_output": [{"role": "assistant", "content": "no"}]},
        {"messages": ROW["messages"][:1], "reference_answer": {"a": 1}},
        {"messages": [*ROW["messages"], *ROW["messages"][:1]], "answer": "x"},
    ],
)  # fmt: skip
def test_every_kind_of_row_is_taken(api: OpenAI, row: dict[str, Any]) -> None:
    content = json.dumps(row).encode()
    assert api.files.create(file=("rows.jsonl", content), purpose="fine-tune").status == "processed"


def test_a_large_file_is_looked_at_beside_the_answers(
    api: OpenAI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from types import SimpleNamespace

    from tunewright.server import checking
    from tunewright.workspace import files
    from tunewright.workspace.place import Workspace

    place = Workspace.open(tmp_path)
    monkeypatch.setattr(checking, "AT_ONCE_BYTES", 0)
    checker = checking.background(place)
    with storage.arriving(place.files / "file-1") as arriving:
        arriving.write(CHAT + b"{\n")
    row = files.new("file-1", arriving, filename="a.jsonl", purpose="fine-tune", project="default")
    assert checking.keep(SimpleNamespace(place=place, background={checking.NAME: checker}), row).status == "uploaded"  # type: ignore[arg-type]
    checker.work()
    with place.database.reading() as session:
        looked = files.find(session, row.id, project="default")
    assert looked is not None and looked.status == "error" and "line 13" in str(looked.status_details)
    place.database.close()  # else its log goes away at any time, and another test counts files


def test_what_is_wrong_with_a_form_is_told_and_leaves_nothing(kept: tuple[Server, Path]) -> None:
    server, folder = kept
    url, before = f"{server.url}/v1/files", bytes_of(folder)
    good = {"file": ("a.jsonl", CHAT)}
    cases: list[tuple[dict[str, Any], int, str | None]] = [
        ({"files": good}, 400, "purpose"),
        ({"files": good, "data": {"purpose": "fun"}}, 400, "purpose"),
        ({"files": good, "data": {"purpose": "batch", "model": "x"}}, 400, "model"),
        ({"files": {"data": b"x"}, "data": {"purpose": "batch"}}, 400, "file"),
        ({"files": {"file": ("a", b"")}, "data": {"purpose": "batch"}}, 400, "file"),
        ({"content": b"--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\n"
          b"Content-Disposition: form-data; name=\"file\"; filename=\"a\x1bb\"\r\n\r\nx\r\n--b--\r\n",
          "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "file"),
        ({"files": {"file": ("a" * 300, b"x")}, "data": {"purpose": "batch"}}, 400, "file"),
        ({"files": good, "data": {"purpose": "batch", "expires_after[seconds]": "3600"}}, 400, "expires_after"),
        ({"files": good, "data": {"purpose": "batch", "expires_after[anchor]": "created_at",
                                  "expires_after[seconds]": "3599"}}, 400, "expires_after"),
        ({"json": {"purpose": "batch"}}, 400, "file"),
        ({"content": b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nhalf",
          "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "file"),
        ({"content": b"no form at all", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "file"),
        ({"files": {"file": ("a", bytes(2**20 + 1))}, "data": {"purpose": "batch"}}, 413, "file"),
        ({"files": {"file": ("a", bytes(2**21))}, "data": {"purpose": "batch"}}, 413, None),
    ]  # fmt: skip
    for given, status, param in cases:
        answer = httpx.post(url, **given)
        assert answer.status_code == status, (given, answer.text)
        assert answer.json()["error"]["param"] == param
    assert bytes_of(folder) == before


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/abs.jsonl", "..\\a", "a%2f..%2fb", "con", "\u00fc\U0001f600.jsonl"],
)
def test_a_filename_is_never_a_path(api: OpenAI, kept: tuple[Server, Path], name: str) -> None:
    around = sorted(path for path in kept[1].rglob("*") if path.parent.name != "files")
    made = api.files.create(file=(name, CHAT), purpose="fine-tune")
    assert api.files.retrieve(made.id).filename == name
    assert api.files.content(made.id).content == CHAT
    assert made.id in bytes_of(kept[1])
    assert sorted(path for path in kept[1].rglob("*") if path.parent.name != "files") == around


@pytest.mark.parametrize("name", ["..", "%2e%2e%2fworkspace.sqlite", "..%2f..%2fworkspace.yaml", "%00", "a" * 2000])
def test_an_id_that_is_none_is_not_there(kept: tuple[Server, Path], name: str) -> None:
    for path in (f"/v1/files/{name}", f"/v1/files/{name}/content"):
        answer = httpx.get(f"{kept[0].url}{path}")
        assert answer.status_code == 404 and "error" in answer.json()


def test_csv_and_others_come_back_as_what_they_are(kept: tuple[Server, Path]) -> None:
    url = f"{kept[0].url}/v1/files"
    for name, kind in (("a.csv", "text/csv; charset=utf-8"), ("a.html", "application/octet-stream")):
        made = httpx.post(url, data={"purpose": "user_data"}, files={"file": (name, b"a,b\n")}).json()
        answer = httpx.get(f"{url}/{made['id']}/content")
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"


# --- uploads ---


def test_an_upload_in_parts_is_its_file(api: OpenAI) -> None:
    md5 = hashlib.md5(CHAT).hexdigest()
    done = api.uploads.upload_file_chunked(
        file=CHAT,
        filename="big.jsonl",
        bytes=len(CHAT),
        mime_type="text/jsonl",
        purpose="fine-tune",
        part_size=64,
        md5=md5,
    )
    assert done.status == "completed" and done.file is not None and done.file.status == "processed"
    assert api.files.content(done.file.id).content == CHAT


def test_parts_are_in_the_order_of_completing(api: OpenAI) -> None:
    upload = api.uploads.create(bytes=6, filename="a.txt", mime_type="text/plain", purpose="user_data")
    first, second = (api.uploads.parts.create(upload.id, data=data).id for data in (b"abc", b"def"))
    for wrong in ([first], [first, first], [first, "part_none"]):
        with pytest.raises(BadRequestError):
            api.uploads.complete(upload.id, part_ids=wrong)
    with pytest.raises(BadRequestError, match="MD5"):
        api.uploads.complete(upload.id, part_ids=[second, first], md5="0" * 32)
    done = api.uploads.complete(upload.id, part_ids=[second, first])
    assert done.file is not None and api.files.content(done.file.id).content == b"defabc"
    again = api.uploads.complete(upload.id, part_ids=[second, first])  # as a client does whose answer was lost
    assert again.file is not None and again.file.id == done.file.id
    with pytest.raises(BadRequestError, match="completed"):
        api.uploads.parts.create(upload.id, data=b"x")
    with pytest.raises(BadRequestError, match="completed"):
        api.uploads.cancel(upload.id)


def test_a_cancelled_upload_takes_no_more(api: OpenAI, kept: tuple[Server, Path]) -> None:
    upload = api.uploads.create(bytes=3, filename="a.txt", mime_type="text/plain", purpose="user_data")
    part = api.uploads.parts.create(upload.id, data=b"abc")
    assert api.uploads.cancel(upload.id).status == "cancelled"
    assert not (kept[1] / ".tunewright" / "uploads" / part.id).exists()
    with pytest.raises(BadRequestError, match="cancelled"):
        api.uploads.parts.create(upload.id, data=b"x")
    with pytest.raises(BadRequestError, match="cancelled"):
        api.uploads.complete(upload.id, part_ids=[part.id])


def test_more_than_was_announced_is_refused(api: OpenAI) -> None:
    upload = api.uploads.create(bytes=3, filename="a.txt", mime_type="text/plain", purpose="user_data")
    with pytest.raises(BadRequestError, match="more than"):
        api.uploads.parts.create(upload.id, data=b"1234567")
    with pytest.raises(BadRequestError) as told:
        api.uploads.create(bytes=2**30, filename="a", mime_type="text/plain", purpose="user_data")
    assert told.value.param == "bytes"
    with pytest.raises(NotFoundError):
        api.uploads.parts.create("upload_none", data=b"x")


# --- faults ---


def test_a_broken_connection_leaves_nothing(kept: tuple[Server, Path]) -> None:
    server, folder = kept
    before = bytes_of(folder)
    with half_sent(server):
        until(lambda: bytes_of(folder) - before)
    until(lambda: bytes_of(folder) == before)


def test_a_killed_server_leaves_nothing_for_long(begin: Callable[..., tuple[Server, Path]]) -> None:
    server, folder = begin()
    kept = server.client().files.create(file=("a.jsonl", CHAT), purpose="fine-tune").id
    with half_sent(server):
        until(lambda: len(bytes_of(folder)) == 2)
        server.stop(signal.SIGKILL)
    for path in (folder / ".tunewright" / "files").iterdir():
        os.utime(path, (0, 0))  # long ago
    again, _ = begin(folder)
    until(lambda: bytes_of(folder) == {kept})
    assert again.client().files.content(kept).content == CHAT


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEWRIGHT_FAIL", "arrive.block:1:full")
    monkeypatch.setattr(storage, "_visits", {})
    with shop_of(tmp_path) as shop:
        url = f"{shop.url}/v1/files"
        answer = httpx.post(url, data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", CHAT)})
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "no_space")
        assert answer.headers["x-should-retry"] == "false"
        assert bytes_of(tmp_path) == set()
        assert httpx.post(url, data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", CHAT)}).status_code == 200
