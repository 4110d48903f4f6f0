"""Solved examples before a question: which are shown, and where they stand in the conversation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from tunewright.core.errors import DataError
from tunewright.core.example import Example

if TYPE_CHECKING:
    import numpy as np

Messages = list[dict[str, Any]]
K1, B = 1.2, 0.75  # BM25's usual saturation and length correction


class Shows(BaseModel):
    """Which solved examples stand before a question."""

    k: int = Field(4, ge=0, description="examples shown: more help, and lengthen every prompt; 0 shows none")
    pick: Literal["similar", "fixed"] = Field(
        "similar", description="nearest to the question, or the same for all (faster)"
    )
    examples: str | tuple[str, ...] | None = Field(
        None, description="by hand: a file of solved rows, or ids of training rows; all are shown, in their order"
    )
    seed: int = Field(0, description="another seed shows other fixed examples")

    def lines_for(self, examples: Sequence[Example], training: Sequence[Example]) -> list[list[Example]]:
        """What is shown before each example, in order. Raises DataError where a named one is not there."""
        if self.examples is not None:
            chosen = self._by_hand(training)
            return [chosen] * len(examples)
        if not self.k:
            return [[] for _ in examples]
        usable = [example for example in training if example.messages and example.messages[-1].role == "assistant"]
        if self.pick == "fixed":
            return [self.fixed(usable)] * len(examples)
        order = _nearest([_text(example) for example in examples], [_text(example) for example in usable], self.k)
        return [[usable[number] for number in reversed(row)] for row in order]

    def fixed(self, training: Sequence[Example]) -> list[Example]:
        """k examples by a hash of seed and id (added rows move few), one of each label before a second of any."""
        ordered = sorted(training, key=lambda example: hashlib.sha256(f"{self.seed}:{example.id}".encode()).digest())
        seen: dict[str | None, int] = {}
        ranked: list[tuple[int, int]] = []
        for place, example in enumerate(ordered):
            seen[example.label] = seen.get(example.label, 0) + 1
            ranked.append((seen[example.label], place))
        return [ordered[place] for _, place in sorted(ranked)[: self.k]]

    def _by_hand(self, training: Sequence[Example]) -> list[Example]:
        assert self.examples is not None
        if isinstance(self.examples, str):
            return _solved(self.examples)
        of_id = {example.id: example for example in training}
        if missing := [id for id in self.examples if id not in of_id]:
            known = f"they begin with '{next(iter(of_id))}'" if of_id else "there are none"
            raise DataError(
                f"examples: no training row has the id '{missing[0]}'; {known}. The run's data/train.jsonl lists all."
            )
        return [of_id[id] for id in self.examples]

    def find_named(self, training: Sequence[Example]) -> None:
        """Raise DataError where an example that is named is not there."""
        if self.examples is not None:
            self._by_hand(training)

    def missing_files(self) -> list[str]:
        """The files that are named and not there."""
        return [self.examples] if isinstance(self.examples, str) and not Path(self.examples).is_file() else []


def before(example: Example, shown: Sequence[Example]) -> Messages:
    """System messages of the question, the shown conversations, then the question."""
    question = [message.for_template() for message in example.prompt]
    pairs = [m.for_template() for pick in shown for m in pick.messages if m.role not in ("system", "developer")]
    return lead(question) + pairs + question[len(lead(question)) :]


def lead(messages: Messages) -> Messages:
    """The system messages at the front."""
    end = next((n for n, said in enumerate(messages) if said["role"] not in ("system", "developer")), len(messages))
    return messages[:end]


def _solved(path: str) -> list[Example]:
    """The rows of a file in any format that `data.sources` takes, each with an answer. Raises DataError, NotThere."""
    from tunewright.core.recipe import DataOptions
    from tunewright.data import sources
    from tunewright.data.intake import Taker, take

    found: list[Example] = []
    files = sources.files([path])
    intake = take(files, DataOptions(sources=[path]), sources.names(files), Taker(keep=found.append))
    intake.refuse_if_bad(f"examples: {path}", 0.0)
    if without := [one.id for one in found if not one.messages or one.messages[-1].role != "assistant"]:
        raise DataError(f"examples: row {without[0]} has no answer to show. Give it one, or leave it out.")
    return found


def _text(example: Example) -> str:
    """What an example is looked up by: the user's last message before the answer."""
    return next((message.content for message in reversed(example.asked) if message.role == "user"), "")


def _features(text: str) -> dict[str, int]:
    """How often each word and run of letters occurs."""
    from tunewright.data.words import features

    return Counter(features(text))


def _nearest(questions: Sequence[str], documents: Sequence[str], k: int) -> list[list[int]]:
    """For each question the numbers of its k nearest documents by BM25, nearest first; ties go to the earlier one."""
    import numpy as np

    if not documents:
        return [[] for _ in questions]
    features = [_features(text) for text in documents]
    lengths = np.array([max(1, sum(found.values())) for found in features], dtype=float)
    slack = K1 * (1 - B + B * lengths / lengths.mean())
    postings = _postings(features, slack)
    nearest = []
    for question in questions:
        scores = np.zeros(len(documents))
        for feature in _features(question):
            if feature in postings:
                rows, weights = postings[feature]
                scores[rows] += weights
        nearest.append(np.argsort(-scores, kind="stable")[:k].tolist())
    return nearest


def _postings(features: Sequence[dict[str, int]], slack: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each feature the documents that have it and what it adds to their scores."""
    import numpy as np

    where: dict[str, list[tuple[int, int]]] = {}
    for row, found in enumerate(features):
        for feature, count in found.items():
            where.setdefault(feature, []).append((row, count))
    postings = {}
    for feature, places in where.items():
        if len(places) * 2 > max(len(features), 8):
            continue  # in most documents: tells nothing apart and costs the most
        rows, counts = np.array(places).T
        rarity = np.log(1 + (len(features) - len(rows) + 0.5) / (len(rows) + 0.5))
        postings[feature] = (rows, rarity * counts * (K1 + 1) / (counts + slack[rows]))
    return postings
