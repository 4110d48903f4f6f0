"""Rows that a model writes, from documents, seeds or labels, each through filters before it is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tunewright.core import catalog, mistakes, storage
from tunewright.core.augment import MADE
from tunewright.core.endpoint import Endpoint
from tunewright.core.errors import RecipeError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Grader
from tunewright.core.report import Finding, Report
from tunewright.core.retrieval import Shown
from tunewright.core.run import Listener, Run
from tunewright.data import clean, passages, sources
from tunewright.data.admit import REASONS, Gate
from tunewright.data.written import Pool
from tunewright.stages import flow, grading, more_rows
from tunewright.stages.replies import AtEndpoint, Budget, Here, Replies, Speaker
from tunewright.stages.writers import Asked, Draft, ForLabels, FromDocuments, FromSeeds, Writer

_DRY = 3  # rounds without a new row, after which nothing more is asked
_ROUND = 256  # rows that one round asks for, at most
_TEXTS = (".txt", ".md")


class Synthesis(BaseModel):
    """How rows are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num: int = Field(100, ge=1, description="rows to be written")
    kind: Literal["auto", "documents", "seeds", "labels"] = Field("auto", description="what they are written from")
    endpoint: Endpoint | None = Field(None, description="the server that writes")
    model: str | None = Field(None, description="or a run, a release or a base of ours")
    grader: str | dict[str, Any] | None = Field(None, description="a grader that each row must satisfy")
    at_least: float = Field(1.0, ge=0, le=1, description="the grade that a row must reach")
    near: float = Field(0.8, gt=0, le=1, description="a row this near to a row that measures is thrown away")
    novelty: float | None = Field(
        None, gt=0, le=1, description="ROUGE-L from which a row repeats another; left out: 0.7, from documents 0.9"
    )
    temperature: float = Field(0.8, ge=0, description="higher varies more, and errs more")
    tokens: int | None = Field(None, ge=1, description="the most tokens to use in all")
    money: float | None = Field(None, gt=0, description="the most money to spend in all; needs prices")
    words: int = Field(200, ge=20, description="longest passage of a document")
    system: str | None = Field(None, description="a system message for rows from documents")
    seed: int = 0

    @model_validator(mode="after")
    def _somebody_writes(self) -> Synthesis:
        if (self.endpoint is None) == (self.model is None):
            raise ValueError("give an endpoint (url and model), or a model of ours")
        if self.money is not None and (self.endpoint is None or self.endpoint.prices is None):
            raise ValueError("a budget in money needs the endpoint's prices for a million tokens: input and output")
        return self

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Synthesis:
        """Options from plain values, without those that are None. Raises RecipeError with every problem."""
        try:
            return cls.model_validate({name: value for name, value in values.items() if value is not None})
        except ValidationError as error:
            raise RecipeError(mistakes.sentences(error, cls)) from None


@dataclass
class Written:
    """What came of it."""

    kept: list[Example] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    ended: str = ""  # why there are fewer rows than asked for


def synthesize(
    source: str | Path,
    out: str | Path,
    values: dict[str, Any],
    *,
    test: Sequence[str] = (),
    fields: dict[str, str] | None = None,
    runs: str | Path = "runs",
    listeners: Sequence[Listener] = (),
) -> Report:
    """Rows that a model writes from a prepared run, a file of rows, or documents, in a file for `data.more`.

    Every reply is kept in `<out>.replies.jsonl` as it comes: the same call goes on where an earlier one ended. Raises
    RecipeError, DataError, NotThere, EndpointError, Stopped.
    """
    target, options = more_rows.fresh(out, ".jsonl"), Synthesis.parse(values)
    grader: Grader | None = catalog.build("graders", options.grader) if options.grader is not None else None
    if grader is not None and grader.needs_model:
        raise RecipeError(
            f"grader: '{grader.kind}' grades what a model finds likely, not what is written. Name another."
        )
    stopping = Run(target)

    def tell(done: int, total: int, what: str) -> None:
        stopping.stop_if_asked()
        for listener in listeners:
            listener({"event": "progress", "stage": "synthesis", "done": done, "total": total, "what": what})

    with flow.stops_cleanly(stopping):
        speaker = _speaker(options, runs, stopping)
        writer, gate, findings = _open(source, options, speaker, test, fields or {}, runs)
        kept = target.with_name(f"{target.name}.replies.jsonl")
        replies = Replies(
            kept, speaker, Budget(options.tokens, options.money), told=lambda done, total: tell(done, total, "replies")
        )
        made = _write(options, writer, gate, replies, grader, lambda done: tell(done, options.num, "rows kept"))
    storage.write_jsonl(target, (example.to_row() for example in made.kept))
    return _report(source, target, options, made, gate, replies, findings)


