"""Sentence embeddings by contrastive learning: texts that belong together come to lie near each other."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator

from tunewright.core.example import Example, Message
from tunewright.core.parts import Head, Loss
from tunewright.objectives import _contrast
from tunewright.objectives._contrast import NEGATIVE, POSITIVE
from tunewright.objectives._one_text import OneText

if TYPE_CHECKING:
    from typing import Self

    import torch

    from tunewright.models.chat import Chat
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel

Key = tuple[str, int, tuple[int, ...]]
SCALE, MARGIN, COLUMN = 20.0, 0.3, "score"


@dataclass(frozen=True)
class Step:
    """What the first pass over a step tells the second.

    gradient: of the summed loss with respect to each row's vector; losses: of each anchor; seeds: of each forest's
    draws, by its first row; ranks: the place of each anchor's positive.
    """

    gradient: Mapping[Key, torch.Tensor]
    losses: Mapping[Key, float]
    seeds: Mapping[Key, int]
    ranks: Mapping[Key, int]


class Embed(OneText):
    """Makes one vector of a text, so that the cosine of two vectors tells whether the texts belong together.

    Needs messages, and either a label (rows of one label belong together, as in SetFit, Tunstall et al. 2022, arXiv
    2209.11055) or an answer: the text that belongs to the user's; `rejected` are those that do not. loss: `in_batch`
    (InfoNCE, van den Oord et al. 2018, arXiv 1807.03748, eq. 4; with several positives their mean, Khosla et al. 2020,
    arXiv 2004.11362, eq. 2), `triplet` (Schroff et al. 2015, arXiv 1503.03832, eq. 2, on cosines; without a negative of
    its own an anchor takes the nearest of the step), `cosine` (regression, Reimers and Gurevych 2019, arXiv
    1908.10084). A loss sees all pairs of a step: vectors are made without gradient first, then micro-batches are run
    again to which the loss's gradient is handed (Gao et al. 2021, arXiv 2101.06983), so that `micro_tokens` changes
    nothing. With labels, a logistic regression over the finished vectors answers. Neighbours: classify, reward.
    """

    needs: ClassVar[tuple[str, ...]] = ("messages",)
    tested: ClassVar[bool] = True

    learns_from: Literal["auto", "labels", "pairs"] = Field(
        "auto", description="What belongs together: rows of one label, or a text and its answer; auto: by the data."
    )
    labels: list[str] | None = Field(None, description="The labels in order; those of the training rows when left out.")
    loss_type: Literal["in_batch", "triplet", "cosine"] = Field(
        "in_batch",
        description="'in_batch' tells a text's partner from all others of the step, and learns most of large batches; "
        "'triplet' from one other; 'cosine' brings each cosine to a score.",
    )
    scale: float = Field(
        SCALE, gt=0, description="Of cosines, in in_batch: higher looks at the nearest negatives alone (1/temperature)."
    )
    margin: float = Field(
        MARGIN, gt=0, le=2, description="For triplet: how much nearer the partner must be (cosine) to cost nothing."
    )
    column: str = Field(COLUMN, description="For cosine: the column with a pair's score; 1 where a row has none.")
    best_score: float = Field(1.0, gt=0, description="The score of texts that say the same; scores are divided by it.")
    sizes: list[int] | None = Field(
        None,
        min_length=1,
        description="Also learn the first numbers of a vector as a vector, at these sizes: vectors can then be cut; "
        "costs a little of the full size.",
    )
    strength: float = Field(
        1.0, gt=0, description="With labels: how closely the classifier follows the rows (C of logistic regression)."
    )

    _step: Step | None = PrivateAttr(None)
    _members: tuple[Any, dict[float, list[int]]] | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        used = {"scale": ("in_batch", SCALE), "margin": ("triplet", MARGIN), "column": ("cosine", COLUMN)}
        used["best_score"] = ("cosine", 1.0)
        for name, (loss, usual) in used.items():
            if getattr(self, name) != usual and self.loss_type != loss:
                raise ValueError(f"{name} is for the loss_type '{loss}'; leave it out, or take that loss")
        if self.sizes and (min(self.sizes) < 1 or len(set(self.sizes)) < len(self.sizes)):
            raise ValueError("sizes must be different numbers from 1 on")
        return self

    # --- what it needs, and what it leaves ---

    @property
    def by_head(self) -> bool:
        """Vectors are made, and no tokens."""
        return True

    @property
    def least_batch(self) -> int:
        """A text is told from the others of its step."""
        return 1 if self.loss_type == "cosine" else 2

    @property
    def head(self) -> Head | None:
        """With labels, a classifier over vectors of length 1, which `settle` fills."""
        if self.learns_from != "labels":
            return None
        assert self.labels is not None, "choose fills the labels"
        return Head(len(self.labels), "embed", pool=self.pool, unit=True)

    @property
    def figure(self) -> str | None:
        """With pairs: how often a text's partner is nearer than all other candidates of the test rows."""
        return "accuracy@1" if self.learns_from == "pairs" else None

    @property
    def fitting_graders(self) -> list[str | dict[str, Any]] | None:
        """Pairs have no answer to grade."""
        return [] if self.learns_from == "pairs" else None

    def decoding(self) -> dict[str, Any]:
        """Vectors, and with labels the likeliest one."""
        return {"kind": "embed", "labels": self.labels or [], "pool": self.pool, "sizes": self.sizes or []}

    def lacks(self, example: Example) -> str | None:
        """A label, or a text that belongs to the user's."""
        if not example.messages:
            return "'messages'"
        if self.learns_from == "pairs":
            return None if example.answer else "a positive (the text that belongs to the anchor)"
        return None if example.label or (example.answer and self.learns_from == "auto") else "'label'"

    def fitted(self, facts: Mapping[str, Any]) -> Embed:
        """With what belongs together, the labels, and the hidden state to read."""
        from tunewright.core.errors import DataError, RecipeError

        counts = {text: sides["train"] for text, sides in (facts.get("labels") or {}).items() if sides["train"]}
        learns_from = self.learns_from if self.learns_from != "auto" else "labels" if counts else "pairs"
        hidden = facts.get("hidden")
        if self.sizes and hidden and max(self.sizes) > hidden:
            raise RecipeError(
                f"objective.sizes: {max(self.sizes)} is more than the {hidden} numbers of a vector. Give less."
            )
        labels = None
        if learns_from == "labels":
            labels = self.labels if self.labels is not None else sorted(counts)
            if missing := sorted(set(counts) - set(labels)):
                raise RecipeError(
                    f"objective.labels lacks '{missing[0]}', which {counts[missing[0]]} training rows have "
                    f"({len(missing)} labels in all). Add it, or leave labels out."
                )
            if len(counts) < 2 or max(counts.values()) < 2:
                raise DataError(
                    "Objective 'embed' brings rows of one label together and others apart: it needs two labels or "
                    f"more, and two rows of one. Found {len(counts)} labels, at most {max(counts.values(), default=0)} "
                    "training rows of one. Bring more rows."
                )
        return self.model_copy(update={"learns_from": learns_from, "labels": labels, "pool": self.pool_for(facts)})

    # --- rows ---

    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """With labels one row; else the anchor (slot 0), its positive (1) and its negatives (2). None where a text
        is too long, or its label is not one to learn.
        """
        assert self.learns_from != "auto", "choose fills it"
        if self.learns_from == "labels":
            if example.label not in (self.labels or []):
                return []
            return self.row(example, chat, max_tokens, [float((self.labels or []).index(example.label))])
        score = self._score(example)
        texts = [None, example.answer, *_negatives(example)]
        rows: list[Row] = []
        for slot, text in enumerate(texts):
            if slot and text is None:
                continue
            asked = example if text is None else _with_text(example, text)
            found = self.row(asked, chat, max_tokens, [score])
            if not found:
                return []
            rows.append(replace(found[0], slot=min(slot, NEGATIVE)))
        return [*rows[1:], rows[0]]  # the anchor last: with it a release is asked

    def _score(self, example: Example) -> float:
        from tunewright.core.errors import DataError

        value = example.meta.get(self.column, self.best_score) if self.loss_type == "cosine" else self.best_score
        try:
            score = float(value) / self.best_score
        except (TypeError, ValueError):
            score = float("nan")
        if not -1 <= score <= 1:
            raise DataError(
                f"{example.id}: the score '{value}' in column '{self.column}' is not a number of at most "
                f"{self.best_score:g}. Correct it, or set objective.best_score to the highest score."
            )
        return score

    def drawn(self, units: Sequence[list[Row]], data: Sequence[list[Row]], *, seed: int) -> Sequence[list[Row]]:
        """With labels: each row with another one of its label, for cosine also with one of another label."""
        if self.learns_from != "labels":
            return units
        members = self._by_label(data)
        chance = random.Random(seed)
        found: list[list[Row]] = []
        for unit in units:
            own = unit[0]
            near = self._one(members.get(own.target[0], []), data, own, chance)
            rows = [*unit, *([replace(near, example=own.example, slot=POSITIVE)] if near else [])]
            if self.loss_type == "cosine":
                other = chance.choice([label for label in members if label != own.target[0]])
                far = data[chance.choice(members[other])][0]
                rows.append(replace(far, example=own.example, slot=NEGATIVE))
            found.append(rows)
        return found

    def _by_label(self, data: Sequence[list[Row]]) -> dict[float, list[int]]:
        if self._members is None or self._members[0] is not data:
            members: dict[float, list[int]] = {}
            for number in range(len(data)):
                members.setdefault(data[number][0].target[0], []).append(number)
            self._members = (data, members)
        return self._members[1]

    @staticmethod
    def _one(numbers: list[int], data: Sequence[list[Row]], own: Row, chance: random.Random) -> Row | None:
        """One of these rows that is not the own one; None where there is no other."""
        for number in chance.sample(numbers, min(2, len(numbers))):
            if data[number][0].example != own.example:
                return data[number][0]
        return None

    # --- the loss ---

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """Anchors that have a partner and something to be told from; for cosine, pairs."""
        return {"contrast": self._related(rows).count(self.loss_type)}

    def for_step(self, model: TunableModel, units: Sequence[Sequence[Row]], *, micro_tokens: int, share: bool) -> Embed:
        """With the vectors of the whole step, and the loss's gradient with respect to them."""
        import torch

        rows: list[Row] = []
        parts, seeds = [], {}
        first_seed = torch.initial_seed()
        for number, batch in enumerate(model.micro_batches(units, micro_tokens, share=share)):
            seeds[_key(batch[0])] = (first_seed + number) % 2**63
            parts.append(self._vectors(model, model.forest(batch, share=share), seeds[_key(batch[0])]))
            rows += batch
        related = self._related(rows)
        vectors_RD = torch.cat(parts).detach()
        with torch.inference_mode(False), torch.enable_grad():
            leaf_RD = vectors_RD.clone().requires_grad_()
            loss_A = self._losses(leaf_RD, related)
            (gradient_RD,) = torch.autograd.grad(loss_A.sum(), leaf_RD)
        usable, ranks = _contrast.ranks(vectors_RD, related)
        anchors = [_key(rows[number]) for number in related.anchors]
        done = self.model_copy()
        done._step = Step(
            # a row that stands twice in a step has the same vector both times: each time the mean of its gradients
            gradient=_means([_key(row) for row in rows], list(gradient_RD)),
            losses={key: float(loss) for key, loss in _means(anchors, list(loss_A.detach())).items()},
            seeds=seeds,
            ranks={anchors[at]: int(rank) for at, rank in zip(usable, ranks, strict=True)},
        )
        return done

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """The loss summed over anchors of the forest: as the whole step has it, else with the forest as the step."""
        import torch

        if self._step is None:
            vectors_RD, related = self._vectors(model, forest), self._related(forest.rows)
            return Loss({"contrast": (self._losses(vectors_RD, related).sum(), 1.0)})
        step, keys = self._step, [_key(row) for row in forest.rows]
        known = torch.tensor(sum(step.losses[key] for key in keys if key in step.losses), device=model.device)
        metrics = _figures([step.ranks[key] for key in keys if key in step.ranks])
        if not torch.is_grad_enabled():
            return Loss({"contrast": (known, 1.0)}, metrics)
        vectors_RD = self._vectors(model, forest, step.seeds.get(keys[0]))
        pushed = (vectors_RD * torch.stack([step.gradient[key] for key in keys])).sum()
        return Loss({"contrast": (pushed - pushed.detach() + known, 1.0)}, metrics)

    def right(self, model: TunableModel, forest: Forest) -> dict[str, float]:
        """1 where a text's partner is nearer than all other candidates of the step."""
        assert self._step is not None, "asked through for_step"
        ranks = self._step.ranks
        return {row.example: float(ranks[_key(row)] == 1) for row in forest.rows if _key(row) in ranks}

    def _vectors(self, model: TunableModel, forest: Forest, seed: int | None = None) -> torch.Tensor:
        import torch

        if seed is not None and model.route.training:
            torch.manual_seed(seed)  # both passes draw the same dropout
        pooled = model.pooled(forest, self.pool)
        return pooled if pooled.dtype == torch.float64 else pooled.float()

    def _losses(self, vectors_RD: torch.Tensor, related: _contrast.Relations) -> torch.Tensor:
        return _contrast.losses(
            self.loss_type,
            vectors_RD,
            related,
            scale=self.scale,
            margin=self.margin,
            sizes=self.sizes or [vectors_RD.shape[1]],
        )

    def _related(self, rows: Sequence[Row]) -> _contrast.Relations:
        return _contrast.relations(rows, labelled=self.learns_from == "labels")

    # --- the classifier ---

    def settle(self, model: TunableModel, units: Sequence[Sequence[Row]], *, micro_tokens: int) -> None:
        """With labels: fit the head to the training rows' vectors, by logistic regression."""
        import torch

        from tunewright.models.heads import head_of
        from tunewright.models.logistic import logistic

        if self.learns_from != "labels":
            return
        vectors, labels = [], []
        with torch.no_grad():
            for rows in model.micro_batches([[unit[0]] for unit in units], micro_tokens):
                vectors.append(self._vectors(model, model.forest(rows)))
                labels += [int(row.target[0]) for row in rows]
            layer = head_of(model.net)
            unit_RD = torch.nn.functional.normalize(torch.cat(vectors), dim=-1)
        weight, bias = logistic(
            unit_RD, torch.tensor(labels, device=unit_RD.device), classes=len(layer.weight), strength=self.strength
        )
        assert layer.bias is not None
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


def _with_text(example: Example, text: str) -> Example:
    said = Message(role="user", content=text)
    return Example.model_construct(id=example.id, messages=[*example.prompt[:-1], said])


def _key(row: Row) -> Key:
    return row.example, row.slot, tuple(row.items)


def _means(keys: Sequence[Key], values: Sequence[torch.Tensor]) -> dict[Key, torch.Tensor]:
    found: dict[Key, torch.Tensor] = {}
    times: dict[Key, int] = {}
    for key, value in zip(keys, values, strict=True):
        found[key] = found[key] + value if key in found else value
        times[key] = times.get(key, 0) + 1
    return {key: value / times[key] for key, value in found.items()}


def _figures(ranks: Sequence[int]) -> dict[str, tuple[float, float]]:
    count = float(len(ranks))
    return {
        "accuracy@1": (float(sum(rank == 1 for rank in ranks)), count),
        "mrr": (sum(1 / rank for rank in ranks), count),
    }


def _negatives(example: Example) -> list[str]:
    """Several texts of the assistant in a row are a negative each; else what the rejected answer ends with."""
    rejected = example.rejected or []
    if all(message.role == "assistant" for message in rejected):
        return [message.content for message in rejected]
    return [rejected[-1].content]
