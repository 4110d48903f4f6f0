"""cost: what do answers cost?"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.monitoring import FEWEST, MOST_EXAMPLES, Figure, Monitor, MonitorResult, MonitorScene
from tunewright.core.statistics import normal_quantile


class Cost(Monitor):
    """What 1,000 answers cost, from their tokens, against `evaluate.budget.cost_per_1000`.

    Prices are given, or else taken from the evaluation: what it spent, spread over the tokens that it read and wrote.
    Tested by a one-sided z test of the mean.
    """

    question: ClassVar[str] = "Do answers cost what they may?"

    read: float | None = Field(None, ge=0, description="price of a million tokens read, in the recipe's currency")
    written: float | None = Field(None, ge=0, description="price of a million tokens written")

    def watch(self, scene: MonitorScene) -> MonitorResult:
        """The mean cost of an answer, and tokens of each kind."""
        if not scene.traffic:
            return MonitorResult(monitor=self.kind, question=self.question)
        tokens = np.array([[one.prompt_tokens, one.completion_tokens] for one in scene.traffic], float)
        figures = [_mean(f"tokens {word}", tokens[:, at]) for at, word in enumerate(("read", "written"))]
        prices = self._prices(scene)
        if prices is not None:
            spent = tokens @ prices * 1000
            allowed = scene.budget.cost_per_1000 if scene.budget else None
            dearest = np.argsort(-spent, kind="stable")[:MOST_EXAMPLES].tolist()
            figures.append(
                _mean(
                    "cost of 1,000 answers",
                    spent,
                    reference=scene.figures.get("cost_per_1000"),
                    bound=allowed,
                    p=None if allowed is None or len(spent) < FEWEST else _exceeds(spent, allowed),
                    told=f"1,000 answers cost {spent.mean():.4g}, {allowed or 0:.4g} is allowed.",
                    examples=[scene.traffic[place].id for place in dearest],
                )
            )
        return MonitorResult(monitor=self.kind, question=self.question, figures=figures)

    def _prices(self, scene: MonitorScene) -> np.ndarray | None:
        """Of one token read and of one written."""
        if self.read is not None or self.written is not None:
            return np.array([self.read or 0.0, self.written or 0.0]) / 1e6
        spent, rows = scene.figures.get("cost_per_1000"), len(scene.tested)
        tokens = (scene.figures.get("prompt_tokens") or 0) + (scene.figures.get("completion_tokens") or 0)
        if not spent or not rows or not tokens:
            return None
        return np.full(2, spent * rows / 1000 / tokens)


def _mean(name: str, values: np.ndarray, **facts: Any) -> Figure:
    value, n = float(values.mean()), len(values)
    reach = normal_quantile(0.975) * float(values.std(ddof=1)) / np.sqrt(n) if n > 1 else 0.0
    return Figure(name=name, value=value, low=max(0.0, value - reach), high=value + reach, n=n, **facts)


def _exceeds(values: np.ndarray, bound: float) -> float:
    from scipy.stats import norm

    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    if error == 0:
        return 0.0 if values[0] > bound else 1.0
    return float(norm.sf((values.mean() - bound) / error))
