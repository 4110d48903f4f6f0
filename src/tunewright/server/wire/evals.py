"""Evals on the wire: what /v1/evals takes, and the objects for evals, runs and output items."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from tunewright.core import templates
from tunewright.core.openai_graders import Prompt
from tunewright.server.protocol import Body
from tunewright.server.wire.jobs import FileId, Metadata, Name, wrong
from tunewright.workspace.evals import USAGE
from tunewright.workspace.tables import Eval, EvalItem, EvalRun

MAX_CRITERIA = 32
MAX_ROWS = 100_000  # of a run
MAX_SCHEMA = 100_000  # characters of JSON
_SAMPLE = {
    "type": "object",
    "properties": {"output_text": {"type": "string"}, "output_json": {}, "choices": {"type": "array"}},
    "required": ["output_text"],
}
_SAMPLING = ("max_completion_tokens", "reasoning_effort", "seed", "temperature", "tools", "top_p")
Kind = Literal["jsonl", "completions", "responses"]


def _not_kept(given: Any) -> Any:
    kind = given.get("type") if isinstance(given, dict) else None
    if kind in ("logs", "stored_completions", "responses"):
        raise wrong(f"this server keeps no answers to draw rows of the type '{kind}' from; send the rows themselves")
    return given


def _is_schema(given: dict[str, Any]) -> dict[str, Any]:
    from jsonschema import SchemaError, validators

    if len(json.dumps(given)) > MAX_SCHEMA:
        raise wrong(f"a schema has at most {MAX_SCHEMA:,} characters; describe less of it")
    if not isinstance(given.get("$schema", ""), str):
        raise wrong("'$schema' must be a text; leave it out")
    try:
        validators.validator_for(given, default=validators.Draft202012Validator).check_schema(given)
    except SchemaError as error:
        raise wrong(f"it is no JSON schema: {error.message[:200]}") from None
    except RecursionError:
        raise wrong("it is nested too deeply") from None
    return given


class DataSourceConfig(Body):
    """How the rows look."""

    type: Literal["custom"]
    item_schema: Annotated[dict[str, Any], AfterValidator(_is_schema)]
    include_sample_schema: bool = False


class EvalRequest(Body):
    """POST /v1/evals. testing_criteria: graders, checked by server/grading.py."""

    name: Name | None = None
    metadata: Metadata | None = None
    data_source_config: Annotated[DataSourceConfig, BeforeValidator(_not_kept)]
    testing_criteria: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_CRITERIA)

    @field_validator("testing_criteria")
    @classmethod
    def _can_pass(cls, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        names = [str(one.get("name")) for one in given]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise wrong(f"two criteria are called '{twice[0][:80]}'; give each a name of its own")
        for one in given:
            if one.get("type") == "multi":
                raise wrong("a multi grader is for fine-tuning jobs; list its graders as criteria of their own")
            if one.get("type") == "text_similarity" and one.get("pass_threshold") is None:
                raise wrong(f"'{str(one.get('name'))[:80]}' needs a pass_threshold, from which a row passes")
        return given


class EvalChange(Body):
    """POST /v1/evals/{eval_id}."""

    name: Name | None = None
    metadata: Metadata | None = None


class Row(Body):
    """A row of a run. sample: an answer that it brings."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None


class Source(Body):
    """Where rows come from."""

    type: Literal["file_content", "file_id"]
    content: list[Row] | None = Field(None, min_length=1, max_length=MAX_ROWS)
    id: FileId | None = None

    @model_validator(mode="after")
    def _has_its_own(self) -> Source:
        if (self.content is None) is (self.type == "file_content") or (self.id is None) is (self.type == "file_id"):
            raise wrong("'file_content' goes with 'content', and 'file_id' with 'id'")
        return self


class InputMessages(Body):
    """What the model is sent: messages with templates in them, or those that stand in the row."""

    type: Literal["template", "item_reference"]
    template: list[Prompt] | None = Field(None, min_length=1, max_length=1000)
    item_reference: str | None = Field(None, max_length=512)

    @model_validator(mode="after")
    def _has_its_own(self) -> InputMessages:
        if (self.template is None) is (self.type == "template") or (self.item_reference is None) is (
            self.type == "item_reference"
        ):
            raise wrong("'template' goes with the type 'template', and 'item_reference' with 'item_reference'")
        texts = [prompt.text for prompt in self.template or ()] or [f"{{{{{self.item_reference}}}}}"]
        for text in texts:
            if found := templates.problems(text):
                raise wrong(" ".join(found).rstrip("."))
            if any(path[0] == "sample" for path in templates.paths(text)):
                raise wrong("there is no sample before the model has answered; name columns of 'item'")
        return self


