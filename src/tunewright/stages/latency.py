"""How long one request takes: some of the questions once more, one at a time, as a single user would ask them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunewright.core import storage
from tunewright.core.run import Run
from tunewright.stages.asking import Question, fit, measuring, room_of

if TYPE_CHECKING:
    from tunewright.models.decode import Decode
    from tunewright.models.engine import Engine

ROWS = 20  # requests that are timed
SECONDS = 20.0  # after which no further one is begun, once there are a few
LEAST = 3


def latencies(
    run: Run,
    name: str,
    questions: Sequence[Question],
    *,
    decode: Decode,
    identity: str,
    engine: Callable[[], Engine],
    adapter: str = "",
    folder: Path | None = None,
) -> list[float]:
    """Seconds of single requests, evenly from all questions; measured once, and kept beside the answers. The first
    request only warms up.
    """
    from tunewright.models.decode import answer

    path = (folder or run.path("evaluate")) / f"latency.{name}.json"
    chosen = [questions[place * len(questions) // ROWS] for place in range(ROWS)] if questions else []
    chosen = list({one.id: one for one in chosen}.values())
    key = storage.digest([decode.model_dump(), identity, [[one.messages, one.tools] for one in chosen]])
    kept = storage.read_json(path) if path.exists() else {}
    if kept.get("key") == key:
        return list(kept["seconds"])
    model = engine()
    room, most = room_of(model, decode, adapter)
    found: list[float] = []
    began = time.monotonic()
    for number, question in enumerate(chosen[:1] + chosen):
        messages, _ = fit(question, measuring(model, decode, question), room=room, most=most)
        if messages is None:
            continue
        started = time.monotonic()
        answer(model, decode, [messages], tools=[question.tools], adapter=adapter)
        if number:
            found.append(round(time.monotonic() - started, 5))
        run.progress("evaluate", done=number, total=len(chosen), what=f"{name}: single requests")
        if len(found) >= LEAST and time.monotonic() - began > SECONDS:
            break
    storage.write_json(path, {"key": key, "seconds": found}, point="answers.latency")
    return found
