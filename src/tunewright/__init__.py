"""tunewright: fine-tuning of language models end to end.

import tunewright as tw
report = tw.run("recipe.yaml")          # all stages; or one at a time:
tw.prepare(...), tw.choose(...), tw.train(...), tw.evaluate(...), tw.deploy(...)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunewright.core.recipe import Recipe
    from tunewright.core.report import Report
    from tunewright.core.run import Run
    from tunewright.models.compose import compose
    from tunewright.server.rating import rate
    from tunewright.stages.advising import advise
    from tunewright.stages.compare import compare
    from tunewright.stages.explaining import explain
    from tunewright.stages.flow import choose, deploy, evaluate, prepare, prove, run, train, train_many
    from tunewright.stages.harvesting import harvest
    from tunewright.stages.live import live
    from tunewright.stages.migrating import migrate
    from tunewright.stages.monitor import monitor
    from tunewright.stages.more_rows import augment
    from tunewright.stages.rating import ratings
    from tunewright.stages.scrubbing import scrub
    from tunewright.stages.synthesizing import synthesize
    from tunewright.workspace.alias_changes import Aliases

__version__ = "0.1.0"
__all__ = [
    "Aliases",
    "Recipe",
    "Report",
    "Run",
    "advise",
    "augment",
    "choose",
    "compare",
    "compose",
    "deploy",
    "evaluate",
    "explain",
    "harvest",
    "live",
    "migrate",
    "monitor",
    "prepare",
    "prove",
    "rate",
    "ratings",
    "run",
    "scrub",
    "synthesize",
    "train",
    "train_many",
]

_HOMES = {
    "Aliases": "workspace.alias_changes",
    "Recipe": "core.recipe",
    "Report": "core.report",
    "Run": "core.run",
    "advise": "stages.advising",
    "augment": "stages.more_rows",
    "compare": "stages.compare",
    "compose": "models.compose",
    "explain": "stages.explaining",
    "harvest": "stages.harvesting",
    "live": "stages.live",
    "monitor": "stages.monitor",
    "migrate": "stages.migrating",
    "rate": "server.rating",
    "ratings": "stages.rating",
    "scrub": "stages.scrubbing",
    "synthesize": "stages.synthesizing",
}


def __getattr__(name: str) -> Any:
    # lazily, so that `import tunewright` and `tunewright --help` stay instant
    import importlib

    if name not in __all__:
        raise AttributeError(f"module 'tunewright' has no attribute '{name}'")
    return getattr(importlib.import_module(f"tunewright.{_HOMES.get(name, 'stages.flow')}"), name)
