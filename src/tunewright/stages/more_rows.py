"""More rows to learn from: `data.more` and `data.augment` of a recipe, and `tunewright data augment`.

They come in at one place alone, behind the split: when the rows that measure are known, what is near to one of those is
thrown away, and the rest is put behind the training rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.core import checks, storage
from tunewright.core.augment import MADE, Augment
from tunewright.core.errors import DataError, NotThere
from tunewright.core.example import Example
from tunewright.core.example_files import ExampleFiles
from tunewright.core.recipe import DataOptions, Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Listener, Run
from tunewright.data import sources
from tunewright.data.admit import Gate
from tunewright.data.intake import Intake, Taker, take
from tunewright.stages import augmenting, flow
from tunewright.stages.replies import Replies
from tunewright.stages.scrubbed_rows import RowScrubber

_NEAR = 0.8  # where the recipe says nothing else


@dataclass
class More:
    """What came of more rows, for the report of prepare."""

    numbers: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def extend(recipe: Recipe, run: Run, scrubber: RowScrubber | None = None) -> More:
    """Put the rows of `data.more`, and those that `data.augment` makes, behind data/train.jsonl. Raises DataError.

    scrubber: takes personal data out of every row that is read; rows are made from such ones.
    """
    data = recipe.data
    found = More()
    if not data.more and data.augment is None:
        return found
    training = run.split("train")
    gate = Gate(_sides(run, training), threshold=data.augment.near if data.augment else _NEAR)
    added: list[Example] = []
    if data.more:
        added += _brought(recipe, run, gate, found, scrubber)
    if data.augment is not None:
        replies = None
        if augmenting.asks(data.augment):
            speaker = augmenting.speaker_of(data.augment, runs=run.folder.parent, stop=run.stop)
            replies = Replies(run.path("prepare", "replies.jsonl"), speaker, told=_telling(run, "asking a model"))
        grower = augmenting.Grower(
            data.augment,
            gate,
            replies,
            poll=lambda made: run.progress("prepare", done=made, what=f"{made:,} rows made"),
        )
        grown = grower.grow(training, added)
        found.numbers["augment"] = augmenting.numbers_of(grown, gate, replies, before=len(training))
        found.findings += augmenting.findings_of(grown, gate, replies, before=len(training))
        added += grown.made
    else:
        found.findings += augmenting.thrown_away(gate)
    found.numbers["training_rows"] = len(training) + len(added)
    _put_behind(run.path("data", "train.jsonl"), _named_apart(added, {example.id for example in training}))
    return found


def augment(
    source: str | Path,
    out: str | Path,
    values: dict[str, Any],
    *,
    test: Sequence[str] = (),
    fields: dict[str, str] | None = None,
    runs: str | Path = "runs",
    listeners: Sequence[Listener] = (),
) -> Report:
    """Rows made from the training rows of a prepared run, or from the rows of a file, in a file for `data.more`.

    values: as under data.augment of a recipe. test: files whose rows measure; those of a run are known. fields: as
    data.fields, of a file. Raises RecipeError, DataError, NotThere, EndpointError, Stopped.
    """
    target, options = fresh(out, ".jsonl"), Augment.parse(values)
    stopping = Run(target)
    with flow.stops_cleanly(stopping):
        return _augment(source, target, options, test, fields or {}, runs, listeners, stopping)


def _augment(
    source: str | Path,
    target: Path,
    options: Augment,
    test: Sequence[str],
    fields: dict[str, str],
    runs: str | Path,
    listeners: Sequence[Listener],
    stopping: Run,
) -> Report:
    training, sides = rows_of(source, runs, fields)
    sides |= {"test": [*sides.get("test", []), *measured(test, fields)]}
    gate = Gate({**sides, "train": training}, threshold=options.near)

    def tell(done: int, total: int, what: str) -> None:
        stopping.stop_if_asked()
        for listener in listeners:
            listener({"event": "progress", "stage": "augment", "done": done, "total": total, "what": what})

    replies = None
    if augmenting.asks(options):
        speaker = augmenting.speaker_of(options, runs=runs, stop=stopping.stop)
        kept = target.with_name(f"{target.name}.replies.jsonl")
        replies = Replies(kept, speaker, told=lambda done, total: tell(done, total, "asking a model"))
    grower = augmenting.Grower(options, gate, replies, poll=lambda made: tell(made, 0, f"{made:,} rows made"))
    grown = grower.grow(training)
    storage.write_jsonl(target, (example.to_row() for example in grown.made))
    numbers = {"from": str(source), "out": str(target)}
    numbers |= augmenting.numbers_of(grown, gate, replies, before=len(training))
    findings = augmenting.findings_of(grown, gate, replies, before=len(training))
    if not any(sides.values()):
        findings.append(nothing_measures())
    return Report(
        stage="augment", run=str(source), numbers=numbers, findings=findings, next=f"data: {{more: [{target}]}}"
    )


def nothing_measures() -> Finding:
    """Said where no row is known that made rows must keep away from."""
    return Finding(
        name="no_test_rows_given",
        message="No rows that measure were given, so none of the rows was compared with them here. `prepare` compares "
        "all rows of data.more with its test and validation rows, and throws away what is near.",
        remedy="Nothing to do. To see now what will be left, give the test file with --test.",
    )


def fresh(out: str | Path, ending: str) -> Path:
    """Where to write: a file that is not there yet. Raises DataError."""
    target = Path(out)
    if target.suffix != ending:
        raise DataError(f"--out writes JSON lines, found '{target.name}'. Give a name that ends in {ending}.")
    if target.exists():
        raise DataError(f"{target} is there already, and is not overwritten. Give another name, or remove it first.")
    return target


# --- rows in ---


def rows_of(
    source: str | Path, runs: str | Path, fields: dict[str, str]
) -> tuple[Sequence[Example], dict[str, Sequence[Example]]]:
    """The training rows of a prepared run with the sides that measure, or the rows of a file. Raises NotThere."""
    try:
        run = Run.open(source, runs=runs)
    except NotThere:
        if not Path(source).exists():
            raise NotThere(f"There is no run and no file '{source}'. Name a prepared run, or a file of rows.") from None
        training = [example for example in measured([str(source)], fields) if MADE not in example.meta]
        if not training:
            raise DataError(f"{source} holds no rows to make others from: all of them were made.") from None
        return training, {}
    training = [example for example in run.split("train") if MADE not in example.meta]
    sides = _sides(run, training)
    del sides["train"]
    return training, sides


def measured(files: Sequence[str], fields: dict[str, str]) -> list[Example]:
    """The rows of files; raises DataError where too many cannot be used."""
    if not files:
        return []
    options = DataOptions(sources=list(files), fields=fields)
    found: list[Example] = []
    intake = read(sources.files(list(files)), options, found.append)
    intake.refuse_if_bad(", ".join(files), options.max_bad)
    return found


def read(files: list[str], data: DataOptions, keep: Any, put_aside: Any = lambda row: None) -> Intake:
    """Rows of files of any format; those that tunewright wrote come back as they were."""
    own = [file for file in files if _is_own(file)]
    others = [file for file in files if file not in own]
    names = sources.names(list(dict.fromkeys([*sources.files(data.sources), *others])))
    intake = take(others, data, names, Taker(keep=keep, put_aside=put_aside)) if others else Intake()
    for file in own:
        for example in _own_rows(file):
            intake.usable += 1
            keep(example)
    return intake


def _is_own(file: str) -> bool:
    """Whether a file holds rows as `prepare` and the commands of `data` write them."""
    if not file.endswith(".jsonl") or file.startswith(sources.HUB):
        return False
    with Path(file).open("rb") as lines:
        first = next(lines, b"")
    try:
        row = json.loads(first)
    except ValueError:
        return False
    return isinstance(row, dict) and isinstance(row.get("meta"), dict) and MADE in row["meta"] and "id" in row


def _own_rows(file: str) -> Iterator[Example]:
    try:
        yield from ExampleFiles(Path(file))
    except ValueError as error:
        raise DataError(
            f"{file} holds a line that is no row as tunewright writes it ({' '.join(str(error).split())[:160]}). "
            "Make the file again, or take the line out."
        ) from None


def _sides(run: Run, training: Sequence[Example]) -> dict[str, Sequence[Example]]:
    """All rows that are there, the measuring ones first."""
    sides: dict[str, Sequence[Example]] = {name: run.split(name) for name in ("test", "validation")}
    held_out = run.path("data", "held_out.jsonl")
    if held_out.exists():
        sides["held_out"] = ExampleFiles(held_out)
    return sides | {"train": training}


def _brought(recipe: Recipe, run: Run, gate: Gate, found: More, scrubber: RowScrubber | None) -> list[Example]:
    """The rows of `data.more` that may be learned from."""
    data, lacking = recipe.data, checks.Lacking(recipe.the_objective())
    kept: list[Example] = []
    seen = 0

    def keep(read: Example) -> None:
        nonlocal seen
        seen += 1
        example = read if scrubber is None else scrubber(read)
        if example is None:
            return
        lacking.see(example)
        if data.retrieval is not None and example.question is None:
            raise DataError(
                f"data.more: row {example.id} has no passages, which data.retrieval puts beside every question. Give "
                "it among data.sources, where passages are looked up."
            )
        if gate.admit(example):
            kept.append(example)
        if seen % 256 == 0:
            run.progress("prepare", done=seen, what=f"reading data.more: {seen:,} rows")

    def put_aside(row: dict[str, Any]) -> None:
        row = row if scrubber is None else scrubber.aside(row)
        storage.append_jsonl(run.path("data", "quarantine.jsonl"), {"from": "more", **row})

    intake = read(sources.files(data.more), data, keep, put_aside)
    if scrubber is not None:
        intake.first_bad = [scrubber.aside(row) for row in intake.first_bad]
    intake.refuse_if_bad("data.more", data.max_bad)
    lacking.refuse()
    found.findings += intake.notes
    found.numbers["more"] = {
        "rows_read": intake.read,
        "rows_quarantined": intake.bad,
        "rows_dropped": intake.usable - len(kept),
        "rows_kept": len(kept),
        "made": sum(MADE in example.meta for example in kept),
    }
    found.findings.append(
        Finding(
            name="more_rows",
            message=f"{len(kept):,} rows of data.more were added to those to learn from.",
            count=len(kept),
            remedy="Nothing to do; they are on no side that measures.",
        )
    )
    return kept


def _named_apart(added: Sequence[Example], ids: set[str]) -> Iterator[Example]:
    """The rows, each with an id of its own: files that were made apart may use the same ones."""
    for example in added:
        name, number = example.id, 1
        while name in ids:
            number += 1
            name = f"{example.id}+{number}"
        ids.add(name)
        yield example if name == example.id else example.model_copy(update={"id": name})


def _put_behind(path: Path, added: Iterable[Example]) -> None:
    """Put rows behind those of a file, atomically."""
    lines = (json.dumps(example.to_row(), ensure_ascii=False).encode("utf-8") + b"\n" for example in added)
    before = (line.encode("utf-8") for line in storage.read_lines(path))
    storage.write_lines(path, [before, lines], point="data")


def _telling(run: Run, what: str) -> Any:
    return lambda done, total: run.progress("prepare", done=done, total=total, what=what)
