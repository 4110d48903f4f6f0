"""What the database holds. Rows that are pages of a list have a `number`, by which they are in the order they came."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

VERSION = "1"
DEFAULT_PROJECT = "default"
_Number = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {dict[str, Any]: JSON(none_as_null=True), list[Any]: JSON(none_as_null=True)}


class Fact(Base):
    """One fact about the database itself."""

    __tablename__ = "facts"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str]


class Listed:
    """What every row of a list has."""

    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(String(64), index=True, default=DEFAULT_PROJECT)
    created: Mapped[float] = mapped_column(default=time.time)


class File(Listed, Base):
    """An uploaded or written file; its bytes lie in the workspace's files/ folder under its id."""

    __tablename__ = "files"
    filename: Mapped[str]
    purpose: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16), default="processed")  # uploaded, processed or error
    status_details: Mapped[str | None]
    expires: Mapped[float | None]
    deleted: Mapped[float | None]


class Upload(Listed, Base):
    """A file that comes in parts."""

    __tablename__ = "uploads"
    filename: Mapped[str]
    purpose: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int] = mapped_column(BigInteger)
    mime_type: Mapped[str] = mapped_column(String(128))
    status: Mapped[str] = mapped_column(String(16), default="pending")  # pending, completed, cancelled or expired
    expires: Mapped[float]
    file_expires_after: Mapped[int | None]  # seconds
    file_id: Mapped[str | None] = mapped_column(String(64))


class UploadPart(Base):
    """One part of an upload; its bytes lie in uploads/ under its id."""

    __tablename__ = "upload_parts"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    upload_id: Mapped[str] = mapped_column(String(64), index=True)
    created: Mapped[float] = mapped_column(default=time.time)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))


class Job(Listed, Base):
    """A fine-tuning job: what was asked, where it is, who works on it. Its run folder holds everything else."""

    __tablename__ = "jobs"
    key_id: Mapped[str] = mapped_column(String(64), default="")  # the queue is fair between keys
    model: Mapped[str]  # as it was asked for
    base: Mapped[str]  # what that name stands for: the base, or the tuned model to go on from
    run: Mapped[str] = mapped_column(String(64))  # the run's name in the workspace's runs folder
    status: Mapped[str] = mapped_column(String(24), index=True)  # workspace/jobs.py STATUSES
    wanted: Mapped[str | None] = mapped_column(String(16))  # cancel or pause, until the worker has obeyed
    training_file: Mapped[str] = mapped_column(String(64))
    validation_file: Mapped[str | None] = mapped_column(String(64))
    suffix: Mapped[str | None] = mapped_column(String(64))
    seed: Mapped[int] = mapped_column(BigInteger)
    method: Mapped[dict[str, Any]]  # as the API shows it
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)  # "metadata" in the API
    integrations: Mapped[list[Any]] = mapped_column(default=list)
    body_digest: Mapped[str] = mapped_column(String(64), default="", index=True)  # tells a repeated create
    repeat_key: Mapped[str | None] = mapped_column(String(64), index=True)  # digest of its Idempotency-Key
    tries: Mapped[int] = mapped_column(default=0)  # that a client had behind it when it made this; 0 once all have come
    started: Mapped[float | None]
    finished: Mapped[float | None]
    estimated_finish: Mapped[float | None]
    trained_tokens: Mapped[int | None] = mapped_column(BigInteger)
    fine_tuned_model: Mapped[str | None]
    result_files: Mapped[list[Any]] = mapped_column(default=list)
    error: Mapped[dict[str, Any] | None]
    attempts: Mapped[int] = mapped_column(default=0)  # times that a worker began
    deaths: Mapped[int] = mapped_column(default=0)  # of workers, since the run last got further
    reached: Mapped[str] = mapped_column(String(128), default="")  # how far the run was when a worker last died
    seconds: Mapped[float] = mapped_column(default=0.0)  # that workers have worked on it
    worker_host: Mapped[str | None]
    worker_pid: Mapped[int | None]
    worker_born: Mapped[str | None]
    lease: Mapped[float | None]  # until then nobody else may take a running job over


