"""Plain weights: opens with the transformers library and with everything that reads its layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tunewright.core.parts import Exporter, Method

if TYPE_CHECKING:
    from tunewright.models.tunable import TunableModel


class Merged(Exporter):
    """The base with what was trained folded in, tokenizer, chat template and generation settings beside it.

    Neighbours: adapter (a small file, needs the base).
    """

    merges: ClassVar[bool] = True

    def export(self, method: Method, model: TunableModel, folder: Path) -> None:
        """Merge (in place) and write safetensors, config and tokenizer."""
        from tunewright.models import new_rows

        method.merge(model.net)
        new_rows.merge(model.net)
        model.save(folder)
