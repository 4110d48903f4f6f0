"""Logged traffic is read back as it was written, sealed on the disk, counted, and deleted without a trace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import private, storage
from tunewright.core.errors import CannotDecrypt, NoKey, RecipeError
from tunewright.core.traffic import Exchanged
from tunewright.privacy import vault
from tunewright.privacy.vault import Key
from tunewright.workspace import traffic
from tunewright.workspace.config import Config
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Traffic

SECRET = "the blue heron flies at dawn"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose traffic has a key."""
    place = Workspace.open(tmp_path)
    vault.new_key(place.state / "traffic.key")
    traffic.folder(place).mkdir()
    vault.begin(traffic.folder(place), Key(str(place.state / "traffic.key")), complete=True)
    storage.write_bytes(traffic.folder(place) / traffic.PEOPLE, b"k" * 32)
    yield place
    place.database.close()


def one(number: int, **values: Any) -> Exchanged:
    plain: dict[str, Any] = {
        "id": f"chatcmpl-{number}", "created": 1000.0 + number, "project": "default", "model": "desk",
        "release": "desk:001", "fingerprint": "f", "seconds": 0.5, "prompt_tokens": 3, "completion_tokens": 2,
        "finish": "stop", "messages": [{"role": "user", "content": f"{SECRET} {number}"}], "answer": "yes",
    }  # fmt: skip
    return Exchanged(**(plain | values))


def write(place: Workspace, *rows: Exchanged, people: tuple[str, ...] = ()) -> None:
    traffic.write(place, [traffic.Entry(row, people) for row in rows])


def say(place: Workspace, traffic_id: str, id: str, **said: Any) -> None:
    sealer = traffic.sealer_of(place)
    assert sealer is not None
    with place.database.writing() as session:
        traffic.add_feedback(session, sealer, id=id, traffic_id=traffic_id, project="default", **said)


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_what_is_written_is_read_back(place: Workspace) -> None:
    rows = [
        one(1, first_token_seconds=0.1, confidence=0.7, key_id="k", notes={"team": "a"}, tools=[{"type": "function"}]),
        one(2, messages=None, answer=None, notes={"team": "b"}),
        one(3, messages=None, answer=None, finish="cut"),
    ]
    write(place, *rows)
    assert list(traffic.read(place)) == rows
    plain = list(traffic.read(place, texts=False))
    assert [(row.id, row.messages, row.answer, row.notes) for row in plain] == [(r.id, None, None, {}) for r in rows]
    assert plain[0].confidence == 0.7


def test_rows_are_found_by_release_model_project_time_and_id(place: Workspace) -> None:
    write(place, *(one(n) for n in range(4)), one(4, release="desk:002", model="alias"), one(5, project="other"))

    def ids(**filters: Any) -> list[int]:
        return [int(row.id.removeprefix("chatcmpl-")) for row in traffic.read(place, texts=False, **filters)]

    assert ids(release="desk:002") == ids(model="alias") == [4]
    assert ids(release=["desk:002", "desk:001"], since=1003.0) == [3, 4, 5]
    assert ids(until=1002.0) == [0, 1]
    assert ids(project="other") == [5]
    assert ids(ids=["chatcmpl-1", "chatcmpl-3", "none"]) == [1, 3]


def test_many_rows_are_read_in_blocks(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "_AT_ONCE", 3)
    write(place, *(one(n) for n in range(9)))
    say(place, "chatcmpl-7", "feedback-1", thumb="up")
    found = list(traffic.read(place))
    assert [row.created for row in found] == [1000.0 + n for n in range(9)]
    assert [row.thumb for row in found] == [None] * 7 + ["up", None]


