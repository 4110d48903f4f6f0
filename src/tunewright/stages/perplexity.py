"""How likely a base finds the answers of rows: scores by which rows are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunewright.core import catalog
from tunewright.core.example import Example
from tunewright.core.recipe import ModelOptions

if TYPE_CHECKING:
    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel

AT_ONCE = 64  # rows scored together
MICRO_TOKENS = 2048
MOST_TOKENS = 1024  # of a row, or as many as the model knows positions for
Poll = Callable[[int], None]


def of_answers(model: TunableModel, examples: Sequence[Example], *, poll: Poll = lambda done: None) -> np.ndarray:
    """The perplexity of each row's answer after its prompt (of a document: of its text); nan where nothing is said."""
    return np.exp(-_mean_logprobs(model, examples, alone=False, poll=poll))


def difficulty(model: TunableModel, examples: Sequence[Example], *, poll: Poll = lambda done: None) -> np.ndarray:
    """The instruction-following difficulty: perplexity of the answer after its prompt, over that of the answer alone
    (Li et al. 2023, arXiv 2308.12032, equation 4). From 1 on the prompt does not help: such rows count as nan.
    """
    after = _mean_logprobs(model, examples, alone=False, poll=poll)
    alone = _mean_logprobs(model, examples, alone=True, poll=poll)
    ratio = np.exp(alone - after)
    return np.where(ratio < 1, ratio, np.nan)


def opened(options: ModelOptions) -> TunableModel:
    """The base, in float32. Raises NotThere."""
    from tunewright.models.opening import open_model

    model = open_model(options)
    model.net.requires_grad_(False)
    return model


def _mean_logprobs(model: TunableModel, examples: Sequence[Example], *, alone: bool, poll: Poll) -> np.ndarray:
    """The mean log-prob (nats) of the tokens that each row's answer has; nan where nothing is said."""
    sums, counts = logprobs(model, examples, alone=alone, poll=poll)
    return np.divide(sums, counts, out=np.full(len(examples), np.nan), where=counts > 0)


def logprobs(
    model: TunableModel, examples: Sequence[Example], *, alone: bool = False, poll: Poll = lambda done: None
) -> tuple[np.ndarray, np.ndarray]:
    """The summed log-prob (nats) of each row's answer after its prompt (of a document: of its text), and how many
    tokens it has: nan and 0 where nothing is said. alone: without the prompt.
    """
    import torch

    sums, counts = np.full(len(examples), np.nan), np.zeros(len(examples), int)
    for start in range(0, len(examples), AT_ONCE):
        poll(start)
        together = examples[start : start + AT_ONCE]
        units = [rows for at, row in enumerate(together) if (rows := _encoded(model, row, start + at, alone=alone))]
        with torch.no_grad():
            for batch in model.micro_batches(units, MICRO_TOKENS):
                for row, value in zip(batch, model.logprobs(model.forest(batch)).tolist(), strict=True):
                    number = int(row.example)
                    sums[number] = value if counts[number] == 0 else sums[number] + value
                    counts[number] += row.num_learned
    return sums, counts


def _encoded(model: TunableModel, example: Example, number: int, *, alone: bool) -> list[Row]:
    text = example.text if example.text is not None else (example.answer or "") if alone else None
    if text is not None:
        example = Example(id=str(number), text=text)
    objective = catalog.build("objectives", "sft" if text is None else "pretrain")
    positions = getattr(model.net.config.get_text_config(), "max_position_embeddings", None) or MOST_TOKENS
    rows: list[Row] = objective.encode(example, model.chat, max_tokens=min(MOST_TOKENS, positions))
    from dataclasses import replace

    return [replace(row, example=str(number)) for row in rows if row.num_learned]
