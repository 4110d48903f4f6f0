"""From Examples to units of rows: what one optimizer step counts as an example."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from tunewright.core.checks import told_lacking
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Objective
from tunewright.models.chat import Chat
from tunewright.models.forest import Row

BATCH_EXAMPLES = 256  # tokenised together: enough to keep all cores busy
BATCH_CHARACTERS = 1_000_000  # bounds the memory of a batch of long texts


@dataclass(frozen=True)
class Encoded:
    """Units in the order of the data. unlearned: ids of examples without a learned token; cut: ids that lost their
    end.
    """

    units: Sequence[list[Row]]
    unlearned: list[str]
    cut: list[str]

    @property
    def ids(self) -> list[str]:
        """The id of each unit: an example, or a piece `id#k` of a document."""
        return [unit[0].example for unit in self.units]


@dataclass
class Tally:
    """What is counted while examples are encoded, to be told or refused at the end."""

    num_examples: int = 0
    num_learned: int = 0
    need: str | None = None
    lacking: list[str] = field(default_factory=list)
    unlearned: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)

    def add(self, example: Example, learned: list[Row]) -> None:
        """Count an example and its rows with learned tokens."""
        self.num_learned += len(learned)
        if not learned:
            self.unlearned.append(example.id)
        if any(row.cut for row in learned):
            self.cut.append(example.id)

    def refuse(self, objective: Objective, max_tokens: int) -> None:
        """Raise DataError when an example lacks what the objective needs, or when nothing can be learned."""
        if self.need:
            raise DataError(told_lacking(objective, self.need, self.lacking, self.num_examples))
        if not self.num_learned:
            raise DataError(
                f"None of the {self.num_examples} examples has a learned token within {max_tokens} tokens. "
                "Raise train.max_tokens, or check that the answers are not empty."
            )


def encode(
    examples: Iterable[Example],
    objective: Objective,
    chat: Chat,
    *,
    max_tokens: int,
    poll: Callable[[], None] = lambda: None,
) -> Encoded:
    """Encode a split, in memory. Raises DataError when an example lacks what the objective needs, or when nothing can
    be learned.
    """
    units: dict[str, list[Row]] = {}
    tally = Tally()
    encoded = rows_of(examples, objective, chat, max_tokens=max_tokens, tally=tally)
    for number, (example, rows) in enumerate(encoded):
        if number % BATCH_EXAMPLES == 0:
            poll()
        learned = [row for row in rows if row.num_learned > 0]
        tally.add(example, learned)
        for row in learned:
            units.setdefault(row.example, []).append(row)
    tally.refuse(objective, max_tokens)
    return Encoded(list(units.values()), tally.unlearned, tally.cut)


def rows_of(
    examples: Iterable[Example], objective: Objective, chat: Chat, *, max_tokens: int, tally: Tally
) -> Iterator[tuple[Example, list[Row]]]:
    """Each example with its rows, as `objective.encode` makes them one by one.

    A thread encodes the texts of the next batch while this one is used. From the first example on that lacks what the
    objective needs, examples are only counted.
    """
    waiting: deque[tuple[list[Example], Future[None]]] = deque()

    def ready() -> Iterator[tuple[Example, list[Row]]]:
        batch, work = waiting.popleft()
        work.result()
        gc.freeze()  # what is there is not looked through again and again while rows come and go
        for example in batch:
            yield example, objective.encode(example, chat, max_tokens=max_tokens)

    with ThreadPoolExecutor(1) as thread:
        try:
            for batch in _batches(examples, objective, tally):
                waiting.append((batch, thread.submit(chat.encode_ahead, batch)))
                if len(waiting) == 2:
                    yield from ready()
            while waiting:
                yield from ready()
        finally:
            gc.unfreeze()
            thread.shutdown(cancel_futures=True)
            chat.encode_ahead([])


def _batches(examples: Iterable[Example], objective: Objective, tally: Tally) -> Iterator[list[Example]]:
    batch: list[Example] = []
    size = 0
    for example in examples:
        tally.num_examples += 1
        if (missing := objective.lacks(example)) is not None:
            tally.need = tally.need or missing
            tally.lacking.append(example.id)
        if tally.lacking:
            continue
        batch.append(example)
        size += len(example.text or "") + sum(len(message.content) for message in example.messages)
        if len(batch) == BATCH_EXAMPLES or size > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
