"""Work that a server does beside its answers: every few seconds, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("tunewright.server")


class Background:
    """Calls `work` every so many seconds until `stop`. What goes wrong is logged; the next call comes all the same.

    at_end: called after the last one.
    """

    def __init__(
        self, name: str, work: Callable[[], None], *, seconds: float, at_end: Callable[[], None] = lambda: None
    ) -> None:
        self.name = name
        self.work = work
        self.seconds = seconds
        self.at_end = at_end
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._go, name=name, daemon=True)

    def start(self) -> None:
        """Begin, with a first call at once."""
        self._thread.start()

    def wake(self) -> None:
        """Call `work` now rather than later."""
        self._wake.set()

    @property
    def ending(self) -> bool:
        """Whether it is to end: work that takes long asks now and then, and leaves the rest for the next start."""
        return self._ended

    def stop(self) -> None:
        """End after the present call, which must not take long."""
        self._ended = True
        self._wake.set()
        self._thread.join(timeout=30)

    def _go(self) -> None:
        while not self._ended:
            self._call(self.work)
            self._wake.wait(self.seconds)
            self._wake.clear()
        self._call(self.at_end)

    def _call(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.exception("%s failed; it is tried again in %s seconds", self.name, self.seconds)
