"""python: a function of the user's own grades the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader

Function = Callable[[Example, str], Any]


class Python(Grader):
    """Whatever `function(example, answer)` in the file at `path` returns: a number from 0 to 1, True or False, or a
    mapping {score, why}. The value is the mean over the rows.

    Needs what the function needs; the example has `answer` (the expected one), `prompt`, `label` and every other column
    in `meta`. It runs in this process with your own rights, packages and files, as the rest of your project does: name
    files only that you trust as much. Compared by the bootstrap. Neighbours: `regex`, `contains`, `json_schema`; `code`
    for programs that a model wrote.
    """

    needs_expected: ClassVar[bool] = False
    paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str = Field(description="the Python file")
    function: str = Field("grade", description="the function in it")

    def problems(self, contestants: Sequence[str]) -> list[str]:
        """A file that is not there; what is in it is run by `evaluate` alone."""
        return [] if Path(self.path).is_file() else [f"there is no file {self.path}. Paths are relative to the recipe."]

    def grade(self, example: Example, answer: str) -> Grade:
        """What the function says. Raises DataError, naming the row, where it fails or returns something else."""
        function = _loaded(self.path, self.function)
        try:
            found = function(example, answer)
        except Exception as error:
            raise self._fault(example, f"raised {type(error).__name__}: {error}") from error
        given = found if isinstance(found, dict) else {"score": found}
        score, why = given.get("score"), str(given.get("why", ""))
        if not isinstance(score, bool | int | float) or not 0 <= score <= 1 or given.keys() - {"score", "why"}:
            raise self._fault(example, f"returned {found!r:.100}")
        return Grade(score=float(score), why=why)

    def _fault(self, example: Example, what: str) -> DataError:
        return DataError(
            f"Grader '{self.label}': {self.function} in {self.path} {what} for row {example.id}. It must return a "
            "number from 0 to 1, True or False, or {'score': ..., 'why': ...}."
        )


@cache
def _loaded(path: str, name: str) -> Function:
    """The function, from a module of its own. Raises DataError."""
    import importlib.util

    if not Path(path).is_file():
        raise DataError(
            f"Grader 'python' finds no file {path}. Give the path of a Python file, relative to the recipe."
        )
    spec = importlib.util.spec_from_file_location(f"tunewright_grader_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise DataError(f"Grader 'python': {path} is no Python file. Name one that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DataError(f"Grader 'python' cannot load {path}: {type(error).__name__}: {error}. Correct it.") from error
    function = vars(module).get(name)
    if not callable(function):
        known = ", ".join(key for key, value in vars(module).items() if callable(value)) or "none"
        raise DataError(f"Grader 'python': {path} has no function '{name}'. Functions there: {known}.")
    found: Function = function
    return found
