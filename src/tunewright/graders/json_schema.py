"""json_schema: the answer is JSON of a schema."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


class JsonSchema(Grader):
    """Right when the answer is JSON that a JSON Schema allows. The value is the share of such answers.

    Needs nothing of the example: it checks form, not truth. Judged by the jsonschema library, by the draft that the
    schema names (2020-12 when it names none); what the schema refers to must stand in it, nothing is fetched. Compared
    by McNemar's exact test. Neighbours: `regex`; `exact` with `field:` for what a field says.
    """

    paired: ClassVar[str] = "mcnemar"
    needs_expected: ClassVar[bool] = False
    paths: ClassVar[tuple[str, ...]] = ("file",)

    file: str | None = Field(None, description="a file that holds the schema")
    inline: dict[str, Any] | None = Field(None, description="the schema itself")
    anywhere: bool = Field(False, description="words around the JSON, such as a code fence, do no harm")

    @model_validator(mode="after")
    def _has_a_schema(self) -> JsonSchema:
        if (self.file is None) == (self.inline is None):
            raise ValueError("give the schema: either file or inline")
        if self.inline is not None:
            _checked(json.dumps(self.inline), "inline")
        return self

    def problems(self, contestants: Sequence[str]) -> list[str]:
        """A file that holds no schema."""
        try:
            self._validator()
        except DataError as error:
            return [str(error)]
        return []

    def grade(self, example: Example, answer: str) -> Grade:
        """1 when the schema allows it, else 0 with the first fault. Raises DataError for a file without a schema."""
        validator = self._validator()
        found, value = _parsed(answer, self.anywhere)
        if not found:
            return Grade(score=0.0, why="is no JSON")
        from referencing.exceptions import Unresolvable

        try:
            fault = next(iter(sorted(validator.iter_errors(value), key=lambda error: error.json_path)), None)
        except Unresolvable as error:
            raise DataError(
                f"Grader '{self.label}': the schema refers to {error.ref}, which is not in it, and nothing is fetched. "
                "Put it into $defs."
            ) from None
        if fault is None:
            return Grade(score=1.0)
        return Grade(score=0.0, why=f"{fault.json_path}: {fault.message}"[:200])

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """The commonest faults."""
        faults = Counter(grade.why for grade in grades if grade.score == 0)
        return {
            "valid": sum(grade.score for grade in grades) / max(1, len(grades)),
            "faults": dict(faults.most_common(5)),
        }

    def _validator(self) -> Validator:
        if self.inline is not None:
            return _made(json.dumps(self.inline))
        assert self.file is not None
        return _of_file(self.file)


def _parsed(answer: str, anywhere: bool) -> tuple[bool, Any]:
    """Whether there is JSON, and its value."""
    try:
        return True, json.loads(answer)
    except (ValueError, RecursionError):
        pass
    for place, letter in enumerate(answer if anywhere else ""):
        if letter in "{[":
            try:
                return True, json.JSONDecoder().raw_decode(answer, place)[0]
            except (ValueError, RecursionError):
                continue
    return False, None


def _checked(schema: str, where: str) -> None:
    from jsonschema import SchemaError, validators

    try:
        read = json.loads(schema)
        validators.validator_for(read, default=validators.Draft202012Validator).check_schema(read)
    except (SchemaError, ValueError) as error:
        said = error.message if isinstance(error, SchemaError) else str(error)
        raise ValueError(f"{where} holds no JSON schema: {said}") from None


@cache
def _made(schema: str) -> Validator:
    from jsonschema import validators
    from referencing import Registry

    read = json.loads(schema)
    made = validators.validator_for(read, default=validators.Draft202012Validator)
    found: Validator = made(read, registry=Registry())  # one of its own: nothing is fetched
    return found


@cache
def _of_file(path: str) -> Validator:
    try:
        schema = Path(path).read_text(encoding="utf-8")
        _checked(schema, path)
    except OSError as error:
        raise DataError(f"Grader 'json_schema' cannot read {path}: {error.strerror}. Name the schema's file.") from None
    except ValueError as error:
        raise DataError(f"Grader 'json_schema': {error}. Correct the file.") from None
    return _made(schema)
