"""Objectives with a head against plain transformers, plain PyTorch and TRL: loss, gradient, any micro_tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from tunewright.core import catalog
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.example import Example, Message, Span
from tunewright.core.parts import Objective
from tunewright.models import heads, tagging
from tunewright.models.forest import Row
from tunewright.models.tunable import TunableModel
from tunewright.training.step import gradients

SAID = [
    ("Where is my card?", "card", "It is on its way.", "No."),
    ("Where is my parcel, please? I have waited for weeks.", "parcel", "It comes on Monday.", "Wait for it."),
    ("Fees?", "fees", "There are none.", "Pay them."),
    ("Where is my second card?", "card", "With you.", "It is on its way, perhaps."),
    ("Which fees do you take?", "fees", "None at all.", "Many of them."),
]
LABELS = ["card", "fees", "parcel"]
COUNTS = {"card": {"train": 2}, "fees": {"train": 2}, "parcel": {"train": 1}}


def said(number: int, **fields: Any) -> Example:
    question, label, good, bad = SAID[number]
    messages = [Message(role="user", content=question), Message(role="assistant", content=good)]
    rejected = [Message(role="assistant", content=bad)]
    return Example(id=str(number), **{"messages": messages, "label": label, "rejected": rejected, **fields})


def fitted(kind: str, facts: dict[str, Any], **options: Any) -> Objective:
    objective: Objective = catalog.build("objectives", {"kind": kind, **options}).fitted(facts)
    return objective


def opened(open_tiny: Callable[..., TunableModel], objective: Objective) -> TunableModel:
    """A tiny model whose every weight trains, with a head that says something."""
    model = open_tiny("llama")
    model.net.requires_grad_(True)
    layer = heads.attach_head(model.net, objective.head, seed=3)
    assert layer is not None
    with torch.no_grad():
        layer.weight.mul_(15)
        if layer.bias is not None:
            layer.bias.normal_(generator=torch.Generator().manual_seed(5))
    return model


def theirs_with(model: TunableModel, tiny: Callable[[str], Path], wanted: str, outputs: int) -> Any:
    """The library's own class for this task over the same weights, in float64 like ours from here on."""
    import transformers as tf

    net: Any = getattr(tf, wanted).from_pretrained(tiny("llama"), num_labels=outputs, pad_token_id=299).eval()
    layer = heads.head_of(model.net)
    with torch.no_grad():
        net.score.weight.copy_(layer.weight)
        if net.score.bias is not None and layer.bias is not None:
            net.score.bias.copy_(layer.bias)
    model.net.double()
    return net.double()


def ours(model: TunableModel, objective: Objective, units: list[list[Row]], micro_tokens: int = 10_000) -> float:
    return gradients(model, objective, units, micro_tokens=micro_tokens, share=True)[0]


def same_gradient(model: TunableModel, net: Any) -> None:
    own = {name: p.grad for name, p in model.net.named_parameters() if p.grad is not None}
    other = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    inner = {name for name in own if name.startswith("model.")}
    assert inner == {name for name in other if name.startswith("model.")}
    pairs = [(own[name], other[name]) for name in sorted(inner)]
    pairs.append((heads.head_of(model.net).weight.grad, net.score.weight.grad))
    one, two = (torch.cat([pair[side].flatten() for pair in pairs]) for side in (0, 1))  # type: ignore[union-attr]
    assert float((one - two).norm() / two.norm()) < 1e-6  # the library's norms compute in float32


@pytest.mark.parametrize("balance", [False, True])
def test_classify_is_the_librarys_sequence_classification(
    open_tiny: Any, tiny: Callable[[str], Path], balance: bool
) -> None:
    objective = fitted("classify", {"labels": COUNTS}, balance=balance)
    model = opened(open_tiny, objective)
    layer = heads.head_of(model.net)
    assert layer.bias is not None
    layer.bias.data.zero_()  # the library's class has none
    units = [objective.encode(said(n), model.chat, max_tokens=99) for n in range(5)]
    net = theirs_with(model, tiny, "LlamaForSequenceClassification", 3)
    logits = torch.cat([net(input_ids=torch.tensor([rows[0].items])).logits for rows in units])
    target = torch.tensor([LABELS.index(SAID[n][1]) for n in range(5)])
    weights = torch.tensor([5 / 6, 5 / 6, 5 / 3], dtype=torch.float64) if balance else None
    loss = functional.cross_entropy(logits, target, weight=weights)
    loss.backward()
    assert ours(model, objective, units) == pytest.approx(loss.item(), rel=1e-6)
    same_gradient(model, net)


