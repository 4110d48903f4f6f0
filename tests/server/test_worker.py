"""The engine's thread survives a failing step, and older releases are closed once nobody uses them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tunewright.core.run import Run
from tunewright.workspace.config import Serving

from .conftest import Place


def test_a_failing_step_fails_its_own_requests_only(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.opening import open_model
    from tunewright.models.sequences import Request
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
    for seed in range(4):
        place.release("old", 70 + seed)
    registry = module.Registry([Run(place.runs / "old")], serving=Serving(adapters_in_memory=2))
    registry.start()
    (worker,) = registry.loader.workers.values()

    def open_now() -> set[str]:
        return {f"old:{one.folder.name}" for one in registry.loaded.values() if one.folder}

    async def story() -> None:
        registry.give(await registry.take("old"))
        held = await registry.take("old:001")
        for name in ("old:002", "old:003"):
            registry.give(await registry.take(name))
        assert open_now() == {"old:001", "old:003"}  # one is in use, and of the others the one asked last
        registry.give(await registry.take("old:004"))
        assert open_now() == {"old:001", "old:004"}
        registry.give(held)
        again = await registry.take("old:002")
        while len(worker.model.adapters) > 2:  # closed in a thread
            await asyncio.sleep(0.01)
        assert again.adapter in worker.model.adapters and held.adapter not in worker.model.adapters

    asyncio.run(story())
    registry.stop()


def test_more_can_be_asked_at_once_than_are_kept(place: Place) -> None:
    from tunewright.server.registry import Registry

    for seed in range(4):
        place.release("crowd", 90 + seed)
    registry = Registry([Run(place.runs / "crowd")], serving=Serving(adapters_in_memory=1, models_in_memory=1))

    async def story() -> None:
        names = [f"crowd:{number:03d}" for number in range(1, 5)]
        held = await asyncio.wait_for(asyncio.gather(*map(registry.take, names)), 30)
        assert [one.name for one in held] == names and len(registry.loaded) == 4
        for one in held:
            registry.give(one)
        assert len(registry.loaded) == 1

    asyncio.run(story())
    registry.stop()
