"""feedback: what do people say of the answers?"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tunewright.core.monitoring import Figure, Monitor, MonitorResult, MonitorScene
from tunewright.core.traffic import Exchanged
from tunewright.monitors._figures import above


class Feedback(Monitor):
    """Thumbs and corrections as labels that come late, with exact tests where a bound is set.

    An answer counts as wrong where it was corrected to something else or got a thumb down, as right where it got a
    thumb up or its correction says the same. Who speaks is no random sample: people tell of what annoys them, so the
    share is read against earlier windows, or against a bound that was chosen knowing this.
    """

    question: ClassVar[str] = "Do people say that answers are right?"

    wrong: float | None = Field(
        None, gt=0, lt=1, description="largest share of answers called wrong, among those that people speak of"
    )

    def watch(self, scene: MonitorScene) -> MonitorResult:
        """The shares of answers spoken of, and of those called wrong."""
        verdicts = [(one.id, verdict) for one in scene.traffic if (verdict := called_right(one)) is not None]
        wrong = [name for name, verdict in verdicts if not verdict]
        figures: list[Figure] = []
        if scene.traffic:
            figures.append(above("answers spoken of", len(verdicts), len(scene.traffic), None))
        if verdicts:
            share = len(wrong) / len(verdicts)
            bound = "" if self.wrong is None else f", {self.wrong:.1%} is allowed"
            told = f"People call {share:.1%} of the answers wrong ({len(wrong):,} of {len(verdicts):,}{bound})."
            remedy = "Harvest the corrections as examples for the next recipe."
            figures.append(
                above("called wrong", len(wrong), len(verdicts), self.wrong, told=told, remedy=remedy, examples=wrong)
            )
        return MonitorResult(monitor=self.kind, question=self.question, figures=figures)


def called_right(one: Exchanged) -> bool | None:
    """Whether people call an answer right; None where nobody has spoken. A correction says more than a thumb."""
    if one.correction is not None:
        return isinstance(one.correction, str) and one.correction.strip() == (one.answer or "").strip()
    return None if one.thumb is None else one.thumb == "up"
