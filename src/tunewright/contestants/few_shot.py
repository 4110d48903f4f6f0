"""few_shot: the untuned model, shown some training examples before the question."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Contestant

if TYPE_CHECKING:
    import numpy as np

K1, B = 1.2, 0.75  # BM25's usual saturation and length correction


class FewShot(Contestant):
    """The model before tuning with k solved examples in its prompt: what good prompting reaches without training.

    Needs messages, and training examples to show. `similar` shows the training examples nearest to the question, the
    nearest last; it is usually the stronger contestant. Source of the ranking: BM25 (Robertson and Zaragoza 2009), over
    words and runs of four letters. `fixed` shows the same ones to every question, of different labels where there are
    labels; their part of the prompt is computed once for all. Neighbour: `base`.
    """

    k: int = Field(4, ge=1, description="examples shown: more help, and lengthen every prompt")
    pick: Literal["similar", "fixed"] = Field(
        "similar", description="nearest to the question, or the same for all (faster)"
    )
    seed: int = Field(0, description="another seed shows other fixed examples")

    def prompts(self, examples: Sequence[Example], training: Sequence[Example]) -> list[list[dict[str, Any]]]:
        """System messages of the question, the shown conversations, then the question."""
        usable = [example for example in training if example.messages and example.messages[-1].role == "assistant"]
        if self.pick == "fixed":
            shown = [self._fixed(usable)] * len(examples)
        else:
            order = _nearest([_text(example) for example in examples], [_text(example) for example in usable], self.k)
            shown = [[usable[number] for number in reversed(row)] for row in order]
        return [_messages(example, picks) for example, picks in zip(examples, shown, strict=True)]

    def _fixed(self, training: Sequence[Example]) -> list[Example]:
        """k examples by a hash of seed and id (added rows move few), one of each label before a second of any."""
        ordered = sorted(training, key=lambda example: hashlib.sha256(f"{self.seed}:{example.id}".encode()).digest())
        seen: dict[str | None, int] = {}
        ranked: list[tuple[int, int]] = []
        for place, example in enumerate(ordered):
            seen[example.label] = seen.get(example.label, 0) + 1
            ranked.append((seen[example.label], place))
        return [ordered[place] for _, place in sorted(ranked)[: self.k]]


def _messages(example: Example, shown: Sequence[Example]) -> list[dict[str, Any]]:
    question = [message.for_template() for message in example.prompt]
    lead = [message for message in question if message["role"] in ("system", "developer")]
    pairs = [m.for_template() for pick in shown for m in pick.messages if m.role not in ("system", "developer")]
    return lead + pairs + [message for message in question if message["role"] not in ("system", "developer")]


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