class JobEvent(Base):
    """One line of a job's history. `what` is the same for the same thing told twice, as after a crash."""

    __tablename__ = "job_events"
    __table_args__ = (UniqueConstraint("job_id", "what"),)
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    job_id: Mapped[str] = mapped_column(String(64), index=True)
    what: Mapped[str] = mapped_column(String(96))
    created: Mapped[float] = mapped_column(default=time.time)
    level: Mapped[str] = mapped_column(String(8), default="info")
    type: Mapped[str] = mapped_column(String(8), default="message")
    message: Mapped[str]
    data: Mapped[dict[str, Any] | None]


class Checkpoint(Base):
    """A checkpoint of a job that can be asked for by name."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("job_id", "step"),)
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    job_id: Mapped[str] = mapped_column(String(64), index=True)
    created: Mapped[float] = mapped_column(default=time.time)
    step: Mapped[int]
    model: Mapped[str]  # ft:...:ckpt-step-N
    metrics: Mapped[dict[str, Any]]


class Permission(Base):
    """A project other than its own that may ask a checkpoint."""

    __tablename__ = "permissions"
    __table_args__ = (UniqueConstraint("model", "project"),)
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    model: Mapped[str]  # of the checkpoint, or of the tuned model
    project: Mapped[str] = mapped_column(String(64))
    created: Mapped[float] = mapped_column(default=time.time)


class Model(Base):
    """A name under which a release can be asked."""

    __tablename__ = "models"
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(unique=True)
    project: Mapped[str] = mapped_column(String(64), index=True, default=DEFAULT_PROJECT)
    created: Mapped[float] = mapped_column(default=time.time)
    job_id: Mapped[str | None] = mapped_column(String(64), index=True)
    folder: Mapped[str]  # of the release; relative to the workspace's runs folder
    base: Mapped[str]
    deleted: Mapped[float | None]


class Alias(Base):
    """A name that stands for releases, each with a share of the traffic. The newest row of a name is in force."""

    __tablename__ = "aliases"
    __table_args__ = (Index("aliases_by_name", "project", "name", "number"),)
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(128))
    project: Mapped[str] = mapped_column(String(64), default=DEFAULT_PROJECT)
    created: Mapped[float] = mapped_column(default=time.time)
    shares: Mapped[dict[str, Any]]  # model name -> share; empty: the alias was removed
    action: Mapped[str] = mapped_column(String(16))  # set, promote, roll_back or remove
    by: Mapped[str] = mapped_column(String(64), default="")  # the key's id
    why: Mapped[str] = mapped_column(default="")


class Key(Base):
    """An API key: only its hash is kept."""

    __tablename__ = "keys"
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str]
    project: Mapped[str] = mapped_column(String(64), default=DEFAULT_PROJECT)
    digest: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256 of the whole key
    shown: Mapped[str] = mapped_column(String(16))  # its first characters, to tell keys apart
    scopes: Mapped[list[Any]]  # of infer, train, admin
    models: Mapped[list[Any]] = mapped_column(default=list)  # names or globs it may ask; empty: all of its project
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    tokens_per_day: Mapped[int | None] = mapped_column(BigInteger)
    created: Mapped[float] = mapped_column(default=time.time)
    expires: Mapped[float | None]
    revoked: Mapped[float | None]
    used: Mapped[float | None]


class JobKey(Base):
    """What lets a running job ask the server itself. Its models are never all of the project's."""

    __tablename__ = "job_keys"
    job_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    models: Mapped[list[Any]]


class Spending(Base):
    """Tokens that a key spent on a day: a budget is kept over a restart."""

    __tablename__ = "spending"
    __table_args__ = (UniqueConstraint("key_id", "day"),)
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    key_id: Mapped[str] = mapped_column(String(64))
    day: Mapped[int]  # since 1970, UTC
    tokens: Mapped[int] = mapped_column(BigInteger)


