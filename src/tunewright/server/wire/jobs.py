"""Fine-tuning jobs on the wire: POST /v1/fine_tuning/jobs, and the objects for jobs, events and checkpoints."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tunewright.core import openai_graders
from tunewright.server.protocol import Body
from tunewright.workspace.tables import Checkpoint, Job, JobEvent

MAX_PAIRS = 16  # of metadata
Auto = Literal["auto"]
_LARGEST = sys.float_info.max
_OTHERS = re.compile(r"[^a-z0-9._-]+")
_UNFIT = re.compile(r"[\x00-\x1f\x7f]")


def wrong(message: str) -> PydanticCustomError:
    """A finding in our words, which stand behind "Invalid 'param': "."""
    return PydanticCustomError("wrong", "{told}", {"told": message})


def plain(text: str) -> str:
    """Text without control characters. Raises PydanticCustomError."""
    if _UNFIT.search(text):
        raise wrong("control characters cannot stand here; take them out")
    return text


def _number(low: float, high: float, *, whole: bool, beyond: bool = False) -> PlainValidator:
    """'auto', or a number from low to high; beyond: low itself is too low."""

    def check(given: Any) -> Any:
        if given is None or given == "auto":
            return "auto"
        fits = type(given) is int or (type(given) is float and not whole)
        if not fits or not low <= given <= high or (beyond and given == low):
            kind = "a whole number" if whole else "a number"
            begin = f"above {low:g}" if beyond else f"from {low:g}"
            end = "" if high == _LARGEST else f" to {high:g}" if not beyond else f", at most {high:g}"
            raise wrong(f"it must be 'auto' or {kind} {begin}{end}, found {str(given)[:40]!r}")
        return given if whole else float(given)

    return PlainValidator(check)


Name = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(plain)]
FileId = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(plain)]


class Supervised(Body):
    """Hyperparameters of method supervised, and what all methods have."""

    batch_size: Annotated[int | Auto, _number(1, 256, whole=True)] = "auto"
    learning_rate_multiplier: Annotated[float | Auto, _number(0, _LARGEST, whole=False, beyond=True)] = "auto"
    n_epochs: Annotated[int | Auto, _number(1, 50, whole=True)] = "auto"


class Dpo(Supervised):
    """Hyperparameters of method dpo."""

    beta: Annotated[float | Auto, _number(0, 2, whole=False, beyond=True)] = "auto"


class Reinforcement(Supervised):
    """Hyperparameters of method reinforcement."""

    compute_multiplier: Annotated[float | Auto, _number(0.00001, 10, whole=False, beyond=True)] = "auto"
    eval_interval: Annotated[int | Auto, _number(1, 1_000_000, whole=True)] = "auto"
    eval_samples: Annotated[int | Auto, _number(1, 1_000_000, whole=True)] = "auto"
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"

    @field_validator("reasoning_effort")
    @classmethod
    def _has_no_levels(cls, given: str) -> str:
        if given != "default":
            raise wrong(f"bases here know no levels of reasoning, found '{given}'; leave it out, or send 'default'")
        return given


class SupervisedMethod(Body):
    """Learning from answers."""

    hyperparameters: Supervised | None = None


class DpoMethod(Body):
    """Learning from preferred answers."""

    hyperparameters: Dpo | None = None


def _grader(given: Any) -> Any:
    if found := openai_graders.problems(given, reinforcement=True):
        raise wrong(" ".join(found).rstrip("."))
    return given


class ReinforcementMethod(Body):
    """Learning from a grader's rewards."""

    grader: Annotated[dict[str, Any], PlainValidator(_grader)]
    hyperparameters: Reinforcement | None = None