def test_several_labels_are_a_decision_each(open_tiny: Any, tiny: Callable[[str], Path]) -> None:
    texts = ["card, fees", "parcel", json.dumps([]), json.dumps(["fees"]), "fees,parcel"]
    objective = fitted("classify", {"labels": {text: {"train": 1} for text in texts}}, multi=True)
    assert objective.decoding()["labels"] == LABELS  # type: ignore[index]
    model = opened(open_tiny, objective)
    heads.head_of(model.net).bias.data.zero_()  # type: ignore[union-attr]
    units = [objective.encode(said(n, label=texts[n]), model.chat, max_tokens=99) for n in range(5)]
    net = theirs_with(model, tiny, "LlamaForSequenceClassification", 3)
    logits = torch.cat([net(input_ids=torch.tensor([rows[0].items])).logits for rows in units])
    wanted = torch.tensor([[1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0], [0, 1, 1]], dtype=torch.float64)
    loss = functional.binary_cross_entropy_with_logits(logits, wanted)
    loss.backward()
    assert ours(model, objective, units) == pytest.approx(loss.item(), rel=1e-6)
    same_gradient(model, net)


def test_regress_is_the_mean_squared_error_of_standardised_numbers(open_tiny: Any, tiny: Callable[[str], Path]) -> None:
    numbers = ["1.5", "2", "-3", "7.25", "2"]
    objective = fitted("regress", {"labels": {"1.5": {"train": 1}, "2": {"train": 2}, "-3": {"train": 1},
                                              "7.25": {"train": 1}, "100": {"train": 0}}})  # fmt: skip
    values = torch.tensor([float(text) for text in numbers], dtype=torch.float64)
    assert objective.model_dump()["mean"] == pytest.approx(values.mean().item(), rel=1e-6)
    assert objective.model_dump()["std"] == pytest.approx(values.std(correction=0).item(), rel=1e-6)
    model = opened(open_tiny, objective)
    heads.head_of(model.net).bias.data.zero_()  # type: ignore[union-attr]
    units = [objective.encode(said(n, label=numbers[n]), model.chat, max_tokens=99) for n in range(5)]
    net = theirs_with(model, tiny, "LlamaForSequenceClassification", 1)
    made = torch.cat([net(input_ids=torch.tensor([rows[0].items])).logits[:, 0] for rows in units])
    loss = functional.mse_loss(made, (values - values.mean()) / values.std(correction=0))
    loss.backward()
    assert ours(model, objective, units) == pytest.approx(loss.item(), rel=1e-6)
    same_gradient(model, net)


def tagged(number: int, *words: str) -> Example:
    text = SAID[number][0]
    return said(number, spans=[Span(start=text.index(w), end=text.index(w) + len(w), label="thing") for w in words])


def test_tag_is_the_librarys_token_classification(open_tiny: Any, tiny: Callable[[str], Path]) -> None:
    examples = [tagged(0, "card"), tagged(1, "parcel"), tagged(2), tagged(3, "second card"), tagged(4, "fees")]
    objective = fitted("tag", {"entities": {"thing": {"train": 4}}})
    model = opened(open_tiny, objective)
    units = [objective.encode(example, model.chat, max_tokens=99) for example in examples]
    net = theirs_with(model, tiny, "LlamaForTokenClassification", 3)
    total, count = torch.zeros((), dtype=torch.float64), 0
    for example, rows in zip(examples, units, strict=True):
        laid = tagging.lay_out(model.chat, example.messages[0].content, 99)
        labels = torch.full((len(laid.ids),), -100)
        for place, tag in zip(laid.places, tagging.classes(laid.words, example.spans or [], ["thing"]), strict=True):
            assert tag is not None
            labels[place] = tag
        logits = net(input_ids=torch.tensor([rows[0].items])).logits[0]
        total = total + functional.cross_entropy(logits, labels, reduction="sum")
        count += int((labels >= 0).sum())
    (total / count).backward()
    assert ours(model, objective, units) == pytest.approx(total.item() / count, rel=1e-6)
    same_gradient(model, net)


