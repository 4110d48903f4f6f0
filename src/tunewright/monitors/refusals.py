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
        figure = None if scene.labels else rose("refusals", scene, refuses, why="Answers refuse in {}.")
        return MonitorResult(monitor=self.kind, question=self.question, figures=[figure] if figure else [])