def _speaker(options: Synthesis, runs: str | Path, stopping: Run) -> Speaker:
    if options.endpoint is not None:
        return AtEndpoint(options.endpoint, stop=stopping.stop)
    return Here(str(options.model), runs=runs, stop=stopping.stop)


def _open(
    source: str | Path,
    options: Synthesis,
    speaker: Speaker,
    test: Sequence[str],
    fields: dict[str, str],
    runs: str | Path,
) -> tuple[Writer, Gate, list[Finding]]:
    """What is written from, and what must be kept away from."""
    common: dict[str, Any] = dict(seed=options.seed, temperature=options.temperature, model=speaker.name)
    away = more_rows.measured(test, fields)
    findings = [] if away else [more_rows.nothing_measures()]
    if options.kind == "documents" or (options.kind == "auto" and _are_documents(source)):
        corpus = passages.read(Shown(documents=[str(source)], words=options.words))
        writer: Writer = FromDocuments(corpus.passages, system=options.system, **common)
        return writer, Gate({"test": away}, threshold=options.near), [*corpus.findings, *findings]
    training, sides = more_rows.rows_of(source, runs, fields)
    if sides:
        findings = []
    sides = {**sides, "test": [*sides.get("test", []), *away], "train": training}
    by_label = options.kind == "labels" or (options.kind == "auto" and any(row.label is not None for row in training))
    writer = ForLabels(training, **common) if by_label else FromSeeds(training, **common)
    return writer, Gate(sides, threshold=options.near), findings


def _are_documents(source: str | Path) -> bool:
    path = Path(source)
    if path.is_dir() and not (path / "run.json").exists():
        return all(file.endswith(_TEXTS) for file in sources.files([str(path)]))
    return path.suffix in _TEXTS


# --- writing ---


def _write(
    options: Synthesis,
    writer: Writer,
    gate: Gate,
    replies: Replies,
    grader: Grader | None,
    tell: Callable[[int], None],
) -> Written:
    """Rounds of questions until there are rows enough, the budget ends, or nothing new comes."""
    made, dry = Written(), 0
    pool = Pool(writer.known(), bound=options.novelty or writer.novelty)
    while len(made.kept) < options.num and dry < _DRY and not replies.over:
        wanted = min(options.num - len(made.kept), _ROUND)
        asked = writer.questions(made.rounds, wanted, made.kept)
        drafts = _drafts(writer, asked, replies, pool, made)
        if writer.answers_apart:
            drafts = _answered(writer, drafts, replies, made)
        if grader is not None:
            drafts = _graded(writer, drafts, replies, grader, options.at_least, made)
        before = len(made.kept)
        _keep(drafts, writer, gate, options.num, made)
        made.rounds += 1
        dry = dry + 1 if len(made.kept) == before else 0
        tell(len(made.kept))
    if len(made.kept) < options.num:
        made.ended = replies.over or f"{_DRY} rounds of questions brought no row that could be kept"
    return made


def _drafts(writer: Writer, asked: Sequence[Asked], replies: Replies, pool: Pool, made: Written) -> list[Draft]:
    """The new rows of the replies."""
    found = []
    for one, reply in zip(asked, replies.ask([one.question for one in asked]), strict=True):
        if reply is None:
            made.refused["no reply"] += not replies.over
            continue
        for draft in writer.drafts(one, reply):
            if draft.example is None:
                made.refused[draft.refused] += 1
            elif not pool.is_new(draft.key):
                made.refused["repeats another"] += 1
            else:
                pool.add(draft.key)
                found.append(draft)
    return found


