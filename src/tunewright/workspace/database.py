"""The workspace's database: SQLite in a file, or PostgreSQL by URL. Times are seconds since 1970."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from tunewright.core.errors import NotThere, RunError
from tunewright.workspace.tables import VERSION, Base, Fact

_WAIT_SECONDS = 30  # for another process that writes
WRITES = "tunewright_writes"


class Database:
    """Sessions over the tables. Made once a process; threads may share it.

    `reading()` and `writing()` give a session; `writing()` commits at its end and takes nothing back when it raises.
    On SQLite a writing session holds the write lock from its first statement, so what it read cannot have changed when
    it writes. On PostgreSQL use `with_for_update()` or a conditional UPDATE where two writers may meet.
    """

    def __init__(self, url: str) -> None:
        """Open the database, with its tables made where they are missing. Raises NotThere or RunError."""
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.engine = _engine(url)
        try:
            Base.metadata.create_all(self.engine)
            with self.writing() as session:
                held = session.scalar(select(Fact.value).where(Fact.name == "version"))
                if held is None:
                    session.add(Fact(name="version", value=VERSION))
        except OperationalError as error:
            shown = self.engine.url.render_as_string(hide_password=True)
            raise NotThere(f"The database {shown} cannot be opened: {error.orig}. Check that it runs.") from None
        if held is not None and held != VERSION:
            raise RunError(
                f"The database was made by a version of tunewright with tables {held}, this one has {VERSION}. "
                "Serve it with that version, or begin a new workspace."
            )

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that changes nothing."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes are kept at its end, all or none."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            session.connection(execution_options={WRITES: True})
            yield session

    def one_at_a_time(self, session: Session, what: str) -> None:
        """Hold off other writing sessions that say the same until this one ends. On SQLite every writer is alone."""
        if not self.is_sqlite:
            number = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], signed=True)
            session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

    def clear_log(self) -> bool:
        """Take what was deleted out of SQLite's log beside the file too; whether no reader kept it from that."""
        if not self.is_sqlite:
            return True
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
        return not busy

    def close(self) -> None:
        """Give its connections back."""
        self.engine.dispose()


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path}"


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _WAIT_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where `begin` says, not where the driver guesses
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
