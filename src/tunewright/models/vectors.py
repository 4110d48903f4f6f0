"""Vectors of texts, as a release with `decode.kind: embed` makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from tunewright.core.errors import DataError
from tunewright.models.forest import Row

if TYPE_CHECKING:
    from tunewright.models.decode import Decode
    from tunewright.models.tunable import TunableModel

READ_TOKENS = 4096  # tokens computed at once


@torch.inference_mode()
def vectors(
    model: TunableModel, decode: Decode, prompts: Sequence[list[int]], *, adapter: str = "", size: int | None = None
) -> torch.Tensor:
    """Vectors of length 1 (one a prompt, float32, on the CPU), of all numbers or the first `size`.

    prompts: ids as `decode.prompt_ids` makes them. Raises DataError when one does not fit the model's context (a text
    that is only read loses its end instead), or at a size that was not trained.
    """
    model.net.eval()
    full = int(model.net.config.get_text_config().hidden_size)
    if size is not None and size not in (full, *decode.sizes):
        known = ", ".join(map(str, sorted({full, *decode.sizes}, reverse=True)))
        raise DataError(f"Vectors of {size} numbers were not trained. Choose from: {known}.")
    rows, longest = [], model.longest(adapter)
    for number, ids in enumerate(prompts):
        items = model.chat.shortened(ids, longest)
        if items is None:
            raise DataError(f"A text of {len(ids)} tokens does not fit the model's {longest}. Shorten it.")
        rows.append(Row(items, [0.0] * (len(items) - 1) + [1.0], str(number), adapter))
    found = torch.zeros(len(rows), size or full)
    for batch in model.micro_batches([[row] for row in rows], READ_TOKENS):
        pooled = model.pooled(model.forest(batch), decode.pool)[:, :size].float().cpu()
        found[[int(row.example) for row in batch]] = torch.nn.functional.normalize(pooled, dim=-1)
    return found
