"""Evals over HTTP: errors of rows stay theirs, runs go on after a stop, within the budget of the key that made them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from sqlalchemy import func, select, update

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.server import eval_rows, evaluating, paging
from tunewright.server.wire.evals import DataSource
from tunewright.workspace import evals
from tunewright.workspace.keys import Limits
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Delivery, Eval, EvalItem, EvalRun

from .all_calls import ended
from .conftest import Place
from .locked import Locked, opened
from .shop import Shop, shop_of

SAME = {"type": "string_check", "name": "same", "input": "{{sample.output_text}}", "reference": "{{item.right}}"}
SAME |= {"operation": "eq"}
CONFIG: Any = {"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True}
ASK = {"type": "template", "template": [{"role": "user", "content": "{{item.ask}}"}]}


def content(*items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "file_content", "content": [{"item": item} for item in items]}


def asked(*items: dict[str, Any], **options: Any) -> Any:
    """A source that asks nano."""
    plain = {"type": "completions", "model": "nano", "source": content(*items), "input_messages": ASK}
    return plain | {"sampling_params": {"max_completion_tokens": 4, "temperature": 0}} | options


def made(shop: Shop, *criteria: dict[str, Any], schema: dict[str, Any] | None = None) -> str:
    config = CONFIG | ({"item_schema": schema} if schema else {})
    return shop.one_client.evals.create(data_source_config=config, testing_criteria=[*criteria] or [SAME]).id


def run_of(shop: Shop, held: str, source: Any) -> Any:
    """A run that is over."""
    client = shop.one_client
    return ended(client, held, client.evals.runs.create(held, data_source=source).id)


def items_of(shop: Shop, run: Any) -> list[Any]:
    return list(shop.one_client.evals.runs.output_items.list(run.id, eval_id=run.eval_id))


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_example_of_the_page_runs(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "evals-api.md").read_text(encoding="utf-8")
    source = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)).replace("sleep(0.5)", "sleep(0.02)")
    exec(source, {"client": shop.one_client, "job": SimpleNamespace(fine_tuned_model="tiny")})
    lines = capsys.readouterr().out.splitlines()
    for model in ("nano", "tiny"):
        assert f"{model} completed ResultCounts(errored=0, failed=2, passed=0, total=2)" in lines
    assert sum(line.startswith("My card was stolen -> ") for line in lines) == 2


# --- rows ---


def test_an_error_of_a_row_is_that_rows(shop: Shop) -> None:
    divided = {"type": "python", "name": "divided", "source": "def grade(sample, item):\n    return 1 / item['by']"}
    held = made(shop, SAME, divided)
    rows = [
        {"ask": "Hi", "right": "x", "by": 1},
        {"right": "x", "by": 1},
        {"ask": "Hi " * 5000, "right": "x", "by": 1},
        {"ask": "Hi", "right": "x", "by": 0},
        {"ask": "Hi", "by": 1},
    ]
    run = run_of(shop, held, asked(*rows))
    assert run.status == "completed"
    assert run.result_counts.to_dict() == {"total": 5, "passed": 0, "failed": 1, "errored": 4}
    good, lacks, long, zero, wrong = items_of(shop, run)
    assert good.status == "fail" and [one.passed for one in good.results] == [False, True]
    assert (lacks.sample.error.code, lacks.results) == ("invalid_row", []) and "item.ask" in lacks.sample.error.message
    assert long.sample.error.code == "context_length_exceeded"
    assert zero.results[1].error["code"] == "python_grader_runtime_error"
    assert wrong.results[0].error["code"] == "invalid_variable_error" and wrong.results[1].passed
    by_name = {one.testing_criteria: (one.passed, one.failed) for one in run.per_testing_criteria_results}
    assert by_name == {"same": (0, 2), "divided": (2, 0)}


def test_a_row_that_a_grading_model_refuses_leaves_the_others_theirs(shop: Shop) -> None:
    judged = {"type": "score_model", "name": "judged", "model": "judge", "pass_threshold": 2,
              "range": [0, 2], "input": [{"role": "user", "content": "{{item.text}}"}]}  # fmt: skip
    rows = [{"text": "a"}, {"text": "b " * 5000}, {"text": "c"}]
    run = run_of(shop, made(shop, judged), {"type": "jsonl", "source": content(*rows)})
    good, long, other = (item.results[0] for item in items_of(shop, run))
    assert (good.score, other.score) == (1.0, 1.0) and not good.passed
    assert long.error["code"] == "model_grader_server_error" and "context is" in long.error["message"]
    assert run.result_counts.errored == 1


def test_an_answer_is_told_with_what_it_took(shop: Shop) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["b"]}}, "required": ["a"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    held = made(shop, SAME | {"input": "{{sample.output_json.a}}"})
    params = {"response_format": form, "max_completion_tokens": 64, "seed": 5, "temperature": 0.5, "top_p": 0.9}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "input_text",
                "text": "Hi"}]}]  # fmt: skip
    by_reference = {"type": "item_reference", "item_reference": "item.talk"}
    source = asked({"talk": messages, "right": "b"}, sampling_params=params, input_messages=by_reference)
    run = run_of(shop, held, source)
    (item,) = items_of(shop, run)
    assert (run.model, run.result_counts.passed, item.status, item.results[0].score) == ("nano", 1, "pass", 1.0)
    told = item.sample
    assert [(one.role, one.content) for one in told.input] == [("system", "Be brief."), ("user", "Hi")]
    assert (told.seed, told.temperature, told.top_p, told.max_completion_tokens) == (5, 0.5, 0.9, 64)
    (used,) = run.per_model_usage
    assert (used.run_model_name, used.invocation_count) == ("nano", 1)
    assert used.total_tokens == told.usage.total_tokens == told.usage.prompt_tokens + told.usage.completion_tokens > 0


def test_a_file_is_measured_and_a_wrong_row_of_it_named(shop: Shop) -> None:
    client = shop.one_client
    held = made(shop, schema={"type": "object", "properties": {"right": {"type": "string"}}, "required": ["right"]})
    lines = [json.dumps({"item": {"right": "a"}, "sample": {"output_text": said}}) for said in ("a", "b")]

    def run(*more: str) -> Any:
        file = client.files.create(file=("r.jsonl", "\n".join([*lines, *more]).encode()), purpose="evals")
        return run_of(shop, held, {"type": "jsonl", "source": {"type": "file_id", "id": file.id}})

    good = run()
    assert (good.result_counts.passed, good.result_counts.failed, good.model) == (1, 1, "")
    assert [item.sample.output[0].content for item in items_of(shop, good)] == ["a", "b"]
    for line, said in (('{"item": {"right": 1}}', "Row 3 is not as item_schema says: $.right"), ("{", "Line 3")):
        bad = run(line)
        assert (bad.status, bad.error.code) == ("failed", "invalid_run") and said in bad.error.message
        assert bad.result_counts.total == 0


def test_a_schema_that_takes_for_ever_fails_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eval_rows, "_SECONDS", 1.0)
    source = DataSource.model_validate({"type": "jsonl", "source": content({"a": "a" * 64 + "!"})})
    for schema, said in (
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, "took too long"),
        ({"$ref": "#"}, "in a circle"),
        ({"$ref": "http://127.0.0.1:9/x"}, "Unresolvable"),
    ):
        with pytest.raises(DataError, match=said):
            eval_rows.read(source, file=None, schema=schema, going=lambda: True)


# --- refusals ---


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"data_source_config": {"type": "logs"}}, "data_source_config", "keeps no answers"),
        ({"data_source_config": {"type": "stored_completions"}}, "data_source_config", "keeps no answers"),
        ({"data_source_config": CONFIG | {"item_schema": {"type": "x"}}}, "data_source_config.item_schema", "no JSON"),
        ({"testing_criteria": []}, "testing_criteria", "at least 1"),
        ({"testing_criteria": [SAME, SAME]}, "testing_criteria", "two criteria"),
        ({"testing_criteria": [SAME | {"type": "multi"}]}, "testing_criteria", "multi"),
        ({"testing_criteria": [SAME | {"reference": "{{x}}"}]}, "testing_criteria.0", "is no path"),
        ({"testing_criteria": [{"type": "text_similarity", "name": "n"}]}, "testing_criteria", "pass_threshold"),
    ],
)
def test_what_cannot_be_measured_is_refused(shop: Shop, change: dict, param: str, said: str) -> None:
    answer = shop.post("/evals", {"data_source_config": CONFIG, "testing_criteria": [SAME]} | change)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param) and said in error["message"]


@pytest.mark.parametrize(
    ("source", "param", "said"),
    [
        ({"model": "gpt"}, "data_source.model", "Unknown model 'gpt'"),
        ({"type": "jsonl"}, "data_source", "asks no model"),
        ({"input_messages": None}, "data_source", "input_messages"),
        ({"source": {"type": "file_id", "id": "file-x"}}, "data_source.source.id", "no file"),
        ({"source": {"type": "file_id", "content": [{"item": {}}]}}, "data_source.source", "goes with"),
        ({"source": {"type": "stored_completions"}}, "data_source.source", "keeps no answers"),
        ({"type": "responses", "source": {"type": "responses"}}, "data_source.source", "keeps no answers"),
        ({"sampling_params": {"n": 2}}, "data_source", "no 'n'"),
        ({"sampling_params": {"temperature": 9}}, "data_source.sampling_params.temperature", "less than"),
        ({"sampling_params": {"reasoning_effort": "high"}}, "data_source.sampling_params.reasoning_effort", ""),
        ({"input_messages": ASK | {"template": [{"role": "user", "content": "{{sample.output_text}}"}]}},
         "data_source.input_messages", "no sample before"),
        ({"input_messages": {"type": "item_reference", "item_reference": "talk"}}, "data_source.input_messages", ""),
    ],
)  # fmt: skip
def test_a_run_that_could_not_go_on_is_refused(shop: Shop, source: dict, param: str, said: str) -> None:
    held = made(shop)
    answer = shop.post(f"/evals/{held}/runs", {"data_source": asked({"ask": "Hi"}) | source})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert said in error["message"]
    assert shop.get(f"/evals/{held}/runs").json()["data"] == []


def test_a_run_that_has_ended_is_not_canceled(shop: Shop) -> None:
    run = run_of(shop, made(shop), {"type": "jsonl", "source": content({"right": "a"})})
    with pytest.raises(openai.BadRequestError, match="it is completed"):
        shop.one_client.evals.runs.cancel(run.id, eval_id=run.eval_id)


def test_lists_are_in_the_order_that_is_asked_for(shop: Shop) -> None:
    client = shop.one_client
    first, second, third = (made(shop) for _ in range(3))
    client.evals.update(first, metadata={"a": "b"})
    changed = [one.id for one in client.evals.list(order_by="updated_at", order="desc", limit=1)]
    assert changed[:3] == [first, third, second]
    assert [one.id for one in client.evals.list(limit=2)][-3:] == [first, second, third]


def test_pages_of_large_rows_are_short_and_hold_all(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST_CHARACTERS", 2000)
    held = made(shop)
    source = {"type": "jsonl", "source": content(*[{"right": "x" * 700}] * 5)}
    run = run_of(shop, held, source)
    runs = [run.id, run_of(shop, held, source).id]
    page = shop.one_client.evals.runs.output_items.list(run.id, eval_id=held, limit=100)
    assert 1 <= len(page.data) < 5 and page.has_more
    assert [item.datasource_item_id for item in items_of(shop, run)] == [0, 1, 2, 3, 4]
    assert [one.id for one in shop.one_client.evals.runs.list(held)] == runs


# --- what is there afterwards ---


def test_what_is_deleted_is_gone_with_all_that_is_of_it(shop: Shop) -> None:
    held = made(shop)
    run = run_of(shop, held, {"type": "jsonl", "source": content({"right": "a"})})
    shop.one_client.evals.delete(held)
    for path in (f"/evals/{held}", f"/evals/{held}/runs", f"/evals/{held}/runs/{run.id}"):
        assert shop.get(path).status_code == 404
    with shop.workspace.database.reading() as session:
        for of in (Eval.id == held, EvalRun.eval_id == held, EvalItem.run_id == run.id):
            assert session.scalar(select(func.count()).where(of)) == 0


def test_the_end_of_a_run_is_told_as_the_client_reads_it(shop: Shop) -> None:
    from openai.types.webhooks import (
        EvalRunCanceledWebhookEvent,
        EvalRunFailedWebhookEvent,
        EvalRunSucceededWebhookEvent,
    )

    held = made(shop, schema={"type": "object", "required": ["right"]})
    client = shop.one_client
    good = run_of(shop, held, {"type": "jsonl", "source": content({"right": "a"})})
    bad = run_of(shop, held, {"type": "jsonl", "source": content({})})
    long = client.evals.runs.create(held, data_source=asked(*[{"ask": "Hi", "right": ""}] * 400))
    client.evals.runs.cancel(long.id, eval_id=held)
    with shop.workspace.database.reading() as session:
        told = {
            row.body["data"]["id"]: row.body for row in session.scalars(select(Delivery).where(Delivery.target == ""))
        }
    for run, kind in (
        (good, EvalRunSucceededWebhookEvent),
        (bad, EvalRunFailedWebhookEvent),
        (long, EvalRunCanceledWebhookEvent),
    ):
        kind.model_validate_json(json.dumps(told[run.id]), strict=True)


# --- stops and budgets ---


def test_a_run_goes_on_after_a_stop_and_asks_nothing_twice(place: Place, tmp_path: Path) -> None:
    storage.write_json(tmp_path / ".tunewright" / "workspace.yaml", {"models": {"nano": str(place.base)}})
    rows = [{"ask": f"Hi {number}", "right": "kept"} for number in range(60)]
    with shop_of(tmp_path) as shop:
        client, held = shop.client(), made(shop)
        source = asked(*rows, sampling_params={"max_completion_tokens": 24})
        run = client.evals.runs.create(held, data_source=source)
        wait_until(lambda: client.evals.runs.retrieve(run.id, eval_id=held).result_counts.total > 0)
    with Workspace.open(tmp_path).database.writing() as session:  # mark what was answered before the stop
        answered = session.scalars(select(EvalItem).where(EvalItem.sample.is_not(None))).all()
        for item in answered:
            assert item.sample is not None
            item.sample = item.sample | {"output": [{"role": "assistant", "content": "kept"}]}
        marked = {item.id: item.sample["output"] for item in answered if item.sample}
        assert session.scalar(select(EvalRun.status)) == "in_progress" and 0 < len(marked) < len(rows)
    with shop_of(tmp_path) as shop:
        over = ended(shop.client(), held, run.id)
        found = {item.id: item.to_dict()["sample"]["output"] for item in items_of(shop, over)}
    assert (over.status, over.result_counts.total, over.result_counts.errored) == ("completed", 60, 0)
    assert {name: found[name] for name in marked} == marked
    assert over.per_model_usage[0].invocation_count == 60


def test_a_run_is_one_process_at_a_time(tmp_path: Path) -> None:
    database = Workspace.open(tmp_path).database
    with database.writing() as session:
        session.add(EvalRun(id="r", eval_id="e", name="", model="", seed=0, source={}))

    def take(holder: str, gone: bool = False) -> bool:
        with database.writing() as session:
            return evals.take(session, "r", holder=holder, is_gone=lambda _: gone) is not None

    assert take("here 1 1") and take("here 1 1") and not take("there 2 2")
    assert take("here 3 3", gone=True) and not take("here 1 1")
    with database.writing() as session:
        session.execute(update(EvalRun).values(lease=time.time() - 1))
    assert take("there 2 2")


@pytest.fixture(scope="module")
def locked(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    with opened(tmp_path_factory.mktemp("evals"), place.base) as application:
        yield application


def started(locked: Locked, key: str, *items: dict[str, Any]) -> str:
    """The path of a new run that a key made."""
    made = locked.ask("POST", "/v1/evals", key, json={"data_source_config": CONFIG, "testing_criteria": [SAME]}).json()
    body = {"data_source": asked(*items, model="tiny")}
    run = locked.ask("POST", f"/v1/evals/{made['id']}/runs", key, json=body)
    assert run.status_code == 200, run.text
    return f"/v1/evals/{made['id']}/runs/{run.json()['id']}"


def test_a_run_waits_for_the_budget_of_its_key(locked: Locked) -> None:
    looks, key = locked.key(), locked.key(limits=Limits(requests_per_minute=4), scopes=("train", "infer"))
    path = started(locked, key, *[{"ask": "Hi", "right": ""}] * 4)
    told: dict[str, Any] = {}

    def look() -> dict[str, Any]:
        told.update(locked.ask("GET", path, looks).json())
        return told

    wait_until(lambda: look()["result_counts"]["total"] == 2)  # two of four requests made the eval and the run
    work = locked.front.background["evals"]
    wait_until(lambda: bool(work._not_before))  # type: ignore[attr-defined]
    assert look()["status"] == "in_progress" and told["result_counts"]["errored"] == 0
    budget = locked.front.keyring.owner(_key_id(locked, path), "default").budget  # type: ignore[union-attr]
    budget.requests.level = 4  # type: ignore[union-attr]
    work._not_before.clear()  # type: ignore[attr-defined]
    work.wake()
    wait_until(lambda: look()["status"] == "completed")
    assert told["result_counts"]["total"] == 4 and told["per_model_usage"][0]["invocation_count"] == 4


def test_grading_goes_on_with_few_rows_where_the_budget_is_small(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "_LONGEST_PAUSE", 0.05)
    clock = [time.time()]
    asks = [{"role": "user", "content": "{{sample.output_text}}"}]
    params = {"max_completions_tokens": 1}
    judged = [{"type": "score_model", "name": name, "model": "tiny", "input": asks, "sampling_params": params}
              for name in "ab"]  # fmt: skip
    with opened(tmp_path, place.base, now=lambda: clock[0]) as locked:
        looks, key = locked.key(), locked.key(limits=Limits(tokens_per_minute=4000), scopes=("train", "infer"))
        work = locked.front.background["evals"]
        work.seconds = 0.05
        work.wake()
        body = {"data_source_config": CONFIG, "testing_criteria": judged}
        held = locked.ask("POST", "/v1/evals", key, json=body).json()["id"]
        rows = {"type": "jsonl", "source": {"type": "file_content", "content": [
            {"item": {}, "sample": {"output_text": "x"}}] * 5}}  # fmt: skip
        path = f"/v1/evals/{held}/runs"
        path += "/" + locked.ask("POST", path, key, json={"data_source": rows}).json()["id"]

        def over() -> bool:
            if work._not_before:  # type: ignore[attr-defined]
                clock[0] += 60  # it waits: its budget is whole again
            return bool(locked.ask("GET", path, looks).json()["status"] == "completed")

        wait_until(over)
        items = locked.ask("GET", f"{path}/output_items", looks).json()["data"]
    assert {result["error"]["code"] for item in items for result in item["results"]} == {"model_grader_parse_error"}


def _key_id(locked: Locked, path: str) -> str:
    with locked.front.place.database.reading() as session:
        run = evals.find_run(session, path.split("/")[3], path.split("/")[5], project="default")
        assert run is not None
        return run.key_id


def test_a_run_ends_with_its_key(locked: Locked) -> None:
    looks, key = locked.key(), locked.key(limits=Limits(requests_per_minute=3), scopes=("train", "infer"))
    path = started(locked, key, *[{"ask": "Hi", "right": ""}] * 4)
    wait_until(lambda: locked.ask("GET", path, looks).json()["result_counts"]["total"] == 1)
    assert locked.ask("DELETE", f"/v1/keys/{_key_id(locked, path)}", looks).status_code == 200
    work = locked.front.background["evals"]
    wait_until(lambda: bool(work._not_before))  # type: ignore[attr-defined]
    work._not_before.clear()  # type: ignore[attr-defined]
    work.wake()
    wait_until(lambda: locked.ask("GET", path, looks).json()["status"] == "failed")
    assert "opens no more" in locked.ask("GET", path, looks).json()["error"]["message"]


def test_a_run_that_asks_needs_the_scope_and_the_model(locked: Locked) -> None:
    made = locked.ask(
        "POST", "/v1/evals", locked.key(), json={"data_source_config": CONFIG, "testing_criteria": [SAME]}
    ).json()  # fmt: skip
    path, asks = f"/v1/evals/{made['id']}/runs", {"data_source": asked({"ask": "Hi", "right": ""}, model="tiny")}
    brings = {"data_source": {"type": "jsonl", "source": content({"right": "a"})}}
    train = locked.key(scopes=("train",))
    assert locked.ask("POST", path, train, json=brings).status_code == 200
    assert locked.ask("POST", path, train, json=asks).json()["error"]["code"] == "scope_missing"
    other = locked.key(models=("ft:*",))
    assert locked.ask("POST", path, other, json=asks).json()["error"]["param"] == "data_source.model"
