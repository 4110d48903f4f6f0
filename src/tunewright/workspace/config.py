"""workspace.yaml: what a workspace's owner sets. Every key is checked; all have defaults."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tunewright.core import yaml_text
from tunewright.core.catalog import describe
from tunewright.core.endpoint import Endpoint, Named, Url
from tunewright.core.errors import RecipeError
from tunewright.core.mistakes import place
from tunewright.core.privacy import Vault
from tunewright.core.scrubbing import Scrub

WORD = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")


def named(given: Sequence[str], *names: str) -> bool:
    """Whether one of the names is among those given, or fits a glob of them (`ft:*`)."""
    return any(fnmatchcase(name, pattern) for pattern in given for name in names)


class Block(BaseModel):
    """A block of workspace.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JobLimits(Block):
    """What fine-tuning jobs may take."""

    at_once: int = Field(
        1, ge=0, description="jobs that run side by side here; others wait in the queue. 0: another server runs them"
    )
    memory_gib: float | None = Field(None, gt=0, description="a job that holds more memory is ended; none: no limit")
    hours: float = Field(24.0, gt=0, description="a job that works longer is ended")
    disk_gib: float | None = Field(None, gt=0, description="a job whose run takes more disk is ended; none: no limit")


class Grading(Block):
    """What graders of OpenAI's JSON compute with (/v1/fine_tuning/alpha/graders, reinforcement)."""

    endpoint: Endpoint | None = Field(
        None, description="asked by score_model and label_model for models that this server does not have"
    )
    encoder: str | None = Field(None, description="folder or Hub id of the encoder that cosine compares with")
    seconds: float = Field(10.0, gt=0, description="how long the source of a python grader may take for one answer")
    memory: int = Field(1024, ge=64, description="MiB that the source of a python grader may take")

    @field_validator("endpoint", mode="before")
    @classmethod
    def _model_of_grader(cls, given: Any) -> Any:
        return {"model": "", **given} if isinstance(given, dict) else given


class TrafficOptions(Block):
    """What is kept of answered requests. Texts are scrubbed and encrypted before they are written, always."""

    log: bool | list[str] = Field(False, description="true: of all models; or names and globs, as [desk, ft:*]")
    sample: float = Field(1.0, ge=0, le=1, description="share of the requests whose texts are kept; figures are always")
    keep_days: float = Field(30.0, gt=0, description="after so many days all of a request is deleted")
    scrub: Literal[True] | Scrub = Field(True, description="how personal data is replaced; true: as data.scrub does")
    vault: Vault | None = Field(
        None, description="the key that texts are encrypted to; none: one is made in .tunewright/traffic.key"
    )

    @field_validator("scrub")
    @classmethod
    def _no_mapping(cls, given: Literal[True] | Scrub) -> Literal[True] | Scrub:
        if isinstance(given, Scrub) and given.keep_mapping is not None:
            raise ValueError("keep_mapping is for data sets; of traffic nothing is kept that turns a surrogate back")
        return given

    @property
    def scrubbing(self) -> Scrub:
        """How personal data is replaced, in full."""
        return Scrub() if self.scrub is True else self.scrub

    def wants(self, *names: str) -> bool:
        """Whether requests are logged of a model that has these names."""
        return self.log if isinstance(self.log, bool) else named(self.log, *names)


class MonitorSchedule(Block):
    """When the traffic of releases is looked at. What is watched stands in the recipe of each."""

    every_hours: float | None = Field(None, gt=0, description="hours between two looks; none: nobody looks by itself")
    releases: list[str] = Field([], description="names of releases, as desk or desk:001; none: all that answer")


class FileLimits(Block):
    """What uploaded files may take."""

    largest_mib: float = Field(512, gt=0, description="a file that is sent at once and is larger is refused")
    upload_gib: float = Field(8, gt=0, description="a file that comes in parts and is larger is refused")


class Webhook(Block):
    """An address that is told of what happens."""

    url: Url = Field(description="where events are sent: https://...")
    secret: Named = Field(
        description="what signs them, never written down: env:NAME or file:PATH; whsec_ and base64, or any text"
    )
    events: list[str] = Field(["*"], description="types that are sent, with * for any: fine_tuning.job.*")


class Serving(Block):
    """What is kept in memory to answer."""

    adapters_in_memory: int = Field(64, ge=1, description="beyond it the adapters that were asked longest ago go")
    models_in_memory: int = Field(4, ge=1, description="bases and merged releases, each with weights of its own")
    largest_adapter_mib: float = Field(1024, gt=0, description="an adapter whose files hold more is refused")
    prefix_bytes: int = Field(
        2**28, ge=0, description="memory on each base for what was made of earlier prompts; 0: nothing is kept"
    )
    preload: list[str] = Field([], description="names that are opened at the start; others when they are asked for")


class EngineOptions(Block):
    """What writes the answers."""

    kind: Literal["tunewright", "vllm", "llama.cpp"] = Field(
        "tunewright", description="its own; vLLM, for GPUs; or llama.cpp, for releases with the format gguf"
    )
    command: str = Field("vllm", description="vLLM's program, in the environment where it is installed")
    arguments: list[str] = Field([], description="more arguments of 'vllm serve', such as --max-lora-rank")
    url: Url | None = Field(None, description="a vLLM server that runs already, over the one base that is served")
    key: Named | None = Field(None, description="what that server asks for, never written down: env:NAME or file:PATH")
    parallel: int = Field(
        4, ge=1, description="answers that llama.cpp writes at once; each takes memory from the start"
    )


class Config(Block):
    """The whole of it."""

    organization: str = Field("local", description="stands in the names of tuned models: ft:base:organization:...")
    models: dict[str, str] = Field(
        {"nano": "nano"}, description="base models by the name clients say: the bundled base, folders, Hub ids"
    )
    database: str | None = Field(
        None, description="postgresql+psycopg://user@host/name; left out: a SQLite file in the workspace"
    )
    jobs: JobLimits = JobLimits()
    graders: Grading = Grading()
    traffic: TrafficOptions = TrafficOptions()
    monitor: MonitorSchedule = MonitorSchedule()
    files: FileLimits = FileLimits()
    webhooks: list[Webhook] = Field([], description="addresses that are told of ended jobs and of alarms")
    webhooks_inside: bool = Field(
        False, description="true: addresses set over the API may be http:// and lie on this machine or in its network"
    )
    serving: Serving = Serving()
    engine: EngineOptions = EngineOptions()

    @field_validator("organization")
    @classmethod
    def _word(cls, given: str) -> str:
        if not WORD.match(given):
            raise ValueError(f"'{given}' cannot stand in a model's name; use lower-case letters, digits, '.', '_', '-'")
        return given

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read workspace.yaml; defaults where it is missing. Raises RecipeError with every problem."""
        if not path.exists():
            return cls()
        try:
            values: Any = yaml_text.read(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path} is not readable as YAML: {place(error)}.") from None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(describe(error, where=path.name, known=list(cls.model_fields))) from None
