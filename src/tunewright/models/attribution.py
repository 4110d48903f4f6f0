"""Which tokens of a prompt an answer rests on: integrated gradients on the embeddings (Sundararajan, Taly and Yan 2017,
arXiv 1703.01365, equation 1).

The path begins where each of the tokens asked about is the vocabulary's average token. Attributions add up to the
difference that they explain, but for the error of the sum over the path; points are doubled until it is small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tunewright.models.forest import Forest, Row
from tunewright.models.tunable import TunableModel

FEWEST, MOST = 16, 256  # points on the path
ERROR = 0.05  # of the difference explained, from which on more points are taken

Score = Callable[[Forest], torch.Tensor]


@dataclass(frozen=True)
class Attribution:
    """What each token asked about adds to a score (nats), the score as it is, and with average tokens instead."""

    parts: np.ndarray
    score: float
    without: float
    points: int

    @property
    def missed(self) -> float:
        """The share of the difference that the parts do not add up to."""
        difference = self.score - self.without
        return abs(float(self.parts.sum()) - difference) / max(abs(difference), 1e-9)


def of_answer(
    model: TunableModel, prompt: Sequence[int], answers: Sequence[Sequence[int]], places: slice
) -> Attribution:
    """What the tokens at some places of a prompt add to the log-prob of the first answer; to what it has more
    than the second, where there are two (what speaks for this label rather than for that one: Yin and Neubig 2022,
    arXiv 2202.10419).
    """
    rows = [
        Row([*prompt, *answer], [0.0] * len(prompt) + [1.0] * len(answer), str(number), model.route.active)
        for number, answer in enumerate(answers)
    ]

    def score(forest: Forest) -> torch.Tensor:
        said = model.logprobs(forest)
        return said[0] - said[1] if len(rows) > 1 else said[0]

    return _integrated(model, model.forest(rows, min_share=1), places, score)


def of_output(model: TunableModel, prompt: Sequence[int], number: int, other: int | None, places: slice) -> Attribution:
    """What they add to one output of the model's head; to what it has more than another one."""
    row = Row(list(prompt), [0.0] * (len(prompt) - 1) + [1.0], "0", model.route.active)

    def score(forest: Forest) -> torch.Tensor:
        made = model.outputs(forest)[0]
        return made[number] - made[other] if other is not None else made[number]

    return _integrated(model, model.forest([row]), places, score)


def _integrated(model: TunableModel, forest: Forest, of_row: slice, score: Score) -> Attribution:
    places = torch.as_tensor(np.asarray(forest.row_tokens[0][of_row]), device=model.device)
    layer: Any = model.net.get_input_embeddings()
    average = layer.weight.detach().mean(dim=0)
    points = FEWEST
    while True:
        found = _along(model, forest, places, layer, average, points, score)
        if found.missed <= ERROR or points >= MOST:
            return found
        points *= 2


def _along(
    model: TunableModel,
    forest: Forest,
    places: torch.Tensor,
    layer: Any,
    average: torch.Tensor,
    points: int,
    score: Score,
) -> Attribution:
    """The path integral by Gauss and Legendre's rule, and the score at both ends."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    total: torch.Tensor | None = None
    for node, weight in zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True):
        with _moved(layer, places, average, node) as moved:
            value = score(forest)
        assert moved.given is not None and moved.whole is not None
        (gradient,) = torch.autograd.grad(value, moved.given)
        part = weight * (gradient * (moved.whole - average)).sum(-1)
        total = part if total is None else total + part
    assert total is not None
    ends = []
    with torch.no_grad():
        for share in (1.0, 0.0):
            with _moved(layer, places, average, share):
                ends.append(float(score(forest)))
    return Attribution(total.double().cpu().numpy(), ends[0], ends[1], points)


class _moved:
    """While it holds, the prompt's embeddings stand at a point of the path. given: those that the net was handed, with
    a gradient; whole: the real ones.
    """

    def __init__(self, layer: Any, places: torch.Tensor, average: torch.Tensor, share: float) -> None:
        self.layer, self.places, self.average, self.share = layer, places, average, share
        self.given: torch.Tensor | None = None
        self.whole: torch.Tensor | None = None

    def __enter__(self) -> _moved:
        self.handle = self.layer.register_forward_hook(self._move)
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()

    def _move(self, module: Any, inputs: Any, made: torch.Tensor) -> torch.Tensor:
        at = made.dim() - 2
        self.whole = made.detach().index_select(at, self.places).reshape(len(self.places), -1)
        self.given = self.average + self.share * (self.whole - self.average)
        if torch.is_grad_enabled():
            self.given = self.given.detach().requires_grad_()
        moved = self.given.reshape(*made.shape[:at], len(self.places), made.shape[-1])
        return made.detach().index_copy(at, self.places, moved)
