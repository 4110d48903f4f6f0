"""Keeps the transformers and Hub libraries from talking while a base is opened or saved: what fails is raised."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, no word on retries or on weights that are not used; afterwards all is as the caller had it."""
    from transformers.utils import logging as library

    hub = logging.getLogger("huggingface_hub")
    level, bars = hub.level, library.is_progress_bar_enabled()
    hub.setLevel(logging.ERROR)
    opening = logging.getLogger(
        "transformers.modeling_utils"
    )  # its level also turns other checks on: a filter does not
    opening.addFilter(_no_report)
    if bars:
        library.disable_progress_bar()
    try:
        yield
    finally:
        hub.setLevel(level)
        opening.removeFilter(_no_report)
        if bars:
            library.enable_progress_bar()


def _no_report(record: logging.LogRecord) -> bool:
    told = record.getMessage()
    return "LOAD REPORT" not in told and "we will NOT tie them" not in told  # T5: what is loaded is right
