"""Tagging with a head: which words of a text are entities, and of which type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Head, Loss, Objective

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Tag(Objective):
    """Learns a class for each word of a text, from which entities are read: softmax cross entropy over BIO classes.

    Needs spans (data.format: entities or spans). What is read is the text alone, without a chat template. A word is
    tagged at one of its tokens (Devlin et al. 2018, arXiv 1810.04805, section 5.3). A causal model has not seen what
    comes after a word, so an encoder does better. Neighbours: classify (whole texts), sft (writes the entities out).
    """

    needs: ClassVar[tuple[str, ...]] = ("messages",)
    fits_encoders: ClassVar[bool] = True

    labels: list[str] | None = Field(None, description="The types of entities; those of the training rows if left out.")

    @property
    def asks_base(self) -> bool:
        """The untuned model has no classes of words."""
        return False

    @property
    def head(self) -> Head:
        """Outside, and two classes for each type."""
        assert self.labels is not None, "choose fills the labels"
        return Head(1 + 2 * len(self.labels), "tag", pool="tokens")

    @property
    def fitting_graders(self) -> list[str | dict[str, Any]] | None:
        """Whole entities."""
        return ["entity_f1"]

    def fitted(self, facts: Mapping[str, Any]) -> Tag:
        """With the types of the training rows."""
        from tunewright.core.errors import DataError, RecipeError

        known = sorted(label for label, sides in (facts.get("entities") or {}).items() if sides["train"])
        if not known:
            raise DataError(
                "Objective 'tag' needs entities, and no training row has one. Bring rows of tokens and tags "
                "(data.format: entities), or of text and spans (data.format: spans)."
            )
        labels = self.labels if self.labels is not None else known
        if missing := [label for label in known if label not in labels]:
            raise RecipeError(
                f"objective.labels lacks '{missing[0]}', which entities of the training rows have ({len(missing)} "
                "types in all). Add it, or leave labels out."
            )
        return self.model_copy(update={"labels": labels})

    def decoding(self) -> dict[str, Any]:
        """The entities as a JSON list."""
        return {"kind": "tag", "labels": self.labels}

    def question(self, example: Example, chat: Chat) -> list[int]:
        """The text alone."""
        return chat.spelled(_text(example)).ids

    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """One row, whose words carry the weights; what lies behind `max_tokens` is lost."""
        from tunewright.core.errors import DataError
        from tunewright.models import tagging
        from tunewright.models.forest import Row

        assert self.labels is not None, "choose fills the labels"
        if example.spans is None:
            raise DataError(
                f"Objective 'tag' needs entities, and example {example.id} does not tell whether it has some. Bring "
                "rows of tokens and tags (data.format: entities), or of text and spans (data.format: spans)."
            )
        laid = tagging.lay_out(chat, _text(example), max_tokens)
        found = tagging.classes(laid.words, example.spans, self.labels)
        wanted: dict[int, float] = {}
        for place, tag in zip(laid.places, found, strict=True):
            if tag is not None:
                wanted.setdefault(place, float(tag))
        if not wanted:
            return []
        weights = [float(place in wanted) for place in range(len(laid.ids))]
        target = tuple(wanted[place] for place in sorted(wanted))
        return [Row(laid.ids, weights, example.id, cut=laid.cut, target=target)]

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The words."""
        return {"nll": sum(len(row.target) for row in rows)}

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed cross entropy (nats) of the words."""
        import torch
        from torch.nn import functional

        logits_EC = model.outputs(forest)
        target_E = torch.tensor([int(tag) for row in forest.rows for tag in row.target], device=logits_EC.device)
        return Loss({"nll": (functional.cross_entropy(logits_EC, target_E, reduction="sum"), 1.0)})


def _text(example: Example) -> str:
    return next((message.content for message in reversed(example.prompt) if message.role == "user"), "")
