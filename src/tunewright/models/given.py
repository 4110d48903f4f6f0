"""What the tokens of a prompt are worth to the model that reads it."""

from __future__ import annotations

import numpy as np
import torch

from tunewright.models import head
from tunewright.models.sequences import Part
from tunewright.models.tunable import TunableModel


def score(model: TunableModel, part: Part, hidden_ND: torch.Tensor, tokens_T: np.ndarray) -> None:
    """Put down, with the sequence, the log-probs of the tokens that follow those of a part that was just read.

    hidden_ND: of the forest that was read; tokens_T: the forest positions of the part's tokens. A prompt's first token
    follows nothing, so it has none.
    """
    sequence, request = part.sequence, part.sequence.request
    following = request.prompt[sequence.num_read + 1 : sequence.num_read + part.count + 1]
    places = torch.from_numpy(tokens_T[: len(following)]).to(hidden_ND.device)
    for some in head.chunks(len(following), model.net.config.get_text_config().vocab_size, hidden_ND.device):
        ids = torch.tensor(following[some], device=hidden_ND.device)
        logits_TV = model.logits(hidden_ND.index_select(0, places[some]), [(request.adapter, len(ids))])
        logp_TV = torch.log_softmax(logits_TV, -1)
        sequence.given += logp_TV.gather(1, ids[:, None])[:, 0].tolist()
        top = logp_TV.topk(request.likeliest)
        sequence.likeliest_given += [
            list(zip(*pair, strict=True)) for pair in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
