"""Report, Finding and ProofResult: what a stage leaves behind, as data that every surface shows alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, computed_field

from tunewright.core import storage

Verdict = Literal["GO", "NO-GO", "NEED MORE"]
State = Literal["told", "holds", "broken", "open"]  # of a guard: only where a recipe sets a bound is it more than told
_WORST_FIRST: tuple[State, ...] = ("broken", "open", "holds")
UNSETTLED = "bound not settled"  # a finding of guards: what does settle it stands in its remedy
EXIT_CODES: dict[str | None, int] = {None: 0, "GO": 0, "NO-GO": 3, "NEED MORE": 4}


class Place(BaseModel):
    """Where a row came from: a file (or hub: name) and its line."""

    model_config = ConfigDict(frozen=True)

    source: str
    line: int


class Finding(BaseModel):
    """Something worth a look: what was found in how many rows, which, one example of it, and what to do.

    rows: the first of them, where they are known. examples: ids of requests, those that show it most first. fix: what
    `prepare --fix NAME` would do about it.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    severity: Literal["info", "warning", "problem"] = "info"
    message: str
    count: int | None = None
    rows: list[Place] = []
    example: str | None = None
    examples: list[str] = []
    remedy: str | None = None
    fix: str | None = None


class ProofResult(BaseModel):
    """A claim, what was measured, the bound it must keep, and whether it holds."""

    model_config = ConfigDict(frozen=True)

    name: str
    claim: str
    measured: str | float
    bound: str | float
    holds: bool


class Measure(BaseModel):
    """One figure of a guard, with its 95 % interval and the bound that the recipe holds it to; no bound: told only.

    value: what the interval and the bound are about, often a change from the base to the tuned model; those two stand
    beside it where they have a figure each. need: test rows that would settle an open one.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    base: float | None = None
    tuned: float | None = None
    bound: float | None = None
    side: Literal["at most", "at least"] = "at most"
    need: int | None = None

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property
    @property
    def state(self) -> State:
        """`holds` or `broken` when the whole interval is on one side of the bound, `open` when it is on both."""
        if self.bound is None:
            return "told"
        low, high = (self.value if edge is None else edge for edge in (self.low, self.high))
        if self.side == "at least":
            return "holds" if low >= self.bound else "broken" if high < self.bound else "open"
        return "holds" if high <= self.bound else "broken" if low > self.bound else "open"


class GuardResult(BaseModel):
    """What a guard found: its question, its figures, and a few rows to look at (plain values, texts in them).

    figures: points that the report page draws, by name: `reliability` [{confidence, accuracy, n}], `coverage`
    [{coverage, accuracy, low, threshold}]. unmeasured: bounds of the recipe for which nothing could be measured; they
    stay open.
    """

    model_config = ConfigDict(frozen=True)

    guard: str
    question: str
    measures: list[Measure] = []
    findings: list[Finding] = []
    samples: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    unmeasured: list[str] = []

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property
    @property
    def state(self) -> State:
        """That of its measures: one that is broken breaks it, one that is open leaves it open."""
        states: list[State] = [measure.state for measure in self.measures] + ["open"] * bool(self.unmeasured)
        return next((state for state in _WORST_FIRST if state in states), "told")


class Report(BaseModel):
    """What a stage did: `numbers` are figures, `findings` words for people, `proofs` measurements with bounds."""

    model_config = ConfigDict(frozen=True)

    stage: str
    run: str
    seconds: float = 0.0
    verdict: Verdict | None = None
    reason: str | None = None
    numbers: dict[str, Any] = {}
    findings: list[Finding] = []
    proofs: list[ProofResult] = []
    contestants: dict[str, Any] = {}
    guards: list[GuardResult] = []
    next: str | None = None  # the command that goes on from here
    inputs: str = ""  # digest of the recipe keys this stage depends on

    @property
    def exit_code(self) -> int:
        """0 done or GO, 3 NO-GO or a broken proof, 4 NEED MORE."""
        if any(not proof.holds for proof in self.proofs):
            return 3
        return EXIT_CODES[self.verdict]

    def save(self, folder: Path) -> None:
        """Write `<folder>/report.json`."""
        storage.write_json(folder / "report.json", self.model_dump(), point="report")

    @classmethod
    def load(cls, folder: Path) -> Report | None:
        """The stage's report, or None when the stage has not been done."""
        path = folder / "report.json"
        return cls.model_validate(storage.read_json(path)) if path.exists() else None
