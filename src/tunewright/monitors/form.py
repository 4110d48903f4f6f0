"""form: do answers still have the form of the task, and do they end before they repeat themselves?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import Field

from tunewright.core.answer_form import form_of
from tunewright.core.errors import DataError
from tunewright.core.monitoring import Monitor, MonitorResult, MonitorScene
from tunewright.monitors._figures import rose, rose_of_turns

_SHORTEST = 4  # words that are repeated
_TIMES = 3  # in a row


class Form(Monitor):
    """The shares of answers out of the task's form, of invalid JSON, of those that repeat themselves, and of cut ones.

    The form is that of the test rows: one of the labels, JSON with its keys, or lines `key: value`. JSON is held to
    `json_schema` where one is given. Each share is tested against the reference's by Fisher's exact test, one-sided.
    """

    question: ClassVar[str] = "Are answers still well formed?"

    json_schema: dict[str, Any] | None = Field(
        None,
        description="a JSON schema that answers must fulfil; none: that of a grader json_schema, or JSON is enough",
    )

    def watch(self, scene: MonitorScene) -> MonitorResult:
        """Hold every answer to the form of the tested ones."""
        checks: list[tuple[str, Callable[[str], bool], str]] = []
        form = form_of(scene.labels, [one.answer for one in scene.tested if one.answer])
        if form.known:
            checks.append(("out of form", lambda text: not form.holds(text), f"Answers are not {form.words} in {{}}."))
        schema = self.json_schema or scene.schema
        if schema is not None or form.json:
            valid = _valid(schema)
            checks.append(("invalid JSON", lambda text: not valid(text), "Answers are no valid JSON in {}."))
        if not scene.labels:
            checks.append(("repeating", repeats, "Answers repeat themselves in {}."))
        figures = [rose(name, scene, holds, why=why) for name, holds, why in checks]
        if not scene.labels:
            cut = "Answers were cut at their longest length in {}."
            figures.append(
                rose_of_turns("cut", scene, lambda turn: turn.finish == "length" if turn.finish else None, why=cut)
            )
        return MonitorResult(
            monitor=self.kind, question=self.question, figures=[one for one in figures if one is not None]
        )


def _valid(schema: dict[str, Any] | None) -> Callable[[str], bool]:
    if schema is None:
        return _is_json
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    checker = validator_for(schema)
    try:
        checker.check_schema(schema)
    except SchemaError as error:
        raise DataError(f"monitor form: json_schema is no JSON schema: {error.message}. Mend it.") from None
    validator = checker(schema)
    return lambda text: _is_json(text) and validator.is_valid(json.loads(text))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def repeats(text: str) -> bool:
    """Whether four or more words come three times in a row."""
    words = text.split()
    for size in range(_SHORTEST, len(words) // _TIMES + 1):
        run = 0
        for place in range(size, len(words)):
            run = run + 1 if words[place] == words[place - size] else 0
            if run >= size * (_TIMES - 1):
                return True
    return False
