"""endpoint: any server that speaks OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tunewright.contestants._shown import Shows, before, lead
from tunewright.core import endpoint as servers
from tunewright.core.contesting import Answerer
from tunewright.core.errors import EndpointError
from tunewright.core.example import Example
from tunewright.core.parts import Contestant


class Endpoint(Contestant, Shows):
    """A model behind a server, given each example's own messages: what can be had without tuning anything.

    Needs messages. Where answers are labels it is told them, and an answer counts as a label only when it is one, but
    for case, spacing and punctuation. Neighbours: `base`, `release`; `few_shot`, `prompt` and `retrieval` take an
    endpoint as their `model`.
    """

    paths: ClassVar[tuple[str, ...]] = ("examples",)

    endpoint: servers.Endpoint = Field(description="the server: url, model, key, prices ...")
    system: str | None = Field(None, description="a system message in the place of the rows' own")
    k: int = Field(0, ge=0, description="examples shown: more help, and lengthen every prompt; 0 shows none")

    @property
    def who(self) -> Answerer:
        """The server."""
        return self.endpoint

    def problems(self, runs: Path | None, *, grounded: bool) -> list[str]:
        """A key that is not where it should be; a file of examples that is not there."""
        found = [f"examples: there is no file {path}." for path in self.missing_files()]
        try:
            self.endpoint.secret()
        except EndpointError as error:
            found.append(str(error))
        return found

    def try_on(self, training: Sequence[Example]) -> None:
        """Raise DataError where an example that is named is not there."""
        self.find_named(training)

    def prompts(self, examples: Sequence[Example], training: Sequence[Example]) -> list[list[dict[str, Any]]]:
        """The system message, shown examples, then the question."""
        shown = self.lines_for(examples, training)
        made = [before(example, picks) for example, picks in zip(examples, shown, strict=True)]
        if self.system is None:
            return made
        return [[{"role": "system", "content": self.system}, *said[len(lead(said)) :]] for said in made]
