"""Serve releases over HTTP, as the OpenAI API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunewright.cli import carrying, options

if TYPE_CHECKING:
    from tunewright.workspace.config import EngineOptions

Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        envvar="TUNEWRIGHT_KEYS",
        help="A key that clients must send. Repeatable; the variable keeps it off the process list.",
    ),
]
Engine = Annotated[
    Literal["tunewright", "vllm", "llama.cpp"] | None,
    typer.Option(
        show_default="tunewright, or engine.kind of workspace.yaml",
        help="What writes the answers: llama.cpp for releases with the format gguf, vllm on GPUs.",
    ),
]
EngineCommand = Annotated[str | None, typer.Option(help="vLLM's program, in the environment where it is installed.")]
PrefixBytes = Annotated[
    int | None,
    typer.Option(
        min=0,
        show_default="268435456, or serving.prefix_bytes of workspace.yaml",
        help="Memory on each base for what was made of earlier prompts; 0: nothing is kept.",
    ),
]
LogFormat = Annotated[Literal["text", "json"], typer.Option(help="The log: plain lines, or a JSON object a line.")]


def serve(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Runs whose releases to serve; without any, the workspace."),
    ] = None,
    workspace: options.Workspace = options.HERE,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; other than loopback only with keys.")] = "127.0.0.1",
    keys: Keys = None,
    engine: Engine = None,
    engine_command: EngineCommand = None,
    prefix_bytes: PrefixBytes = None,
    log_format: LogFormat = "text",
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright serve desk --port 8000

    Any OpenAI client can talk to it: base_url http://127.0.0.1:8000/v1, model 'desk' (its newest release), 'desk:001',
    or the base's name. Runs on one base share it. Without RUN the workspace of the folder is served: its base models,
    its releases, and OpenAI's API for files and fine-tuning jobs. With --json a report with the address is printed once
    it listens.
    """
    from tunewright.core.report import Report
    from tunewright.server import logs
    from tunewright.stages import answering, quarantined

    names = names or []
    releases = [answering.find_release(name, runs=runs) for name in names]
    findings = [finding for folder in releases for finding in quarantined.of_release(folder)]
    for finding in findings:
        print(finding.message, file=sys.stderr)
    out = sys.stdout  # --json points it elsewhere while the server works

    def tell(address: str) -> None:
        numbers = {"address": address, "runs": names, "releases": [str(path) for path in releases]}
        report = Report(stage="serve", run=names[0] if names else "", numbers=numbers, findings=findings)
        print(report.model_dump_json(), file=out, flush=True)

    logs.begin(log_format)
    with carrying.quiet(as_json):
        from tunewright.server.app import serve as serve_http

        serve_http(
            names,
            workspace=workspace,
            runs_folder=runs,
            host=host,
            port=port,
            keys=keys or [],
            engine=_engine(engine, engine_command, workspace if not names else None),
            prefix_bytes=prefix_bytes,
            listening_at=tell if as_json else None,
        )


def _engine(kind: str | None, command: str | None, workspace: Path | None) -> EngineOptions | None:
    """What the options say of the engine, over what the workspace's config says."""
    from tunewright.workspace.config import EngineOptions
    from tunewright.workspace.place import Workspace

    given = {name: value for name, value in (("kind", kind), ("command", command)) if value}
    if not given:
        return None
    held = Workspace.open(workspace).config.engine if workspace is not None else EngineOptions()
    return held.model_copy(update=given)
