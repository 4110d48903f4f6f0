"""Part: the base of everything picked by name in a recipe."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

PartChoice = str | dict[str, Any]  # how a recipe names a part: its kind, or a mapping with its options


class Part(BaseModel, ABC):
    """Base of every part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: ClassVar[str]
    paths: ClassVar[tuple[str, ...]] = ()  # options that may name a file or folder, relative to the recipe
    packages: ClassVar[tuple[str, ...]] = ()  # optional ones that it imports

    @property
    def imports(self) -> tuple[str, ...]:
        """The optional packages that it imports with these options."""
        return self.packages

    @property
    def kind(self) -> str:
        """The YAML word: the name of the file that holds the class."""
        return type(self).__module__.rsplit(".", 1)[-1]
