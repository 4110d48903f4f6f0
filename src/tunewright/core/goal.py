"""What the tuned model must reach before it may be released: bars, each by one grader."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from tunewright.core.errors import unknown


class Bar(BaseModel):
    """What must be reached by one grader: a value, contestants, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grader: str = Field(description="the grader that decides")
    at_least: float | None = Field(None, ge=0, le=1, description="the lower bound of its 95 % interval must reach this")
    beat: list[str] = Field([], description="contestants that must be beaten")
    margin: float = Field(
        0.0, ge=0, lt=1, description="above 0 they need not be beaten: it must be sure to be lower by less than this"
    )


class Goal(Bar):
    """What the tuned model must reach before it may be released: the first bar, and others beside it."""

    level: float = Field(0.05, gt=0, lt=0.5, description="significance level of all comparisons together (Holm)")
    also: list[Bar] = Field([], description="bars of other graders that must be reached too")

    @property
    def bars(self) -> list[Bar]:
        """All bars, the first one first."""
        return [self, *self.also]

    @property
    def graders(self) -> list[str]:
        """The graders that decide, each once, the first one first."""
        return list(dict.fromkeys(bar.grader for bar in self.bars))

    def margin_of(self, grader: str, against: str) -> float | None:
        """The margin within which this contestant is held; None when no bar names it with this grader."""
        return next((bar.margin for bar in self.bars if bar.grader == grader and against in bar.beat), None)

    def problems(self, graders: list[str] | None, contestants: list[str]) -> Iterator[str]:
        """What is wrong with it, each one sentence. graders, contestants: the recipe's; None: chosen later."""
        held = set()
        for place, bar in enumerate(self.bars):
            key = "evaluate.goal" if place == 0 else f"evaluate.goal.also.{place - 1}"
            if graders is not None and bar.grader not in graders:
                yield f"{key}.grader: {unknown('grader name', bar.grader, graders)}"
            if bar.at_least is None and not bar.beat:
                yield f"{key}: nothing to reach. Give at_least, beat, or both."
            if bar.margin and not bar.beat:
                yield f"{key}.margin: names how far below a contestant is near enough. Give beat, or leave it out."
            for name in bar.beat:
                if name not in contestants:
                    yield f"{key}.beat: {unknown('contestant', name, contestants)}"
                if (bar.grader, name) in held:
                    yield f"{key}.beat: '{name}' is named twice with grader '{bar.grader}'. Name it in one bar."
                held.add((bar.grader, name))
