"""Keeps the transformers and Hub libraries from talking while a base is opened or saved: what fails is raised."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no word on each retry; afterwards both are as the caller had them."""
    from transformers.utils import logging as library

    hub = logging.getLogger("huggingface_hub")
    level, bars = hub.level, library.is_progress_bar_enabled()
    hub.setLevel(logging.ERROR)
    if bars:
        library.disable_progress_bar()
    try:
        yield
    finally:
        hub.setLevel(level)
        if bars:
            library.enable_progress_bar()
