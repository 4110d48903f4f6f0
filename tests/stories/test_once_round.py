"""Once round: a release is served, people correct it, and what they said makes the next release better."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from walking import ENDINGS, OPENINGS, QUICK, Ended, changes, tunewright

from tunewright.core import storage

# Words that the first release never saw, and what a user says they should be called.
NEW_WORDS = {"cheque book": "zib", "courier": "mog", "mortgage": "tak"}
CODE = """
from tunewright.core.run import Run
from tunewright.server.app import build
from tunewright.server.front import Front
from tunewright.server.listening import listen, serve_until_stopped
from tunewright.server.registry import Registry
from tunewright.workspace.place import Workspace
front = Front(Registry([Run.open(name) for name in {names!r}]), workspace=Workspace.open())
front.models.start()
serve_until_stopped(build(front), listen("127.0.0.1", {port}))
"""


@contextmanager
def served(folder: Path, names: list[str]) -> Iterator[str]:
    """The address of a server over runs and the workspace of a folder."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    code = CODE.format(names=names, port=port)
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            try:
                httpx.get(f"{url}/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0, (folder / "server.log").read_text()


def questions(openings: list[str]) -> list[tuple[str, str]]:
    """What is asked with the new words, and what is right."""
    return [
        (f"{opening} the {word} {ENDINGS[number]}", label)
        for number, opening in enumerate(openings)
        for word, label in NEW_WORDS.items()
    ]


def ask(url: str, model: str, text: str) -> Any:
    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], user="ann")


def right(url: str, model: str, asked: list[tuple[str, str]]) -> int:
    """How many answers are right."""
    return sum(ask(url, model, text).choices[0].message.content == label for text, label in asked)


def test_corrections_make_the_next_release_better(home: Path, released: Ended) -> None:
    assert released.code == 0, released.err
    (home / ".tunewright").mkdir()
    (home / ".tunewright" / "workspace.yaml").write_text("traffic: {log: [messages]}\n")
    corrected, others = questions(OPENINGS[:5]), questions(OPENINGS[5:])
    with served(home, ["messages"]) as url:
        num_wrong = 0
        for text, label in corrected:
            answer = ask(url, "messages", text)
            assert answer.model == "messages:001"
            if answer.choices[0].message.content != label:
                num_wrong += 1
                body = {"id": answer.id, "thumb": "down", "correction": label}
                assert httpx.post(f"{url}/v1/feedback", json=body).status_code == 200
        before = right(url, "messages", others)
    assert num_wrong >= 5, "the planted words are wrong before"

    logged = tunewright("traffic", "messages", "--json", folder=home).report["numbers"]["releases"]
    assert [(one["answers"], one["corrected"]) for one in logged] == [(len(corrected + others), num_wrong)]
    harvested = tunewright("harvest", "messages:001", "--confidence", "0", "--json", folder=home)
    assert harvested.report["numbers"]["ready"] == num_wrong, harvested.out

    small = [*QUICK, "name=corrected", "method=lora", "train.steps=80", "train.batch=16"]
    small += ["evaluate.guards=[]", "train.watch=false"]
    again = tunewright(
        "run", "recipe.yaml", *changes([*small, "data.more=[traffic:messages:001]"]), "--json", folder=home
    )
    assert again.code == 0 and again.report["verdict"] == "GO", again.out + again.err
    rows = storage.read_jsonl(home / "runs" / "corrected" / "data" / "train.jsonl")
    assert sum("traffic" in row.get("meta", {}) for row in rows) == num_wrong

    with served(home, ["messages", "corrected"]) as url:
        assert right(url, "corrected", corrected) >= len(corrected) - num_wrong + 0.8 * num_wrong
        assert right(url, "corrected", others) > before, "also where nobody corrected"
