"""One GGUF file: for llama.cpp and what is made of it (LM Studio, Ollama, phones)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tunewright.core.parts import Exporter, Method
from tunewright.core.report import ProofResult

if TYPE_CHECKING:
    from tunewright.models.tunable import TunableModel

AGREE = {"f32": 0.99, "f16": 0.99, "bf16": 0.97, "q8_0": 0.95, "q5_0": 0.85, "q4_0": 0.7}


class Gguf(Exporter):
    """The merged weights in one file with tokenizer and chat template, in fewer bits where asked for.

    Written for Llama, Mistral, Qwen2 and Qwen3 with byte-level BPE. The proof `export` asks llama.cpp itself (extra
    `edge`) which token comes next and compares with the model it was made from. Neighbours: merged (the same weights in
    the transformers library's layout).
    """

    merges: ClassVar[bool] = True
    proves: ClassVar[bool] = True

    type: Literal["f32", "f16", "bf16", "q8_0", "q5_0", "q4_0"] = Field(
        "q8_0",
        description="number format of the matrices: q8_0 is half of f16 and says nearly the same, q4_0 a quarter",
    )
    at_least: float | None = Field(
        None, ge=0, le=1, description="share of probes on which the likeliest token must stay the same; by type if open"
    )

    def fits(self, base: str) -> None:
        """Look at the base's config and tokenizer."""
        from tunewright.models import gguf_files
        from tunewright.models.bases import base_folder

        gguf_files.check(Path(base_folder(base)))

    def export(self, method: Method, model: TunableModel, folder: Path) -> None:
        """Merge (in place), then write model.gguf, and the tokenizer beside it for what reads that."""
        from tunewright.core import storage
        from tunewright.models import gguf_files, new_rows

        method.merge(model.net)
        new_rows.merge(model.net)
        folder.mkdir(parents=True, exist_ok=True)
        with storage.scratch(folder / "plain") as plain:
            model.save(plain)
            gguf_files.write(plain, folder / gguf_files.MODEL, kind=self.type, name=model.base)
            for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
                if (plain / name).exists():
                    storage.copy_content(plain / name, folder / name)

    def prove(self, model: TunableModel, folder: Path, probes: Sequence[list[int]]) -> ProofResult | None:
        """How often llama.cpp finds the same token likeliest; None where it is not installed."""
        import torch

        from tunewright.models.forest import Row
        from tunewright.models.gguf_files import MODEL
        from tunewright.models.llama_process import LlamaProcess

        if importlib.util.find_spec("xllamacpp") is None or not probes:
            return None
        same, apart = 0, []
        process = LlamaProcess(folder / MODEL, context=max(map(len, probes)) + 1)
        try:
            with torch.inference_mode():
                for number, probe in enumerate(probes):
                    forest = model.forest([Row(probe, [0.0] * len(probe), str(number))])
                    hidden_1D = model.read(forest).hidden_ND.index_select(0, forest.last_tokens())
                    logp_V = torch.log_softmax(model.logits(hidden_1D, [("", 1)])[0].float(), -1)
                    token, logprob = process.likeliest(probe)
                    same += token == int(logp_V.argmax())
                    if logprob is not None:
                        apart.append(abs(logprob - float(logp_V[token])))
        finally:
            process.stop()
        bound = AGREE[self.type] if self.at_least is None else self.at_least
        share = same / len(probes)
        told = f"{share:.4f} of {len(probes)} probes, {sum(apart) / max(1, len(apart)):.4f} nats apart ({self.type})"
        claim = "llama.cpp finds the same next token likeliest as the tuned model"
        return ProofResult(name="export", claim=claim, measured=told, bound=f">= {bound}", holds=share >= bound)
