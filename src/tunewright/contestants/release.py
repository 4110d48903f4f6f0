"""release: what runs now, asked as it answers its users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tunewright.core.contesting import Answerer
from tunewright.core.errors import NotThere, TunewrightError
from tunewright.core.example import Example
from tunewright.core.parts import Contestant


class Release(Contestant):
    """A release of this or another run, given each example's own messages; with its own template and decoding.

    Needs messages. What the tuned model is to take the place of. Neighbours: `base`, `endpoint` (a server).
    """

    paths: ClassVar[tuple[str, ...]] = ("release",)

    release: str = Field(description="a release's folder, a run (its newest release), or RUN:NUMBER")

    @property
    def who(self) -> Answerer:
        """The release."""
        return Path(self.release)

    def problems(self, runs: Path | None, *, grounded: bool) -> list[str]:
        """A release that is not there."""
        if runs is None:
            return []
        from tunewright.core.releases import find_release

        try:
            find_release(self.release, runs=runs)
        except NotThere as error:
            return [f"release: {error}"]
        except TunewrightError as error:
            return [f"release: '{self.release}' cannot be read: {error}"]
        return []

    def prompts(self, examples: Sequence[Example], training: Sequence[Example]) -> list[list[dict[str, Any]]]:
        """Each example's messages before its answer."""
        return [[message.for_template() for message in example.prompt] for example in examples]
