"""Opens releases and bases on engines in other processes: vLLM, llama.cpp."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx

from tunewright.core.endpoint import secret
from tunewright.core.errors import DataError, EndpointError
from tunewright.core.recipe import ModelOptions
from tunewright.models import adapter_files, gguf_files
from tunewright.models.bases import base_folder
from tunewright.models.opening import chat_in, open_config
from tunewright.models.release import Checked
from tunewright.server.llama_cpp import CANNOT_CHOOSE, LlamaCpp
from tunewright.server.upstream import Face, Upstream
from tunewright.server.vllm import Vllm, VllmProcess
from tunewright.workspace.config import EngineOptions

log = logging.getLogger("tunewright.server")


class Elsewhere:
    """Begins the other engines as they are needed."""

    def __init__(self, options: EngineOptions, *, max_live: int, max_waiting: int, logs: Path) -> None:
        """logs: where what they say is kept."""
        self.options = options
        self.limits = {"max_live": max_live, "max_waiting": max_waiting}
        self.logs = logs

    def open_release(self, checked: Checked) -> Upstream:
        """An engine of a release's own: its GGUF file, or its merged weights. Raises DataError, MissingPackage."""
        self._refuse_unfit(checked)
        if self.options.kind == "vllm":
            return self.open_base(ModelOptions(base=checked.base))
        file = checked.folder / "gguf" / gguf_files.MODEL
        if not file.exists():
            raise DataError(
                f"Release {checked.name} holds no GGUF file for llama.cpp. Deploy it with the format 'gguf', or serve "
                "it with the engine of tunewright."
            )
        face = _face(str(file.parent), ModelOptions())
        checked.check_chat(face.chat)
        parallel = self.options.parallel
        return Upstream(
            LlamaCpp(file, parallel=parallel, context=face.context), face, **(self.limits | {"max_live": parallel})
        )

    def open_base(self, options: ModelOptions) -> Upstream:
        """vLLM over a base, or the one that runs already. Raises DataError for llama.cpp, EndpointError."""
        if self.options.kind == "llama.cpp":
            raise DataError("llama.cpp serves GGUF releases, and no bases. Ask for a release with the format 'gguf'.")
        folder = base_folder(options.base)
        face = _face(folder, options)
        if self.options.url is not None:
            return Upstream(_found(self.options), face, **self.limits)
        process = VllmProcess(
            folder,
            command=self.options.command,
            arguments=self.options.arguments,
            context=face.context,
            log=self.logs / "vllm.log",
        )
        return Upstream(Vllm(process.url, process.headers, process=process), face, **self.limits)

    def put(self, checked: Checked, engine: Upstream, name: str) -> None:
        """Let vLLM read a release's adapter. Raises DataError for one that it cannot read, EndpointError."""
        self._refuse_unfit(checked)
        folder = checked.folder / "adapter"
        config = adapter_files.read_config(folder)
        if config.get("peft_type") != "LORA" or config.get("use_dora") or checked.options.new_tokens:
            raise DataError(
                f"The adapter of {checked.name} is more than LoRA, which vLLM cannot read. Deploy it with the format "
                "'merged' alone, or serve it with the engine of tunewright."
            )
        checked.check_chat(engine.model.chat)
        engine.writer.load(name, folder)

    def _refuse_unfit(self, checked: Checked) -> None:
        if checked.decode.by_head:
            raise DataError(
                f"Release {checked.name} answers with a head of its own, which {self.options.kind} does not have. "
                "Serve it with the engine of tunewright."
            )
        if checked.decode.kind == "choices" and self.options.kind == "llama.cpp":
            raise DataError(f"{CANNOT_CHOOSE} Serve {checked.name} with the engine of tunewright.")


def _face(folder: str, options: ModelOptions) -> Face:
    config: Any = open_config(folder, options.revision)
    return Face(chat_in(folder, options), int(config.max_position_embeddings))


def _found(options: EngineOptions) -> Vllm:
    """The vLLM server that the options name."""
    url = str(options.url).rstrip("/").removesuffix("/v1")
    headers = {"authorization": f"Bearer {secret(options.key, of='the engine')}"} if options.key else {}
    try:
        answer = httpx.get(f"{url}/v1/models", headers=headers, timeout=10)
        answer.raise_for_status()
        model = answer.json()["data"][0]["id"]
    except (httpx.HTTPError, KeyError, IndexError, ValueError) as error:
        raise EndpointError(f"There is no vLLM server at {url} ({error}). Start it, or mend engine.url.") from None
    return Vllm(url, headers, model=model)
