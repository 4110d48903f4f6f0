"""refusals: does the release turn more requests down than it did?"""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.monitoring import Monitor, MonitorResult, MonitorScene
from tunewright.data.manners import refuses
from tunewright.monitors._figures import rose


class Refusals(Monitor):
    """The share of answers that refuse, told by rules (data/manners.py; English), beside that of the reference.

    Answers that are labels refuse nothing and are not looked at. Tested by Fisher's exact test, one-sided.
    """

    question: ClassVar[str] = "Does it refuse more than it did?"

    def watch(self, scene: MonitorScene) -> MonitorResult:
        """Count refusals on both sides."""
        told = [(one.id, refuses(one.answer)) for one in scene.turns if one.answer is not None]
        if scene.labels or not told:
            return MonitorResult(monitor=self.kind, question=self.question)
        before = [refuses(one.answer) for one in scene.outputs if one.answer is not None]
        figure = rose(
            "refusals", scene, [one for one, _ in told], [so for _, so in told], before, why="Answers refuse in {}."
        )
        return MonitorResult(monitor=self.kind, question=self.question, figures=[figure])
