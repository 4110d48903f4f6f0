"""Graders tried and checked over HTTP: values, errors by the API's names, and what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tunewright.core import storage

from .shop import Shop, shop_of

RUN, VALIDATE = "/fine_tuning/alpha/graders/run", "/fine_tuning/alpha/graders/validate"
ASK = [{"role": "user", "content": "{{sample.output_text}}"}]
CHECK = {"type": "string_check", "name": "same", "input": "{{sample.output_text}}", "reference": "{{item.right}}"}
CHECK |= {"operation": "eq"}


def python(source: str) -> dict[str, Any]:
    return {"type": "python", "name": "source", "source": source}


def tried(shop: Shop, grader: dict[str, Any], sample: str = "ab", item: Any = None) -> dict[str, Any]:
    answer = shop.post(RUN, {"grader": grader, "model_sample": sample, "item": item or {"right": "ab"}})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("grader", "fault", "details"),
    [
        (CHECK | {"reference": "{{item.wrong}}"}, "invalid_variable_error", None),
        (CHECK | {"input": "{{sample.output_json.a}}"}, "sample_parse_error", None),
        (python("def grade(sample, item):\n    return 1 / 0"), "python_grader_runtime_error", "ZeroDivisionError"),
        (python("import os\ndef grade(s, i):\n    os._exit(3)"), "python_grader_runtime_error", "ended"),
        (
            {"type": "multi", "name": "m", "graders": {"a": CHECK}, "calculate_output": "1 / (a - 1)"},
            "formula_parse_error",
            None,
        ),
        (
            {"type": "score_model", "name": "s", "model": "nano", "input": ASK,
             "sampling_params": {"max_completions_tokens": 4}},
            "model_grader_parse_error",
            None,
        ),
        (
            {"type": "score_model", "name": "s", "model": "nano", "input": ASK,
             "sampling_params": {"max_completions_tokens": 100_000}},
            "model_grader_server_error",
            "context is",
        ),
    ],
)  # fmt: skip
def test_an_answer_without_a_value_says_why(shop: Shop, grader: dict, fault: str, details: str | None) -> None:
    told = tried(shop, grader)
    errors = told["metadata"]["errors"]
    assert told["reward"] == 0 and [name for name, value in errors.items() if value is True] == [fault]
    if details:
        assert details in errors[f"{fault}_details"]
    assert told["metadata"]["tunewright"]["why"]


def test_parts_of_a_multi_grader_are_told(shop: Shop) -> None:
    length = python("def grade(sample, item):\n    return len(sample['output_text'])")
    several = [CHECK, length | {"name": "length"}, {"type": "label_model", "name": "label", "model": "judge",
               "labels": ["good", "bad"], "passing_labels": ["good", "bad"], "input": ASK}]  # fmt: skip
    grader = {"type": "multi", "name": "m", "graders": several, "calculate_output": "same + length / 10 + label"}
    told = tried(shop, grader)
    assert told["reward"] == pytest.approx(2.2)
    assert told["sub_rewards"] == told["metadata"]["scores"] == {"same": 1.0, "length": 2.0, "label": 1.0}
    used = told["model_grader_token_usage_per_model"]["judge"]
    assert told["metadata"]["token_usage"] == used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]
    assert told["metadata"]["sampled_model_name"] == "judge"


@pytest.mark.parametrize(
    ("grader", "said"),
    [
        ({}, "grader type"),
        ({"type": "label_model"}, "rewards nothing by itself"),
        (CHECK | {"name": ""}, "has no name"),
        (CHECK | {"extra": 1}, "extra"),
        (CHECK | {"input": "{{wrong.x}}"}, "wrong.x"),
        (python("def mark(sample, item):\n    return 1"), "grade(sample, item)"),
        ({"type": "score_model", "name": "s", "model": "gpt", "input": ASK}, "no model 'gpt'"),
        ({"type": "text_similarity", "name": "t", "input": "a", "reference": "b", "evaluation_metric": "cosine"},
         "graders.encoder"),
        ({"type": "multi", "name": "m", "graders": [CHECK], "calculate_output": "other"}, "other"),
    ],
)  # fmt: skip
def test_a_grader_that_cannot_be_computed_is_refused(shop: Shop, grader: dict[str, Any], said: str) -> None:
    for path, body in ((VALIDATE, {}), (RUN, {"model_sample": ""})):
        answer = shop.post(path, {"grader": grader, **body})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, "grader", "invalid_grader")
        assert said in error["message"]
    block = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    job = {"model": "nano", "training_file": shop.file(), "method": block}
    assert shop.post("/fine_tuning/jobs", job).json()["error"]["param"] == "method.reinforcement.grader"


def test_a_job_may_ask_the_models_that_its_grader_may_ask_here(shop: Shop) -> None:
    for model, status in (("judge", 200), ("nano", 200), ("nowhere", 400)):
        grader = {"type": "score_model", "name": "s", "model": model, "input": ASK}
        block = {"type": "reinforcement", "reinforcement": {"grader": grader}}
        body = {"model": "nano", "training_file": shop.file(), "method": block}
        for answer in (shop.post(VALIDATE, {"grader": grader}), shop.post("/fine_tuning/jobs", body)):
            assert answer.status_code == status
    assert "no model 'nowhere'" in answer.json()["error"]["message"]
    assert "graders.endpoint" in answer.json()["error"]["message"]


# --- a model that is elsewhere ---


class Elsewhere(BaseHTTPRequestHandler):
    """A server that gives every answer 0.75, and refuses what says so."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        refuses = "refuse" in asked["messages"][-1]["content"]
        said = {"choices": [{"message": {"content": '{"reason": "", "result": 0.75}'}, "finish_reason": "stop"}]}
        said["usage"] = {"prompt_tokens": 7, "completion_tokens": 3}  # type: ignore[assignment]
        body = json.dumps({"error": {"message": "no"}} if refuses else said | {"model": asked["model"]}).encode()
        self.send_response(400 if refuses else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def with_endpoint(place: Any, tmp_path: Any) -> Iterator[Shop]:
    there = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=there.serve_forever, daemon=True).start()
    graders = {"endpoint": {"url": f"http://127.0.0.1:{there.server_port}/v1"}}
    config = {"models": {"nano": str(place.base)}, "graders": graders}
    storage.write_json(tmp_path / ".tunewright" / "workspace.yaml", config)
    with shop_of(tmp_path) as shop:
        yield shop
    there.shutdown()


def test_a_model_elsewhere_grades(with_endpoint: Shop) -> None:
    grader = {"type": "score_model", "name": "s", "model": "big", "input": ASK}
    told = tried(with_endpoint, grader)
    assert told["reward"] == 0.75
    assert told["model_grader_token_usage_per_model"]["big"]["total_tokens"] == 10
    told = tried(with_endpoint, grader, "please refuse")
    assert told["metadata"]["errors"]["model_grader_refusal_error"] is True
