"""What a job can be made from, what is refused and how, and that a request sent twice makes one."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import openai
import pytest

from tunewright.workspace.tables import Model

from .shop import Shop

JOBS = "/fine_tuning/jobs"


def body(shop: Shop, **values: Any) -> dict[str, Any]:
    return {"model": "nano", "training_file": shop.file(), "seed": 1} | values


def supervised(**hyperparameters: Any) -> dict[str, Any]:
    return {"method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}}


def dpo(**hyperparameters: Any) -> dict[str, Any]:
    return {"method": {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}}


CHECK = {"type": "string_check", "name": "same", "input": "a", "reference": "b", "operation": "eq"}


def reinforcement(grader: Any = CHECK, **hyperparameters: Any) -> dict[str, Any]:
    block = {"grader": grader, "hyperparameters": hyperparameters}
    return {"method": {"type": "reinforcement", "reinforcement": block}}


def test_auto_stands_for_everything_that_is_not_given(shop: Shop) -> None:
    told = shop.post(JOBS, body(shop)).json()
    auto = {"batch_size": "auto", "learning_rate_multiplier": "auto", "n_epochs": "auto"}
    assert told["hyperparameters"] == auto
    assert told["method"] == {"type": "supervised", "supervised": {"hyperparameters": auto}}
    assert told["metadata"] is None and told["integrations"] == [] and told["organization_id"] == "local"
    told = shop.post(JOBS, body(shop, **reinforcement())).json()["method"]["reinforcement"]
    assert told["grader"] == CHECK
    assert told["hyperparameters"] == auto | {
        "compute_multiplier": "auto", "eval_interval": "auto", "eval_samples": "auto", "reasoning_effort": "default"
    }  # fmt: skip


def test_hyperparameters_beside_the_method_are_those_of_the_method(shop: Shop) -> None:
    old = {"n_epochs": 3, "learning_rate_multiplier": 0.1}
    told = shop.post(JOBS, body(shop, hyperparameters=old)).json()
    assert told["method"]["supervised"]["hyperparameters"] == old | {"batch_size": "auto"} == told["hyperparameters"]
    same = shop.post(JOBS, body(shop, hyperparameters=old, **supervised(**old)))
    assert same.json()["hyperparameters"] == told["hyperparameters"]


def test_a_seed_is_drawn_where_none_is_given(shop: Shop) -> None:
    seeds = {shop.post(JOBS, body(shop, seed=None)).json()["seed"] for _ in range(3)}
    assert len(seeds) == 3 and all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("values", "param", "said"),
    [
        ({"model": "gpt-4o"}, "model", "Take one of nano"),
        ({"model": None}, "model", "valid string"),
        ({"model": "ft:nano:local::none"}, "model", "does not exist"),
        ({"model": "../../etc"}, "model", "does not exist"),
        ({"training_file": "file-none"}, "training_file", "there is no file"),
        ({"validation_file": "file-none"}, "validation_file", "there is no file"),
        ({"seed": -1}, "seed", "0"),
        ({"seed": 2**31}, "seed", "2147483647"),
        ({"seed": 1.5}, "seed", "integer"),
        ({"suffix": ""}, "suffix", "at least 1"),
        ({"suffix": "x" * 65}, "suffix", "at most 64"),
        ({"suffix": "?!"}, "suffix", "letter or a digit"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "at most 16"),
        ({"metadata": {"k" * 65: ""}}, "metadata", "1 to 64"),
        ({"metadata": {"k": "v" * 513}}, "metadata", "512"),
        ({"metadata": {"k": 1}}, "metadata.k", "string"),
        ({"metadata": {"k": "\0"}}, "metadata", "control"),
        ({"wishes": 1}, "wishes", "Unknown parameter"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs", "whole number from 1 to 50"),
        (supervised(n_epochs=0), "method.supervised.hyperparameters.n_epochs", "whole number from 1 to 50"),
        (supervised(n_epochs=1.5), "method.supervised.hyperparameters.n_epochs", "1.5"),
        (supervised(n_epochs=True), "method.supervised.hyperparameters.n_epochs", "True"),
        (supervised(batch_size=257), "method.supervised.hyperparameters.batch_size", "1 to 256"),
        (supervised(batch_size="many"), "method.supervised.hyperparameters.batch_size", "'many'"),
        (supervised(learning_rate_multiplier=0), "method.supervised.hyperparameters.learning_rate_multiplier", "above"),
        (supervised(beta=0.1), "method.supervised.hyperparameters.beta", "Unknown"),
        (dpo(beta=0), "method.dpo.hyperparameters.beta", "above 0, at most 2"),
        (dpo(beta=2.1), "method.dpo.hyperparameters.beta", "above 0, at most 2"),
        (reinforcement(compute_multiplier=0.00001), "method.reinforcement.hyperparameters.compute_multiplier", "above"),
        (reinforcement(eval_interval=0), "method.reinforcement.hyperparameters.eval_interval", "from 1"),
        (reinforcement(reasoning_effort="all"), "method.reinforcement.hyperparameters.reasoning_effort", "'low'"),
        (reinforcement(reasoning_effort="low"), "method.reinforcement.hyperparameters.reasoning_effort", "no levels"),
        (reinforcement({"type": "none"}), "method.reinforcement.grader", "grader type"),
        (reinforcement(CHECK | {"operation": "is"}), "method.reinforcement.grader", "operation"),
        ({"method": {"type": "reinforcement"}}, "method", "grader"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method", "does not go with"),
        ({"method": {"type": "ppo"}}, "method.type", "'dpo'"),
        ({"hyperparameters": {"n_epochs": 1}, **dpo()}, "hyperparameters", "says something else"),
        ({"hyperparameters": {"n_epochs": 1}, **supervised(n_epochs=2)}, "hyperparameters", "says something else"),
        ({"integrations": [{"type": "tensorboard"}]}, "integrations.0.type", "'wandb'"),
        ({"integrations": [{"type": "wandb", "wandb": {}}]}, "integrations.0.wandb.project", "Missing"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_its_name(
    shop: Shop, values: dict[str, Any], param: str, said: str
) -> None:
    answer = shop.post(JOBS, body(shop, **values))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert said in error["message"] and error["message"].endswith(".")
    assert answer.headers["x-request-id"]
    assert shop.get(JOBS).json()["data"] == []


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"purpose": "batch"}, "invalid_file_purpose"),
        ({"status": "error", "status_details": "Row 3 has no messages."}, "invalid_file"),
        ({"deleted": 1.0}, "file_not_found"),
        ({"expires": 1.0}, "file_not_found"),
        ({"project": "another"}, "file_not_found"),
    ],
)
def test_a_file_must_be_there_to_learn_from(shop: Shop, values: dict[str, Any], code: str) -> None:
    error = shop.post(JOBS, body(shop, training_file=shop.file(**values))).json()["error"]
    assert (error["param"], error["code"]) == ("training_file", code)
    assert values.get("status_details", "") in error["message"]


def test_a_tuned_model_of_the_project_can_be_tuned_further(shop: Shop) -> None:
    first = shop.post(JOBS, body(shop)).json()["id"]
    name = shop.finish(first)
    told = shop.post(JOBS, body(shop, model=f"{name}:ckpt-step-1")).json()
    assert told["model"] == f"{name}:ckpt-step-1"
    with shop.workspace.database.writing() as session:
        session.query(Model).update({"project": "another"})
    assert shop.post(JOBS, body(shop, model=name)).json()["error"]["code"] == "model_not_available"


def test_a_suffix_is_made_fit_for_a_name(shop: Shop) -> None:
    assert shop.post(JOBS, body(shop, suffix="My Desk (new)")).json()["user_provided_suffix"] == "my-desk-new"


def test_the_tracker_must_be_installed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"integrations": [{"type": "wandb", "wandb": {"project": "cards", "tags": ["a"]}}]}
    error = shop.post(JOBS, body(shop, **wanted)).json()["error"]
    assert error["param"] == "integrations" and "pip install wandb" in error["message"]
    fake = ModuleType("wandb")
    fake.__spec__ = object()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    assert shop.post(JOBS, body(shop, **wanted)).json()["integrations"] == wanted["integrations"]


# --- sent twice ---


def made_at_once(shop: Shop, requests: list[dict[str, str]], sent: dict[str, Any]) -> set[str]:
    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(lambda headers: shop.post(JOBS, sent, **headers), requests))
    assert {answer.status_code for answer in answers} == {200}
    return {answer.json()["id"] for answer in answers}


def test_two_equal_requests_make_two_jobs(shop: Shop) -> None:
    sent = body(shop)
    assert len(made_at_once(shop, [{"x_stainless_retry_count": "0"}] * 2, sent)) == 2


def test_a_request_and_its_retries_make_one_job_whichever_comes_first(shop: Shop) -> None:
    for _ in range(3):
        retries = [{"x_stainless_retry_count": str(count)} for count in (2, 1, 0)]
        assert len(made_at_once(shop, retries, body(shop))) == 1


def test_after_a_late_first_try_the_next_request_makes_a_job(shop: Shop) -> None:
    sent = body(shop)
    retried = shop.post(JOBS, sent, x_stainless_retry_count="1").json()["id"]
    assert shop.post(JOBS, sent, x_stainless_retry_count="0").json()["id"] == retried
    assert shop.post(JOBS, sent, x_stainless_retry_count="0").json()["id"] != retried


def test_a_retry_is_forgotten_after_a_while(shop: Shop) -> None:
    sent = body(shop)
    job = shop.post(JOBS, sent).json()["id"]
    shop.set(job, created=1.0)
    assert shop.post(JOBS, sent, x_stainless_retry_count="1").json()["id"] != job


def test_an_idempotency_key_makes_one_job(shop: Shop) -> None:
    sent = body(shop)
    first = made_at_once(shop, [{"idempotency_key": "k"}] * 6, sent)
    assert len(first) == 1
    assert {job["id"] for job in shop.get(JOBS).json()["data"]} == first
    assert shop.post(JOBS, sent, idempotency_key="other").json()["id"] not in first
    other = shop.post(JOBS, sent | {"seed": 2}, idempotency_key="k")
    assert other.status_code == 400 and other.headers["x-should-retry"] == "false"
    assert "another body" in other.json()["error"]["message"]


def test_a_refused_request_leaves_nothing_that_a_retry_could_find(shop: Shop) -> None:
    sent = body(shop, training_file="file-none")
    for count in ("0", "1"):
        assert shop.post(JOBS, sent, x_stainless_retry_count=count).status_code == 400


def test_the_client_does_not_try_again_where_the_state_is_wrong(shop: Shop) -> None:
    client = shop.client(max_retries=5)
    job = client.fine_tuning.jobs.create(model="nano", training_file=shop.file())
    client.fine_tuning.jobs.cancel(job.id)
    with pytest.raises(openai.BadRequestError, match="it is cancelled") as caught:
        client.fine_tuning.jobs.pause(job.id)
    assert caught.value.response.headers["x-should-retry"] == "false"
    events = [event.message for event in client.fine_tuning.jobs.list_events(job.id)]
    assert events == ["Fine-tuning job cancelled", f"Created fine-tuning job: {job.id}"]
