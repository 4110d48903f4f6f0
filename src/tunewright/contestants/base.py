"""base: the untuned model, asked exactly as the tuned one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunewright.core.example import Example
from tunewright.core.parts import Contestant


class Base(Contestant):
    """The model before tuning, given each example's own messages and nothing more.

    Needs messages. What tuning must beat to have been worth anything. Neighbour: `few_shot`, the same model shown
    some training examples first.
    """

    def prompts(self, examples: Sequence[Example], training: Sequence[Example]) -> list[list[dict[str, Any]]]:
        """Each example's messages before its answer."""
        return [[message.for_template() for message in example.prompt] for example in examples]
