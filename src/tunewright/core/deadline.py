"""A limit of time on Python code that is not ours to trust, such as a chat template with a loop in a loop."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Iterator


class TooLong(BaseException):
    """The time was over. No Exception: code that catches those is interrupted too."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TooLong inside the block when it takes longer, in whichever thread it runs.

    It interrupts Python code between two steps (PyThreadState_SetAsyncExc of CPython's C API); one long call into a
    library is not interrupted.
    """
    thread, guard = threading.get_ident(), threading.Lock()
    over, fired = False, False

    def interrupt() -> None:
        nonlocal fired
        with guard:
            if not over:
                fired = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TooLong))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with guard:
                over = True
            timer.cancel()
        _await(fired)
    except TooLong:
        raise
    except BaseException:
        with contextlib.suppress(TooLong):
            _await(fired)
        raise


def _await(fired: bool) -> None:
    """What was sent must arrive here, and not in whatever the thread does next."""
    while fired:
        time.sleep(0.001)
