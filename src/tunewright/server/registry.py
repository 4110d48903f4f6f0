"""Which model answers to which name: looked up and opened when it is asked for, closed when others were since."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import torch

from tunewright.core.errors import DataError, NotThere, TunewrightError, unknown
from tunewright.core.run import Run
from tunewright.models.bases import WEIGHTS
from tunewright.server.caller import LOCAL, Caller
from tunewright.server.elsewhere import Elsewhere
from tunewright.server.loading import Loaded, Loader, Served
from tunewright.server.protocol import ApiError
from tunewright.server.upstream import Upstream
from tunewright.server.worker import Worker
from tunewright.workspace.config import EngineOptions, Serving
from tunewright.workspace.names import Candidate, Meaning, Names, Release
from tunewright.workspace.place import Workspace

log = logging.getLogger("tunewright.server")
Result = TypeVar("Result")

LOOK_SECONDS = 1.0  # how old the knowledge of what a name means may be
RETRY_SECONDS = 30.0  # until something that could not be opened is tried again
MOST_KNOWN = 10_000  # names whose meaning is kept for that long


@dataclass(frozen=True)
class Refusal:
    """What could not be opened, why, and until when it is not tried again."""

    key: str
    reason: str
    until: float


class Registry:
    """Models by name: `run` (its newest release), `run:001`, either with `:weights`, or a base; in a workspace also
    tuned models of jobs and aliases.

    The tables change on the event loop only (and before it starts). Names are looked up in threads of their own; files
    are read and models opened in one thread, so that what is closed and opened again keeps its order.
    """

    def __init__(
        self,
        runs: Sequence[Run] = (),
        *,
        bases: Mapping[str, str] | None = None,
        workspace: Workspace | None = None,
        serving: Serving | None = None,
        engine: EngineOptions | None = None,
        max_live: int = 32,
        max_waiting: int = 256,
        keep: int | None = None,
    ) -> None:
        """serving: how much is kept in memory; left out, that of the workspace, or room for all runs. engine: what
        writes the answers; left out, that of the workspace. keep: in place of serving's prefix_bytes.
        """
        room = Serving(adapters_in_memory=64 + len(runs), models_in_memory=4 + len(runs))
        self.serving = serving or (workspace.config.serving if workspace else room)
        self.names = Names(runs, bases=bases, workspace=workspace)
        engine = engine or (workspace.config.engine if workspace else EngineOptions())
        logs = workspace.state if workspace else Path(tempfile.gettempdir())
        elsewhere = Elsewhere(engine, max_live=max_live, max_waiting=max_waiting, logs=logs)
        self.loader = Loader(
            device="cuda" if torch.cuda.is_available() else "cpu",
            max_live=max_live,
            max_waiting=max_waiting,
            keep=self.serving.prefix_bytes if keep is None else keep,
            largest_adapter_mib=self.serving.largest_adapter_mib,
            elsewhere=elsewhere if engine.kind != "tunewright" else None,
        )
        self.tells_confidence = False  # whether a release that chooses says how sure it is, for what logs answers
        self.loaded: dict[str, Loaded] = {}  # by key: what a release is, or a base's name
        self._leaving: list[Loaded] = []  # no longer found; closed once nobody uses them
        self._ended: WeakSet[Worker | Upstream] = WeakSet()
        self._asked = WeakKeyDictionary[Worker | Upstream, float]()  # when, of those that are not ended
        self._at: dict[Path | str, str] = {}  # what was opened last of a folder or a base
        self._last: dict[tuple[str, str], tuple[str, str]] = {}  # what a project's name was answered by: title and key
        self._refused: dict[Path | str, Refusal] = {}
        self._meanings: dict[tuple[str, str], tuple[float, Meaning]] = {}
        self._fresh = ""  # the key of what was opened last
        self._changes = 0  # of what names mean, made by this process
        self._openings: dict[str, asyncio.Task[str]] = {}
        self._wanted: Counter[str] = Counter()  # keys that requests wait for
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="open")
        self._finder = ThreadPoolExecutor(4, thread_name_prefix="find")
        self._stopped = False
        self.num_loads = self.num_evictions = 0

    # --- start and end ---

    def start(self) -> None:
        """Open the newest release of every run, and in a workspace what its config names. Raises NotThere, or DataError
        when a run's is damaged.
        """
        for run in self.names.runs.values():
            meaning = self.names.find(run.name)
            if meaning is None:
                raise NotThere(
                    f"Run '{run.name}' has no release to serve. Make one with: tunewright deploy {run.folder}"
                )
            self._open_now(meaning.candidates[0])
        for name in self.serving.preload:
            meaning = self.names.find(name, None)
            if meaning is None:
                log.warning("%s, to be opened at the start, is not there", name)
            for _, candidates in meaning.in_order(name) if meaning else ():
                try:
                    self._open_now(candidates[0])
                except TunewrightError as error:
                    log.warning("%s, to be opened at the start, cannot be served: %s", name, error)

    def _open_now(self, candidate: Candidate) -> None:
        self._take_in(candidate, self._opener.submit(self.loader.open, candidate).result())

    def stop(self) -> None:
        """End every engine."""
        self._stopped = True
        for pool in (self._opener, self._finder):
            pool.shutdown(wait=False, cancel_futures=True)
        for worker in self._all_workers():
            worker.stop()

    def load(self) -> dict[str, int]:
        """How many answers are being written, and how many wait."""
        workers = self._all_workers()
        live = sum(worker.num_live for worker in workers)
        return {"live": live, "waiting": max(0, sum(worker.load for worker in workers) - live)}

    def figures(self) -> dict[str, tuple[str, float]]:
        """What /metrics tells of the models: by name, what it is and its value."""
        load, here = self.load(), [worker for worker in self._all_workers() if isinstance(worker, Worker)]
        return {
            "live": ("Answers being written", load["live"]),
            "waiting": ("Answers that wait", load["waiting"]),
            "adapters": ("Adapters in memory", sum(len(worker.model.adapters) for worker in here)),
            "prefix_bytes": (
                "Keys and values kept of earlier prompts",
                sum(worker.engine.prefixes.bytes for worker in here),
            ),
            "models_loaded": ("Releases and bases opened so far", self.num_loads),
            "models_evicted": ("Releases and bases let go so far", self.num_evictions),
        }

    def _all_workers(self) -> set[Worker | Upstream]:
        return {*self.loader.workers.values(), *(one.worker for one in self._everything())}

    # --- asked by requests, on the event loop ---

    async def take(self, name: str, *, caller: Caller = LOCAL, user: str | None = None) -> Served:
        """The model of that name, which stays as it is until `give`. user: whose requests an alias sends the same way.
        Raises ApiError 404.
        """
        plain = name.removesuffix(WEIGHTS)
        meaning = await self._meaning(plain, caller.project) if caller.may_ask(name) else None
        reason = ""
        for model, candidates in meaning.in_order(plain, user) if meaning else ():
            try:
                title, loaded = await self._first(model, caller.project, candidates)
            except TunewrightError as error:
                reason = reason or str(error)
                if meaning and meaning.alias:
                    log.warning("alias %s goes past %s: %s", plain, model, error)
                continue
            if plain != name and not loaded.alone:
                break
            loaded.in_flight += 1
            loaded.used = self._asked[loaded.worker] = time.monotonic()
            return Served.whole(title, loaded) if plain == name else Served.weights(title, loaded)
        if reason:
            raise ApiError(404, f"Model '{name}' cannot be served: {reason}", param="model", code="model_not_found")
        raise await self._apart(self._finder, self.no_model, name, caller)

    async def has(self, name: str, *, caller: Caller = LOCAL) -> bool:
        """Whether a name means something to a caller."""
        return caller.may_ask(name) and await self._meaning(name.removesuffix(WEIGHTS), caller.project) is not None

    def give(self, served: Served) -> None:
        """End of a request's use of a model."""
        served.loaded.in_flight -= 1
        self._make_room()

    def forget(self) -> None:
        """Look names up anew: what they mean was changed. May be called from any thread."""
        self._changes += 1
        self._meanings.clear()

    def no_model(self, name: str, caller: Caller) -> ApiError:
        """What is answered to a name that means nothing to a caller. It reads: not for the event loop."""
        known = (one.name for one in self.names.listed(caller.project))
        message = unknown("model", name[:100], filter(caller.may_ask, known))
        return ApiError(404, message, param="model", code="model_not_found")

    def refusal(self, release: Release | None) -> str | None:
        """Why a release could not be opened when that was last tried; None where nothing is known against it."""
        found = self._refused.get(release.folder) if release else None
        return found.reason if found and release and found.key == _key(release) else None

    async def _meaning(self, name: str, project: str) -> Meaning | None:
        known = self._meanings.get((project, name))
        if known and time.monotonic() - known[0] < LOOK_SECONDS:
            return known[1]
        changes = self._changes
        found = await self._apart(self._finder, self.names.find, name, project)
        if found is not None and changes == self._changes:
            if len(self._meanings) >= MOST_KNOWN:
                self._meanings.clear()
            self._meanings[project, name] = (time.monotonic(), found)
        return found

    async def _first(self, name: str, project: str, candidates: Sequence[Candidate]) -> tuple[str, Loaded]:
        """The first of a name's candidates that can be opened, and what its answers tell of it. Where the name was
        answered before, that goes on until another one is open. Raises TunewrightError.
        """
        reason: TunewrightError = NotThere(f"Nothing of '{name}' is there any more. Take another model.")
        for number, candidate in enumerate(candidates):
            key = _key(candidate)
            if key not in self.loaded and (before := self._before(name, project, candidate)):
                if self._known_against(candidate) is None:
                    self._begin(candidate)
                return before
            try:
                self._wanted[key] += 1
                while key not in self.loaded:
                    key = await self._open(candidate)
            except TunewrightError as error:
                reason = reason if number else error
                continue
            finally:
                self._wanted -= Counter([_key(candidate)])  # without keys that nobody wants any more
            if len(self._last) >= MOST_KNOWN:
                self._last.clear()
            self._last[project, name] = (candidate.name, key)
            return candidate.name, self.loaded[key]
        raise reason

    def _before(self, name: str, project: str, candidate: Candidate) -> tuple[str, Loaded] | None:
        """What a name was answered by last, else what its candidate's place held, if that is still open."""
        last = self._last.get((project, name), ("", ""))
        for title, key in (last, (candidate.name, self._at.get(_place(candidate), ""))):
            if key in self.loaded:
                return title, self.loaded[key]
        return None

    async def _open(self, candidate: Candidate) -> str:
        """Bring a candidate in, once for all who wait for it; the key under which it is found. Raises TunewrightError
        also when it could not be opened a moment ago.
        """
        if known := self._known_against(candidate):
            raise DataError(known)
        return await asyncio.shield(self._begin(candidate))  # who hangs up does not stop it for the others

    def _begin(self, candidate: Candidate) -> asyncio.Task[str]:
        key = _key(candidate)
        if key not in self._openings:
            task = self._openings[key] = asyncio.create_task(self._bring_in(candidate))
            task.add_done_callback(lambda done: (self._openings.pop(key), done.cancelled() or done.exception()))
        return self._openings[key]

    def _known_against(self, candidate: Candidate) -> str | None:
        known = self._refused.get(_place(candidate))
        recent = known and known.key == _key(candidate) and time.monotonic() < known.until
        return known.reason if known and recent else None

    async def _bring_in(self, candidate: Candidate) -> str:
        try:
            while True:
                fresh = await self._apart(self._opener, self.loader.open, candidate)
                if not fresh.leaving and fresh.worker not in self._ended:
                    return self._take_in(candidate, fresh)
        except Exception as error:  # whatever it is, what serves goes on serving
            if not isinstance(error, TunewrightError):
                log.exception("opening %s failed", candidate.name)
                error = DataError(f"It could not be opened ({type(error).__name__}: {error}).")
            until = time.monotonic() + RETRY_SECONDS
            self._refused[_place(candidate)] = Refusal(_key(candidate), str(error), until)
            log.warning("%s cannot be served, so what served before goes on: %s", candidate.name, error)
            raise error from None

    async def _apart(self, pool: ThreadPoolExecutor, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)

    # --- coming and going ---

    def _take_in(self, candidate: Candidate, fresh: Loaded) -> str:
        self._refused.pop(_place(candidate), None)
        key = fresh.fingerprint if isinstance(candidate, Release) else _key(candidate)
        self.loaded[key] = fresh
        self.num_loads += 1
        self._asked[fresh.worker] = time.monotonic()
        before = self._at.get(_place(candidate), key)
        self._at[_place(candidate)] = key
        if before != key and before in self.loaded:
            log.info("%s was made anew", candidate.name)
            self._let_go(before)
        if fresh.base and self.names.workspace is None and fresh.base[0] not in self.names.runs:
            self.names.bases.setdefault(*fresh.base)
        self._fresh = key
        self._make_room()
        return key

    def _make_room(self) -> None:
        """Let go of what was asked longest ago beyond the numbers that are kept, and close what nobody uses. What
        came last stays: it was opened to be asked, and where all others must stay it would go before it is.
        """
        if self._stopped:
            return
        adapters = sorted((one.used, key) for key, one in self.loaded.items() if one.adapter)
        spare = [key for _, key in adapters if key != self._fresh and not self._must_stay(key)]
        for key in spare[: max(0, len(adapters) - self.serving.adapters_in_memory)]:
            self._let_go(key)
        for worker in sorted(self._asked, key=self._asked.__getitem__):
            if len(self._asked) <= self.serving.models_in_memory:
                break
            on_it = [key for key, one in self.loaded.items() if one.worker is worker]
            ending = any(one.worker is worker for one in self._leaving if one.in_flight)
            if not ending and not any(map(self._must_stay, on_it)):
                for key in on_it:
                    self._let_go(key)
                self._end(worker, self.loader.end, worker)
        for one in [one for one in self._leaving if not one.in_flight]:
            self._leaving.remove(one)
            if one.owns_worker:
                self._end(one.worker, self.loader.close, one)
            elif one.worker not in self._ended:
                self._soon(self.loader.close, one)

    def _must_stay(self, key: str) -> bool:
        """Whether it is in use, or could not be opened again: its folder holds something else, which was refused."""
        loaded = self.loaded[key]
        return bool(loaded.in_flight) or self._wanted[key] > 0 or loaded.folder in self._refused

    def _let_go(self, key: str) -> None:
        """Find it no longer; it is closed once nobody uses it."""
        loaded = self.loaded.pop(key)
        loaded.leaving = True
        self.num_evictions += 1
        self._leaving.append(loaded)

    def _end(self, worker: Worker | Upstream, work: Callable[..., None], *arguments: Any) -> None:
        self._asked.pop(worker, None)
        if worker not in self._ended:
            self._ended.add(worker)
            self._soon(work, *arguments)

    def _soon(self, work: Callable[..., None], *arguments: Any) -> None:
        self._opener.submit(work, *arguments).add_done_callback(_tell_failure)

    def _everything(self) -> list[Loaded]:
        return [*self.loaded.values(), *self._leaving]


def _key(candidate: Candidate) -> str:
    """By what a candidate is found when it is open: its content."""
    if isinstance(candidate, Release):
        return candidate.fingerprint or f"unreadable {candidate.folder}"
    return f"base {candidate.base}"


def _place(candidate: Candidate) -> Path | str:
    """Where its content may change."""
    return candidate.folder if isinstance(candidate, Release) else candidate.base


def _tell_failure(done: Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()):
        log.error("closing a model failed", exc_info=error)
