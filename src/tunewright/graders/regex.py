"""regex: the answer matches a pattern, or must not."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader


class Regex(Grader):
    """Right or wrong: `pattern` is found in the answer and `must_not` is not. The value is the share of right answers.

    Needs nothing of the example: it checks form (a ticket number, one question, no promise), not truth. Patterns are
    Python's; `(?i)` ignores case, `\\A` and `\\Z` anchor the whole answer. Compared by McNemar's exact test (McNemar
    1947). Neighbour: `exact`.
    """

    paired: ClassVar[str] = "mcnemar"
    needs_expected: ClassVar[bool] = False

    pattern: str | None = Field(None, description="must be found in the answer")
    must_not: str | None = Field(None, description="must not be found in the answer")

    @field_validator("pattern", "must_not")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _asks_something(self) -> Regex:
        if self.pattern is None and self.must_not is None:
            raise ValueError("has nothing to check: give pattern, must_not, or both")
        return self

    def grade(self, example: Example, answer: str) -> Grade:
        """1 when both conditions hold, else 0."""
        if self.pattern is not None and not re.search(self.pattern, answer):
            return Grade(score=0.0, why="the pattern is not found")
        found = re.search(self.must_not, answer) if self.must_not is not None else None
        if found:
            return Grade(score=0.0, why=f"'{found.group(0)}' must not be there")
        return Grade(score=1.0)
