"""Aliases: a name that stands for releases, each with a share of the requests. What is in force is one row, the newest
of its name; older rows are its history.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from tunewright.core.errors import NotThere, TunewrightError
from tunewright.workspace import ids
from tunewright.workspace.config import WORD
from tunewright.workspace.tables import Alias

MOST = 16  # releases behind one alias
_CLOSE = 1e-6  # how far from 1 the sum of shares may be
_STEPS = 2**53


def order(shares: Mapping[str, float], *, alias: str, user: str) -> list[str]:
    """The releases to try for a user, the one chosen first: each is first for its share of all users, and the same
    user has the same order for as long as the shares stay. When shares change, only so many users move as must.

    Weighted rendezvous hashing: Thaler & Ravishankar 1998 (IEEE/ACM ToN 6(1)); weights by the logarithmic method of
    Schindelhauer & Schomaker 2005 (SPAA '05, section 3). The smallest of exponential draws with rates w_i is the i-th
    with probability w_i / sum w.
    """

    def draw(name: str) -> float:
        number = hashlib.sha256(f"{alias}\0{name}\0{user}".encode()).digest()
        uniform = ((int.from_bytes(number[:8], "big") >> 11) + 0.5) / _STEPS  # inside (0, 1)
        return -math.log(uniform) / shares[name]

    return sorted(shares, key=draw)


def current(session: Session, name: str, project: str) -> Alias | None:
    """What an alias is now; None where there is none, or it was removed."""
    found = session.scalar(_rows(name, project).limit(1))
    return found if found is not None and found.shares else None


def every(session: Session, project: str) -> list[Alias]:
    """The aliases of a project, by name."""
    rows = session.scalars(select(Alias).where(Alias.project == project).order_by(Alias.number))
    newest = {row.name: row for row in rows}
    return [row for _, row in sorted(newest.items()) if row.shares]


def history(session: Session, name: str, project: str) -> Sequence[Alias]:
    """All rows of an alias, newest first."""
    return session.scalars(_rows(name, project)).all()


def put(
    session: Session,
    name: str,
    project: str,
    shares: Mapping[str, float],
    *,
    is_model: Callable[[str], bool],
    by: str = "",
    why: str = "",
    action: str = "set",
) -> Alias:
    """Let an alias send shares of its requests to models, from now on. is_model: whether the project can ask a name
    that is no alias. Raises TunewrightError, or NotThere for a model that is not there.
    """
    if not WORD.fullmatch(name):
        raise TunewrightError(
            f"'{name[:100]}' cannot be an alias. Use up to 64 lower-case letters, digits, '.', '_' and '-', with a "
            "letter or a digit first."
        )
    if current(session, name, project) is None and is_model(name):
        raise TunewrightError(f"'{name}' is a model already, so it cannot be an alias. Take another name.")
    if not 1 <= len(shares) <= MOST:
        raise TunewrightError(f"An alias has 1 to {MOST} models, found {len(shares)}. Give each model with its share.")
    if any(not 0 < share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > _CLOSE:
        told = ", ".join(f"{model[:100]} {share:g}" for model, share in shares.items())
        raise TunewrightError(f"Shares must be above 0 and sum to 1, found {told}. For example 0.95 and 0.05.")
    for model in shares:
        if not is_model(model):
            raise NotThere(f"There is no model '{model[:100]}' for requests. Name a release that is there.")
    return _add(session, name, project, shares, action=action, by=by, why=why)


def promote(
    session: Session,
    name: str,
    project: str,
    model: str,
    *,
    is_model: Callable[[str], bool],
    by: str = "",
    why: str = "",
) -> Alias:
    """Send all requests of an alias to one model. Raises NotThere."""
    check_there(session, name, project)
    return put(session, name, project, {model: 1.0}, is_model=is_model, by=by, why=why, action="promote")


def roll_back(
    session: Session, name: str, project: str, *, is_model: Callable[[str], bool], by: str = "", why: str = ""
) -> Alias:
    """Bring back what was in force before; once more goes further back. Raises NotThere."""
    check_there(session, name, project)
    before: list[Mapping[str, float]] = []
    for row in reversed(history(session, name, project)):
        if row.action == "roll_back":
            del before[-1:]
        elif row.action == "remove":
            before.clear()
        else:
            before.append(row.shares)
    if len(before) < 2:
        raise NotThere(f"Alias '{name}' has had no other shares before the present ones. Set what you want instead.")
    return put(session, name, project, before[-2], is_model=is_model, by=by, why=why, action="roll_back")


def remove(session: Session, name: str, project: str, *, by: str = "", why: str = "") -> None:
    """Take an alias away; its history stays. Raises NotThere."""
    check_there(session, name, project)
    _add(session, name, project, {}, action="remove", by=by, why=why)


def naming(session: Session, model: str, project: str) -> list[str]:
    """The aliases that send requests to a model."""
    return [row.name for row in every(session, project) if model in row.shares]


def check_there(session: Session, name: str, project: str) -> None:
    """Raises NotThere where there is no such alias now."""
    if current(session, name, project) is None:
        raise NotThere(f"There is no alias '{name[:100]}'. Set it first.")


def _add(
    session: Session, name: str, project: str, shares: Mapping[str, float], *, action: str, by: str, why: str
) -> Alias:
    row = Alias(name=name, project=project, shares=dict(shares), action=action, by=by, why=why)
    session.add(row)
    session.flush()
    return row


def _rows(name: str, project: str) -> Select[Alias]:
    mine = select(Alias).where(Alias.name == ids.comparable(name), Alias.project == project)
    return mine.order_by(Alias.number.desc())
