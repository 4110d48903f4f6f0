"""The server looks at releases when it is time, in a process of its own, and tells what it found."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_traffic import PLANTS, drawn
from sqlalchemy import select

from tunewright.core.run import Run
from tunewright.server.metrics import Metrics
from tunewright.server.monitoring import Schedule
from tunewright.workspace import traffic as logged
from tunewright.workspace.config import MonitorSchedule
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Delivery


def scheduled(place: Workspace, **options: object) -> Workspace:
    config = place.config.model_copy(update={"monitor": MonitorSchedule.model_validate(options)})
    return Workspace(place.folder, config, place.database)


def log_now(place: Workspace, requests: int, **options: object) -> None:
    now = time.time()
    rows = [logged.Entry(one) for one in drawn(requests, created=now - 600, **options)]  # type: ignore[arg-type]
    logged.write(place, rows)


def carried_out(schedule: Schedule) -> None:
    """Step until the look that is begun has ended."""
    schedule.step()
    assert schedule.looking is not None
    schedule.looking.process.wait(60)
    schedule.step()
    assert schedule.looking is None


def test_a_release_with_traffic_is_looked_at_once_in_so_many_hours(run: Run, place: Workspace) -> None:
    log_now(place, 200, plant=PLANTS["topic"], share=0.4)
    schedule = Schedule(scheduled(place, every_hours=1))
    assert [one.name for one in schedule.releases()] == ["shop:001"]
    carried_out(schedule)
    report = run.report("monitor")
    assert report is not None and report.verdict == "NO-GO"
    schedule.step()
    assert schedule.looking is None, "the next look is due in an hour"
    metrics = Metrics()
    metrics.watch(schedule.gauges)
    told = metrics.text().decode()
    assert '\ntunewright_monitor_requests{release="shop:001"} 200.0\n' in told
    assert '\ntunewright_monitor_alarms{release="shop:001"}' in told
    assert "\ntunewright_monitor_drift_" in told
    with place.database.reading() as session:
        assert session.scalar(select(Delivery.body))["type"] == "monitor.alarm"
    assert Schedule(scheduled(place, every_hours=1))._last(schedule.releases()[0]) > time.time() - 600


def test_a_look_that_fails_is_told_and_not_tried_at_once_again(
    run: Run, place: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    log_now(place, 5)
    run.path("recipe.yaml").unlink()
    schedule = Schedule(scheduled(place, every_hours=1, releases=["shop"]))
    with caplog.at_level("WARNING", "tunewright.server"):
        carried_out(schedule)
    assert "holds no recipe" in caplog.text
    schedule.step()
    assert schedule.looking is None


def test_nobody_looks_without_a_schedule_and_a_stop_ends_a_look(run: Run, place: Workspace, tmp_path: Path) -> None:
    log_now(place, 5)
    idle = Schedule(place)
    idle.step()
    assert idle.looking is None
    slow = tmp_path / "slow.sh"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o700)
    schedule = Schedule(scheduled(place, every_hours=1), command=[str(slow)])
    schedule.step()
    assert schedule.looking is not None
    process = schedule.looking.process
    schedule.stop()
    assert process.returncode is not None and schedule.looking is None


def test_the_api_shows_the_last_looks_of_one_s_own_project(run: Run, place: Workspace) -> None:
    from fastapi.testclient import TestClient

    import tunewright as tw
    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.registry import Registry

    log_now(place, 60)
    tw.monitor("shop", workspace=place.folder)
    with TestClient(build(Front(Registry([]), workspace=place)), base_url="http://127.0.0.1") as client:
        found = client.get("/v1/monitor").json()
    assert [one["id"] for one in found["data"]] == ["shop:001"]
    assert found["data"][0]["requests"] == 60
