"""Classification with a head: one label of a set for each text, or several."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from tunewright.core.example import Example
from tunewright.core.parts import Head, Loss
from tunewright.objectives._one_text import OneText

if TYPE_CHECKING:
    from typing import Self

    from tunewright.models.chat import Chat
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Classify(OneText):
    """Learns which label a text has: softmax cross entropy, or with `multi` a yes or no for each label.

    Needs messages and a label: a text; with `multi` a list of labels, or a text that `separator` parts. The head is one
    linear layer over the last token's hidden state (Radford et al. 2018, section 3.2), of encoders over the mean or the
    first (Devlin et al. 2018, arXiv 1810.04805, section 4.1). Neighbours: sft (weighs the labels' own words, so that
    it needs fewer rows), regress (numbers), tag (words).
    """

    labels: list[str] | None = Field(None, description="The labels in order; those of the training rows when left out.")
    multi: bool = Field(False, description="A text may have several labels, or none.")
    separator: str = Field(
        ",", min_length=1, description="What parts the labels of a text, with `multi`, where they are no list."
    )
    balance: bool = Field(
        False, description="Rare labels weigh as much as common ones in all: better on them, worse on the others."
    )
    weights: list[float] | None = Field(
        None, description="Weight of each label in the loss, in the order of labels; filled where `balance` is on."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.multi and (self.balance or self.weights):
            raise ValueError("balance and weights are for texts of one label; leave them out, or multi")
        if self.weights is not None and (self.labels is None or len(self.weights) != len(self.labels)):
            raise ValueError("weights need labels, and one weight for each")
        return self

    @property
    def asks_base(self) -> bool:
        """The untuned model can weigh the labels, where the answer is one of them."""
        return not self.multi

    @property
    def head(self) -> Head:
        """One output a label."""
        assert self.labels is not None, "choose fills the labels"
        return Head(len(self.labels), "classify", pool="last" if self.pool == "auto" else self.pool)

    @property
    def fitting_graders(self) -> list[str | dict[str, Any]] | None:
        """Sets of labels are compared as sets."""
        return [{"kind": "multi_label", "separator": self.separator}] if self.multi else None

    def fitted(self, facts: Mapping[str, Any]) -> Classify:
        """With the labels of the training rows, their weights, and the hidden state to read."""
        from tunewright.core.errors import DataError, RecipeError

        counts: Counter[str] = Counter()
        for text, sides in (facts.get("labels") or {}).items():
            counts.update(dict.fromkeys(self._of(text), sides["train"]))
        known = {label: count for label, count in counts.items() if count}
        if not known:
            raise DataError(
                "Objective 'classify' needs a label in every row, and the data tells none. Bring rows of text and "
                "label (data.format: labels), or use the objective 'sft'."
            )
        labels = self.labels if self.labels is not None else sorted(known)
        if missing := sorted(set(known) - set(labels)):
            raise RecipeError(
                f"objective.labels lacks '{missing[0]}', which {known[missing[0]]} training rows have "
                f"({len(missing)} labels in all). Add it, or leave labels out."
            )
        if len(labels) < 2 and not self.multi:
            raise DataError(f"All training rows have the label '{labels[0]}': there is nothing to tell apart.")
        weights = self.weights
        if self.balance and weights is None:
            total = sum(known.values())
            weights = [round(total / (len(known) * known[label]), 6) if label in known else 1.0 for label in labels]
        pool = self.pool_for(facts)
        return self.model_copy(update={"labels": labels, "weights": weights, "pool": pool})

    def decoding(self) -> dict[str, Any]:
        """The likeliest label, or all that are likelier than not."""
        return {"kind": "classify", "labels": self.labels, "multi": self.multi}

    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """One row; none where the label is not among those to learn, as may happen beside the training rows."""
        assert self.labels is not None, "choose fills the labels"
        places = {label: float(number) for number, label in enumerate(self.labels)}
        own = self._of(example.label or "")
        if any(label not in places for label in own):
            return []
        return self.row(example, chat, max_tokens, sorted(places[label] for label in own))

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The rows, each with the weight of its label; with `multi`, a decision for each row and label."""
        assert self.labels is not None
        if self.multi:
            return {"nll": len(rows) * len(self.labels)}
        return {"nll": sum(self._weight(row) for row in rows)}

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed cross entropy (nats)."""
        import torch
        from torch.nn import functional

        logits_RC = model.outputs(forest)
        if self.multi:
            wanted_RC = torch.zeros_like(logits_RC)
            for number, row in enumerate(forest.rows):
                wanted_RC[number, [int(place) for place in row.target]] = 1.0
            return Loss(
                {"nll": (functional.binary_cross_entropy_with_logits(logits_RC, wanted_RC, reduction="sum"), 1.0)}
            )
        target_R = torch.tensor([int(row.target[0]) for row in forest.rows], device=logits_RC.device)
        nll_R = functional.cross_entropy(logits_RC, target_R, reduction="none")
        weights_R = torch.tensor([self._weight(row) for row in forest.rows], dtype=nll_R.dtype, device=nll_R.device)
        return Loss({"nll": ((nll_R * weights_R).sum(), 1.0)})

    def _weight(self, row: Row) -> float:
        return 1.0 if self.weights is None else self.weights[int(row.target[0])]

    def _of(self, text: str) -> list[str]:
        """The labels of a row: one, or with `multi` those of a JSON list or between separators."""
        if not self.multi:
            return [text]
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, list):
            found = [part.strip() for part in text.split(self.separator)]
        return [str(label) for label in dict.fromkeys(found) if label != ""]
