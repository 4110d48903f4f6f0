"""How much an engine takes in: a bound for each party, and for who is turned away when to come again."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque

from tunewright.server.protocol import ApiError

PACE_OVER = 64  # answers over whose ends the present speed is taken
LONGEST_WAIT = 60  # seconds after which a client that is turned away is told to come again, at most


class Admission:
    """Counts sequences that were taken in and have not ended. Threads may share it."""

    def __init__(self, *, max_live: int, max_waiting: int) -> None:
        """max_live: answers written at once. max_waiting: how many more of each party may wait."""
        self.room = max_live + max_waiting
        self.loads: Counter[str] = Counter()  # of each party
        self._ends: deque[float] = deque(maxlen=PACE_OVER)  # when answers ended, since there is something to do
        self._guard = threading.Lock()

    @property
    def load(self) -> int:
        """Sequences of all parties."""
        with self._guard:
            return self.loads.total()

    def take(self, party: str, size: int) -> None:
        """Take sequences in. Raises ApiError 429 when the party's part is full; what others ask for never fills it."""
        with self._guard:
            load = self.loads[party]
            over = load + size - self.room
            if load and over > 0:
                message = f"The server is busy: {load} of your answers are being worked on or wait. Try again later."
                headers = {"retry-after": str(self._seconds_for(over))}
                raise ApiError(429, message, type="rate_limit_error", code="queue_full", headers=headers)
            if not self.loads:
                self._ends.clear()
            self.loads[party] += size

    def give(self, party: str, size: int) -> None:
        """Sequences are over."""
        with self._guard:
            self.loads[party] -= size
            if not self.loads[party]:
                del self.loads[party]

    def ended(self) -> None:
        """An answer was written to its end: what the speed of late is taken from."""
        self._ends.append(time.monotonic())

    def _seconds_for(self, count: int) -> int:
        """How long it takes, at the speed of late, until so many answers of one party are over."""
        ends = [*self._ends]
        if len(ends) < 2:
            return 1
        seconds_each = (time.monotonic() - ends[0]) / (len(ends) - 1) * len(self.loads)
        return min(LONGEST_WAIT, max(1, math.ceil(count * seconds_each)))