class Traffic(Base):
    """One answered request. Texts are encrypted; figures are plain. Written and read by workspace/traffic.py."""

    __tablename__ = "traffic"
    __table_args__ = (Index("traffic_by_release", "release", "created"),)
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)  # of the answer: chatcmpl-...
    project: Mapped[str] = mapped_column(String(64), index=True, default=DEFAULT_PROJECT)
    key_id: Mapped[str] = mapped_column(String(64), default="")
    created: Mapped[float] = mapped_column(default=time.time)
    model: Mapped[str]  # as it was asked for (perhaps an alias)
    release: Mapped[str]  # what answered: run:001, or the name of a tuned model
    fingerprint: Mapped[str] = mapped_column(String(64))
    seconds: Mapped[float]
    first_token_seconds: Mapped[float | None]
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    finish: Mapped[str] = mapped_column(String(16))
    confidence: Mapped[float | None]
    people: Mapped[str] = mapped_column(default="")  # keyed digests of whom the client named as the user
    has_texts: Mapped[bool] = mapped_column(default=False)  # sampled: messages, tools and the answer are in `sealed`
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)  # texts where there are some, and the request's metadata


class Feedback(Base):
    """What somebody said of an answer."""

    __tablename__ = "feedback"
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    traffic_id: Mapped[str] = mapped_column(String(64), index=True)
    project: Mapped[str] = mapped_column(String(64), default=DEFAULT_PROJECT)
    created: Mapped[float] = mapped_column(default=time.time)
    thumb: Mapped[str | None] = mapped_column(String(8))  # up or down
    corrects: Mapped[bool] = mapped_column(default=False)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)  # the correction and the comment


class WebhookEndpoint(Listed, Base):
    """An address that a project set over the API to be told of its events."""

    __tablename__ = "webhook_endpoints"
    name: Mapped[str]
    url: Mapped[str]
    events: Mapped[list[Any]]  # types
    updated: Mapped[float] = mapped_column(default=time.time)
    turn: Mapped[int] = mapped_column(default=0)  # times that its secret was changed
    old_until: Mapped[float | None]  # until then the secret before signs too


class Eval(Listed, Base):
    """What is measured: how the rows look, and the criteria that their answers are held to. Its runs measure."""

    __tablename__ = "evals"
    name: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)  # "metadata" in the API
    config: Mapped[dict[str, Any]]  # data_source_config, as it was sent
    criteria: Mapped[list[Any]]
    updated: Mapped[float] = mapped_column(default=time.time)


class EvalRun(Listed, Base):
    """A model's answers, or given ones, held to the criteria of an eval."""

    __tablename__ = "eval_runs"
    eval_id: Mapped[str] = mapped_column(String(64), index=True)
    key_id: Mapped[str] = mapped_column(String(64), default="")  # within whose budget models are asked
    name: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    model: Mapped[str]  # "" where the rows bring their answers
    source: Mapped[dict[str, Any]]  # data_source, as it was sent
    seed: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(16), index=True, default="queued")  # workspace/evals.py
    error: Mapped[dict[str, Any] | None]
    tallies: Mapped[dict[str, Any]] = mapped_column(default=dict)  # of the items that are over
    holder: Mapped[str] = mapped_column(default="")  # the process that works on it
    lease: Mapped[float] = mapped_column(default=0.0)  # until then it is that one's, if it lives


class EvalItem(Base):
    """One row of a run: what it holds, what was answered, what the criteria say."""

    __tablename__ = "eval_items"
    __table_args__ = (
        Index("eval_items_by_status", "run_id", "status", "number"),
        Index("eval_items_by_run", "run_id", "number"),
    )
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    run_id: Mapped[str] = mapped_column(String(64))
    created: Mapped[float] = mapped_column(default=time.time)
    place: Mapped[int]  # among the run's rows, from 0
    status: Mapped[str] = mapped_column(String(8), default="waiting")  # then answered; then pass, fail or error
    item: Mapped[dict[str, Any]]
    given: Mapped[dict[str, Any] | None]  # the sample that the row brought
    sample: Mapped[dict[str, Any] | None]  # the answer, as the API shows it
    results: Mapped[list[Any] | None]


class Delivery(Base):
    """A webhook event on its way. target: nothing for the event itself, an address of the config, or the id of one that
    was set over the API.
    """

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("event_id", "target"),)
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    event_id: Mapped[str] = mapped_column(String(96))
    target: Mapped[str]
    project: Mapped[str] = mapped_column(String(64), default="")  # whose own addresses are told; "": nobody's
    created: Mapped[float] = mapped_column(default=time.time)
    body: Mapped[dict[str, Any]]
    attempts: Mapped[int] = mapped_column(default=0)
    next_try: Mapped[float] = mapped_column(default=time.time)
    delivered: Mapped[float | None]
    failure: Mapped[str | None]
