"""Works on the runs of evals: asks this server's models, lets the graders judge, and keeps all that it learns at once.

A run is gone on with by a few rows at a time, and runs take turns: first by the key that made them, then each. What a
key's budget or a full queue does not let through now is asked later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from sqlalchemy.exc import SQLAlchemyError

from tunewright.core.errors import Stopped, TunewrightError
from tunewright.core.run import born, is_alive
from tunewright.server.background import Background
from tunewright.server.eval_steps import Paused, Step
from tunewright.server.front import Front
from tunewright.workspace import evals

log = logging.getLogger("tunewright.server")

NAME = "evals"
LOOK_SECONDS = 5.0
RUNS_AT_ONCE = 2
ROWS_AT_ONCE = 16  # of a run
_LONGEST_PAUSE = 60.0  # after which a refused run is tried again: by then a minute's budget is whole
_MOST_WASTED = 6


class Evaluating(Background):
    """The work on all runs that have not ended."""

    def __init__(self, front: Front) -> None:
        super().__init__(NAME, self._work, seconds=LOOK_SECONDS)
        self.front = front
        self.database = front.place.database
        pid = os.getpid()
        self.holder = f"{socket.gethostname()} {pid} {born(pid)}"
        self._pool = ThreadPoolExecutor(RUNS_AT_ONCE, thread_name_prefix="evals")
        self._active: dict[str, Future[None]] = {}
        self._stops: dict[str, threading.Event] = {}
        self._turns: dict[str, float] = {}  # of keys and of runs: when they last had one
        self._not_before: dict[str, float] = {}  # of runs
        self._wasted: dict[str, int] = {}  # of runs: turns, less those that went well, in which grading was for nothing

    def start(self) -> None:
        """Begin; on the event loop, on which the models are asked."""
        self.loop = asyncio.get_running_loop()
        super().start()

    def stop(self) -> None:
        """End soon: what is being answered is given up, and asked again after the next start."""
        self._ended = True
        self._give_all_up()
        super().stop()
        self._give_all_up()  # of what began while it was told to end
        self._pool.shutdown(wait=True, cancel_futures=True)

    def give_up(self, run_id: str) -> None:
        """Stop the work on a run that was canceled or deleted."""
        if stop := self._stops.get(run_id):
            stop.set()

    def _give_all_up(self) -> None:
        for stop in list(self._stops.values()):
            stop.set()

    # --- whose turn it is ---

    def _work(self) -> None:
        """Go on with runs until none is left that may go on now."""
        while not self.ending:
            while len(self._active) < RUNS_AT_ONCE and (chosen := self._next()) is not None:
                self._stops[chosen] = threading.Event()
                self._active[chosen] = self._pool.submit(self._step, chosen, self._stops[chosen])
            if not self._active:
                return
            wait(self._active.values(), timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for run_id in [run_id for run_id, future in self._active.items() if future.done()]:
                del self._active[run_id], self._stops[run_id]

    def _next(self) -> str | None:
        """The run whose key, and which itself, had its turn longest ago; None where none may go on."""
        now = time.monotonic()
        with self.database.reading() as session:
            open_ = evals.waiting(session)
        known = {name for pair in open_ for name in pair}
        self._turns = {name: at for name, at in self._turns.items() if name in known}
        self._not_before = {name: at for name, at in self._not_before.items() if name in known and at > now}
        self._wasted = {name: times for name, times in self._wasted.items() if name in known}
        due = [pair for pair in open_ if pair[0] not in self._active and pair[0] not in self._not_before]
        if not due:
            return None
        run_id, key_id = min(due, key=lambda pair: (self._turns.get(pair[1], 0.0), self._turns.get(pair[0], 0.0)))
        self._turns[run_id] = self._turns[key_id] = now
        return run_id

    def _step(self, run_id: str, stop: threading.Event) -> None:
        wasted = self._wasted.get(run_id, 0)  # a budget may be too small for many rows at once, and must fill for one
        try:
            with self.database.writing() as session:
                run = evals.take(session, run_id, holder=self.holder, is_gone=_is_gone)
                held = evals.find(session, run.eval_id, project=run.project) if run else None
            if run is None or held is None:
                self._not_before[run_id] = time.monotonic() + LOOK_SECONDS
                return
            Step(self.front, self.loop, run, held, rows=max(1, ROWS_AT_ONCE >> wasted), stop=stop).go()
            self._wasted[run_id] = max(0, wasted - 1)
        except Paused as pause:
            self._wasted[run_id] = wasted = min(wasted + pause.wasted, _MOST_WASTED)
            seconds = max(pause.seconds, 2.0**wasted if pause.wasted else 0.0)
            self._not_before[run_id] = time.monotonic() + min(seconds, _LONGEST_PAUSE)
        except Stopped:
            pass
        except TunewrightError as error:
            self._fail(run_id, "invalid_run", str(error))
        except SQLAlchemyError:
            log.exception("run %s of an eval waits for the database", run_id)
            self._not_before[run_id] = time.monotonic() + LOOK_SECONDS
        except Exception:
            log.exception("run %s of an eval failed", run_id)
            self._fail(run_id, "server_error", "The server failed while it worked on the run; its log says why.")

    def _fail(self, run_id: str, code: str, message: str) -> None:
        with self.database.writing() as session:
            evals.move(session, run_id, to="failed", error={"code": code, "message": message})


def _is_gone(holder: str) -> bool:
    """Whether a process of this machine that held a run has ended."""
    host, pid, began = holder.split(" ")
    return host == socket.gethostname() and not is_alive(int(pid), None if began == "None" else began)
