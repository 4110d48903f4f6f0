"""Losses of preference objectives on the figures of their papers, and TRL as oracle: loss and gradient of one batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.models.forest import Forest, Row
from tunewright.models.reference import Reference
from tunewright.training.step import gradients

LN2 = 0.693147


class Given:
    """A model of which the log-probs of each row are known: chosen -20, -35; rejected -24, -33."""

    def __init__(self, reference: list[float]) -> None:
        self.values = [-20.0, -24.0, -35.0, -33.0]
        self.reference: Any = Given.__new__(Given)
        self.reference.values = reference

    def logprobs(self, forest: Forest) -> torch.Tensor:
        return torch.tensor(
            self.values[: len(forest.rows)] if len(forest.rows) == 4 else self.values, dtype=torch.float64
        )


REFERENCE = [-22.0, -23.0, -34.0, -36.0]
LENGTHS = [(10, 12), (14, 11)]
ROWS = [
    Row([1] * (1 + n), [0.0] + [1.0] * n, f"e{pair}", slot=slot)
    for pair, of_pair in enumerate(LENGTHS)
    for slot, n in enumerate(of_pair)
]


def loss_of(
    objective: dict[str, Any], reference: list[float] = REFERENCE, rows: list[Row] = ROWS, **private: Any
) -> Any:
    part = catalog.build("objectives", objective)
    for name, value in private.items():
        setattr(part, name, value)
    return part.loss(Given(reference), Forest.build(rows))


@pytest.mark.parametrize(
    ("objective", "wanted"),
    [
        ({"kind": "dpo"}, 0.554355 + 0.913015),
        ({"kind": "dpo", "smoothing": 0.1}, 0.584355 + 0.873015),
        ({"kind": "dpo", "loss_type": "robust", "smoothing": 0.1}, 0.516855 + 0.963015),
        ({"kind": "dpo", "loss_type": "hinge"}, 0.7 + 1.4),
        ({"kind": "dpo", "loss_type": "ipo"}, 22.246944 + 28.560002),
        ({"kind": "simpo", "beta": 2.5, "gamma": 1.375}, 1.600413 + 0.757599),
    ],
)
def test_the_loss_of_two_pairs(objective: dict[str, Any], wanted: float) -> None:
    [(value, weight)] = loss_of(objective).terms.values()
    assert weight == 1 and float(value) == pytest.approx(wanted, abs=2e-6)


@pytest.mark.parametrize(("loss_type", "wanted"), [("sigmoid", LN2), ("robust", LN2), ("hinge", 1.0), ("ipo", 25.0)])
def test_the_loss_of_a_model_that_is_its_reference(loss_type: str, wanted: float) -> None:
    [(value, _)] = loss_of({"kind": "dpo", "loss_type": loss_type}, [-20.0, -24.0, -35.0, -33.0]).terms.values()
    assert float(value) / 2 == pytest.approx(wanted, abs=1e-6)


def test_orpo_learns_the_answer_and_the_odds() -> None:
    terms = loss_of({"kind": "orpo", "weight": 0.1}).terms
    assert float(terms["nll"][0]) == pytest.approx(2.0 + 2.5)
    assert float(terms["odds"][0] * terms["odds"][1]) == pytest.approx(0.069315 + 0.046116, abs=2e-6)


@pytest.mark.parametrize(("kl", "wanted"), [(0.5, (0.462570, 0.462570, 0.537430, 0.562177)), (0.0, None)])
def test_kto_judges_each_answer(kl: float, wanted: tuple[float, ...] | None) -> None:
    reference = REFERENCE if wanted else [-20.0, -24.0, -35.0, -33.0]
    [(value, _)] = loss_of({"kind": "kto"}, reference, _distance=kl).terms.values()
    assert float(value) == pytest.approx(sum(wanted) if wanted else 4 * 0.5, abs=2e-6)


def test_metrics_are_sums_over_pairs() -> None:
    found = loss_of({"kind": "dpo"}).metrics
    assert {name: count for name, (_, count) in found.items()} == dict.fromkeys(found, 2.0)
    assert found["rewards/chosen"][0] == pytest.approx(0.1 * (2 - 1))
    assert found["margin"][0] == pytest.approx(0.1 * (3 - 4))
    assert found["accuracy"][0] == 1


# --- TRL ---

PAIR_ROWS = [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 4  # what a trainer needs to begin; batches are made
PROMPTS = [[(7 * n + k) % 290 + 3 for n in range(20 + 5 * k)] for k in range(4)]
ANSWERS = [
    ([5, 6, 7, 2], [8, 9, 2]),
    ([11, 12, 2], [13, 2]),
    ([21, 22, 23, 24, 2], [5, 6, 7, 2]),
    ([31, 2], [9, 8, 7, 6, 5, 2]),
]


def units_of(prompts: list[list[int]] = PROMPTS, answers: Any = ANSWERS) -> list[list[Row]]:
    return [
        [Row([*prompt, *a], [0.0] * len(prompt) + [1.0] * len(a), f"e{k}", slot=slot) for slot, a in enumerate(pair)]
        for k, (prompt, pair) in enumerate(zip(prompts, answers, strict=True))
    ]


@pytest.fixture
def ours(open_tiny: Callable[..., Any], open_plain: Callable[..., Any]) -> Callable[..., Any]:
    """ours(): a model moved away from its reference (so that no loss stands at its start), and TRL's twins of both."""

    def opened() -> tuple[Any, Any, Any]:
        model, plain, untouched = open_tiny("llama"), open_plain("llama"), open_plain("llama")
        method = catalog.build("methods", "full")
        method.attach(model.net)
        for net in (model.net, plain):
            draw = torch.Generator().manual_seed(3)
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.02)
        model.reference = Reference(model, method, lambda: open_tiny("llama"))
        return model, plain, untouched

    return opened


