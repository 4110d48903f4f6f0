"""Which model answers to which name. Releases on one base share it; one deployed while serving is found by itself."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import torch

from tunewright.core import storage
from tunewright.core.errors import NotThere, TunewrightError, unknown
from tunewright.core.recipe import ModelOptions
from tunewright.core.run import Run
from tunewright.models.bases import WEIGHTS, base_folder, weights_digest
from tunewright.models.decode import Decode
from tunewright.models.opening import open_model
from tunewright.models.release import Checked, can_part, check_release
from tunewright.models.tunable import TunableModel
from tunewright.server.protocol import ApiError
from tunewright.server.worker import Worker

log = logging.getLogger("tunewright.server")
Result = TypeVar("Result")

LOOK_SECONDS = 2.0  # how old the knowledge of a run's releases may be
OLDER_KEPT = 4  # older releases that stay open though nobody is using them


@dataclass(eq=False)
class Served:
    """A model that answers: a release, or a bare base."""

    name: str
    worker: Worker
    adapter: str
    decode: Decode
    fingerprint: str  # of everything that decides its answers
    about: dict[str, Any] = field(default_factory=dict)
    owns_worker: bool = False  # its weights are its own
    alone: str = ""  # what its weights without their root are asked for by
    whole: Served | None = None  # of which this is the weights
    in_flight: int = 0
    used: float = field(default_factory=time.monotonic)

    def parted(self) -> Served:
        """Its weights alone, which answer as a base does."""
        fingerprint = storage.digest([self.fingerprint, WEIGHTS])
        changes: dict[str, Any] = {"name": f"{self.name}{WEIGHTS}", "adapter": self.alone, "decode": Decode()}
        return replace(self, **changes, fingerprint=fingerprint, whole=self)


class Registry:
    """Models by name: `run` (its newest release), `run:001`, either with `:weights`, or a base. Names are looked up,
    never made into paths.

    The tables change on the event loop only (and before it starts); files are read and models opened in one thread.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        bases: Mapping[str, str] | None = None,
        max_live: int = 32,
        max_waiting: int = 256,
    ) -> None:
        self.runs = {run.name: run for run in runs}
        self.tells_confidence = False  # whether a release that chooses says how sure it is, for what logs answers
        self.limits = {"max_live": max_live, "max_waiting": max_waiting}
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        # by a base's folder, its new tokens, the digest of its weights and the number format
        self.workers: dict[tuple[str, tuple[str, ...], str, str], Worker] = {}
        self.opened: dict[str, Served] = {}  # by run:001, or a base's name
        self.newest: dict[str, str] = {}  # run -> run:001
        self.bases: dict[str, str] = dict(bases or {})  # name -> what to open
        self._retired: list[Served] = []  # no longer found by name; closed once nobody uses them
        self._unfit: set[str] = set()  # fingerprints of releases that could not be opened
        self._looked = 0.0
        self._count = itertools.count(1)
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="open")
        self._changing = asyncio.Lock()

    # --- start and end ---

    def start(self) -> None:
        """Open the newest release of every run. Raises NotThere, or DataError when one is damaged."""
        for run in self.runs.values():
            releases = run.releases()
            if not releases:
                raise NotThere(
                    f"Run '{run.name}' has no release to serve. Make one with: tunewright deploy {run.folder}"
                )
            self._take_in(self._open(run.name, releases[-1]), newest_of=run.name)
        self._looked = time.monotonic()

    def stop(self) -> None:
        """End every engine."""
        self._opener.shutdown(wait=False, cancel_futures=True)
        for worker in self._all_workers():
            worker.stop()

    def load(self) -> dict[str, int]:
        """How many answers are being written, and how many wait."""
        workers = self._all_workers()
        live = sum(len(worker.engine.live) for worker in workers)
        return {"live": live, "waiting": max(0, sum(worker.load for worker in workers) - live)}

    def _all_workers(self) -> set[Worker]:
        return {*self.workers.values(), *(served.worker for served in [*self.opened.values(), *self._retired])}

    # --- asked by requests, on the event loop ---

    async def take(self, name: str) -> Served:
        """The model of that name, which stays as it is until `give`. Raises ApiError 404."""
        await self._look()
        asked, name = name, name.removesuffix(WEIGHTS)
        found = self._held(name)
        if found is None:
            async with self._changing:
                found = self._held(name) or await self._open_named(name)
        if asked != name and not found.alone:
            raise self.no_model(asked)
        found.in_flight += 1
        found.used = time.monotonic()
        return found if asked == name else found.parted()

    def give(self, served: Served) -> None:
        """End of a request's use of a model."""
        (served.whole or served).in_flight -= 1

    async def listing(self) -> list[dict[str, Any]]:
        """Every name that can be asked for, as the API's model objects."""
        await self._look()
        models = {name: self.opened[full].about for name, full in self.newest.items()}
        for run in self.runs.values():
            for folder in await self._apart(run.releases):
                models[f"{run.name}:{folder.name}"] = await self._apart(storage.read_json, folder / "manifest.json")
        for full in self.newest.values():  # also when its folder was put aside
            models.setdefault(full, self.opened[full].about)
        speaking = {"decode": {"kind": "generate"}}
        models |= {f"{name}{WEIGHTS}": about | speaking for name, about in models.items() if can_part(about)}
        for name in self.bases:
            models.setdefault(name, {})
        return [_model_object(name, about) for name, about in models.items()]

    def _held(self, name: str) -> Served | None:
        return self.opened.get(self.newest.get(name, name))

    async def _open_named(self, name: str) -> Served:
        run_name, _, number = name.rpartition(":")
        run = self.runs.get(run_name)
        folders = {folder.name: folder for folder in await self._apart(run.releases)} if run else {}
        try:
            if number in folders:
                self._take_in(await self._apart(lambda: self._open(run_name, folders[number])))
            elif name in self.bases:
                self._take_in(await self._apart(lambda: self._open_base(name)))
            else:
                raise self.no_model(name)
        except TunewrightError as error:
            raise ApiError(
                404, f"Model '{name}' cannot be served: {error}", param="model", code="model_not_found"
            ) from None
        return self.opened[name]

    def no_model(self, name: str) -> ApiError:
        """What is answered to a name that nothing has."""
        message = unknown("model", name[:100], {*self.newest, *self.opened, *self.bases})
        return ApiError(404, message, param="model", code="model_not_found")

    async def _look(self) -> None:
        """See whether a run has a newer release, or one made anew. Requests in flight keep the one they began with."""
        if time.monotonic() - self._looked < LOOK_SECONDS or self._changing.locked():
            return
        async with self._changing:
            for run in self.runs.values():
                there = await self._apart(lambda run=run: _fingerprints(run))
                if there:  # else the run was put aside: what is open goes on
                    await self._renew(run.name, there)
            await self._close_unused()
            self._looked = time.monotonic()

    async def _renew(self, run_name: str, there: dict[Path, str]) -> None:
        for folder, fingerprint in there.items():
            full = f"{run_name}:{folder.name}"
            held = self.opened.get(full)
            is_newest = folder == list(there)[-1]
            if held and held.fingerprint == fingerprint:
                self.newest[run_name] = full if is_newest else self.newest[run_name]
            elif is_newest and fingerprint not in self._unfit:
                try:
                    fresh = await self._apart(lambda folder=folder: self._open(run_name, folder))
                except Exception as error:  # whatever it is, the release that serves goes on serving
                    self._unfit.add(fingerprint)
                    log.warning("release %s cannot be served, so the one before goes on: %s", full, error)
                    continue
                self._take_in(fresh, newest_of=run_name)
                log.info("serving %s", full)
            elif held and self.newest[run_name] != full:
                self._retired.append(self.opened.pop(full))

    def _take_in(self, fresh: Served, *, newest_of: str | None = None) -> None:
        if fresh.name in self.opened:
            self._retired.append(self.opened[fresh.name])
        self.opened[fresh.name] = fresh
        if newest_of:
            self.newest[newest_of] = fresh.name

    async def _close_unused(self) -> None:
        """Close retired models, and older releases beyond the few that were used last."""
        older = [
            s for s in self.opened.values() if s.name not in (*self.newest.values(), *self.bases) and not s.in_flight
        ]
        for served in sorted(older, key=lambda s: s.used, reverse=True)[OLDER_KEPT:]:
            self._retired.append(self.opened.pop(served.name))
        for served in [s for s in self._retired if not s.in_flight]:
            self._retired.remove(served)
            await self._apart(lambda served=served: _close(served))

    async def _apart(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._opener, work, *arguments)

    # --- opening: in the opener's thread, or before the server starts ---

    def _open(self, run_name: str, folder: Path) -> Served:
        """Open a release under its full name. Raises NotThere or DataError."""
        fingerprint = storage.sha256(folder / "manifest.json")
        checked = check_release(folder)
        full = f"{run_name}:{folder.name}"
        self._name_base(checked)
        alone = f"{full}{WEIGHTS}#{next(self._count)}" if checked.can_part else ""
        about: dict[str, Any] = {"fingerprint": fingerprint, "about": checked.manifest, "alone": alone}
        if not checked.has_adapter:
            model = open_model(checked.options, dtype=checked.dtype, device=self.device)
            checked.check_chat(model)
            if alone:
                checked.put_alone(model, alone)
            return Served(full, Worker(model, **self.limits), "", checked.decode, **about, owns_worker=True)
        worker = self._worker(checked.options, checked.manifest["base_digest"], checked.dtype)
        checked.check_chat(worker.model)
        adapter = f"{full}#{next(self._count)}"
        worker.run(lambda model: model.load_adapter(adapter, folder / "adapter"))
        if alone:
            worker.run(lambda model: checked.put_alone(model, alone))
        return Served(full, worker, adapter, checked.decode, **about)

    def _open_base(self, name: str) -> Served:
        base = self.bases[name]
        digest = weights_digest(base_folder(base))
        options = ModelOptions(base=base)
        held = next((key for key in self.workers if key[:3] == (base_folder(base), (), digest)), None)
        dtype = held[3] if held else "float32"
        return Served(name, self._worker(options, digest, dtype), "", Decode(), digest)

    def _worker(self, options: ModelOptions, digest: str, dtype: str) -> Worker:
        key = (base_folder(options.base), options.new_tokens, digest, dtype)
        if key not in self.workers:
            model = open_model(options, dtype=dtype, device=self.device)
            self.workers[key] = Worker(model, **self.limits)
        return self.workers[key]

    def _name_base(self, checked: Checked) -> None:
        """Let the base be asked for too, where it is on this machine."""
        base = str(checked.manifest["base"])
        try:
            path = Path(base_folder(base))
        except NotThere:
            return  # merged weights serve without it
        if not path.is_dir() and not checked.has_adapter:
            return
        name = base if not path.is_dir() or "/" not in base else path.name
        if (path.parent / "run.json").exists():
            name = f"{path.parent.name}-base"  # what an earlier run became
        if name not in self.runs:
            self.bases.setdefault(name, base)


def _fingerprints(run: Run) -> dict[Path, str]:
    """The run's releases, oldest first, with the hash of each manifest."""
    return {folder: storage.sha256(folder / "manifest.json") for folder in run.releases()}


def _close(served: Served) -> None:
    if served.owns_worker:
        served.worker.stop()
        return

    def drop(model: TunableModel) -> None:
        for adapter in filter(None, (served.adapter, served.alone)):
            model.drop_adapter(adapter)

    served.worker.run(drop)


def _model_object(name: str, about: dict[str, Any]) -> dict[str, Any]:
    created = int(datetime.fromisoformat(about["created"]).timestamp()) if "created" in about else 0
    extra = {key: about[key] for key in ("run", "release", "base", "verdict", "override") if about.get(key) is not None}
    if about:
        extra["decode"] = about["decode"]["kind"]
    return {"id": name, "object": "model", "created": created, "owned_by": "tunewright", "tunewright": extra}
