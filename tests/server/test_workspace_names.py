"""Names of a workspace through the official client: on demand, apart, deleted, behind aliases; and under load."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import openai
import psutil
import pytest
import torch
from openai import OpenAI
from safetensors.torch import load_file, save_file
from server_process import Server, start

from tunewright.core import storage
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Model

from .conftest import LABELS, Place, make_base

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
IN_MEMORY = 8
TUNED = "ft:tiny:acme:one:abc"


@dataclass(frozen=True)
class Office:
    """A workspace that is served."""

    place: Place
    workspace: Workspace
    server: Server
    template: Path

    def release(self, name: str, seed: int, spoil: Callable[[Path], None] | None = None, **about: Any) -> Path:
        """Write `run/releases/NNN`, in place of one that is there: random weights, spoilt before they are hashed."""
        folder = self.workspace.runs / name
        known = storage.read_json(self.template / "manifest.json")
        facts = {key: value for key, value in known.items() if key not in ("files", "sha256")}
        facts |= {"run": folder.parent.parent.name, "release": int(folder.name)}
        if not (folder.parent.parent / "run.json").exists():
            storage.write_json(folder.parent.parent / "run.json", {"name": folder.parent.parent.name})
        with storage.new_folder(folder, about=facts | about) as target:
            write_like(self.template / "adapter", target / "adapter", seed)
            if spoil is not None:
                spoil(target / "adapter")
        return folder

    def register(self, name: str, folder: str, project: str = "default") -> None:
        """A name for a release."""
        with self.workspace.database.writing() as session:
            session.add(Model(name=name, folder=folder, base="tiny", project=project))


def write_like(source: Path, target: Path, seed: int) -> None:
    """An adapter with other random numbers."""
    target.mkdir()
    (target / "adapter_config.json").write_bytes((source / "adapter_config.json").read_bytes())
    torch.manual_seed(seed)
    tensors = {
        name: torch.randn_like(value) * 0.3 if "lora_B" in name else value
        for name, value in load_file(source / "adapter_model.safetensors").items()
    }
    save_file(tensors, target / "adapter_model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A server over a workspace with two releases by hand, and tuned models of two projects."""
    root = tmp_path_factory.mktemp("office")
    make_base(root / "tiny")
    workspace = Workspace.open(root / "work")
    settings = {
        "organization": "acme",
        "models": {"tiny": str(root / "tiny"), "owner/tiny": str(root / "tiny")},
        "serving": {"adapters_in_memory": IN_MEMORY, "largest_adapter_mib": 0.5, "preload": ["red", "gone"]},
    }
    storage.write_text(workspace.state / "workspace.yaml", json.dumps(settings))
    place = Place(workspace.runs, root / "tiny")
    template = place.release("red", 1)
    place.release("desk", 2, kind="choices", labels=LABELS, escalation={"threshold": None, "at": 0.99})
    place.release("sure", 2, kind="choices", labels=LABELS, escalation={"threshold": 0.0, "at": 0.5})
    log = root / "server.log"
    office = Office(place, workspace, start(workspace.runs, [], log, workspace=str(root / "work")), template)
    office.release("jobs-one/releases/001", 11)
    office.register(TUNED, "jobs-one/releases/001")
    office.register("ft:tiny:acme:theirs:xyz", "jobs-one/releases/001", project="else")
    yield office
    office.server.stop()


@pytest.fixture(scope="module")
def client(office: Office) -> OpenAI:
    """The official client."""
    return office.server.client()


def ask(client: OpenAI, model: str, **options: Any) -> Any:
    return client.chat.completions.create(model=model, messages=HELLO, max_tokens=8, temperature=0, **options)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def refusal(client: OpenAI, model: str) -> str:
    """What is said of a model that is not served; "" where it is."""
    try:
        ask(client, model)
    except openai.NotFoundError as error:
        return str(error)
    return ""