def same(model: Any, plain: Any, objective: Any, units: Any, theirs: torch.Tensor, tools: Any) -> None:
    gradients_of, gap = tools
    theirs.backward()
    wanted = gradients_of(plain)
    for micro_tokens in (10_000, 1):
        loss, *_ = gradients(model, objective, units, micro_tokens=micro_tokens, share=True)
        assert loss == pytest.approx(theirs.item(), rel=1e-5)
        assert gap(gradients_of(model.net), wanted) <= 1e-5


QUIET = dict(use_cpu=True, bf16=False, report_to="none", gradient_checkpointing=False)


@pytest.mark.parametrize(("loss_type", "smoothing"), [("sigmoid", 0.0), ("robust", 0.1), ("hinge", 0.0), ("ipo", 0.0)])
def test_dpo_is_trl_s(loss_type: str, smoothing: float, ours: Any, gradients_of: Any, gap: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    model, plain, untouched = ours()
    pairs = [{"prompt_ids": p, "chosen_ids": a, "rejected_ids": b} for p, (a, b) in zip(PROMPTS, ANSWERS, strict=True)]
    trainer = DPOTrainer(
        model=plain,
        ref_model=untouched,
        args=DPOConfig(
            output_dir=str(tmp_path), per_device_train_batch_size=4, loss_type=loss_type, beta=0.3,
            label_smoothing=smoothing, max_length=None, disable_dropout=False, **QUIET,
        ),
        train_dataset=Dataset.from_list(PAIR_ROWS),
        processing_class=model.chat.tokenizer,
    )  # fmt: skip
    batch = trainer.data_collator(pairs)
    objective = catalog.build(
        "objectives", {"kind": "dpo", "loss_type": loss_type, "smoothing": smoothing, "beta": 0.3}
    )
    theirs = trainer.compute_loss(trainer.model, batch)
    same(model, plain, objective, units_of(), theirs, (gradients_of, gap))


@pytest.mark.parametrize("judged", ["one by one", "in pairs"])
def test_kto_is_trl_s(judged: str, ours: Any, gradients_of: Any, gap: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    model, plain, untouched = ours()
    units = units_of()
    if judged == "one by one":
        units = [[unit[number % 2]] for number, unit in enumerate(units)]
        order = [row for unit in units for row in unit]
    else:  # so that each answer, moved on by one, lands behind the prompt of another pair
        order = [unit[slot] for slot in (0, 1) for unit in units]
    cut = {row.example: len(p) for row, p in zip((unit[0] for unit in units_of()), PROMPTS, strict=True)}
    rows = [(row.items[: cut[row.example]], row.items[cut[row.example] :], row.slot == 0) for row in order]
    size = len(PROMPTS)
    moved = [rows[at + (n - 1) % size][1] for at in range(0, len(rows), size) for n in range(size)]
    judged_rows = [
        {"prompt_ids": p, "completion_ids": a, "KL_completion_ids": k, "label": good}
        for (p, a, good), k in zip(rows, moved, strict=True)
    ]
    trainer = KTOTrainer(
        model=plain,
        ref_model=untouched,
        args=KTOConfig(
            output_dir=str(tmp_path), per_device_train_batch_size=len(rows), beta=0.3, undesirable_weight=1.5,
            max_length=None, disable_dropout=False, **QUIET,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a", "completion": "b", "label": True}] * 2),
        processing_class=model.chat.tokenizer,
    )  # fmt: skip
    batch = trainer.data_collator(judged_rows)
    objective = catalog.build("objectives", {"kind": "kto", "beta": 0.3, "undesirable": 1.5})
    theirs = trainer.compute_loss(trainer.model, batch)
    [kl] = trainer._metrics["eval"]["kl"]
    assert kl > 0
    with torch.no_grad():
        measured = objective.for_step(model, units, micro_tokens=50, share=True)
    assert measured._distance == pytest.approx(kl, rel=1e-5)
    same(model, plain, objective, units, theirs, (gradients_of, gap))


def padded(units: list[list[Row]], slot: int, prefix: str) -> dict[str, torch.Tensor]:
    rows = [unit[slot] for unit in units]
    longest = max(len(row.items) for row in rows)

    def tensor(values: list[list[int]], fill: int) -> torch.Tensor:
        return torch.tensor([[*one, *[fill] * (longest - len(one))] for one in values])

    return {
        f"{prefix}_input_ids": tensor([row.items for row in rows], 0),
        f"{prefix}_attention_mask": tensor([[1] * len(row.items) for row in rows], 0),
        f"{prefix}_labels": tensor(
            [[i if w else -100 for i, w in zip(row.items, row.weights, strict=True)] for row in rows], -100
        ),
    }


def test_simpo_is_trl_s(ours: Any, gradients_of: Any, gap: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    model, plain, _ = ours()
    trainer = CPOTrainer(
        model=plain,
        args=CPOConfig(
            output_dir=str(tmp_path), loss_type="simpo", cpo_alpha=0.0, beta=2.0, simpo_gamma=0.7,
            disable_dropout=False, **QUIET,
        ),
        train_dataset=Dataset.from_list(PAIR_ROWS),
        processing_class=model.chat.tokenizer,
    )  # fmt: skip
    units = units_of()
    batch = padded(units, 0, "chosen") | padded(units, 1, "rejected")
    theirs, _ = trainer.get_batch_loss_metrics(trainer.model, batch)
    objective = catalog.build("objectives", {"kind": "simpo", "beta": 2.0, "gamma": 0.7})
    same(model, plain, objective, units, theirs, (gradients_of, gap))


def test_orpo_is_trl_s(ours: Any, gradients_of: Any, gap: Any, tmp_path: Path) -> None:
    """TRL learns the prompt too and takes the mean over tokens: the same with prompts of a token and equal answers."""
    from datasets import Dataset
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    model, plain, _ = ours()
    trainer = ORPOTrainer(
        model=plain,
        args=ORPOConfig(output_dir=str(tmp_path), beta=0.4, disable_dropout=False, **QUIET),
        train_dataset=Dataset.from_list(PAIR_ROWS),
        processing_class=model.chat.tokenizer,
    )
    answers = [([5 + k, 6, 7, 2], [8, 9 + k, *[3] * k, 2]) for k in range(4)]
    units = units_of([[40 + k] for k in range(4)], answers)
    batch = padded(units, 0, "chosen") | padded(units, 1, "rejected")
    theirs, _ = trainer.get_batch_loss_metrics(trainer.model, batch)
    objective = catalog.build("objectives", {"kind": "orpo", "weight": 0.4})
    same(model, plain, objective, units, theirs, (gradients_of, gap))
