"""Settings of OpenAI's fine-tuning jobs as keys of a recipe: for jobs of the API here, and for those that were made
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewright.core import openai_graders
from tunewright.core.errors import RecipeError, unknown
from tunewright.core.openai_graders import LabelModel, ScoreModel
from tunewright.stages.foreign import Foreign, number, whole

TOOL = "OpenAI"
METHODS = ("supervised", "dpo", "reinforcement")
AUTO = "auto"
GROUP = 8  # answers to a prompt at a compute_multiplier of 1
SERVER = {"url": "https://api.openai.com/v1", "key": "env:OPENAI_API_KEY"}
FORMATS = {"dpo": "preference", "reinforcement": "prompts"}  # of rows; those of supervised jobs are told by their keys


def recipe_values(
    method: Mapping[str, Any],
    *,
    endpoint: Mapping[str, Any] | None = None,
    endpoints: Mapping[str, Mapping[str, Any]] | None = None,
    encoder: str | None = None,
) -> Foreign:
    """What a job's `method` (in the API's shape) sets of a recipe: its `values` hold objective, and train and evaluate
    where something is set; `left` holds what has no place there. "auto" leaves a value to choose.

    endpoint: where score_model and label_model are asked (options of core/endpoint.py; without a model theirs is
    asked). endpoints: where models are asked instead, by name. encoder: what cosine compares with. Hyperparameters as
    the API's reference describes them. Raises RecipeError.
    """
    kind = str(method.get("type") or "supervised")
    if kind not in METHODS:
        raise RecipeError(unknown("method of fine-tuning", kind, METHODS))
    own = dict(method.get(kind) or {})
    given = {name: value for name, value in (own.pop("hyperparameters", None) or {}).items() if value != AUTO}
    foreign = Foreign(TOOL, {**own, **given}, Path())
    if foreign.carry("n_epochs", "train.epochs", whole):
        foreign.put("train.patience", 0)  # as many as were asked for
    foreign.carry("batch_size", "train.batch", whole)
    foreign.carry("learning_rate_multiplier", "train.lr_multiplier", number)
    if kind == "supervised":
        foreign.put("objective", "sft")
    elif kind == "dpo":
        foreign.put("objective", {"kind": "dpo"})
        foreign.carry("beta", "objective.beta", number)
    else:
        _reinforcement(foreign, endpoint, endpoints or {}, encoder)
    foreign.leave_rest([])
    return foreign


def _reinforcement(
    foreign: Foreign,
    endpoint: Mapping[str, Any] | None,
    endpoints: Mapping[str, Mapping[str, Any]],
    encoder: str | None,
) -> None:
    grader = foreign.take("grader", "objective.reward")
    read = openai_graders.read(grader, reinforcement=True)
    part: dict[str, Any] = {"kind": "openai", "grader": grader}
    singles = list(openai_graders.singles(read))
    asked = {one.model for one in singles if isinstance(one, ScoreModel | LabelModel)}
    if own := {model: dict(endpoints[model]) for model in sorted(asked & endpoints.keys())}:
        part["endpoints"] = own
    if asked - own.keys():
        part["endpoint"] = dict(endpoint or SERVER)
    if encoder is not None and any(getattr(one, "evaluation_metric", "") == "cosine" for one in singles):
        part["encoder"] = encoder
    foreign.put("objective", {"kind": "grpo", "reward": part})
    foreign.put("evaluate", {"graders": [part]})
    foreign.carry("compute_multiplier", "objective.group", lambda value, key: max(2, round(GROUP * number(value, key))))
    foreign.carry("eval_interval", "train.evaluate_every", whole)
    if foreign.carry("eval_samples", "evaluate.samples", whole) and foreign.values["evaluate"]["samples"] > 1:
        foreign.put("evaluate.temperature", 1.0)  # at 0 all answers to a row are the same
    if foreign.config.get("reasoning_effort") == "default":  # asks for nothing
        del foreign.config["reasoning_effort"]
    foreign.leave("reasoning_effort", "bases here know no levels of reasoning; they think as they learned", "warning")
    foreign.leave("response_format", "name a grader json_schema in objective.reward to reward JSON", "warning")
