"""Logged traffic in the database: written, read back as Exchanged, counted, deleted. Texts are sealed, always.

The key is that of the private folder .tunewright/traffic (privacy/vault.py); who may not have it reads figures alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from tunewright.core import private, storage
from tunewright.core.errors import CannotDecrypt, NoKey
from tunewright.core.sealed import Sealer
from tunewright.core.traffic import Exchanged
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Fact, Feedback, Traffic

_AT_ONCE = 500  # rows of one read session: a long one would keep SQLite's log from being cleared
DROPPED = "traffic.dropped"
PEOPLE = "people.key"  # in the private folder, and so encrypted
_FIGURES = (
    "id", "created", "project", "key_id", "model", "release", "fingerprint", "seconds", "first_token_seconds",
    "prompt_tokens", "completion_tokens", "finish", "confidence",
)  # fmt: skip
_TEXTS = ("messages", "tools", "answer")


def folder(place: Workspace) -> Path:
    """The private folder whose key seals texts."""
    return place.state / "traffic"


def sealer_of(place: Workspace) -> Sealer | None:
    """What seals and opens texts; None where nothing was ever logged. Raises NoKey."""
    at = folder(place)
    return private.sealer_of(at / "rows") if (at / private.VAULT).exists() else None


def people_key(place: Workspace) -> bytes:
    """The secret by which `person` knows people again. Raises NoKey."""
    path = folder(place) / PEOPLE
    if not path.exists():
        raise NoKey(f"No traffic was logged in {place.folder} yet, so no user is known there.")
    return storage.read_bytes(path)


def person(key: bytes, name: str) -> str:
    """What stands in the database for whom a client names as the user: a digest that only this workspace can make."""
    return hmac.new(key, name.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


# --- writing ---


@dataclass(frozen=True)
class Entry:
    """An answer to be logged. people: digests by `person`."""

    exchanged: Exchanged
    people: tuple[str, ...] = ()


def write(place: Workspace, entries: Sequence[Entry], *, dropped: int = 0) -> None:
    """Keep answers, all or none; dropped: how many more there were. Their texts must be scrubbed. Raises NoKey."""
    sealer = sealer_of(place)
    assert sealer is not None, "traffic is written where its vault was made"
    with place.database.writing() as session:
        session.add_all(_row(entry, sealer) for entry in entries)
        if dropped:
            fact = session.get(Fact, DROPPED) or Fact(name=DROPPED, value="0")
            fact.value = str(int(fact.value) + dropped)
            session.add(fact)


def _row(entry: Entry, sealer: Sealer) -> Traffic:
    one = entry.exchanged
    inside = {name: getattr(one, name) for name in (*_TEXTS, "notes")}
    row = Traffic(**{name: getattr(one, name) for name in _FIGURES}, people=" ".join(entry.people))
    row.has_texts = one.messages is not None
    row.sealed = _sealed(sealer, one.id, inside) if row.has_texts or one.notes else None
    return row


def _sealed(sealer: Sealer, id: str, inside: dict[str, Any]) -> bytes:
    # the id goes inside, so that what is moved to another row is found out
    return sealer.seal(json.dumps({"id": id, **inside}, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _opened(sealer: Sealer | None, id: str, content: bytes) -> dict[str, Any]:
    what = f"The traffic row {id}"
    if sealer is None:
        raise NoKey(f"{what} is encrypted, and the vault file of its folder is gone: bring .tunewright/traffic back.")
    try:
        inside: dict[str, Any] = json.loads(sealer.open(content).decode("utf-8", "surrogatepass"))
    except ValueError:
        raise CannotDecrypt(what, "it was changed since it was written") from None
    if inside.pop("id") != id:
        raise CannotDecrypt(what, "its texts belong to another row")
    return inside


def add_feedback(
    session: Session,
    sealer: Sealer,
    *,
    id: str,
    traffic_id: str,
    project: str,
    thumb: str | None = None,
    correction: str | list[dict[str, Any]] | None = None,
    comment: str | None = None,
) -> Feedback:
    """Keep what somebody said of a logged answer. Its texts must be scrubbed."""
    row = Feedback(id=id, traffic_id=traffic_id, project=project, thumb=thumb, corrects=correction is not None)
    if correction is not None or comment is not None:
        row.sealed = _sealed(sealer, id, {"correction": correction, "comment": comment})
    session.add(row)
    session.flush()
    return row


def said_in(row: Feedback, sealer: Sealer | None) -> dict[str, Any]:
    """The correction and the comment of a row of feedback. Raises NoKey, CannotDecrypt."""
    return _opened(sealer, row.id, row.sealed) if row.sealed else {"correction": None, "comment": None}


# --- reading ---


def read(
    place: Workspace,
    *,
    release: str | Collection[str] | None = None,
    model: str | None = None,
    project: str | None = None,
    since: float | None = None,
    until: float | None = None,
    ids: Collection[str] | None = None,
    texts: bool = True,
) -> Iterator[Exchanged]:
    """Logged answers, oldest first, each with what was said of it: of thumbs, corrections and comments the newest.

    release: what answered, one name or several; model: what was asked for; since and until: seconds since 1970, the
    first included. texts: decrypt them (needs the key); else they and corrections, comments and notes stay out. May be
    left in the middle. Raises NoKey, CannotDecrypt.
    """
    where = _where(release=release, model=model, project=project, since=since, until=until, ids=ids)
    sealer = sealer_of(place) if texts else None
    after = 0
    while True:
        query = select(Traffic).where(*where, Traffic.number > after).order_by(Traffic.number).limit(_AT_ONCE)
        with place.database.reading() as session:
            rows = session.scalars(query).all()
            said = _said(session, [row.id for row in rows])
        for row in rows:
            yield _exchanged(row, said.get(row.id, []), sealer, texts=texts)
        if len(rows) < _AT_ONCE:
            return
        after = rows[-1].number


def newest(place: Workspace, count: int, *, release: str | Collection[str] | None = None) -> list[str]:
    """The ids of the newest answers."""
    where = _where(release=release)
    with place.database.reading() as session:
        return list(session.scalars(select(Traffic.id).where(*where).order_by(Traffic.number.desc()).limit(count)))


def _where(
    *,
    release: str | Collection[str] | None,
    model: str | None = None,
    project: str | None = None,
    since: float | None = None,
    until: float | None = None,
    ids: Collection[str] | None = None,
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if release is not None:
        conditions.append(Traffic.release.in_([release] if isinstance(release, str) else list(release)))
    if model is not None:
        conditions.append(Traffic.model == model)
    if project is not None:
        conditions.append(Traffic.project == project)
    if since is not None:
        conditions.append(Traffic.created >= since)
    if until is not None:
        conditions.append(Traffic.created < until)
    if ids is not None:
        conditions.append(Traffic.id.in_(list(ids)))
    return conditions


def _said(session: Session, ids: list[str]) -> dict[str, list[Feedback]]:
    """Feedback by the answer that it is about, oldest first."""
    found: dict[str, list[Feedback]] = {}
    if ids:
        for row in session.scalars(select(Feedback).where(Feedback.traffic_id.in_(ids)).order_by(Feedback.number)):
            found.setdefault(row.traffic_id, []).append(row)
    return found


def _exchanged(row: Traffic, feedback: Iterable[Feedback], sealer: Sealer | None, *, texts: bool) -> Exchanged:
    values: dict[str, Any] = {name: getattr(row, name) for name in _FIGURES}
    if texts and row.sealed is not None:
        values |= _opened(sealer, row.id, row.sealed)
    for one in feedback:
        said = said_in(one, sealer) if texts else {}
        values |= {name: value for name, value in ({"thumb": one.thumb} | said).items() if value is not None}
    return Exchanged(**values)


@dataclass(frozen=True)
class Counted:
    """How much was logged of a release, from when (seconds since 1970) to when."""

    release: str
    answers: int
    with_texts: int
    up: int
    down: int
    corrected: int
    first: float
    last: float


def count(place: Workspace, *, project: str | None = None) -> list[Counted]:
    """What was logged of each release. up, down and corrected count answers; a thumb is the newest of its answer."""
    mine = [] if project is None else [Traffic.project == project]
    number = func.count()
    figures = select(
        Traffic.release,
        number,
        number.filter(Traffic.has_texts),
        func.min(Traffic.created),
        func.max(Traffic.created),
    )
    newest = select(func.max(Feedback.number)).where(Feedback.thumb.is_not(None)).group_by(Feedback.traffic_id)
    of_answers = Feedback.traffic_id == Traffic.id
    thumbs = select(Traffic.release, Feedback.thumb, number).join(Feedback, of_answers)
    corrected = select(Traffic.release, func.count(Traffic.id.distinct())).join(Feedback, of_answers)
    by_release = Traffic.release
    with place.database.reading() as session:
        rows = session.execute(figures.where(*mine).group_by(by_release).order_by(by_release)).all()
        thumbs = thumbs.where(*mine, Feedback.number.in_(newest)).group_by(by_release, Feedback.thumb)
        shown = {(release, thumb): n for release, thumb, n in session.execute(thumbs)}
        corrected = corrected.where(*mine, Feedback.corrects).group_by(by_release)
        mended = {release: n for release, n in session.execute(corrected)}
    return [
        Counted(
            release=name,
            answers=answers,
            with_texts=with_texts,
            up=shown.get((name, "up"), 0),
            down=shown.get((name, "down"), 0),
            corrected=mended.get(name, 0),
            first=first,
            last=last,
        )
        for name, answers, with_texts, first, last in rows
    ]


def num_dropped(place: Workspace) -> int:
    """How many answers were not logged because too many came at once."""
    with place.database.reading() as session:
        return int(session.scalar(select(Fact.value).where(Fact.name == DROPPED)) or 0)


# --- deleting ---


def forget(
    place: Workspace,
    *,
    ids: Collection[str] | None = None,
    people: Collection[str] | None = None,
    before: float | None = None,
) -> list[str]:
    """Delete answers with these ids, of these users (by their names), or that came before a time, with all that was
    said of them; the ids of those that were there. The database's files hold nothing of them afterwards (clear_log).
    """
    conditions: list[ColumnElement[bool]] = []
    if ids:
        conditions.append(Traffic.id.in_(list(ids)))
    if people:
        key = people_key(place)
        conditions += [Traffic.people.contains(person(key, name)) for name in people]
    if before is not None:
        conditions.append(Traffic.created < before)
    if not conditions:
        return []
    with place.database.writing() as session:
        gone = list(session.scalars(delete(Traffic).where(or_(*conditions)).returning(Traffic.id)))
        for start in range(0, len(gone), _AT_ONCE):
            session.execute(delete(Feedback).where(Feedback.traffic_id.in_(gone[start : start + _AT_ONCE])))
    return gone
