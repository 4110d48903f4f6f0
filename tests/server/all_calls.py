"""Every call of the fine-tuning API with the official client, whichever version is imported; a script of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [sys.argv[1], str(Path(__file__).parent)]  # the client to try, and strict_types.py

import openai
from openai.types import (
    EvalCreateResponse,
    EvalDeleteResponse,
    EvalListResponse,
    EvalRetrieveResponse,
    EvalUpdateResponse,
)
from openai.types.evals import (
    RunCancelResponse,
    RunCreateResponse,
    RunDeleteResponse,
    RunListResponse,
    RunRetrieveResponse,
)
from openai.types.evals.runs import OutputItemListResponse, OutputItemRetrieveResponse
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.alpha import GraderRunResponse, GraderValidateResponse
from openai.types.fine_tuning.checkpoints import (
    PermissionCreateResponse,
    PermissionDeleteResponse,
    PermissionListResponse,
    PermissionRetrieveResponse,
)
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

if __name__ == "__main__":
    from strict_types import fits, fits_list  # type: ignore[import-not-found]
else:
    from .strict_types import fits, fits_list

GRADERS: list[dict[str, Any]] = [
    {"type": "string_check", "name": "same", "input": "{{sample.output_text}}", "reference": "{{item.right}}",
     "operation": "eq"},
    {"type": "text_similarity", "name": "near", "input": "{{sample.output_text}}", "reference": "{{item.right}}",
     "evaluation_metric": "fuzzy_match"},
    {"type": "python", "name": "length", "source": "def grade(sample, item):\n    return len(sample['output_text'])"},
    {"type": "score_model", "name": "judged", "model": "judge",
     "input": [{"role": "user", "content": "Is it good? {{sample.output_text}}"}]},
]  # fmt: skip
LABELLED: dict[str, Any] = {
    "type": "label_model", "name": "label", "model": "judge", "labels": ["good", "bad"], "passing_labels": ["good"],
    "input": GRADERS[3]["input"],
}  # fmt: skip
HYPERPARAMETERS = {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 0.5}


def methods() -> list[dict[str, Any]]:
    """One of each."""
    return [
        {"type": "supervised", "supervised": {"hyperparameters": HYPERPARAMETERS}},
        {"type": "dpo", "dpo": {"hyperparameters": HYPERPARAMETERS | {"beta": 0.2}}},
        {"type": "reinforcement", "reinforcement": {
            "grader": GRADERS[0],
            "hyperparameters": HYPERPARAMETERS | {"compute_multiplier": 1.5, "eval_interval": 3, "eval_samples": 2,
                                                  "reasoning_effort": "default"}}},
    ]  # fmt: skip


def jobs(client: openai.OpenAI, file: str) -> None:
    """Make, look at, pause, resume and cancel jobs of every method."""
    made = []
    for method in methods():
        raw = client.fine_tuning.jobs.with_raw_response.create(
            model="nano", training_file=file, validation_file=file, suffix="Desk 1", seed=7, metadata={"team": "a"},
            method=method,
        )  # fmt: skip
        told = fits(FineTuningJob, raw.text)
        assert raw.headers["x-request-id"].startswith("req_")
        assert told["method"] == method
        assert told["hyperparameters"] == (HYPERPARAMETERS if method["type"] == "supervised" else {})
        assert (told["status"], told["fine_tuned_model"], told["error"]) == ("validating_files", None, None)
        made.append(raw.parse())
    raw = client.fine_tuning.jobs.with_raw_response
    last = made[-1].id
    assert fits(FineTuningJob, raw.retrieve(last).text)["metadata"] == {"team": "a"}
    assert fits(FineTuningJob, raw.pause(last).text)["status"] == "paused"
    assert fits(FineTuningJob, raw.resume(last).text)["status"] == "validating_files"
    assert fits(FineTuningJob, raw.cancel(last).text)["status"] == "cancelled"
    assert [one["id"] for one in fits_list(FineTuningJob, raw.list(limit=2).text)["data"]] == [last, made[1].id]
    assert [job.id for job in client.fine_tuning.jobs.list(limit=2)][:3] == [job.id for job in reversed(made)]
    events = fits_list(FineTuningJobEvent, raw.list_events(last, limit=1).text)
    assert events["has_more"] and events["data"][0]["message"] == "Fine-tuning job cancelled"
    messages = [event.message for event in client.fine_tuning.jobs.list_events(last, limit=1)]
    assert messages[-1] == f"Created fine-tuning job: {last}" and len(messages) == 4
    assert fits_list(FineTuningJobCheckpoint, raw_checkpoints(client, last))["data"] == []


def raw_checkpoints(client: openai.OpenAI, job: str) -> str:
    """The text of a page of checkpoints."""
    return client.fine_tuning.jobs.checkpoints.with_raw_response.list(job, limit=1).text


def finished(client: openai.OpenAI, job: str) -> None:
    """What a job that has succeeded shows, and who may ask its checkpoints."""
    told = fits(FineTuningJob, client.fine_tuning.jobs.with_raw_response.retrieve(job).text)
    assert told["finished_at"] >= told["created_at"] and told["fine_tuned_model"].startswith("ft:nano:")
    page = fits_list(FineTuningJobCheckpoint, raw_checkpoints(client, job))
    assert page["first_id"] == page["last_id"] == page["data"][0]["id"] and page["has_more"]
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job, limit=1))
    assert [one.step_number for one in checkpoints] == [2, 1]
    model = checkpoints[0].fine_tuned_model_checkpoint
    permissions = client.fine_tuning.checkpoints.permissions
    raw = permissions.with_raw_response
    made = fits_list(PermissionCreateResponse, raw.create(model, project_ids=["beta", "gamma", "beta"]).text)
    assert [one["project_id"] for one in made["data"]] == ["beta", "gamma"]
    listed = fits_list(PermissionListResponse, raw.list(model, limit=1).text)
    assert listed["has_more"] and listed["last_id"] == listed["data"][0]["id"]
    for order, wanted in (("descending", ["gamma", "beta"]), ("ascending", ["beta", "gamma"])):
        assert [one.project_id for one in permissions.list(model, limit=1, order=order)] == wanted
    fits(PermissionRetrieveResponse, raw.retrieve(model, project_id="beta").text)
    gone = raw.delete(made["data"][0]["id"], fine_tuned_model_checkpoint=model)
    assert fits(PermissionDeleteResponse, gone.text)["deleted"] is True
    assert [one.project_id for one in permissions.list(model)] == ["gamma"]


def graders(client: openai.OpenAI) -> None:
    """Each type, checked and tried."""
    alpha = client.fine_tuning.alpha.graders.with_raw_response
    several = {"type": "multi", "name": "both", "graders": {"a": GRADERS[0], "b": GRADERS[2], "c": LABELLED},
               "calculate_output": "a + b + c * 0"}  # fmt: skip
    for grader in GRADERS:
        assert fits(GraderValidateResponse, alpha.validate(grader=grader).text)["grader"] == grader
    assert alpha.validate(grader=several).parse()
    for grader, reward in zip([*GRADERS, several], [0.0, 0.5, 2.0, None, 2.0], strict=True):
        told = fits(GraderRunResponse, alpha.run(grader=grader, model_sample="ab", item={"right": "ac"}).text)
        assert told["reward"] == reward or (reward is None and told["reward"] in (0, 1)), told
        assert not any(value is True for value in told["metadata"]["errors"].values()), told
        assert len(told["metadata"]["errors"]) == 14 and told["metadata"]["type"] == grader["type"]
        used = told["model_grader_token_usage_per_model"]
        assert list(used) == (["judge"] if grader["type"] in ("score_model", "multi") else [])
    assert told["sub_rewards"].keys() == {"a", "b", "c"}


def evals(client: openai.OpenAI) -> None:
    """What is measured, and runs of every kind."""
    raw = client.evals.with_raw_response
    schema = {"type": "object", "properties": {"ask": {"type": "string"}, "right": {"type": "string"}}}
    config: Any = {"type": "custom", "item_schema": schema, "include_sample_schema": True}
    criteria: Any = [GRADERS[0], GRADERS[1] | {"pass_threshold": 0.5}, *GRADERS[2:], LABELLED]
    made = fits(
        EvalCreateResponse,
        raw.create(name="Desk", metadata={"a": "b"}, data_source_config=config, testing_criteria=criteria).text,
    )
    assert made["testing_criteria"] == criteria and made["metadata"] == {"a": "b"}
    assert made["data_source_config"]["schema"]["properties"]["item"] == schema
    held = made["id"]
    assert fits(EvalRetrieveResponse, raw.retrieve(held).text) == made
    assert fits(EvalUpdateResponse, raw.update(held, name="Other").text)["name"] == "Other"
    newest = fits_list(EvalListResponse, raw.list(order="desc", limit=1).text)
    assert newest["data"][0]["id"] == held
    assert next(iter(client.evals.list(order="desc", order_by="updated_at", limit=1))).id == held
    runs(client, held)
    assert fits(EvalDeleteResponse, raw.delete(held).text) == {
        "object": "eval.deleted", "deleted": True, "eval_id": held,
    }  # fmt: skip
    assert held not in [one.id for one in client.evals.list()]


def runs(client: openai.OpenAI, held: str) -> None:
    """Runs of an eval, and their items."""
    raw, items = client.evals.runs.with_raw_response, client.evals.runs.output_items
    rows: Any = [{"item": {"ask": "Hi", "right": "ab"}, "sample": {"output_text": said}} for said in ("ab", "xyz")]
    asked: Any = {"type": "template", "template": [{"role": "user", "content": "{{ item.ask }}"}]}
    content: Any = {"type": "file_content", "content": rows}
    model: Any = {"model": "nano", "source": content, "input_messages": asked}
    limits = {"temperature": 0, "seed": 3, "top_p": 1, "max_completion_tokens": 4}
    sources: Any = [
        {"type": "jsonl", "source": content},
        {"type": "completions", **model, "sampling_params": {**limits, "response_format": {"type": "text"}}},
        {"type": "responses", **model, "sampling_params": {**limits, "text": {"format": {"type": "text"}}}},
    ]
    made = [
        fits(RunCreateResponse, raw.create(held, name="One", metadata={"n": "1"}, data_source=source).text)
        for source in sources
    ]
    for run, source in zip(made, sources, strict=True):
        told = fits(RunRetrieveResponse, raw.retrieve(ended(client, held, run["id"]).id, eval_id=held).text)
        assert (told["status"], told["error"], told["data_source"]) == ("completed", None, source)
        counts = told["result_counts"]
        assert counts["total"] == counts["passed"] + counts["failed"] == 2 and counts["errored"] == 0
        criteria = [one["testing_criteria"] for one in told["per_testing_criteria_results"]]
        assert criteria == ["same", "near", "length", "judged", "label"]
        page = items.with_raw_response.list(run["id"], eval_id=held, limit=1)
        one = fits_list(OutputItemListResponse, page.text)["data"][0]
        assert fits(
            OutputItemRetrieveResponse,
            items.with_raw_response.retrieve(one["id"], eval_id=held, run_id=run["id"]).text,
        ) == one  # fmt: skip
        assert [item.datasource_item_id for item in items.list(run["id"], eval_id=held, limit=1)] == [0, 1]
        assert {item.status for item in items.list(run["id"], eval_id=held, status="fail")} <= {"fail"}
        used = {one["model_name"]: one["invocation_count"] for one in told["per_model_usage"]}
        assert used == {"judge": 4} | ({"nano": 2} if run["model"] else {})
    many: Any = {"type": "file_content", "content": rows * 200}
    long = client.evals.runs.create(held, data_source={"type": "completions", **model, "source": many})
    assert fits(RunCancelResponse, raw.cancel(long.id, eval_id=held).text)["status"] == "canceled"
    listed = fits_list(RunListResponse, raw.list(held, order="desc", limit=2).text)
    assert [one["id"] for one in listed["data"]] == [long.id, made[-1]["id"]] and listed["has_more"]
    assert [run.id for run in client.evals.runs.list(held, limit=1, status="canceled")] == [long.id]
    gone = {"object": "eval.run.deleted", "deleted": True, "run_id": long.id}
    assert fits(RunDeleteResponse, raw.delete(long.id, eval_id=held).text) == gone


def ended(client: openai.OpenAI, held: str, run_id: str) -> Any:
    """A run that is over."""
    until = time.monotonic() + 60
    while (run := client.evals.runs.retrieve(run_id, eval_id=held)).status in ("queued", "in_progress"):
        assert time.monotonic() < until, run
        time.sleep(0.02)
    return run


def refusals(client: openai.OpenAI, file: str) -> None:
    """Errors have the class that the client has for them."""
    for call, kind, param in [
        (lambda: client.fine_tuning.jobs.retrieve("ftjob-none"), openai.NotFoundError, "fine_tune_id"),
        (lambda: client.fine_tuning.jobs.list_events("ftjob-none"), openai.NotFoundError, "fine_tune_id"),
        (lambda: client.fine_tuning.jobs.create(model="gpt", training_file=file), openai.BadRequestError, "model"),
        (lambda: client.fine_tuning.jobs.list(after="ftjob-none"), openai.BadRequestError, "after"),
    ]:
        try:
            call()
        except openai.APIStatusError as error:
            assert type(error) is kind and error.param == param and error.request_id.startswith("req_")
        else:
            raise AssertionError("nothing was raised")


def walk(url: str, file: str, job: str) -> None:
    """All of it. job: one that has succeeded, of another file."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30)
    finished(client, job)
    graders(client)
    evals(client)
    refusals(client, file)


if __name__ == "__main__":
    assert openai.__file__.startswith(sys.argv[1]), openai.__file__
    one = openai.OpenAI(base_url=f"{sys.argv[2]}/v1", api_key="none", max_retries=0, timeout=30)
    jobs(one, sys.argv[3])
    walk(sys.argv[2], sys.argv[3], sys.argv[4])
    print(openai.__version__)
