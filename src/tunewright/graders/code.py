"""code: the answer is a program that passes its tests."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from pydantic import Field

from tunewright.core import sandbox, storage
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Desk, Grade, Grader

_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_SLOT = re.compile(r"\{([A-Za-z_]\w*)\}")
# The program's own words go nowhere; only the end of it all is told, so that leaving early passes no test.
_HARNESS = """
import os, sys
told, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
os.dup2(nowhere, 1)
source = sys.stdin.read()
exec(compile(source, "<program>", "exec"), {"__name__": "__main__"})
os.write(told, b"passed")
"""
PASSED = "passed"


class Code(Grader):
    """Right when the program that `program` makes of row and answer runs to its end: no test fails, none is left out by
    leaving early. The value is the share of right answers (pass@1 of one answer a row).

    Needs tests in a column of the row, or in `program` itself. Python alone; of an answer with fenced code the fenced
    parts are taken. Each program runs in a sandbox (core/sandbox.py) with limits; results are kept, so that a stopped
    evaluation runs none twice. Compared by McNemar's exact test. Source: Chen et al. 2021 (arXiv 2107.03374).
    Neighbour: `python`, for checks of your own that you trust.
    """

    paired: ClassVar[str] = "mcnemar"
    needs_expected: ClassVar[bool] = False

    program: str = Field(
        "{answer}\n\n{tests}",
        description="{answer}, and {any column} of the row: what is run; a list is put together line by line",
    )
    seconds: float = Field(5.0, gt=0, le=600, description="longest time of a program")
    memory: int = Field(512, ge=64, description="MiB of address space of each process")
    files: int = Field(16, ge=0, description="MiB that a file may grow to")

    def grade(self, example: Example, answer: str) -> Grade:
        """Run one program."""
        return _grade(self._run(self._program(example, answer)))

    def grade_all(self, examples: Sequence[Example], answers: Sequence[str], desk: Desk) -> list[Grade]:
        """Run every program, as many at once as there are processors. Raises DataError, Stopped."""
        programs = [self._program(example, answer) for example, answer in zip(examples, answers, strict=True)]
        limits = [self.seconds, self.memory, self.files]
        keys = [storage.digest([program, limits]) for program in programs]
        waiting = {key: program for key, program in zip(keys, programs, strict=True) if key not in desk.kept}
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            try:
                for number, (key, ran) in enumerate(zip(waiting, pool.map(self._run, waiting.values()), strict=True)):
                    desk.kept[key] = ran
                    desk.poll("programs", number + 1, len(waiting))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [_grade(desk.kept[key]) for key in keys]

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """How failing programs ended: by the name of the error."""
        ends: dict[str, int] = {}
        for grade in grades:
            if grade.score == 0:
                end = grade.why.partition(":")[0]
                ends[end] = ends.get(end, 0) + 1
        return {"failures": dict(sorted(ends.items(), key=lambda pair: -pair[1])[:8])} if ends else {}

    def _run(self, program: str) -> dict[str, str]:
        ran = sandbox.run(_HARNESS, stdin=program, seconds=self.seconds, memory=self.memory, files=self.files)
        if ran.status == "done" and ran.stdout == PASSED:
            return {"end": PASSED}
        return {"end": ran.why if ran.status != "done" else "left before the end of its tests"}

    def _program(self, example: Example, answer: str) -> str:
        columns: dict[str, Any] = {**example.meta, "expected": example.answer or "", "answer": _code(answer)}

        def filled(slot: re.Match[str]) -> str:
            if (name := slot.group(1)) not in columns:
                known = ", ".join(sorted(columns))
                raise DataError(
                    f"Grader '{self.label}' looks for '{name}' of program in row {example.id}, which lacks it. Name "
                    f"what the row has: {known}."
                )
            value = columns[name]
            return "\n".join(map(str, value)) if isinstance(value, list) else str(value)

        return _SLOT.sub(filled, self.program)


def _code(answer: str) -> str:
    """The fenced parts of an answer, or all of it."""
    return "\n".join(_FENCE.findall(answer)) or answer


def _grade(ran: Mapping[str, str]) -> Grade:
    return Grade(score=1.0) if ran["end"] == PASSED else Grade(score=0.0, why=ran["end"])
