"""latency: do answers come in time?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.monitoring import Figure, Monitor, MonitorResult, MonitorScene
from tunewright.monitors._figures import above

_SHARES = (0.5, 0.95, 0.99)
_LATE = 0.05  # of the requests may take longer than the bound


class Latency(Monitor):
    """Seconds within which 50, 95 and 99 of 100 answers came, and an exact test of the bound on 95 of 100.

    The bound is `evaluate.budget.latency`; without a budget it is so many `times` what single requests took in the
    evaluation. Intervals of the quantiles are exact (order statistics; David and Nagaraja 2003, section 7.1).
    """

    question: ClassVar[str] = "Do answers come in time?"

    seconds: float | None = Field(
        None, gt=0, description="within which 95 of 100 answers must come; left out: the budget's, else by times"
    )
    times: float = Field(5.0, gt=1, description="of what single requests took when evaluated, where no bound is given")

    def watch(self, scene: MonitorScene) -> MonitorResult:
        """The quantiles, then the share of late answers against 5 in 100."""
        taken = np.array([one.seconds for one in scene.traffic], float)
        if not len(taken):
            return MonitorResult(monitor=self.kind, question=self.question)
        measured = scene.figures.get("latency_p95")
        bound = self.seconds or (scene.budget.latency if scene.budget else None)
        bound = bound or (self.times * measured if measured else None)
        figures = [quantile(f"seconds of {share:.0%}", taken, share) for share in _SHARES]
        figures[1] = figures[1].model_copy(update={"reference": measured, "bound": bound})
        first = [one.first_token_seconds for one in scene.traffic if one.first_token_seconds is not None]
        if first:
            figures.append(quantile("seconds to the first token of 95%", np.array(first, float), 0.95))
        if bound is not None:
            late = [one for one in scene.traffic if one.seconds > bound]
            told = (
                f"95 of 100 answers come within {figures[1].value:.3g} seconds, {bound:.3g} are allowed: "
                f"{len(late):,} of {len(taken):,} took longer."
            )
            slowest = [one.id for one in sorted(late, key=lambda one: -one.seconds)]
            figures.append(above("late answers", len(late), len(taken), _LATE, told=told, examples=slowest))
        return MonitorResult(monitor=self.kind, question=self.question, figures=figures)


def quantile(name: str, values: Sequence[float] | np.ndarray, share: float) -> Figure:
    """A quantile with the order statistics that hold it in 95 of 100 windows; None where there are too few."""
    from scipy.stats import binom

    ranked = np.sort(np.asarray(values, float))
    n = len(ranked)
    low, high = int(binom.ppf(0.025, n, share)), int(binom.ppf(0.975, n, share)) + 1
    return Figure(
        name=name,
        value=float(np.quantile(ranked, share)),
        low=float(ranked[low - 1]) if low >= 1 else None,
        high=float(ranked[high - 1]) if high <= n else None,
        n=n,
    )
