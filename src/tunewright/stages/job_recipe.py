"""The recipe of a fine-tuning job of the API, and what choosing made of its hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core import openai_graders
from tunewright.core.errors import RecipeError
from tunewright.core.openai_graders import AnyGrader, LabelModel, ScoreModel
from tunewright.core.recipe import Recipe
from tunewright.stages.foreign import Foreign
from tunewright.stages.from_openai import AUTO, FORMATS, GROUP, recipe_values

KEPT_EPOCHS = 3  # whose checkpoints can be asked, as at OpenAI


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a job asks for. start: an adapter's folder to go on from. method: in the API's shape. grading: options of
    graders/openai.py beside the grader itself.
    """

    name: str
    base: str
    start: str | None = None
    method: Mapping[str, Any]
    seed: int
    training: Path
    validation: Path | None = None
    format: str
    grading: Mapping[str, Any]


def of_order(order: Order) -> Recipe:
    """The recipe: all rows of the training file are learned from, and without test rows nothing is graded. Raises
    RecipeError.
    """
    values = _read(order).values
    if order.method.get("type") == "reinforcement":
        values["objective"]["reward"] |= {key: order.grading[key] for key in ("seconds", "memory")}
    train, evaluate = values.setdefault("train", {}), values.setdefault("evaluate", {})
    train |= {"seed": order.seed, "keep_epochs": KEPT_EPOCHS}
    evaluate |= {"against": [], "guards": []}
    values |= {
        "name": order.name,
        "data": {
            "sources": [str(order.training)],
            "format": order.format,
            "split": {"train": 1.0, "validation": 0.0, "test": 0.0},
            "max_bad": 0.0,
        },
        "model": {"base": order.base} | ({"from": order.start} if order.start else {}),
        "method": "lora",
        "deploy": {"formats": ["adapter"]},
        "monitor": {"reference": "train"},  # a job has no test rows to compare traffic with
    }
    if order.validation is not None:
        values["data"]["validation"] = str(order.validation)
    return Recipe.parse(values, folder=order.training.parent)


def without_effect(order: Order) -> list[str]:
    """What a job asks for that nothing here can do, each one sentence. Raises RecipeError."""
    return [f"{key} has no effect: {left.why}." for key, left in _read(order).left.items() if left.severity != "info"]


def grading_models(method: Mapping[str, Any]) -> list[str]:
    """The models that a job's graders ask, by name. Raises RecipeError."""
    asked = [one.model for one in _graders(method) if isinstance(one, ScoreModel | LabelModel)]
    return list(dict.fromkeys(asked))


def _graders(method: Mapping[str, Any]) -> list[AnyGrader]:
    if method.get("type") != "reinforcement":
        return []
    given = dict(method.get("reinforcement") or {}).get("grader")
    return list(openai_graders.singles(openai_graders.read(given, reinforcement=True)))


def _read(order: Order) -> Foreign:
    _refuse_unasked(order)
    where = {name: order.grading.get(name) for name in ("endpoint", "endpoints", "encoder")}
    return recipe_values(order.method, **where)


def _refuse_unasked(order: Order) -> None:
    """Raise RecipeError where a grader needs what the server does not have and its config does not name."""
    endpoint, endpoints, encoder = (order.grading.get(name) for name in ("endpoint", "endpoints", "encoder"))
    for one in _graders(order.method):
        if isinstance(one, ScoreModel | LabelModel) and endpoint is None and one.model not in (endpoints or {}):
            raise RecipeError(
                f"grader: '{one.name or one.type}' asks the model '{one.model[:100]}', which this server has not. Take "
                "one that it has, or its owner sets graders.endpoint in workspace.yaml."
            )
        if getattr(one, "evaluation_metric", None) == "cosine" and encoder is None:
            raise RecipeError(
                f"grader: '{one.name or one.type}' compares vectors, and this server has no encoder. Set "
                "graders.encoder in its workspace.yaml, or take another evaluation_metric."
            )


def format_of(method: str, first_row: Mapping[str, Any]) -> str:
    """The format of a job's rows: of its method, for supervised jobs told by their keys."""
    return FORMATS.get(method) or ("chat" if "messages" in first_row or "prompt" not in first_row else "completion")


def resolved(method: Mapping[str, Any], chosen: Recipe) -> dict[str, Any]:
    """A job's method in the API's shape with a number for every "auto", from the frozen recipe."""
    kind = str(method["type"])
    own = dict(method.get(kind) or {})
    given = {key: value for key, value in (own.get("hyperparameters") or {}).items() if value not in (None, AUTO)}
    epochs = chosen.train.epochs or 1.0
    found: dict[str, Any] = {
        "n_epochs": int(epochs) if epochs == int(epochs) else epochs,
        "batch_size": chosen.train.batch,
        "learning_rate_multiplier": 1.0,  # `choose` took its own rate
    }
    objective = chosen.the_objective().model_dump()
    if kind == "dpo":
        found["beta"] = objective["beta"]
    if kind == "reinforcement":
        found |= {
            "compute_multiplier": objective["group"] / GROUP,
            "eval_interval": chosen.train.evaluate_every,
            "eval_samples": chosen.evaluate.samples,
            "reasoning_effort": "default",
        }
    return {**method, kind: {**own, "hyperparameters": found | given}}
