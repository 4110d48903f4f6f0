"""llama.cpp in a process of its own, which answers over HTTP on this machine: python -m tunewright.models.llama_process

A crash in it ends no other answer. Only who has the key that is made at the start is answered.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx

from tunewright.core.errors import MissingPackage, TunewrightError
from tunewright.models.own_servers import Address, end

_START_SECONDS = 300.0
PER_SEQUENCE = 64  # tokens of room for each sequence beyond what its prompt and answer may take


class LlamaProcess:
    """A running llama.cpp over one GGUF file. `headers` go with each request to `url`."""

    def __init__(self, file: Path, *, parallel: int = 1, context: int = 4096, threads: int | None = None) -> None:
        """parallel: sequences written at once. context: tokens that each may have. Raises MissingPackage, or
        TunewrightError when it does not start.
        """
        import importlib.util

        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingPackage("tunewright[edge]", needed_for="llama.cpp")
        address = Address()
        self.file = file
        self.url, self.headers = address.url, address.headers
        about = {"file": str(file), "port": address.port, "key": address.key, "parallel": parallel}
        about |= {"context": context, "threads": threads}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tunewright.models.llama_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        # on a pipe, not on the command line: others on this machine can read that
        self.process.stdin.write((json.dumps(about) + "\n").encode())
        self.process.stdin.flush()
        self.said: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        if not address.answers(self.process, seconds=_START_SECONDS):
            self.stop()
            raise TunewrightError(
                f"llama.cpp did not open {file}: {self.said[-1].rstrip('. ') if self.said else 'it said nothing'}. "
                "Deploy again, or serve with the engine of tunewright."
            )

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said = [*self.said[-20:], line.decode(errors="replace").rstrip()]

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def likeliest(self, prompt: list[int]) -> tuple[int, float | None]:
        """The likeliest token after a prompt, and its log-prob (nats); that is not told for a part of a character."""
        body = {"prompt": prompt, "n_predict": 1, "temperature": 0.0, "n_probs": 1, "return_tokens": True}
        answer = httpx.post(f"{self.url}/completion", json=body, headers=self.headers, timeout=120).json()
        if "tokens" not in answer:
            raise TunewrightError(f"llama.cpp cannot read {self.file}: {str(answer)[:200]}. Deploy again.")
        told = answer.get("completion_probabilities")
        return answer["tokens"][0], told[0]["top_logprobs"][0]["logprob"] if told else None

    def stop(self) -> None:
        """End it."""
        end(self.process)


def main() -> None:
    """Serve the file that the first line of standard input names, until standard input ends."""
    import xllamacpp

    about: dict[str, Any] = json.loads(sys.stdin.readline())
    params = xllamacpp.CommonParams()
    params.model.path = about["file"]
    params.port, params.api_keys = about["port"], [about["key"]]
    params.n_parallel = about["parallel"]
    params.n_ctx = (about["context"] + PER_SEQUENCE) * about["parallel"]
    params.kv_unified = False
    params.ui = params.endpoint_slots = False
    threads = about["threads"] or int(os.environ.get("OMP_NUM_THREADS") or 0)
    if threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    sys.stdin.read()  # the end of it is the end of who asked for this
    del server
    os._exit(0)  # its threads would keep the process


if __name__ == "__main__":
    main()
