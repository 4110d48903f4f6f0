"""Changes of a text: what is replaced where, and where the entities are afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunewright.core.example import Span


@dataclass(frozen=True, order=True)
class Change:
    """Characters start to end - 1 of a text become another text; start == end inserts."""

    start: int
    end: int
    text: str


def applied(text: str, changes: Iterable[Change]) -> str:
    """The text with changes that do not overlap."""
    pieces, at = [], 0
    for change in sorted(changes):
        assert change.start >= at, "changes must not overlap"
        pieces += [text[at : change.start], change.text]
        at = change.end
    return "".join([*pieces, text[at:]])


def moved(spans: Sequence[Span], text: str, changes: Sequence[Change]) -> list[Span] | None:
    """The spans where they are after the changes: one that holds a change grows or shrinks with it. None when a change
    reaches over the end of one, so that its place is not known.

    A change of the whole text (a paraphrase) keeps spans whose words stand in the new text exactly once.
    """
    if len(changes) == 1 and spans and (changes[0].start, changes[0].end) == (0, len(text)):
        return _found_again(spans, text, changes[0].text)
    found = []
    for span in spans:
        before = inside = 0
        for change in changes:
            longer = len(change.text) - (change.end - change.start)
            if change.end <= span.start:
                before += longer
            elif change.start >= span.end:
                continue
            elif span.start <= change.start and change.end <= span.end:
                inside += longer
            else:
                return None
        found.append(span.model_copy(update={"start": span.start + before, "end": span.end + before + inside}))
    return found


def _found_again(spans: Sequence[Span], text: str, new: str) -> list[Span] | None:
    found = []
    for span in spans:
        words = text[span.start : span.end]
        if text.count(words) != 1 or new.count(words) != 1:
            return None
        at = new.index(words)
        found.append(span.model_copy(update={"start": at, "end": at + len(words)}))
    return sorted(found, key=lambda span: span.start)
