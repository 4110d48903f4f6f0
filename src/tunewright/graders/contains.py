"""contains: the answer holds phrases, or must not."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field, model_validator

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader


class Contains(Grader):
    """Right or wrong: the answer holds every phrase of `every`, one of `some`, and none of `never`.

    Needs nothing of the example; `{expected}` in a phrase stands for the row's expected answer, and a row without one
    is wrong. The value is the share of right answers, compared by McNemar's exact test. Neighbours: `regex` for
    patterns, `exact` where nothing else may be said.
    """

    paired: ClassVar[str] = "mcnemar"
    needs_expected: ClassVar[bool] = False

    every: list[str] = Field([], description="all of these must be found")
    some: list[str] = Field([], description="one of these must be found")
    never: list[str] = Field([], description="none of these may be found")
    case: bool = Field(False, description="upper and lower case differ")
    whole_words: bool = Field(False, description="'art' is not found in 'party'")

    @model_validator(mode="after")
    def _asks_something(self) -> Contains:
        if not (self.every or self.some or self.never):
            raise ValueError("has nothing to look for: give every, some or never")
        return self

    def grade(self, example: Example, answer: str) -> Grade:
        """1 when all three hold, else 0."""
        missed = [phrase for phrase in self.every if not self._found(phrase, example, answer)]
        if missed:
            return Grade(score=0.0, why=f"'{missed[0]}' is missing")
        if self.some and not any(self._found(phrase, example, answer) for phrase in self.some):
            return Grade(score=0.0, why=f"none of {len(self.some)} phrases is there")
        bad = [phrase for phrase in self.never if self._found(phrase, example, answer)]
        return Grade(score=0.0, why=f"'{bad[0]}' must not be there") if bad else Grade(score=1.0)

    def _found(self, phrase: str, example: Example, answer: str) -> bool:
        if "{expected}" in phrase:
            if not example.answer:
                return False
            phrase = phrase.replace("{expected}", example.answer)
        sought, text = " ".join(phrase.split()), " ".join(answer.split())
        if not self.case:
            sought, text = sought.casefold(), text.casefold()
        if not self.whole_words:
            return sought in text
        return re.search(rf"(?<!\w){re.escape(sought)}(?!\w)", text) is not None
