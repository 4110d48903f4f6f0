"""embed: its losses as published, against plain transformers and torch; micro-batches change nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from tunewright.core import catalog
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Objective
from tunewright.models.forest import Row
from tunewright.models.logistic import logistic
from tunewright.models.tunable import TunableModel
from tunewright.training.encoding import encode
from tunewright.training.step import gradients, look

PAIRS = [
    ("where is my card", "the card is in the post", "cards cost ten euros"),
    ("what does a euro cost", "rates are on the site", "the euro is a coin"),
    ("someone took my card", "block it at once", "we issue cards to everyone who asks for one"),
    ("how do I pay", "by transfer or by card", "do pay attention to the rates"),
    ("close my account", "write to us", "open one today"),
]
LABELLED = [("lost card", "a"), ("my card is lost", "a"), ("what rate", "b"), ("the rate", "b"), ("rates now", "b")]


def pair(number: int, texts: tuple[str, str, str], **meta: Any) -> Example:
    asked, good, bad = (
        Message(role=r, content=t) for r, t in zip(("user", "assistant", "assistant"), texts, strict=True)
    )
    return Example(id=f"p{number}", messages=[asked, good], rejected=[bad], meta=meta)


def labelled(number: int, text: str, label: str) -> Example:
    said = [Message(role="user", content=text), Message(role="assistant", content=label)]
    return Example(id=f"l{number}", messages=said, label=label)


def made(facts: dict[str, Any] | None = None, **options: Any) -> Objective:
    objective: Objective = catalog.build("objectives", {"kind": "embed", **options})
    return objective.fitted(facts or {})


def units_of(objective: Objective, model: TunableModel, examples: Sequence[Example]) -> list[list[Row]]:
    return list(encode(examples, objective, model.chat, max_tokens=256).units)


def pairs_of(objective: Objective, model: TunableModel) -> list[list[Row]]:
    return units_of(objective, model, [pair(n, texts, score=n / 5) for n, texts in enumerate(PAIRS)])


def trained(model: TunableModel) -> torch.Tensor:
    parts = [p.grad.flatten() for p in model.net.parameters() if p.grad is not None]
    for parameter in model.net.parameters():
        parameter.grad = None
    return torch.cat(parts)


def plain(model: TunableModel, rows: Sequence[Row], pool: str) -> torch.Tensor:
    """Vectors by the transformers library alone, one row at a time."""
    found = []
    for row in rows:
        hidden = model.net.base_model(input_ids=torch.tensor([row.items])).last_hidden_state[0]
        found.append(hidden[-1] if pool == "last" else hidden.mean(0))
    return torch.stack(found)


def by_slot(units: Sequence[Sequence[Row]], slot: int) -> list[Row]:
    return [row for unit in units for row in unit if row.slot == slot]


def formula(
    kind: str, model: TunableModel, units: Sequence[Sequence[Row]], pool: str, size: int | None
) -> torch.Tensor:
    """The mean loss as sentence-transformers has it."""
    a, p, n = (normalize(plain(model, by_slot(units, slot), pool)[:, :size], dim=-1) for slot in range(3))
    if kind == "in_batch":
        return cross_entropy(20.0 * a @ torch.cat([p, n]).T, torch.arange(len(a)))
    if kind == "triplet":
        return ((a * n).sum(-1) - (a * p).sum(-1) + 0.3).relu().mean()
    near = ((a * p).sum(-1) - torch.tensor([n / 5 for n in range(len(a))])).square()
    return torch.cat([near, (a * n).sum(-1).square()]).mean()


@pytest.mark.parametrize("kind", ["in_batch", "triplet", "cosine"])
@pytest.mark.parametrize(("pool", "sizes"), [("last", None), ("mean", None), ("mean", [32, 8])])
def test_loss_and_gradient_are_those_of_the_formula(
    open_tiny: Callable[..., TunableModel], kind: str, pool: str, sizes: list[int] | None
) -> None:
    model = open_tiny("llama", double=True)
    model.net.requires_grad_(True)
    objective = made(loss_type=kind, pool=pool, sizes=sizes)
    units = pairs_of(objective, model)
    loss, *_ = gradients(model, objective, units, micro_tokens=10**6, share=True)
    ours = trained(model)
    theirs = torch.stack([formula(kind, model, units, pool, size) for size in sizes or [None]]).mean()
    theirs.backward()
    assert loss == pytest.approx(float(theirs.detach()), rel=1e-6)
    gradient = trained(model)
    assert float((ours - gradient).norm() / gradient.norm()) < 1e-6


@pytest.mark.parametrize("kind", ["in_batch", "triplet", "cosine"])
@pytest.mark.parametrize("facts", [{}, {"labels": {"a": {"train": 2}, "b": {"train": 3}}}])
def test_micro_tokens_change_neither_loss_nor_gradient(
    open_tiny: Callable[..., TunableModel], kind: str, facts: dict[str, Any]
) -> None:
    model = open_tiny("llama", double=True)
    model.net.requires_grad_(True)
    objective = made(facts, loss_type=kind)
    examples = [labelled(n, *one) for n, one in enumerate(LABELLED)] if facts else []
    units = units_of(objective, model, examples) if facts else pairs_of(objective, model)
    units = list(objective.drawn(units, units, seed=1))
    found = []
    for micro_tokens in (10**6, 70, 1):
        loss, terms, _, metrics = gradients(model, objective, units, micro_tokens=micro_tokens, share=True)
        found.append((loss, terms["contrast"], metrics["mrr"], trained(model)))
    assert found[0][0] > 0 and found[0][3].norm() > 0
    for other in found[1:]:
        assert other[:3] == pytest.approx(found[0][:3], rel=1e-6)
        assert float((other[3] - found[0][3]).norm() / found[0][3].norm()) < 1e-6
    seen = look(model, objective, units, micro_tokens=70, poll=lambda: None)
    assert seen.loss == pytest.approx(found[0][0], rel=1e-6) and seen.metrics["mrr"] == found[0][2]


def test_both_passes_draw_the_same_dropout(open_tiny: Callable[..., TunableModel]) -> None:
    model = open_tiny("llama", double=True)
    method = catalog.build("methods", {"kind": "lora", "dropout": 0.3})
    method.attach(model.net, seed=1)
    with torch.no_grad():
        for parameter in model.net.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    objective = made()
    units = pairs_of(objective, model)
    with model.training():
        torch.manual_seed(5)
        loss, *_ = gradients(model, objective, units, micro_tokens=10**6, share=False)
        ours = trained(model)
        torch.manual_seed(5)
        rows = sorted(units, key=lambda unit: unit[0].items)
        whole = objective.loss(model, model.forest([row for unit in rows for row in unit], share=False))
        (whole.terms["contrast"][0] / len(units)).backward()
    gradient = trained(model)
    assert loss == pytest.approx(float(whole.terms["contrast"][0].detach()) / len(units), rel=1e-6)
    assert float((ours - gradient).norm() / gradient.norm()) < 1e-6


def test_a_step_that_holds_an_example_twice_is_that_of_the_formula(open_tiny: Callable[..., TunableModel]) -> None:
    model = open_tiny("llama", double=True)
    model.net.requires_grad_(True)
    objective = made(loss_type="triplet")
    units = pairs_of(objective, model)
    twice = [*units, units[0]]
    loss, *_ = gradients(model, objective, twice, micro_tokens=70, share=True)
    ours = trained(model)
    theirs = formula("triplet", model, twice, "last", None)
    theirs.backward()
    gradient = trained(model)
    assert loss == pytest.approx(float(theirs.detach()), rel=1e-6)
    assert float((ours - gradient).norm() / gradient.norm()) < 1e-6


def test_no_negative_has_the_label_or_the_text_of_the_anchor_or_of_its_positive() -> None:
    from tunewright.objectives._contrast import relations

    def row(example: str, slot: int, *items: int, target: float = 1.0) -> Row:
        return Row(list(items), [1.0] * len(items), example, slot=slot, target=(target,))

    rows = [row("a", 0, 1), row("a", 1, 2), row("b", 0, 1), row("b", 1, 3), row("c", 0, 4), row("c", 1, 2)]
    rows += [row("d", 0, 5), row("d", 1, 1), row("d", 2, 6)]
    found = relations(rows, labelled=False)
    # candidates: a+, b+, c+, d+, d-; a and b ask the same, a and c have the same answer, d's answer is a's question
    assert found.positive_AC.astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
    ]
    assert found.negative_AC.astype(int).tolist() == [
        [0, 0, 0, 0, 1],
        [0, 0, 1, 0, 1],
        [0, 1, 0, 1, 1],
        [1, 1, 1, 0, 1],
    ]
    rows = [row("a", 0, 1, target=0), row("b", 0, 2, target=0), row("c", 0, 3, target=1), row("d", 0, 1, target=1)]
    found = relations(rows, labelled=True)
    assert found.positive_AC.astype(int).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert found.negative_AC.astype(int).tolist() == [[0, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 0]]


def test_rows_are_joined_by_others_of_their_label(open_tiny: Callable[..., TunableModel]) -> None:
    model = open_tiny("llama")
    objective = made({"labels": {"a": {"train": 2}, "b": {"train": 3}}}, loss_type="cosine")
    units = units_of(objective, model, [labelled(n, *one) for n, one in enumerate(LABELLED)])
    draws = [list(objective.drawn(units, units, seed=seed)) for seed in range(20)]
    for unit in draws[0]:
        own, near, far = unit
        assert (own.slot, near.slot, far.slot) == (0, 1, 2) and own.example == near.example == far.example
        assert near.items != own.items and near.target == own.target != far.target
    assert draws[0] == list(objective.drawn(units, units, seed=0))
    assert len({tuple(draw[2][1].items) for draw in draws}) == 2  # either of the two others


def test_the_classifier_is_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(0)
    vectors = normalize(torch.randn(60, 12, generator=generator, dtype=torch.float64), dim=-1)
    labels = torch.randint(0, 4, (60,), generator=generator)
    weight, bias = logistic(vectors, labels, classes=4, strength=3.0)
    theirs = LogisticRegression(C=3.0, tol=1e-10, max_iter=10000).fit(vectors.numpy(), labels.numpy())
    assert torch.allclose(weight, torch.from_numpy(theirs.coef_), atol=1e-4)
    assert torch.allclose(bias, torch.from_numpy(theirs.intercept_ - theirs.intercept_.mean()), atol=1e-4)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(RecipeError, match="margin is for the loss_type 'triplet'"):
        made(margin=0.5)
    with pytest.raises(RecipeError, match="64 is more than the 32 numbers of a vector"):
        made({"hidden": 32}, sizes=[64])
    with pytest.raises(DataError, match=r"two rows of one\. Found 2 labels, at most 1"):
        made({"labels": {"a": {"train": 1}, "b": {"train": 1}}})
    lone = Example(id="x", messages=[Message(role="user", content="alone")])
    assert "a positive" in str(made().lacks(lone))
    rated = made(loss_type="cosine")
    with pytest.raises(DataError, match="p0: the score '4' in column 'score' is not a number of at most 1"):
        rated.encode(pair(0, PAIRS[0], score=4), None, max_tokens=9)  # type: ignore[arg-type]
