"""Proof: what was trained was saved, comes back, and does something."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult

if TYPE_CHECKING:
    import torch


class Loaded(Proof):
    """Opens the saved result anew, counts tensors of the file that are not in it; looks whether answers change."""

    claim: ClassVar[str] = (
        "No saved tensor is dropped on loading, and the tuned model answers differently from the base"
    )
    when: ClassVar[str] = "after"

    def prove(self, subject: Subject) -> ProofResult:
        """Tensors that differ between file and model, and the largest change on probes."""
        import torch

        from tunewright.models import new_rows
        from tunewright.models.heads import save_head

        assert subject.open_as_trained is not None and subject.trained is not None
        tuned, base = subject.open_as_trained(), subject.open_base()
        saved = _tensors(subject.trained)
        with tempfile.TemporaryDirectory(dir=subject.folder) as folder:  # what came back is saved once more
            save_head(tuned.net, Path(folder))
            if subject.method.has_adapter:
                subject.method.save(tuned.net, Path(folder))
            new_rows.save(tuned.net, Path(folder))
            held = _tensors(Path(folder))
        if not subject.method.has_adapter:
            held |= dict(tuned.net.named_parameters())
        kept = (name in held and torch.equal(held[name].cpu().float(), t.float()) for name, t in saved.items())
        dropped = len(saved) - sum(kept)
        rows = [
            row
            for e in subject.examples
            for row in subject.objective.encode(e, base.chat, max_tokens=subject.max_tokens)
        ]
        forest = base.forest(rows)
        with torch.no_grad():
            untouched = base.said(forest)
            change = float((tuned.said(forest)[: len(untouched)] - untouched).abs().max())
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{dropped} of {len(saved)} tensors dropped; largest log-prob change {change:.2g}",
            bound="0 dropped, change above 0",
            holds=dropped == 0 and len(saved) > 0 and change > 0,
        )


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    from tunewright.models import tensor_files

    return {name: t for file in sorted(folder.glob("*.safetensors")) for name, t in tensor_files.load(file).items()}
