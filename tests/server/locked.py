"""The application over a workspace with keys, asked without a socket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from fastapi import FastAPI
from starlette.testclient import TestClient

from tunewright.core import storage
from tunewright.server.app import build
from tunewright.server.front import Front
from tunewright.server.keyring import Keyring
from tunewright.server.registry import Registry
from tunewright.workspace import keys
from tunewright.workspace.place import Workspace

LOCALHOST = "http://localhost"


@dataclass
class Locked:
    """An application, its workspace, and one client without a key."""

    app: FastAPI
    front: Front
    http: TestClient

    def key(self, *, scopes: tuple[str, ...] = ("admin",), project: str = "default", **options: Any) -> str:
        """A new key of the workspace."""
        with self.front.place.database.writing() as session:
            made = keys.create(session, name="test", scopes=scopes, project=project, **options)
        self.front.keyring.forget()
        return made.secret

    def ask(self, method: str, path: str, key: str | None = None, **options: Any) -> httpx.Response:
        """The answer to one request."""
        headers = {**options.pop("headers", {}), **({"authorization": f"Bearer {key}"} if key else {})}
        answer: httpx.Response = self.http.request(method, path, headers=headers, **options)
        return answer


@contextlib.contextmanager
def opened(folder: Path, base: Path, *, given: tuple[str, ...] = (), **options: Any) -> Iterator[Locked]:
    """An application whose one base is called `tiny`."""
    storage.write_text(
        folder / ".tunewright" / "workspace.yaml",
        yaml.safe_dump({"models": {"tiny": str(base)}, "traffic": {"log": True}}),
    )
    place = Workspace.open(folder)
    front = Front(
        Registry([], bases=place.config.models), keyring=Keyring(given, place.database, **options), workspace=place
    )
    front.models.start()
    app = build(front)
    with TestClient(app, base_url=LOCALHOST, raise_server_exceptions=False) as http:
        yield Locked(app, front, http)
    place.database.close()
