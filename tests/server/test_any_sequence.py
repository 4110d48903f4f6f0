"""Any sequence of calls, with a worker that does its part, leaves what a simple model says should be there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tunewright.workspace import jobs

from .shop import Shop

JOBS = "/fine_tuning/jobs"
TEAMS = st.sampled_from(["a", "b", None])


@dataclass
class Known:
    """What should be there of a job."""

    id: str
    team: str | None
    status: str = "validating_files"
    wanted: str | None = None
    begun: bool = False
    told: int = 1  # lines of its history
    model: str | None = None
    permitted: list[str] = field(default_factory=list)  # projects, oldest first


class Calls(RuleBasedStateMachine):
    """The walk. `shop` is set by the test."""

    shop: Shop
    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.shop.clear()
        self.client = self.shop.one_client
        self.file = self.shop.file()
        self.known: list[Known] = []
        self.last: tuple[dict[str, Any], str] | None = None

    @rule(target=made, team=TEAMS)
    def create(self, team: str | None) -> Known:
        body = {"model": "nano", "training_file": self.file, "metadata": {"team": team} if team else None}
        told = self.shop.post(JOBS, body).json()
        known = Known(told["id"], team)
        self.last = (body, known.id)
        self.known.append(known)
        return known

    @rule()
    def create_again(self) -> None:
        if self.last is not None:
            body, job_id = self.last
            assert self.shop.post(JOBS, body, x_stainless_retry_count="1").json()["id"] == job_id

    @rule(known=made)
    def cancel(self, known: Known) -> None:
        fits = known.status not in jobs.ENDED
        self.wish("cancel", known, fits=fits)
        if fits and known.status == "running":
            known.wanted = "cancel"
        elif fits:
            self.now(known, "cancelled")

    @rule(known=made)
    def pause(self, known: Known) -> None:
        fits = known.status not in (*jobs.ENDED, "paused") and known.wanted != "cancel"
        self.wish("pause", known, fits=fits)
        if fits and known.status == "running":
            known.wanted = "pause"
        elif fits:
            self.now(known, "paused")

    @rule(known=made)
    def resume(self, known: Known) -> None:
        fits = known.status == "paused"
        self.wish("resume", known, fits=fits)
        if fits:
            self.now(known, "queued" if known.begun else "validating_files")

    def wish(self, name: str, known: Known, *, fits: bool) -> None:
        answer = self.shop.post(f"{JOBS}/{known.id}/{name}")
        assert answer.status_code == (200 if fits else 400), answer.text
        assert fits or answer.headers["x-should-retry"] == "false"

    def now(self, known: Known, status: str) -> None:
        known.status, known.wanted, known.told = status, None, known.told + 1

    # --- the worker's part ---

    @rule(known=made)
    def begin(self, known: Known) -> None:
        if known.status in ("validating_files", "queued"):
            self.shop.set(known.id, status="running", started=1.0)
            known.status, known.begun = "running", True

    @rule(known=made)
    def obey(self, known: Known) -> None:
        to = {"cancel": "cancelled", "pause": "paused", None: None}[known.wanted]
        if to is not None:
            with self.shop.workspace.database.writing() as session:
                assert jobs.move(session, known.id, since=["running"], to=to, wanted=None)
            known.status, known.wanted = to, None

    @rule(known=made)
    def succeed(self, known: Known) -> None:
        if known.status in ("validating_files", "queued"):
            known.model = self.shop.finish(known.id, checkpoints=1)
            known.status, known.told = "succeeded", known.told + 1

    # --- who may ask a model ---

    @rule(known=made, project=st.sampled_from(["beta", "gamma"]))
    def permit(self, known: Known, project: str) -> None:
        if known.model is not None:
            self.shop.post(f"/fine_tuning/checkpoints/{known.model}/permissions", {"project_ids": [project]})
            known.permitted += [] if project in known.permitted else [project]

    @rule(known=made)
    def take_back(self, known: Known) -> None:
        if known.permitted:
            client = self.client.fine_tuning.checkpoints.permissions
            first = next(iter(client.list(known.model, order="ascending", limit=1)))
            client.delete(first.id, fine_tuned_model_checkpoint=known.model)
            known.permitted.pop(0)

    # --- what is there ---

    @invariant()
    def all_jobs_are_as_known(self) -> None:
        listed = list(self.client.fine_tuning.jobs.list(limit=3))
        found = [(job.id, job.status, job.fine_tuned_model, job.finished_at is not None) for job in listed]
        wanted = [(k.id, k.status, k.model, k.status in jobs.ENDED) for k in reversed(self.known)]
        assert found == wanted

    @rule(team=st.sampled_from(["a", "b"]))
    def chosen(self, team: str) -> None:
        found = self.client.fine_tuning.jobs.list(limit=1, metadata={"team": team})
        assert [job.id for job in found] == [k.id for k in reversed(self.known) if k.team == team]

    @rule(known=made)
    def history(self, known: Known) -> None:
        client = self.client.fine_tuning
        assert len(list(client.jobs.list_events(known.id, limit=2))) == known.told
        assert len(list(client.jobs.checkpoints.list(known.id))) == (1 if known.model else 0)
        if known.model:
            listed = client.checkpoints.permissions.list(known.model, order="ascending", limit=1)
            assert [one.project_id for one in listed] == known.permitted


def test_any_sequence_of_calls_leaves_what_should_be_there(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calls, "shop", shop, raising=False)
    checks = list(HealthCheck)
    plain = settings(
        max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=checks, database=None
    )
    run_state_machine_as_test(Calls, settings=plain)
