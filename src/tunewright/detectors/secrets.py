"""secrets: keys, tokens, passwords and card numbers in what is learned; a model may say them to anyone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.example import Example
from tunewright.data.rewrite import rewritten, texts
from tunewright.detectors._rows import Rows
from tunewright.privacy.secrets import secrets_in

MASK = "[SECRET]"


class Secrets(Detector):
    """Looks for what services' keys look like and for what stands behind words such as 'password'."""

    fixes: ClassVar[tuple[str, ...]] = ("secrets",)

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(scene)


class _Watch:
    def __init__(self, scene: Scene) -> None:
        self.rows = Rows(scene)
        self.kinds: Counter[str] = Counter()

    def see(self, row: Seen) -> None:
        """Look for secrets; the example shows none of them."""
        called = any(message.tool_calls for message in row.example.messages)
        if not called and not secrets_in(row.said):
            return
        pieces = [(piece, found) for piece in texts(row.example, calls=called) if (found := secrets_in(piece))]
        if pieces:
            self.kinds.update({one.type for _, found in pieces for one in found})
            masked = without_secrets(pieces[0][0])
            at = masked.find(MASK)
            self.rows.add(row, masked[max(0, at - 50) : at + 60])

    def faults(self) -> Iterable[Fault]:
        """Rows that hold secrets."""
        if not self.rows:
            return
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.kinds.most_common())
        yield Fault(
            name="secrets",
            severity="problem",
            message=f"{len(self.rows):,} rows hold secrets ({kinds}): the model may say them to anyone.",
            rows=self.rows.numbers,
            example=self.rows.example,
            remedy="Mask them, and change those that are in use: they were in a file.",
            fix=f"write {MASK} in their place",
            change=masked_row,
        )


def without_secrets(text: str) -> str:
    """The text with a mask in place of each secret."""
    found = sorted(secrets_in(text), key=lambda one: one.start)
    for one in reversed(found):
        text = f"{text[: one.start]}{MASK}{text[one.end :]}"
    return text


def masked_row(example: Example) -> Example:
    """The row with masks in place of secrets."""
    return rewritten(example, without_secrets, calls=True)
