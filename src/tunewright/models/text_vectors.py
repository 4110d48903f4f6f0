"""Vectors of plain texts by an encoder in a folder, for looking at data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tunewright.core.errors import DataError

LONGEST = 256  # tokens of a text that are read: what it is about is said by then
_AT_ONCE = 256  # texts
_TOKENS = 4096  # computed at once


def text_vectors(base: str, texts: Sequence[str], poll: Callable[[int], None] = lambda done: None) -> np.ndarray:
    """Vectors of length 1 (float32): the mean of the last hidden states. Raises DataError when `base` is no encoder."""
    import torch

    from tunewright.core.recipe import ModelOptions
    from tunewright.models.forest import Row
    from tunewright.models.opening import open_model

    model = open_model(ModelOptions(base=base))
    if not model.is_encoder:
        raise DataError(f"Model '{base}' is no encoder, found a {model.net.config.model_type}. Name one, like MiniLM.")
    model.net.eval()
    found = np.zeros((len(texts), int(model.net.config.get_text_config().hidden_size)), np.float32)
    longest = min(LONGEST, model.max_positions)
    with torch.inference_mode():
        for begin in range(0, len(texts), _AT_ONCE):
            poll(begin)
            rows = []
            for number, text in enumerate(texts[begin : begin + _AT_ONCE], begin):
                ids = model.chat.prompt_ids([{"role": "user", "content": text}])
                items = model.chat.shortened(ids, longest) or ids[:longest]
                rows.append(Row(items, [0.0] * (len(items) - 1) + [1.0], str(number)))
            for batch in model.micro_batches([[row] for row in rows], _TOKENS):
                pooled = torch.nn.functional.normalize(model.pooled(model.forest(batch), "mean").float(), dim=-1)
                found[[int(row.example) for row in batch]] = pooled.cpu().numpy()
    return found