def _answered(writer: Writer, drafts: Sequence[Draft], replies: Replies, made: Written) -> list[Draft]:
    """The drafts with an answer behind what they ask."""
    examples = [draft.example for draft in drafts if draft.example is not None]
    found = []
    for example, reply in zip(examples, replies.ask([writer.again(example) for example in examples]), strict=True):
        said = (reply or "").strip()
        if not said:
            made.refused["no answer"] += not replies.over
        elif clean.normalise(said) == clean.normalise(example.messages[-1].content):
            made.refused["answer repeats the task"] += 1
        else:
            messages = [*example.messages, Message(role="assistant", content=said)]
            found.append(Draft(example.model_copy(update={"messages": messages})))
    return found


def _graded(
    writer: Writer, drafts: Sequence[Draft], replies: Replies, grader: Grader, at_least: float, made: Written
) -> list[Draft]:
    """The drafts that the grader accepts. One that compares gets a second answer, which was asked for apart."""
    examples = [draft.example for draft in drafts if draft.example is not None]
    if grader.needs_expected:
        second = replies.ask([_once_more(writer.again(example)) for example in examples])
    else:
        second = [example.answer for example in examples]
    found = []
    for example, answer in zip(examples, second, strict=True):
        grade = grading.grade(grader, example, answer.strip()) if answer is not None else None
        if grade is None or grade.score < at_least:
            made.refused[f"grader {grader.label}"] += 1
            continue
        origin = {**example.meta[MADE], "grade": {grader.label: round(grade.score, 4)}}
        found.append(Draft(example.model_copy(update={"meta": {**example.meta, MADE: origin}})))
    return found


def _once_more(question: Any) -> Any:
    from dataclasses import replace

    return replace(question, seed=(question.seed or 0) + 1)


def _keep(drafts: Sequence[Draft], writer: Writer, gate: Gate, num: int, made: Written) -> None:
    for draft in drafts:
        if draft.example is None or len(made.kept) == num:
            continue
        example = draft.example.model_copy(update={"id": f"written-{writer.by}:{len(made.kept) + 1}"})
        before = Counter(gate.refused)
        if gate.admit(example):
            made.kept.append(example)
        else:
            made.refused.update(REASONS[reason] for reason in gate.refused - before)


# --- what is told ---


def _report(
    source: str | Path,
    target: Path,
    options: Synthesis,
    made: Written,
    gate: Gate,
    replies: Replies,
    findings: Sequence[Finding],
) -> Report:
    spent = replies.spent
    numbers: dict[str, Any] = {
        "from": str(source),
        "out": str(target),
        "model": replies.speaker.name,
        "rows": len(made.kept),
        "refused": dict((+made.refused).most_common()),
        "rounds": made.rounds,
        "questions": spent.questions,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
    }
    if options.endpoint is not None and options.endpoint.prices is not None:
        numbers["money"] = round(spent.money, 6)
    told = list(findings)
    refused = +made.refused
    if refused:
        why = ", ".join(f"{count:,} {reason}" for reason, count in refused.most_common())
        told.append(
            Finding(
                name="refused_rows",
                message=f"{sum(refused.values()):,} pieces of what the model wrote were not kept: {why}.",
                count=sum(refused.values()),
                example=next(iter(gate.first.values()), None),
                remedy="Read some replies; where most are unreadable, the model is too weak for this.",
            )
        )
    if made.ended:
        told.append(
            Finding(
                name="fewer_rows",
                severity="warning",
                message=f"{len(made.kept):,} of {options.num:,} rows were written: {made.ended}.",
                count=options.num - len(made.kept),
                remedy="Raise the budget, give more seeds or documents, or ask a stronger model. The replies are kept: "
                f"remove {target.name} and run the command again, and nothing is paid for twice.",
            )
        )
    if spent.estimated:
        told.append(
            Finding(
                name="tokens_estimated",
                message="The server does not say how many tokens it used; they are counted as four characters each.",
                remedy="Nothing to do; the budget is met approximately.",
            )
        )
    return Report(
        stage="synthesis", run=str(source), numbers=numbers, findings=told, next=f"data: {{more: [{target}]}}"
    )
