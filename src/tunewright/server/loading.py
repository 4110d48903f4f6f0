"""Brings releases and bases into memory and out of it. Releases on one base share it; whoever is asked for by other
content has another name inside the engine.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.core import private, storage
from tunewright.core.errors import DataError, NotThere
from tunewright.core.recipe import ModelOptions
from tunewright.models import adapter_files, tensor_files
from tunewright.models.bases import WEIGHTS, base_folder, weights_digest
from tunewright.models.decode import Decode
from tunewright.models.hardware import give_back_memory
from tunewright.models.opening import open_model
from tunewright.models.release import Checked, check_release
from tunewright.models.tunable import TunableModel
from tunewright.server.elsewhere import Elsewhere
from tunewright.server.upstream import Upstream
from tunewright.server.worker import Worker
from tunewright.workspace.names import Base, Candidate, Release

MIB = 2**20


@dataclass(eq=False)
class Loaded:
    """Something in memory that answers: a release, or a bare base."""

    fingerprint: str  # of everything that decides its answers
    worker: Worker | Upstream
    adapter: str
    decode: Decode
    about: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None  # of a release
    owns_worker: bool = False  # its weights are its own
    alone: str = ""  # what its weights without their root are asked for by
    base: tuple[str, str] | None = None  # a name for its base, and what to open
    in_flight: int = 0  # answers that are being worked on, or wait
    used: float = field(default_factory=time.monotonic)
    leaving: bool = False  # no longer found; closed once nobody uses it


@dataclass(frozen=True)
class Served:
    """A model under the name that its answers tell, for one request."""

    name: str
    loaded: Loaded
    adapter: str
    decode: Decode
    fingerprint: str

    @classmethod
    def whole(cls, name: str, loaded: Loaded) -> Served:
        """All of it."""
        return cls(name, loaded, loaded.adapter, loaded.decode, loaded.fingerprint)

    @classmethod
    def weights(cls, name: str, loaded: Loaded) -> Served:
        """Its weights without their root, which answer as a base does."""
        fingerprint = storage.digest([loaded.fingerprint, WEIGHTS])
        return cls(f"{name}{WEIGHTS}", loaded, loaded.alone, Decode(), fingerprint)

    @property
    def worker(self) -> Worker | Upstream:
        """Who computes its answers."""
        return self.loaded.worker


class Loader:
    """Opens and closes. All of it happens in one thread after another, never in two at once."""

    def __init__(
        self,
        *,
        device: str,
        max_live: int,
        max_waiting: int,
        keep: int,
        largest_adapter_mib: float,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """elsewhere: what opens them instead, where another engine writes the answers."""
        self.device = device
        self.elsewhere = elsewhere
        self.limits = {"max_live": max_live, "max_waiting": max_waiting, "keep": keep}
        self.largest_adapter_mib = largest_adapter_mib
        # by a base's folder, its new tokens, the digest of its weights and the number format
        self.workers: dict[tuple[str, tuple[str, ...], str, str], Worker | Upstream] = {}
        self._open: dict[str, Loaded] = {}
        self._hashes: dict[Path, tuple[tuple[int, ...], str]] = {}

    def open(self, candidate: Candidate) -> Loaded:
        """Bring something in, as it is on the disk now. Raises NotThere or DataError; then nothing of it stays."""
        if isinstance(candidate, Base):
            return self._open_base(candidate)
        manifest = candidate.folder / "manifest.json"
        while True:
            before = storage.sha256(manifest) if manifest.exists() else ""
            loaded = self._open.get(before) or self._open_release(candidate, before)
            if storage.sha256(manifest) == before:  # else another release took its place meanwhile
                self._open[before] = loaded
                return loaded
            self.close(loaded)

    def close(self, loaded: Loaded) -> None:
        """Take something out of memory that nobody uses."""
        self._open.pop(loaded.fingerprint, None)
        if loaded.owns_worker:
            loaded.worker.stop()
            return
        if isinstance(loaded.worker, Upstream):
            if loaded.adapter:
                loaded.worker.writer.drop(loaded.adapter)
            return

        def drop(model: TunableModel) -> None:
            for adapter in filter(None, (loaded.adapter, loaded.alone)):
                if adapter in model.adapters:
                    model.drop_adapter(adapter)

        loaded.worker.run(drop)
        give_back_memory()

    def end(self, worker: Worker | Upstream) -> None:
        """Take a base out of memory with all that stands on it."""
        self.workers = {key: held for key, held in self.workers.items() if held is not worker}
        self._open = {key: held for key, held in self._open.items() if held.worker is not worker}
        worker.stop()

    # --- releases ---

    def _open_release(self, release: Release, fingerprint: str) -> Loaded:
        checked = check_release(release.folder, digest=self._digest)
        if self.elsewhere is not None:
            return self._open_elsewhere(self.elsewhere, checked, fingerprint)
        alone = f"{fingerprint}{WEIGHTS}" if checked.can_part else ""
        facts: dict[str, Any] = {"about": checked.manifest, "folder": release.folder, "alone": alone}
        facts["base"] = _named(checked)
        if not checked.has_adapter:
            model = open_model(checked.options, dtype=checked.dtype, device=self.device)
            checked.check_chat(model.chat)
            if alone:
                checked.put_alone(model, alone)
            worker = Worker(model, **self.limits)
            return Loaded(fingerprint, worker, "", checked.decode, **facts, owns_worker=True)
        folder = checked.folder / "adapter"
        size = sum(private.size_of(file) for file in folder.glob("*.safetensors"))
        if size > self.largest_adapter_mib * MIB:
            raise DataError(
                f"The adapter of {release.name} has {size / MIB:.1f} MiB; at most {self.largest_adapter_mib:g} are "
                "taken (serving.largest_adapter_mib in workspace.yaml)."
            )
        files = adapter_files.read_ahead(folder)
        known = set(self.workers.values())
        shared = self._worker(checked.options, checked.manifest["base_digest"], checked.dtype)
        assert isinstance(shared, Worker)

        def put(model: TunableModel) -> None:
            with tensor_files.read_before(files):
                model.load_adapter(fingerprint, folder)
                if alone:
                    checked.put_alone(model, alone)

        try:
            checked.check_chat(shared.model.chat)
            shared.run(put)
        except Exception:
            if shared not in known:
                self.end(shared)
            raise
        return Loaded(fingerprint, shared, fingerprint, checked.decode, **facts)

    def _open_elsewhere(self, elsewhere: Elsewhere, checked: Checked, fingerprint: str) -> Loaded:
        facts: dict[str, Any] = {"about": checked.manifest, "folder": checked.folder, "base": _named(checked)}
        if elsewhere.options.kind == "llama.cpp" or not checked.has_adapter:
            worker = elsewhere.open_release(checked)
            return Loaded(fingerprint, worker, "", checked.decode, **facts, owns_worker=True)
        shared = self._worker(ModelOptions(base=checked.base), checked.manifest["base_digest"], checked.dtype)
        assert isinstance(shared, Upstream)
        elsewhere.put(checked, shared, fingerprint)
        return Loaded(fingerprint, shared, fingerprint, checked.decode, **facts)

    # --- bases ---

    def _open_base(self, base: Base) -> Loaded:
        digest = self._digest(base_folder(base.base))
        options = ModelOptions(base=base.base)
        known = (base_folder(base.base), (), digest)
        held = next((key for key in self.workers if key[:3] == known), None)
        dtype = held[3] if held else "float32"
        return Loaded(digest, self._worker(options, digest, dtype), "", Decode())

    def _worker(self, options: ModelOptions, digest: str, dtype: str) -> Worker | Upstream:
        key = (base_folder(options.base), options.new_tokens, digest, dtype)
        if key not in self.workers and self.elsewhere is not None:
            self.workers[key] = self.elsewhere.open_base(options)
        if key not in self.workers:
            model = open_model(options, dtype=dtype, device=self.device)
            self.workers[key] = Worker(model, **self.limits)
        return self.workers[key]

    def _digest(self, folder: str) -> str:
        return weights_digest(folder, sha256=self._sha256)

    def _sha256(self, file: Path) -> str:
        """A file's hash, taken again when the file is another one: hashing a base for each of its adapters is slow."""
        facts = file.stat()
        mark = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        known = self._hashes.get(file)
        if known is None or known[0] != mark:
            known = self._hashes[file] = (mark, storage.sha256(file))
        return known[1]


def _named(checked: Checked) -> tuple[str, str] | None:
    """A name by which a release's base can be asked for too, where it is on this machine."""
    base = str(checked.manifest["base"])
    try:
        path = Path(base_folder(base))
    except NotThere:
        return None  # merged weights serve without it
    if not path.is_dir() and not checked.has_adapter:
        return None
    name = base if not path.is_dir() or "/" not in base else path.name
    if (path.parent / "run.json").exists():
        name = f"{path.parent.name}-base"  # what an earlier run became
    return name, base
