"""Report, Finding and ProofResult: what a stage leaves behind, as data that every surface shows alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tunewright.core import storage

Verdict = Literal["GO", "NO-GO", "NEED MORE"]
EXIT_CODES: dict[str | None, int] = {None: 0, "GO": 0, "NO-GO": 3, "NEED MORE": 4}


class Place(BaseModel):
    """Where a row came from: a file (or hub: name) and its line."""

    model_config = ConfigDict(frozen=True)

    source: str
    line: int


class Finding(BaseModel):
    """Something worth a look: what was found in how many rows, which, one example of it, and what to do.

    rows: the first of them, where they are known. fix: what `prepare --fix NAME` would do about it.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    severity: Literal["info", "warning", "problem"] = "info"
    message: str
    count: int | None = None
    rows: list[Place] = []
    example: str | None = None
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
