"""The adapter alone: a small folder, in PEFT's layout where it has one, to be put beside its base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tunewright.core.parts import Exporter, Method

if TYPE_CHECKING:
    from tunewright.models.tunable import TunableModel


class Adapter(Exporter):
    """What was trained, as the method saves it, with the tokenizer and its template; a head in a file of its own. Needs
    a method with an adapter.

    Neighbours: merged (opens without the base, as large as the base).
    """

    merges: ClassVar[bool] = False

    def export(self, method: Method, model: TunableModel, folder: Path) -> None:
        """Write adapter_model.safetensors, adapter_config.json and the tokenizer."""
        from tunewright.models import new_rows
        from tunewright.models.heads import save_head

        method.export(model.net, folder)
        new_rows.save(model.net, folder)
        save_head(model.net, folder)
        model.chat.tokenizer.save_pretrained(folder)
