"""What the model card of a release says beyond what was measured: options of `deploy.card`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Card(BaseModel):
    """Words that only the user knows. Everything else on the card is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    license: str | None = Field(
        None, description="of the release, as the Hub writes it; left out: the base's, if known"
    )
    language: tuple[str, ...] = Field((), description="codes such as en; left out: those found in the rows")
    tags: tuple[str, ...] = Field((), description="more words by which the Hub finds it")
    use: str | None = Field(None, description="what it is meant for, and what not")
    limits: str | None = Field(None, description="what else its users should know")
