"""forgetting: does the model still do what it could before, and does it still answer what is asked?"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tunewright.core.guarding import Guard, GuardScene
from tunewright.core.report import GuardResult, Measure
from tunewright.core.statistics import wilson

OFF_TASK = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "How many days does a week have?",
    "Name three kinds of fruit.",
    "Translate 'good morning' into Spanish.",
    "What do bees make?",
    "Say hello to a friend named Tom.",
    "What colour is the sky on a clear day?",
    "Give a word that rhymes with 'light'.",
    "What is two plus three?",
    "Describe a cat in five words.",
    "Which planet do people live on?",
    "Why do people wear coats in winter?",
    "Name an animal that can fly.",
    "Finish the sentence: once upon a time",
    "What is the opposite of 'hot'?",
    "Who writes books?",
    "How does one make tea?",
    "Tell me a short joke.",
    "What can be seen at night in the sky?",
)


class Forgetting(Guard):
    """Whether tuning cost what the base could do: told always, and gating only where a bound is set.

    Format collapse: the share of answers to questions off the task that are of the task's own label set (ProMoT, Wang
    et al. 2022, arXiv 2211.00635).
    """

    question: ClassVar[str] = "What did the model forget?"

    collapse: float | None = Field(
        None, ge=0, le=1, description="most answers to other questions that may be one of the task's labels"
    )

    def measure(self, scene: GuardScene) -> GuardResult:
        """Ask twenty questions off the task."""
        measures = []
        samples = []
        if scene.labels:
            asked = [[{"role": "user", "content": question}] for question in OFF_TASK]
            said = {who: scene.ask(who, asked, name="collapse", free=True, most=32) for who in ("base", "tuned")}
            labels = {label.casefold() for label in scene.labels}
            fell = {who: [text.strip().casefold() in labels for text in texts] for who, texts in said.items()}
            found = wilson(sum(fell["tuned"]), len(OFF_TASK))
            measures.append(
                Measure(
                    name="format collapse",
                    value=found.value,
                    low=found.low,
                    high=found.high,
                    n=len(OFF_TASK),
                    base=sum(fell["base"]) / len(OFF_TASK),
                    tuned=found.value,
                    bound=self.collapse,
                )
            )
            samples = [
                {"asked": asked, "base": base, "tuned": tuned}
                for asked, base, tuned in zip(OFF_TASK, said["base"], said["tuned"], strict=True)
            ][:6]
        return GuardResult(guard=self.kind, question=self.question, measures=measures, samples=samples)
