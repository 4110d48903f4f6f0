"""Once round: a release is served, people correct it, and what they said makes the next release better, which takes
the name that clients ask.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from server_process import start
from sqlalchemy import func, select
from walking import ENDINGS, OPENINGS, QUICK, Ended, changes, tunewright

from tunewright.core import storage
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Traffic

# Words that the first release never saw, and what a user says they should be called.
NEW_WORDS = {"cheque book": "zib", "courier": "mog", "mortgage": "tak"}


def questions(openings: list[str]) -> list[tuple[str, str]]:
    """What is asked with the new words, and what is right."""
    return [
        (f"{opening} the {word} {ENDINGS[number]}", label)
        for number, opening in enumerate(openings)
        for word, label in NEW_WORDS.items()
    ]


def ask(url: str, text: str, *, user: str = "ann") -> Any:
    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    return client.chat.completions.create(model="live", messages=[{"role": "user", "content": text}], user=user)


def right(url: str, asked: list[tuple[str, str]]) -> int:
    """How many answers are right."""
    return sum(ask(url, text).choices[0].message.content == label for text, label in asked)


def change(url: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the alias is after a change, asked at once."""
    changed = httpx.post(f"{url}/v1/aliases{path}", json=body or {})
    assert changed.status_code == 200, changed.text
    found: dict[str, Any] = httpx.get(f"{url}/v1/aliases/live").json()
    assert found["shares"] == changed.json()["shares"]
    return found


def wait_until_logged(home: Path, answers: int) -> None:
    """Answers are written a moment after they were given."""
    database = Workspace.open(home).database
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with database.reading() as session:
            if session.scalar(select(func.count(Traffic.number))) == answers:
                return
        time.sleep(0.05)
    raise AssertionError(f"not {answers} answers were logged")


def test_corrections_make_the_next_release_better(home: Path, released: Ended, tmp_path: Path) -> None:
    assert released.code == 0, released.err
    (home / ".tunewright").mkdir()
    (home / ".tunewright" / "workspace.yaml").write_text("traffic: {log: [live]}\n")
    corrected, others = questions(OPENINGS[:5]), questions(OPENINGS[5:])
    server = start(home, [], tmp_path / "server.log", workspace=str(home))
    try:
        once_round(home, server.url, corrected, others)
    finally:
        assert server.stop() == 0, server.log.read_text()


def once_round(home: Path, url: str, corrected: list[tuple[str, str]], others: list[tuple[str, str]]) -> None:
    change(url, "", {"name": "live", "shares": {"messages:001": 1.0}})
    num_wrong = 0
    for text, label in corrected:
        answer = ask(url, text)
        assert answer.model == "messages:001"
        if answer.choices[0].message.content != label:
            num_wrong += 1
            body = {"id": answer.id, "thumb": "down", "correction": label}
            assert httpx.post(f"{url}/v1/feedback", json=body).status_code == 200
    before = right(url, others)
    assert num_wrong >= 5, "the planted words are wrong before"

    wait_until_logged(home, len(corrected + others))
    logged = tunewright("traffic", "messages", "--json", folder=home).report["numbers"]["releases"]
    assert [(one["answers"], one["corrected"]) for one in logged] == [(len(corrected + others), num_wrong)]
    harvested = tunewright("harvest", "messages:001", "--confidence", "0", "--json", folder=home)
    assert harvested.report["numbers"]["ready"] == num_wrong, harvested.out
    retrain(home, num_wrong)

    change(url, "", {"name": "live", "shares": {"messages:001": 0.75, "corrected:001": 0.25}, "why": "canary"})
    asked = [(user, ask(url, corrected[0][0], user=user).model) for user in ("ann", "bob", "cleo", "dan", "eve") * 2]
    assert {model for _, model in asked} == {"messages:001", "corrected:001"} and len(set(asked)) == 5
    told = change(url, "/live/promote", {"model": "corrected:001", "why": "verdict"})
    assert [row["action"] for row in told["history"]] == ["promote", "set", "set"]
    assert {ask(url, text).model for text, _ in corrected} == {"corrected:001"}
    assert right(url, corrected) >= len(corrected) - num_wrong + 0.8 * num_wrong
    assert right(url, others) > before, "also where nobody corrected"

    told = change(url, "/live/rollback", {"why": "to be sure"})
    assert told["shares"] == {"messages:001": 0.75, "corrected:001": 0.25}
    told = change(url, "/live/promote", {"model": "corrected:001"})
    assert [row["action"] for row in told["history"]] == ["promote", "roll_back", "promote", "set", "set"]
    assert [row["why"] for row in told["history"][1:4]] == ["to be sure", "verdict", "canary"]
    assert ask(url, corrected[0][0]).model == "corrected:001"


def retrain(home: Path, num_corrections: int) -> None:
    """A run on the same rows and what was harvested, to its verdict and release."""
    small = [*QUICK, "name=corrected", "method=lora", "train.steps=80", "train.batch=16"]
    small += ["evaluate.guards=[]", "train.watch=false", "train.evaluate_every=40"]
    again = tunewright(
        "run", "recipe.yaml", *changes([*small, "data.more=[traffic:messages:001]"]), "--json", folder=home
    )
    assert again.code == 0 and again.report["verdict"] == "GO", again.out + again.err
    rows = storage.read_jsonl(home / "runs" / "corrected" / "data" / "train.jsonl")
    assert sum("traffic" in row.get("meta", {}) for row in rows) == num_corrections
