"""Counterfactual pairs of rows: each beside itself with the people swapped, for measuring whether answers change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import DataError, RunError, unknown
from tunewright.core.example import Example
from tunewright.core.report import Finding, Report
from tunewright.data import clean
from tunewright.data.changes import applied
from tunewright.data.spool import digest
from tunewright.data.swaps import GROUPS, swapped_alike
from tunewright.stages import looking

ALL = "all"


@dataclass
class _Tally:
    """What became of the rows."""

    rows: int = 0
    spoken: int = 0
    pairs: int = 0
    there: int = 0
    by: Counter[str] = field(default_factory=Counter)


def pairs(
    source: str | Path, out: str | Path, *, group: str = "gender", side: str = "test", runs: str | Path = "runs"
) -> Report:
    """Write a line for each row and each swap of a group in it: what is asked, and the same asked about others.

    source: a run, a version or a file of rows, of which all are taken. side: of a run; or all. Raises NotThere,
    DataError, and RunError where `out` is there already.
    """
    if group not in GROUPS:
        raise DataError(unknown("group", group, GROUPS))
    if Path(out).exists():
        raise RunError(f"{out} is there already and is not overwritten. Move it away, or give another --out.")
    sides = looking.sides_of(source, runs=runs)
    if side not in (ALL, *sides) and set(sides) != {looking.RAW}:
        raise DataError(unknown("side", side, (*sides, ALL)))
    wanted = [rows for name, rows in sides.items() if side in (ALL, name) or name == looking.RAW]
    known = {digest(clean.twin_key(example)): example.id for rows in sides.values() for example in rows}
    tally = _Tally()
    storage.write_jsonl(Path(out), _lines(wanted, group, known, tally), point="data")
    numbers = {
        "out": str(out),
        "group": group,
        "rows": tally.rows,
        "rows_that_speak_of_it": tally.spoken,
        "pairs": tally.pairs,
        "swapped_row_is_there_already": tally.there,
        "swaps": dict(tally.by.most_common()),
    }
    return Report(stage="data pairs", run=str(source), numbers=numbers, findings=_findings(tally, group))


def _lines(
    wanted: Sequence[Sequence[Example]], group: str, known: dict[bytes, str], tally: _Tally
) -> Iterator[dict[str, Any]]:
    for rows in wanted:
        for example in rows:
            tally.rows += 1
            found = list(_of_row(example, group, known))
            tally.spoken += bool(found)
            tally.pairs += len(found)
            tally.there += sum(one["twin"] is not None for one in found)
            tally.by.update(f"{one['before']} and {one['after']}" for one in found)
            yield from found


def _of_row(example: Example, group: str, known: dict[bytes, str]) -> Iterator[dict[str, Any]]:
    """A row's pairs. What is learned is swapped alike, but for a label."""
    document = example.text is not None
    asked = [example.text or ""] if document else [message.content for message in example.prompt]
    has_answer = not document and example.label is None and example.answer is not None
    texts = [*asked, example.answer or ""] if has_answer else asked
    for swap in swapped_alike(texts, group):
        if not any(swap.changes[: len(asked)]):
            continue  # the answer alone speaks of them
        told = [applied(text, changes) for text, changes in zip(texts, swap.changes, strict=True)]
        other = _with(example, told[: len(asked)])
        row: dict[str, Any] = {"id": example.id, "group": group, "before": swap.before, "after": swap.after}
        if document:
            row |= {"text": asked[0], "swapped": told[0]}
        else:
            row["messages"] = [message.for_template() for message in example.prompt]
            row["swapped"] = [message.for_template() for message in other.prompt]
        if example.label is not None:
            row["label"] = example.label
        elif has_answer:
            row |= {"answer": example.answer, "swapped_answer": told[-1]}
        yield row | {"twin": known.get(digest(clean.twin_key(other)))}


def _with(example: Example, asked: Sequence[str]) -> Example:
    """The example that asks other texts."""
    if example.text is not None:
        return example.model_copy(update={"text": asked[0]})
    prompt = [message.model_copy(update={"content": text}) for message, text in zip(example.prompt, asked, strict=True)]
    rest = example.messages[len(prompt) :]
    return example.model_copy(update={"messages": [*prompt, *rest], "question": None})


def _findings(tally: _Tally, group: str) -> list[Finding]:
    if tally.pairs:
        return []
    return [
        Finding(
            name="no_pairs",
            severity="warning",
            message=f"None of {tally.rows:,} rows speaks of {group} in words that have a counterpart.",
            count=0,
            remedy="Try another --group, or --side all; only English is swapped.",
        )
    ]