class Method(Body):
    """How is learned, with the block of that name."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: SupervisedMethod | None = None
    dpo: DpoMethod | None = None
    reinforcement: ReinforcementMethod | None = None

    @model_validator(mode="after")
    def _own_block_only(self) -> Method:
        others = [name for name in ("supervised", "dpo", "reinforcement") if name != self.type and getattr(self, name)]
        if others:
            raise wrong(f"'{others[0]}' does not go with the type '{self.type}'; leave it out or change the type")
        if self.type == "reinforcement" and self.reinforcement is None:
            raise wrong("'reinforcement' is missing: it holds the grader that gives the rewards")
        return self

    def shown(self) -> dict[str, Any]:
        """As jobs show it, every hyperparameter told."""
        if self.type == "supervised":
            block: Body = (self.supervised and self.supervised.hyperparameters) or Supervised()
        elif self.type == "dpo":
            block = (self.dpo and self.dpo.hyperparameters) or Dpo()
        else:
            assert self.reinforcement is not None
            block = self.reinforcement.hyperparameters or Reinforcement()
        told: dict[str, Any] = {"hyperparameters": block.model_dump()}
        if self.reinforcement:
            told["grader"] = self.reinforcement.grader
        return {"type": self.type, self.type: told}


class Wandb(Body):
    """Where figures are written: a project of Weights & Biases."""

    project: Name
    name: Name | None = None
    entity: Name | None = None
    tags: list[Name] | None = Field(None, max_length=50)


class Integration(Body):
    """A tracker."""

    type: Literal["wandb"]
    wandb: Wandb


def _pairs(given: dict[str, str]) -> dict[str, str]:
    if len(given) > MAX_PAIRS:
        raise wrong(f"at most {MAX_PAIRS} pairs, found {len(given)}")
    for key, value in given.items():
        if not 1 <= len(key) <= 64 or len(value) > 512:
            raise wrong(f"keys have 1 to 64 characters and values at most 512; look at '{key[:64]}'")
        if '"' in key or "\\" in key:
            raise wrong(f"keys hold no quotation mark and no backslash; look at '{key}'")
        plain(key + value)
    return given


Metadata = Annotated[dict[str, str], AfterValidator(_pairs)]


def _in_name(given: str) -> str:
    if not _OTHERS.sub("-", given.lower()).strip("-._"):
        raise wrong("it must hold a letter or a digit, since it stands in the model's name")
    return given


class JobRequest(Body):
    """POST /v1/fine_tuning/jobs."""

    model: Name
    training_file: FileId
    validation_file: FileId | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_in_name)] | None = None
    seed: int | None = Field(None, ge=0, le=2147483647)
    metadata: Metadata | None = None
    integrations: list[Integration] | None = Field(None, max_length=8)
    method: Method | None = None
    hyperparameters: Supervised | None = None  # as before there were methods

    @field_validator("hyperparameters")
    @classmethod
    def _as_in_method(cls, given: Supervised | None, info: ValidationInfo) -> Supervised | None:
        method: Method | None = info.data.get("method")
        if given is None or method is None:
            return given
        own = method.supervised and method.supervised.hyperparameters
        if method.type != "supervised" or (own and own != given):
            raise wrong("it says something else than 'method'; put all of them into 'method'")
        return given

    def shown_method(self) -> dict[str, Any]:
        """The method as jobs show it."""
        old = SupervisedMethod(hyperparameters=self.hyperparameters)
        if self.method is None or (self.hyperparameters and self.method.type == "supervised"):
            return Method(type="supervised", supervised=old).shown()
        return self.method.shown()

    def suffix_in_name(self) -> str | None:
        """The suffix with nothing but what may stand in a model's name."""
        return self.suffix and _OTHERS.sub("-", self.suffix.lower()).strip("-._")


# --- what is answered ---


def job_object(job: Job, *, organization: str) -> dict[str, Any]:
    """A job as the API shows it. `hyperparameters` holds nothing but for supervised jobs."""
    supervised = job.method.get("supervised", {})
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created),
        "finished_at": _whole(job.finished),
        "estimated_finish": _whole(job.estimated_finish) if job.status == "running" else None,
        "model": job.model,
        "fine_tuned_model": job.fine_tuned_model,
        "organization_id": organization,
        "status": job.status,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "result_files": job.result_files,
        "trained_tokens": job.trained_tokens,
        "seed": job.seed,
        "hyperparameters": supervised.get("hyperparameters", {}),
        "method": job.method,
        "integrations": job.integrations,
        "metadata": job.details or None,
        "user_provided_suffix": job.suffix,
        "error": job.error and {key: job.error.get(key) for key in ("code", "message", "param")},
    }


def event_object(event: JobEvent) -> dict[str, Any]:
    """A line of a job's history."""
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": int(event.created),
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": event.data,
    }


def checkpoint_object(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint that can be asked."""
    return {
        "id": checkpoint.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(checkpoint.created),
        "fine_tuned_model_checkpoint": checkpoint.model,
        "fine_tuning_job_id": checkpoint.job_id,
        "step_number": checkpoint.step,
        "metrics": {"step": checkpoint.step, **checkpoint.metrics},
    }


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