class DataSource(Body):
    """What is measured: answers that rows bring (jsonl), or a model's to what is made of the rows."""

    type: Kind
    source: Annotated[Source, BeforeValidator(_not_kept)]
    model: Name | None = None
    input_messages: InputMessages | None = None
    sampling_params: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_its_own(self) -> DataSource:
        if self.type == "jsonl":
            if self.model or self.input_messages or self.sampling_params:
                raise wrong("'jsonl' asks no model; send the type 'completions', or leave the model's parameters out")
            return self
        if self.model is None or self.input_messages is None:
            raise wrong(f"'{self.type}' needs 'model' and 'input_messages': who is asked, and what")
        known = (*_SAMPLING, "response_format" if self.type == "completions" else "text")
        for name in self.sampling_params or {}:
            if name not in known:
                raise wrong(f"sampling_params has no '{name[:80]}'; it has {', '.join(known)}")
        return self

    def options(self) -> dict[str, Any]:
        """The parameters of a chat request, without its messages."""
        params = {name: value for name, value in (self.sampling_params or {}).items() if value is not None}
        if self.type == "responses":
            text = params.pop("text", None)
            form = text.get("format") if isinstance(text, dict) else text
            if form is not None:
                params["response_format"] = _chat_format(form)
            if isinstance(params.get("tools"), list):
                params["tools"] = [_chat_tool(tool) for tool in params["tools"]]
        return {"model": self.model, **params}


def _chat_format(form: Any) -> Any:
    """`text.format` of a response as chat completions have it."""
    if not isinstance(form, dict) or form.get("type") != "json_schema":
        return form
    return {"type": "json_schema", "json_schema": {name: value for name, value in form.items() if name != "type"}}


def _chat_tool(tool: Any) -> Any:
    """A function of a response's tools as chat completions have it."""
    if not isinstance(tool, dict) or tool.get("type") != "function" or "function" in tool:
        return tool
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


class RunRequest(Body):
    """POST /v1/evals/{eval_id}/runs."""

    name: Name | None = None
    metadata: Metadata | None = None
    data_source: DataSource


# --- what is answered ---


def eval_object(row: Eval) -> dict[str, Any]:
    """An eval. Its config shows the schema of a whole row, as the API has it."""
    properties = {"item": row.config["item_schema"]}
    if row.config.get("include_sample_schema"):
        properties["sample"] = _SAMPLE
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "id": row.id,
        "object": "eval",
        "name": row.name,
        "created_at": int(row.created),
        "updated_at": int(row.updated),
        "metadata": row.details,
        "data_source_config": {"type": "custom", "schema": schema},
        "testing_criteria": row.criteria,
    }


def run_object(run: EvalRun, *, criteria: list[str], base_url: str) -> dict[str, Any]:
    """A run, with what its items have come to so far. criteria: their names. report_url is its own address."""
    status = run.tallies.get("status", {})
    counts = {"passed": status.get("pass", 0), "failed": status.get("fail", 0), "errored": status.get("error", 0)}
    passed = run.tallies.get("criteria", {})
    usage = [
        {"model_name": name, **dict(zip(USAGE, counts, strict=True)), "total_tokens": counts[1] + counts[3]}
        for name, counts in run.tallies.get("usage", {}).items()
    ]
    return {
        "id": run.id,
        "object": "eval.run",
        "eval_id": run.eval_id,
        "name": run.name,
        "created_at": int(run.created),
        "status": run.status,
        "model": run.model,
        "metadata": run.details,
        "data_source": run.source,
        "error": run.error,
        "result_counts": {"total": sum(counts.values()), **counts},
        "per_model_usage": usage,
        "per_testing_criteria_results": [
            {"testing_criteria": name, "passed": pair[0], "failed": pair[1]}
            for name in criteria
            for pair in [passed.get(name, [0, 0])]
        ],
        "report_url": f"{base_url.rstrip('/')}/v1/evals/{run.eval_id}/runs/{run.id}",
    }


def item_object(item: EvalItem, *, eval_id: str) -> dict[str, Any]:
    """A row of a run that is over."""
    return {
        "id": item.id,
        "object": "eval.run.output_item",
        "created_at": int(item.created),
        "eval_id": eval_id,
        "run_id": item.run_id,
        "datasource_item_id": item.place,
        "datasource_item": item.item,
        "status": item.status,
        "results": item.results or [],
        "sample": item.sample,
    }


def sample_object(messages: list[dict[str, Any]], *, model: str, **told: Any) -> dict[str, Any]:
    """An answer as output items show it; what is not told is empty, as of answers that rows bring."""
    nothing: dict[str, Any] = {"output": [], "finish_reason": "", "error": None, "usage": usage_object(0, 0, 0)}
    nothing |= {"seed": 0, "temperature": 0.0, "top_p": 0.0, "max_completion_tokens": 0}
    return nothing | {"input": messages, "model": model} | told


def usage_object(prompt: int, completion: int, cached: int) -> dict[str, int]:
    """Tokens of an answer."""
    told = {"prompt_tokens": prompt, "completion_tokens": completion, "cached_tokens": cached}
    return told | {"total_tokens": prompt + completion}
