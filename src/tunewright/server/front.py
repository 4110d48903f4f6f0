"""Front: what the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field

from tunewright.server.background import Background
from tunewright.server.keyring import Keyring
from tunewright.server.metrics import Metrics
from tunewright.server.registry import Registry
from tunewright.server.traffic import Recorder
from tunewright.workspace.place import Workspace


@dataclass
class Front:
    """The models that answer, the keys that open, and the workspace where there is one, with what logs its traffic."""

    models: Registry
    keyring: Keyring = field(default_factory=Keyring)
    workspace: Workspace | None = None
    address: str | None = None  # where this machine reaches the server, up to and with /v1
    recorder: Recorder | None = None
    metrics: Metrics = field(default_factory=Metrics)
    background: dict[str, Background] = field(default_factory=dict)  # by name; they live as long as the application

    @property
    def place(self) -> Workspace:
        """The workspace. Only routes that are there with a workspace may ask."""
        assert self.workspace is not None
        return self.workspace
