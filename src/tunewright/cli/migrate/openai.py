"""Make a recipe for each fine-tuning job that was exported from OpenAI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def command(
    folder: Annotated[
        Path, typer.Argument(help="Folder with job objects (JSON) and training files (JSON lines).", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the recipes.")] = Path("recipes"),
    base: Annotated[str, typer.Option(help="The model to start from, in place of OpenAI's.")] = "nano",
    as_json: options.AsJson = False,
) -> None:
    """tunewright migrate openai exported

    Jobs are read as client.fine_tuning.jobs.list() gives them: one object, a list, or a job a line. Training files
    belong to a job by their ids in the file's name, or by file objects as client.files.list() gives them. Supervised
    jobs become sft, dpo jobs dpo, reinforcement jobs grpo with their grader. What differs, and what could not be
    carried over, is told and stands at the end of each recipe. No recipe is overwritten.
    """
    from tunewright.stages import migrating

    with carrying.quiet(as_json):
        report = migrating.migrate(folder, out, base=base)
    carrying.finish(report, as_json=as_json)