def test_the_newest_word_counts(place: Workspace) -> None:
    write(place, one(1), one(2))
    say(place, "chatcmpl-1", "feedback-1", thumb="down", correction="no", comment="wrong")
    say(place, "chatcmpl-1", "feedback-2", correction=[{"role": "assistant", "content": "maybe"}])
    say(place, "chatcmpl-1", "feedback-3", thumb="up")
    row, other = traffic.read(place)
    assert (row.thumb, row.comment, other.thumb) == ("up", "wrong", None)
    assert row.correction == [{"role": "assistant", "content": "maybe"}]
    (counted,) = traffic.count(place)
    assert (counted.answers, counted.with_texts, counted.up, counted.down, counted.corrected) == (2, 2, 1, 0, 1)
    assert (counted.first, counted.last) == (1001.0, 1002.0)
    assert traffic.count(place, project="none") == []


def test_texts_are_nowhere_on_the_disk(place: Workspace) -> None:
    write(place, one(1, notes={"note": SECRET}), one(2))
    say(place, "chatcmpl-1", "feedback-1", correction=SECRET, comment=SECRET)
    found = on_disk(place.folder)
    assert b"chatcmpl-1" in found and SECRET.encode() not in found and b"heron" not in found
    assert b"k" * 32 not in found


def test_what_is_deleted_leaves_nothing_behind(place: Workspace) -> None:
    key = traffic.people_key(place)
    write(place, *(one(n) for n in range(20)))
    write(place, one(90), people=(traffic.person(key, "ann@example.com"), traffic.person(key, "ann")))
    say(place, "chatcmpl-90", "feedback-90", correction="a")
    with place.database.reading() as session:
        (kept,) = [row.sealed for row in session.query(Traffic) if row.id == "chatcmpl-90"]
    assert kept is not None and kept in on_disk(place.folder) and b"ann" not in on_disk(place.folder)
    assert traffic.forget(place, people=["somebody"]) == []
    assert traffic.forget(place, people=["ann"]) == ["chatcmpl-90"]
    assert place.database.clear_log()
    assert kept[-64:] not in on_disk(place.folder) and b"feedback-90" not in on_disk(place.folder)
    assert sorted(traffic.forget(place, ids=["chatcmpl-3", "none"], before=1002.0)) == [
        "chatcmpl-0",
        "chatcmpl-1",
        "chatcmpl-3",
    ]
    assert traffic.forget(place) == []
    assert len(list(traffic.read(place))) == 17


def test_figures_need_no_key_and_texts_the_right_one(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, one(1), one(2))
    with place.database.writing() as session:
        first, second = session.query(Traffic).all()
        first.sealed, second.sealed = second.sealed, first.sealed
    with pytest.raises(CannotDecrypt, match="belong to another row"):
        list(traffic.read(place))
    (place.state / "traffic.key").unlink()
    monkeypatch.setattr(vault, "_open", {})
    monkeypatch.setattr(vault, "_unwrapped", {})
    assert len(list(traffic.read(place, texts=False))) == 2
    with pytest.raises(NoKey, match=r"traffic\.key"):
        list(traffic.read(place))
    (traffic.folder(place) / private.VAULT).unlink()
    with pytest.raises(NoKey, match="vault file"):
        list(traffic.read(place))


def test_what_is_asked_for_is_checked(tmp_path: Path) -> None:
    def config(text: str) -> Config:
        (tmp_path / "workspace.yaml").write_text(f"traffic: {{{text}}}\n", encoding="utf-8")
        return Config.load(tmp_path / "workspace.yaml")

    assert not Config().traffic.wants("desk")
    assert config("log: true").traffic.wants("desk")
    some = config("log: [desk, 'ft:*'], scrub: {action: mask}").traffic
    assert some.wants("other", "desk") and some.wants("ft:nano:local:x:1") and not some.wants("desks")
    for wrong in ("scrub: false", "sample: 2", "keep_days: 0", "log: true, kept: 1", "log: true, vault: {}"):
        with pytest.raises(RecipeError, match="traffic"):
            config(wrong)
    with pytest.raises(RecipeError, match="keep_mapping"):
        config("scrub: {keep_mapping: m.age, mapping_for: age1xyz}")


def test_dropped_answers_are_counted(place: Workspace) -> None:
    assert traffic.num_dropped(place) == 0
    traffic.write(place, [], dropped=3)
    traffic.write(place, [traffic.Entry(one(1, created=time.time()))], dropped=2)
    assert traffic.num_dropped(place) == 5
