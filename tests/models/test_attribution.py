"""What words add to an answer: the parts add up, and an independent library finds the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tunewright.models import attribution
from tunewright.models.forest import Row
from tunewright.models.tunable import TunableModel

PROMPT, FIRST, SECOND = [260, 261, 40, 41, 42, 43, 44, 262], [50, 51, 2], [50, 60, 61, 2]
PLACES = slice(2, 7)


def test_parts_are_those_of_captum(open_tiny: Callable[..., TunableModel]) -> None:
    import torch
    from captum.attr import IntegratedGradients

    model = open_tiny("llama", double=True)
    told = attribution.of_answer(model, PROMPT, [FIRST, SECOND], PLACES)
    layer: Any = model.net.get_input_embeddings()
    rows = [Row([*PROMPT, *e], [0.0] * len(PROMPT) + [1.0] * len(e), str(n)) for n, e in enumerate((FIRST, SECOND))]
    forest = model.forest(rows, min_share=1)
    at = torch.as_tensor(np.asarray(forest.row_tokens[0][PLACES]))

    def score(embedded: torch.Tensor) -> torch.Tensor:
        found = []
        for one in embedded:  # points of the path come as a batch; a forest is one line of tokens
            handle = layer.register_forward_hook(
                lambda module, given, made, one=one: made.detach().index_copy(
                    made.dim() - 2, at, one.view(1, *one.shape)
                )
            )
            said = model.logprobs(forest)
            handle.remove()
            found.append(said[0] - said[1])
        return torch.stack(found)

    whole = layer(torch.tensor(PROMPT[PLACES])).detach()[None]
    average = layer.weight.detach().mean(0).expand_as(whole)
    method = IntegratedGradients(score)
    parts = method.attribute(whole, average, n_steps=told.points, method="gausslegendre").sum(-1)[0]
    assert told.parts == pytest.approx(parts.detach().numpy(), abs=1e-6)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_parts_add_up_to_what_is_explained(open_tiny: Callable[..., TunableModel], kind: str) -> None:
    import torch

    model = open_tiny(kind)
    told = attribution.of_answer(model, PROMPT, [FIRST], PLACES)
    assert told.parts.shape == (5,)
    assert told.missed <= attribution.ERROR
    row = Row([*PROMPT, *FIRST], [0.0] * len(PROMPT) + [1.0] * len(FIRST), "0")
    with torch.no_grad():
        assert told.score == pytest.approx(float(model.logprobs(model.forest([row]))[0]), abs=1e-4)
