"""Answers with a release: a conversation, or a whole file of rows. The same code as evaluation and serving."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import releases, storage
from tunewright.core.errors import DataError, NotThere
from tunewright.core.report import Finding, Report
from tunewright.core.run import Listener, Run
from tunewright.models.bases import WEIGHTS
from tunewright.stages import flow
from tunewright.stages.answer_files import Writer

if TYPE_CHECKING:
    from tunewright.data.sources import RawRow
    from tunewright.models.decode import Answer, Decode
    from tunewright.models.engine import Engine

AT_ONCE = 64  # rows whose answers are written together: what a sudden end can lose
ANSWER_ROLES = ("label", "completion", "output", "chosen", "rejected")
PLACEHOLDER = "?"  # stands for the answer a row does not have yet; it is never sent
Messages = list[dict[str, Any]]


def find_release(name: str | Path, *, runs: str | Path = "runs") -> Path:
    """The folder of a release: `run` (its newest), `run:002`, or a folder, also with `:weights`. Raises NotThere."""
    return releases.find_release(str(name).removesuffix(WEIGHTS), runs=runs)


@dataclass
class Speaker:
    """An opened release that answers conversations."""

    release: Path
    engine: Engine
    decode: Decode
    adapter: str

    @classmethod
    def open(cls, name: str | Path, *, runs: str | Path = "runs") -> Speaker:
        """Open a release by name or folder; with `:weights` behind it, its weights without the root before its rows.
        Raises NotThere, or DataError when it is damaged.
        """
        from tunewright.models.release import open_release
        from tunewright.models.seq2seq_engine import engine_for

        folder = find_release(name, runs=runs)
        opened = open_release(folder, alone=str(name).endswith(WEIGHTS))
        return cls(folder, engine_for(opened.model), opened.decode, opened.adapter)

    def answer(
        self, conversations: Sequence[Messages], *, tools: Sequence[Any] | None = None, with_scores: bool = False
    ) -> list[Answer]:
        """Answer conversations as evaluated and served. Raises DataError when one does not fit the context."""
        from tunewright.models.decode import answer

        return answer(
            self.engine, self.decode, conversations, tools=tools, adapter=self.adapter, with_scores=with_scores
        )

    @property
    def name(self) -> str:
        """How the release is called: run and number."""
        alone = WEIGHTS if self.adapter.endswith(WEIGHTS) else ""
        return f"{self.release.parent.parent.name}:{self.release.name}{alone}"

    def shares(self, answer: Answer) -> list[tuple[str, float]]:
        """The labels of an answer chosen with scores, likeliest first, each with its share of the probability (where a
        text may have several labels, each with its own probability).
        """
        return answer.shares(multi=self.decode.multi)


def answer(
    release: str | Path,
    source: str | Path,
    *,
    out: str | Path,
    runs: str | Path = "runs",
    column: str = "answer",
    listeners: Sequence[Listener] = (),
) -> Report:
    """Answer every row of a file; `out` holds the same rows in the same order, each with its answer added.

    An `out` that an earlier call left unfinished is gone on with. A row that cannot be asked keeps its place, with its
    `problem`. Raises DataError, NotThere, RunError (when `out` holds something else), Stopped.
    """
    folder = find_release(release, runs=runs)
    run = Run(folder.parent.parent)
    asking = Asking.of(run)
    sure = [] if str(release).endswith(WEIGHTS) else _sure_columns(folder, column)
    rows, columns = _survey(source, [column, *sure])
    about = _about(folder, release, source, column)
    writer = Writer(Path(out), columns=[*columns, column, *sure, "problem"], about=about)
    done = writer.begin()
    started = time.monotonic()
    speaker: Speaker | None = None
    problems: list[str] = []
    cut = 0
    with flow.stops_cleanly(run):
        for batch in _batches(_rows(source, skip=done)):
            run.stop_if_asked()
            speaker = speaker or Speaker.open(release, runs=runs)
            asked = [_ask(row, asking) for row in batch]
            answers = _answers(speaker, asked)
            for row, one in zip(batch, answers, strict=True):
                if isinstance(one, str):
                    problems.append(f"{Path(row.file).name}:{row.line}: {one}")
                    writer.add(_kept(row) | {column: None, "problem": one})
                    continue
                cut += one.finish == "length"
                told = dict(zip(sure, (one.confidence, one.escalate), strict=True)) if sure else {}
                writer.add(_kept(row) | {column: one.text} | told)
            writer.flush()
            done += len(batch)
            event = {"event": "progress", "stage": "answer", "done": done, "total": rows, "what": "answers"}
            for listener in listeners:
                listener(event)
    writer.finish()
    seconds = round(time.monotonic() - started, 2)
    numbers = {"rows": rows, "answered": rows - writer.num_problems, "problems": writer.num_problems, "out": str(out)}
    numbers |= {"release": f"{run.name}:{folder.name}", "seconds": seconds}
    findings = _findings(problems, cut, writer.num_problems)
    return Report(stage="answer", run=run.name, seconds=seconds, numbers=numbers, findings=findings)


# --- rows in ---


@dataclass(frozen=True)
class Asking:
    """How the run read its own data, so that a row is asked as training saw it."""

    format: str
    fields: dict[str, str]

    @classmethod
    def of(cls, run: Run) -> Asking:
        """From the run's recipe and its prepared data. Raises NotThere where the run is not beside its release."""
        prepared = run.report("prepare")
        if prepared is None:
            raise NotThere(
                f"{run.folder} does not say how its data was read: prepare/report.json is missing. "
                "Name the run, not a copy of its release."
            )
        return cls(str(prepared.numbers["format"]), run.recipe().data.fields)

    def variants(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        """The row as it may be read: as it is, then with a placeholder where its answer would stand."""
        if self.format in ("chat", "sharegpt"):
            return [self._waiting(values)]
        return [
            values,
            values | {self._column(role, values): PLACEHOLDER * (n + 1) for n, role in enumerate(self._answers())},
        ]

    def text_of(self, values: dict[str, Any]) -> str | None:
        """The text of a row whose entities are asked for: its tokens with spaces between, or its text."""
        from tunewright.data import formats

        for format, name in (("entities", "tokens"), ("spans", "text")):
            role = next(role for role in formats.FORMATS[format] if role.name == name)
            given = self.fields.get(name) or next((c for c in values if c.strip().lower() in role.columns), "")
            found = values.get(given)
            text = " ".join(map(str, found)) if isinstance(found, list) else found
            if isinstance(text, str) and text.strip():
                return text
        return None

    def _answers(self) -> list[str]:
        from tunewright.data import formats

        return [role.name for role in formats.FORMATS[self.format] if role.name in ANSWER_ROLES]

    def _column(self, name: str, values: dict[str, Any]) -> str:
        from tunewright.data import formats

        role = next(role for role in formats.FORMATS[self.format] if role.name == name)
        given = next((self.fields[word] for word in role.words if word in self.fields), None)
        return given or next((column for column in values if column.strip().lower() in role.columns), role.columns[0])

    def _waiting(self, values: dict[str, Any]) -> dict[str, Any]:
        """A conversation that ends with an assistant's turn, so that everything before it is the question."""
        key = self._column("messages", values)
        turns = values.get(key)
        if not isinstance(turns, list) or not turns or not isinstance(turns[-1], dict):
            return values
        who, what, own = ("from", "value", "gpt") if "from" in turns[-1] else ("role", "content", "assistant")
        if turns[-1].get(who) in ("assistant", "gpt", "model", "bot"):
            return values
        return values | {key: [*turns, {who: own, what: PLACEHOLDER}]}


def _ask(row: RawRow, asking: Asking) -> tuple[Messages, Any] | str:
    """The conversation of a row and its tools, or what keeps it from being asked."""
    from tunewright.data import formats

    if row.values is None:
        return row.problem or "unreadable"
    if asking.format == "text":
        text = row.values.get(asking.fields.get("text", "text"))
        return ([{"role": "user", "content": text}], None) if isinstance(text, str) and text.strip() else "no text"
    if asking.format in ("entities", "spans"):
        text = asking.text_of(row.values)
        return ([{"role": "user", "content": text}], None) if text else "no text, and no tokens"
    problem = ""
    for values in asking.variants(row.values):
        try:
            example = formats.to_example(asking.format, values, asking.fields, f"row:{row.line}")
        except DataError as error:
            problem = str(error)
            continue
        return [message.for_template() for message in example.prompt], example.tools
    said = row.values.get(asking.fields.get("input", "input"))
    if asking.format == "instruction" and isinstance(said, str) and said.strip():
        return [{"role": "user", "content": said}], None  # the release puts its constant instruction before it
    return problem


def _answers(speaker: Speaker, asked: Sequence[tuple[Messages, Any] | str]) -> list[Answer | str]:
    """The answer to each row, or its problem; a conversation too long for the model is one of its own row only."""
    fine = [item for item in asked if not isinstance(item, str)]
    given: list[Answer | str] = []
    try:
        given += speaker.answer([messages for messages, _ in fine], tools=[tools for _, tools in fine]) if fine else []
    except DataError:
        for messages, tools in fine:
            try:
                given += speaker.answer([messages], tools=[tools])
            except DataError as error:
                given.append(str(error))
    answers = iter(given)
    return [item if isinstance(item, str) else next(answers) for item in asked]


def _rows(source: str | Path, *, skip: int = 0) -> Iterator[RawRow]:
    from tunewright.data import sources

    for number, row in enumerate(sources.read([str(source)])):
        if number >= skip:
            yield row


def _batches(rows: Iterable[RawRow]) -> Iterator[list[RawRow]]:
    batch: list[RawRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _sure_columns(folder: Path, column: str) -> list[str]:
    """The columns for how sure an answer is and whether a person should look at it, where the release tells it."""
    escalates = storage.read_json(folder / "manifest.json")["decode"].get("escalation")
    return [f"{column}_confidence", f"{column}_escalate"] if escalates else []


def _survey(source: str | Path, added: Sequence[str]) -> tuple[int, list[str]]:
    """How many rows there are, and every column in order of appearance."""
    count = 0
    columns: dict[str, None] = {}
    for row in _rows(source):
        count += 1
        columns |= dict.fromkeys(_kept(row))
    if taken := [column for column in added if column in columns]:
        raise DataError(
            f"The rows of {source} have a column '{taken[0]}' already. Name another for the answers with --column."
        )
    return count, [name for name in columns if name != "problem"]


def _kept(row: RawRow) -> dict[str, Any]:
    """What of a row goes to the output; an unreadable one is known by its place."""
    return dict(row.values) if row.values is not None else {"file": Path(row.file).name, "line": row.line}


def _about(folder: Path, release: str | Path, source: str | Path, column: str) -> dict[str, Any]:
    from tunewright.data import sources

    files = {path: storage.sha256(Path(path)) for path in sources.files([str(source)]) if Path(path).is_file()}
    alone = WEIGHTS if str(release).endswith(WEIGHTS) else ""
    return {
        "release": f"{storage.sha256(folder / 'manifest.json')}{alone}",
        "source": sorted(files.values()),
        "column": column,
    }


def _findings(problems: list[str], cut: int, num_problems: int) -> list[Finding]:
    found = []
    if num_problems:
        shown = "; ".join(problems[:3]) or "see the column 'problem'"
        message = f"Rows that could not be asked and have no answer: {num_problems} ({shown})."
        found.append(Finding(name="problem rows", severity="warning", message=message, count=num_problems))
    if cut:
        message = f"Answers that were cut at the longest length the release allows: {cut}."
        found.append(Finding(name="cut answers", severity="warning", message=message, count=cut))
    return found
