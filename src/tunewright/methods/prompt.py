"""Prompt tuning: some embeddings before every row, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.methods._roots import Rooted

if TYPE_CHECKING:
    from torch import nn


class Prompt(Rooted):
    """Learns the embeddings of a few tokens that no word has and puts them before every row.

    Lester et al. 2021 (arXiv 2104.08691): tokens x hidden size numbers, the smallest of all adapters; it wants a large
    base, a high learning rate and many steps. Saved in PEFT's layout (PROMPT_TUNING). Neighbours: prefix (keys and
    values in every layer: learns more), lora.
    """

    def _add(self, net: nn.Module, name: str, seed: int) -> None:
        from tunewright.models import roots

        roots.add_prompt(net, name, self.tokens, text=self.text, seed=seed)