def text(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def test_models_are_listed_and_retrieved_by_every_name(office: Office, client: OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {"tiny", "owner/tiny", "red", "red:001", "desk", TUNED} <= names
    assert "ft:tiny:acme:theirs:xyz" not in names
    one = client.models.retrieve(TUNED)
    assert (one.owned_by, one.object) == ("acme", "model") and one.created > 0
    for escaped in ("owner%2Ftiny", "owner/tiny", quote(TUNED, safe="")):
        assert httpx.get(f"{office.server.url}/v1/models/{escaped}").json()["object"] == "model"
    assert "is not there" in office.server.log.read_text()  # of preload


def test_what_answers_is_told(client: OpenAI) -> None:
    assert ask(client, "red").model == "red:001"
    assert ask(client, TUNED).model == TUNED
    assert ask(client, "owner/tiny").model == "owner/tiny"
    assert text(ask(client, "tiny")) == text(ask(client, "owner/tiny")) != text(ask(client, TUNED))


def test_a_name_of_another_project_is_not_there(office: Office, client: OpenAI) -> None:
    def answers(name: str) -> list[Any]:
        body = {"model": name, "messages": HELLO}
        url = office.server.url
        told = [
            httpx.post(f"{url}/v1/chat/completions", json=body),
            httpx.get(f"{url}/v1/models/{name}"),
            httpx.delete(f"{url}/v1/models/{name}"),
        ]
        return [(one.status_code, one.text.replace(name, "NAME")) for one in told]

    theirs, none = answers("ft:tiny:acme:theirs:xyz"), answers("ft:tiny:acme:therrs:xyz")
    assert theirs == none and {status for status, _ in theirs} == {404}


STRANGE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..%2f..%2fetc",
    "%252e%252e",
    "..\\",
    "a" * 300,
    "red/../red",
    "red:../001",
]


@pytest.mark.parametrize("name", STRANGE)
def test_names_are_never_paths(office: Office, client: OpenAI, name: str) -> None:
    for method in ("GET", "DELETE"):
        answer = httpx.request(method, f"{office.server.url}/v1/models/{quote(name, safe='')}")
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        ask(client, name)


def test_a_deleted_model_ends_well_and_is_gone(office: Office, client: OpenAI) -> None:
    folder = office.release("jobs-two/releases/001", 12, decode={"kind": "generate", "stop_ids": [10**6]})
    office.register("ft:tiny:acme::gone", "jobs-two/releases/001")
    stream = client.chat.completions.create(
        model="ft:tiny:acme::gone", messages=HELLO, max_tokens=200, temperature=0, stream=True
    )
    next(iter(stream))
    assert client.models.delete("ft:tiny:acme::gone").deleted is True
    with pytest.raises(openai.NotFoundError):
        ask(client, "ft:tiny:acme::gone")
    assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"
    with pytest.raises(openai.NotFoundError):
        client.models.delete("ft:tiny:acme::gone")
    assert (folder / "manifest.json").exists()
    for name in ("tiny", "red", "red:001"):
        with pytest.raises(openai.PermissionDeniedError):
            client.models.delete(name)


def test_an_alias_is_set_promoted_and_rolled_back(office: Office, client: OpenAI) -> None:
    def change(path: str, **body: Any) -> Any:
        answer = httpx.post(f"{office.server.url}/v1/aliases{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    office.release("live-run/releases/001", 20)
    office.release("live-run/releases/002", 21)
    even = {"live-run:001": 0.5, "live-run:002": 0.5}
    assert change("", name="live", shares=even, why="first")["action"] == "set"
    assert {"live", "live-run"} <= {model.id for model in client.models.list()}
    by_user = {user: ask(client, "live", user=user).model for user in map(str, range(12))}
    assert set(by_user.values()) == set(even)
    for user, model in by_user.items():
        assert ask(client, "live", safety_identifier=user).model == model
        assert ask(client, "live", extra_headers={"x-session-id": user}).model == model
    change("/live/promote", model="live-run:002")
    assert {ask(client, "live", user=user).model for user in by_user} == {"live-run:002"}
    change("/live/rollback")
    assert {user: ask(client, "live", user=user).model for user in by_user} == by_user
    told = httpx.get(f"{office.server.url}/v1/aliases/live").json()
    assert [row["action"] for row in told["history"]] == ["roll_back", "promote", "set"]
    assert told["history"][-1]["why"] == "first" and told["shares"] == even
    assert httpx.post(f"{office.server.url}/v1/aliases/none/rollback").status_code == 404
    wrong = httpx.post(f"{office.server.url}/v1/aliases", json={"name": "live", "shares": {"ghost": 1.0}})
    assert wrong.status_code == 404 and wrong.json()["error"]["param"] == "shares"
    assert httpx.delete(f"{office.server.url}/v1/aliases/live").json()["deleted"] is True
    with pytest.raises(openai.NotFoundError):
        ask(client, "live")


def test_an_alias_goes_past_a_release_that_cannot_be_opened(office: Office, client: OpenAI) -> None:
    office.release("sound/releases/001", 22)
    broken = office.release("broken/releases/001", 23)
    shares = {"sound:001": 0.5, "broken:001": 0.5}
    assert httpx.post(f"{office.server.url}/v1/aliases", json={"name": "mixed", "shares": shares}).status_code == 200
    (broken / "adapter" / "adapter_model.safetensors").write_bytes(b"broken")
    assert {ask(client, "mixed", user=str(user)).model for user in range(8)} == {"sound:001"}
    assert "alias mixed goes past broken:001" in office.server.log.read_text()


def test_a_release_made_anew_under_load_is_never_mixed(office: Office, client: OpenAI) -> None:
    """Each answer is that of exactly one version, and the fingerprint tells which."""
    expected: dict[str, str] = {}
    for seed in (31, 32):
        office.release(f"apart-{seed}/releases/001", seed)
        expected[str(seed)] = text(ask(client, f"apart-{seed}"))
    assert len(set(expected.values())) == 2
    office.release("swapped/releases/001", 31)
    answers: list[tuple[str, str]] = []
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            answer = ask(client, "swapped")
            answers.append((str(answer.system_fingerprint), text(answer)))

    with ThreadPoolExecutor(6) as pool:
        going = [pool.submit(go_on) for _ in range(6)]
        try:
            wait_until(lambda: bool(answers))
            for day, seed in enumerate((32, 31, 32), 10):
                seen = len({fingerprint for fingerprint, _ in answers})
                office.release("swapped/releases/001", seed, created=f"2026-01-{day}T00:00:00+00:00")
                wait_until(lambda seen=seen: len({fingerprint for fingerprint, _ in answers}) > seen)
        finally:
            done.set()
        for one in going:
            one.result()
    assert {said for _, said in answers} == set(expected.values())
    versions: dict[str, set[str]] = {}
    for fingerprint, said in answers:
        versions.setdefault(fingerprint, set()).add(said)
    assert len(versions) == 4 and all(len(said) == 1 for said in versions.values()), versions


def not_finite(adapter: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    next(iter(tensors.values())).view(-1)[3] = float("nan")
    save_file(tensors, adapter / "adapter_model.safetensors")


def other_layers(adapter: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    renamed = {name.replace("q_proj", "z_proj"): value for name, value in tensors.items()}
    save_file(renamed, adapter / "adapter_model.safetensors")


def other_sizes(adapter: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    wide = {name: torch.cat([value, value], 1) if "lora_A" in name else value for name, value in tensors.items()}
    save_file({name: value.contiguous() for name, value in wide.items()}, adapter / "adapter_model.safetensors")


def too_large(adapter: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(tensors | {"more": torch.zeros(2**18)}, adapter / "adapter_model.safetensors")


def no_tensors(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(b"\xff" * 64)


def linked(adapter: Path) -> None:
    elsewhere = adapter.parents[2] / secrets.token_hex(4)  # in the run, beside its releases
    adapter.rename(elsewhere)
    adapter.symlink_to(elsewhere)


SPOILT = {
    "a link": (linked, {}, "is a link"),
    "not finite": (not_finite, {}, "not finite"),
    "other layers": (other_layers, {}, "no layer"),
    "other sizes": (other_sizes, {}, "does not fit"),
    "oversized": (too_large, {}, "largest_adapter_mib"),
    "no tensors": (no_tensors, {}, "is broken"),
    "another base": (None, {"base_digest": "0" * 64}, "another version of base"),
    "another chat": (None, {"chat_digest": "0" * 64}, "chat template"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_release_is_refused_and_the_one_before_goes_on(office: Office, client: OpenAI, case: str) -> None:
    spoil, about, reason = SPOILT[case]
    run = f"bad-{list(SPOILT).index(case)}"
    office.release(f"{run}/releases/001", 41)
    before = ask(client, run)
    office.release(f"{run}/releases/001", 42, spoil, **about)  # in its place
    office.release(f"{run}/releases/002", 43, spoil, **about)  # and behind it
    with pytest.raises(openai.NotFoundError, match=reason):
        ask(client, f"{run}:002")
    after = ask(client, run)
    assert (text(after), after.system_fingerprint) == (text(before), before.system_fingerprint)
    assert ask(client, f"{run}:001").system_fingerprint == before.system_fingerprint
    assert reason in (client.models.retrieve(f"{run}:002").model_extra or {})["tunewright"]["problem"]
    assert reason in office.server.log.read_text()
    office.release(f"{run}/releases/002", 44)  # sound again
    wait_until(lambda: ask(client, run).model == f"{run}:002")


def test_a_file_that_does_not_match_its_manifest_is_refused(office: Office, client: OpenAI) -> None:
    folder = office.release("forged/releases/001", 45)
    write_like(office.template / "adapter", folder / "other", 46)
    (folder / "other" / "adapter_model.safetensors").replace(folder / "adapter" / "adapter_model.safetensors")
    with pytest.raises(openai.NotFoundError, match="has changed"):
        ask(client, "forged")
    manifest = storage.read_json(folder / "manifest.json")
    manifest["files"]["adapter/adapter_model.safetensors"] = {
        "bytes": (folder / "adapter" / "adapter_model.safetensors").stat().st_size,
        "sha256": storage.sha256(folder / "adapter" / "adapter_model.safetensors"),
    }
    storage.write_json(folder / "manifest.json", manifest)
    wait_until(lambda: "manifest.json has changed" in refusal(client, "forged"))


def test_many_adapters_take_turns_in_little_memory(office: Office, client: OpenAI) -> None:
    for number in range(60):
        office.release(f"many-{number:02d}/releases/001", 100 + number)
        office.register(f"ft:tiny:acme::{number:02d}", f"many-{number:02d}/releases/001")
    names = [f"ft:tiny:acme::{number:02d}" for number in range(60)]
    with ThreadPoolExecutor(6) as pool:
        first = list(pool.map(lambda name: text(ask(client, name)), names))
        process = psutil.Process(office.server.process.pid)
        held = process.memory_info().rss
        again = list(pool.map(lambda name: text(ask(client, name)), reversed(names)))
    assert again[::-1] == first and len(set(first)) > 50
    assert process.memory_info().rss - held < 20 * 2**20


def test_who_asks_for_one_at_once_opens_it_once(office: Office, client: OpenAI) -> None:
    office.release("popular/releases/001", 300)
    with ThreadPoolExecutor(12) as pool:
        told = Counter(pool.map(lambda _: text(ask(client, "popular")), range(24)))
    assert len(told) == 1


def test_an_answer_that_a_person_should_see_says_so(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="desk", messages=HELLO)
    ours = answer.choices[0].model_extra["tunewright"]  # type: ignore[index]
    assert ours["escalate"] is True and 1 / 3 <= ours["confidence"] <= 1 and "scores" not in ours
    sure = client.chat.completions.create(model="sure", messages=HELLO).choices[0]
    assert sure.model_extra == {"tunewright": ours | {"escalate": False}}
    with_scores = client.chat.completions.create(model="desk", messages=HELLO, logprobs=True)
    assert with_scores.choices[0].model_extra["tunewright"]["scores"].keys() == set(LABELS)  # type: ignore[index]
    chunks = list(client.chat.completions.create(model="desk", messages=HELLO, stream=True))
    assert chunks[-1].choices[0].model_extra["tunewright"] == ours  # type: ignore[index]
