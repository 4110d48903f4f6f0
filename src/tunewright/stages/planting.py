"""Plants canaries behind the training rows, where a recipe asks for it, and records each."""

from __future__ import annotations

import json

from tunewright.core import canaries, storage
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run


def planted(recipe: Recipe, run: Run, report: Report) -> Report:
    """The report of prepare, with what was planted: rows behind data/train.jsonl alone, and data/canaries.jsonl."""
    options, path = recipe.data.canaries, run.path("data", f"{canaries.SIDE}.jsonl")
    if options is None:
        if path.exists():
            storage.write_jsonl(path, [], point="data")
        return report
    first = next(iter(run.split("train")), None)
    lead = [one for one in first.messages if one.role in ("system", "developer")][:1] if first else []
    made = canaries.made(options, lead)
    added = canaries.rows(made)
    training = run.path("data", "train.jsonl")
    before = (line.encode("utf-8") for line in storage.read_lines(training))
    lines = (json.dumps(row.to_row(), ensure_ascii=False).encode("utf-8") + b"\n" for row in added)
    storage.write_lines(training, [before, lines], point="data")
    storage.write_jsonl(path, (one.row.to_row() for one in made), point="data")
    about = {"planted": options.count, "rows": len(added), **options.model_dump(exclude={"count"})}
    finding = Finding(
        name="canaries_planted",
        message=f"{options.count} made-up secrets were planted in {len(added)} training rows, as the recipe asks. The "
        "guard 'memorisation' tells whether the model gives them away.",
        count=len(added),
        example=f"{added[0].messages[-2].content} {added[0].answer}",
        remedy="Before a model goes out, train it without data.canaries: the rows teach it nothing.",
    )
    numbers = {**report.numbers, "canaries": about, "training_rows": len(run.split("train"))}
    return report.model_copy(update={"numbers": numbers, "findings": [*report.findings, finding]})
