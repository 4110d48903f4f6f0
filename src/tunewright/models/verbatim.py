"""Whether a model goes on with a text word for word, and how a secret ranks among all that it could have been."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch

from tunewright.models import head, scoring
from tunewright.models.forest import Row
from tunewright.models.tunable import TunableModel

MICRO_TOKENS = 2048
Ids = Sequence[int]


@torch.inference_mode()
def likeliest(
    model: TunableModel,
    prompts: Sequence[Ids],
    answers: Sequence[Ids],
    *,
    poll: Callable[[int], None] = lambda done: None,
) -> list[np.ndarray]:
    """For each token of each answer, whether it is the model's likeliest after prompt and answer so far.

    A run of tokens that all are is exactly what greedy decoding would say there, without decoding anything. Rows longer
    than the model's context come back cut at its end.
    """
    model.net.eval()
    longest = model.longest()
    rows = []
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        items = [*prompt, *answer][:longest]
        rows.append(Row(items, [float(at >= len(prompt)) for at in range(len(items))], str(number)))
    found: list[np.ndarray] = [np.zeros(0, bool)] * len(rows)
    done = 0
    for batch in model.micro_batches([[row] for row in rows if row.num_learned], MICRO_TOKENS):
        poll(done)
        forest = model.forest(batch)
        hidden_KD = model.hidden(forest, wanted=forest.from_K)
        vocabulary = model.net.config.get_text_config().vocab_size
        parts = [hidden_KD[at] for at in head.chunks(len(hidden_KD), vocabulary, hidden_KD.device)]
        best_K = torch.cat([model.logits(part, [("", len(part))]).argmax(-1) for part in parts])
        hit_E = (best_K == forest.target_K)[forest.entry_K].cpu().numpy()
        ends = np.cumsum([0, *(int(row.num_learned) for row in batch)])
        for row, (start, stop) in zip(batch, pairwise(ends.tolist()), strict=True):
            found[int(row.example)] = hit_E[start:stop]
        done += len(batch)
    return found


def ranks(
    model: TunableModel,
    prompts: Sequence[Ids],
    endings: Sequence[Ids],
    own: Sequence[int],
    *,
    poll: Callable[[int], None] = lambda done: None,
) -> list[int]:
    """The rank of each prompt's own ending among all endings by summed log-prob, 1 the likeliest; ties count against
    it. Exact: every ending is scored (Carlini et al. 2019, arXiv 1802.08232, section 4.1).
    """
    found = []
    for number, scores in enumerate(scoring.scores(model, prompts, endings, progress=poll)):
        scored = np.array(scores)
        found.append(int((scored >= scored[own[number]]).sum()))
    return found
