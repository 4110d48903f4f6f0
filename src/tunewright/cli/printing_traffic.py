"""Logged traffic and harvests in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tunewright.data.showing import short
from tunewright.stages.harvest_queue import WHY, Candidate

SHOWN = 300  # characters of a text


def traffic_lines(numbers: dict[str, Any]) -> Iterator[str]:
    """What was logged of each release; what was written or deleted."""
    if "forgotten" in numbers:
        yield f"{numbers['forgotten']:,} answers deleted; audit log at {numbers['head'][:12]}"
        return
    for one in numbers["releases"]:
        said = [f"{one[key]:,} {word}" for key, word in (("up", "up"), ("down", "down"), ("corrected", "corrected"))]
        yield (
            f"{one['release']}: {one['answers']:,} answers, {one['with_texts']:,} with texts, {', '.join(said)}; "
            f"{_moment(one['first'])} to {_moment(one['last'])}"
        )
    if not numbers["releases"]:
        yield "nothing was logged"
    for row in numbers.get("rows", []):
        yield from row_lines(row)
    if "out" in numbers:
        yield f"{numbers['written']:,} answers in {numbers['out']}"


def row_lines(row: dict[str, Any]) -> Iterator[str]:
    """One answer: its figures in a line, and its texts where they are told."""
    sure = "" if row["confidence"] is None else f", confidence {row['confidence']:.2f}"
    thumb = f", thumb {row['thumb']}" if row["thumb"] else ""
    yield (
        f"{row['id']} {_moment(row['created'])} {row['release']} {row['finish']}, {row['seconds']:.2f} s, "
        f"{row['prompt_tokens']:,} + {row['completion_tokens']:,} tokens{sure}{thumb}"
    )
    for message in row.get("messages") or []:
        yield f"  {message['role']}: {short(str(message['content']), SHOWN)}"
    for name in ("answer", "correction", "comment"):
        if row.get(name):
            yield f"  {name}: {short(str(row[name]), SHOWN)}"


def harvest_lines(numbers: dict[str, Any]) -> Iterator[str]:
    """What came of a harvest."""
    why = ", ".join(f"{count:,} {WHY[name]}" for name, count in numbers["why"].items())
    yield f"{numbers['answers']:,} answers of {numbers['release']}: {numbers['candidates']:,} worth a look"
    if why:
        yield why
    yield f"{numbers['ready']:,} rows ready, {numbers['waiting']:,} wait for a reviewer, {numbers['skipped']:,} skipped"
    yield f"rows in {numbers['rows']}"
    yield f"queue in {numbers['queue']}"


def candidate_lines(one: Candidate) -> Iterator[str]:
    """What a reviewer is shown."""
    sure = "" if one.confidence is None else f" (confidence {one.confidence:.2f})"
    yield f"{one.id}: {', '.join(WHY[why] for why in one.why)}{sure}"
    for message in one.messages:
        yield f"  {message.role}: {message.content}"
    yield f"  answer: {one.answer}"
    if one.correction is not None:
        yield f"  a user says: {_text(one.correction)}"
    if one.comment:
        yield f"  comment: {one.comment}"


def _text(correction: Any) -> str:
    return correction if isinstance(correction, str) else str(correction[-1].content)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