@pytest.mark.parametrize("margin", [None, "margin"])
def test_reward_is_trls(open_tiny: Any, tiny: Callable[[str], Path], tmp_path: Path, margin: str | None) -> None:
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    objective = fitted("reward", {}, margin=margin)
    model = opened(open_tiny, objective)
    units = [objective.encode(said(n, meta={"margin": n / 3}), model.chat, max_tokens=99) for n in range(5)]
    net = theirs_with(model, tiny, "LlamaForSequenceClassification", 1)
    rows = [
        {"chosen_ids": pair[0].items, "rejected_ids": pair[1].items} | ({"margin": n / 3} if margin else {})
        for n, pair in enumerate(units)
    ]
    args = RewardConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", per_device_train_batch_size=5,
        gradient_checkpointing=False, max_length=None,
    )  # fmt: skip
    model.chat.tokenizer.pad_token = model.chat.tokenizer.convert_ids_to_tokens(299)
    trainer = RewardTrainer(
        model=net, args=args, train_dataset=Dataset.from_list(rows), processing_class=model.chat.tokenizer
    )
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(net, batch)
    loss.backward()
    assert ours(model, objective, units) == pytest.approx(loss.item(), rel=1e-6)
    same_gradient(model, net)
    found = objective.right(model, model.forest([row for unit in units for row in unit]))
    rewards = [[net(input_ids=torch.tensor([row.items])).logits.item() for row in unit] for unit in units]
    assert found == {str(n): float(chosen > rejected) for n, (chosen, rejected) in enumerate(rewards)}


EVERY = {
    "classify": {"labels": COUNTS},
    "regress": {"labels": {"1": {"train": 2}, "3": {"train": 2}}},
    "tag": {"entities": {"thing": {"train": 4}}},
    "reward": {},
}


@pytest.mark.parametrize("kind", sorted(EVERY))
@pytest.mark.parametrize("base", ["llama", "qwen2", "gemma2", "gpt2"])
def test_micro_tokens_change_nothing(open_tiny: Callable[..., TunableModel], kind: str, base: str) -> None:
    objective = fitted(kind, EVERY[kind])
    examples = [
        said(n, label="3" if kind == "regress" else SAID[n][1], spans=[Span(start=0, end=5, label="thing")])
        for n in range(5)
    ]
    found = []
    for micro_tokens in (1, 60, 10_000):
        model = open_tiny(base, double=True)
        heads.attach_head(model.net, objective.head, seed=1)
        model.net.double()
        units = [objective.encode(example, model.chat, max_tokens=99) for example in examples]
        loss = ours(model, objective, units, micro_tokens)
        grads = [p.grad.flatten() for p in model.net.parameters() if p.grad is not None]
        found.append((loss, torch.cat(grads)))
    for loss, grad in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-12)
        assert float((grad - found[0][1]).norm() / grad.norm()) < 1e-8


def test_what_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(RecipeError, match=r"objective.labels lacks 'parcel', which 1 training rows have"):
        fitted("classify", {"labels": COUNTS}, labels=["card", "fees"])
    with pytest.raises(DataError, match="needs a number as the label of every row, found 'card'"):
        fitted("regress", {"labels": COUNTS})
    with pytest.raises(DataError, match="All training rows have the label 'a'"):
        fitted("classify", {"labels": {"a": {"train": 3}, "b": {"train": 0}}})
    with pytest.raises(DataError, match="no training row has one"):
        fitted("tag", {"labels": COUNTS})
    with pytest.raises(RecipeError, match="balance and weights are for texts of one label"):
        catalog.build("objectives", {"kind": "classify", "multi": True, "balance": True})
    with pytest.raises(RecipeError, match="the first token of a causal model has seen nothing"):
        fitted("classify", {"labels": COUNTS}, pool="first")
    with pytest.raises(RecipeError, match="the last token of an encoder's text only ends it"):
        fitted("classify", {"labels": COUNTS, "encoder": True}, pool="last")


def test_a_label_that_no_training_row_has_is_left_out_beside_them(open_tiny: Callable[..., TunableModel]) -> None:
    objective = fitted("classify", {"labels": COUNTS | {"new": {"train": 0, "validation": 1}}})
    assert objective.encode(said(0, label="new"), open_tiny("llama").chat, max_tokens=99) == []
