"""The engine's thread survives a failing step, and older releases are closed once nobody uses them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tunewright.core.run import Run

from .conftest import Place


def test_a_failing_step_fails_its_own_requests_only(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.engine import Request
    from tunewright.models.opening import open_model
    from tunewright.server.worker import End, Failed, Worker, Writing

    worker = Worker(open_model(ModelOptions(base=str(place.base))))

    async def ask() -> Any:
        job = worker.submit(Writing([Request([0, 70, 71], 3)]))
        while not isinstance(event := await asyncio.wait_for(job.events.get(), 30), End | Failed):
            pass
        return event

    def broken() -> None:
        raise RuntimeError("out of memory")

    async def story() -> None:
        assert isinstance(await ask(), End)
        monkeypatch.setattr(worker.engine, "step", broken)
        failed = await ask()
        assert isinstance(failed, Failed) and "memory" in str(failed.error)
        assert isinstance(await ask(), End)
        assert worker.load == 0

    asyncio.run(story())
    worker.stop()


def test_older_releases_are_closed_once_nobody_uses_them(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.server import registry as module

    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(module, "OLDER_KEPT", 1)
    for seed in range(4):
        place.release("old", 70 + seed)
    registry = module.Registry([Run(place.runs / "old")])
    registry.start()
    (worker,) = registry.workers.values()

    async def story() -> None:
        assert (await registry.take("old")).name == "old:004"
        held = await registry.take("old:001")
        for name in ("old:002", "old:003"):
            registry.give(await registry.take(name))
        await registry.listing()  # looks, and closes what is too much
        assert set(registry.opened) == {"old:001", "old:003", "old:004"}  # one older is kept, one is in use
        assert len(worker.model.adapters) == 3
        registry.give(held)
        place.release("old", 80)
        assert (await registry.take("old")).name == "old:005"
        again = await registry.take("old:002")
        assert again.adapter in worker.model.adapters

    asyncio.run(story())
    registry.stop()
