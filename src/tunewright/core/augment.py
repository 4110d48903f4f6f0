"""How training rows are multiplied: options of `data.augment`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tunewright.core import mistakes
from tunewright.core.endpoint import Endpoint
from tunewright.core.errors import RecipeError

MADE = "made"  # the column of `meta` that says how a row was made; rows that have it are never measured on


class Augment(BaseModel):
    """Rows made from training rows, in other words. Give one of per_row, share and balance; else it is per_row: 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edits: list[str | dict[str, Any]] = Field(
        min_length=1, description="what is done to a row, in turn: names, or mappings with `kind` and options"
    )
    per_row: int | None = Field(None, ge=1, le=100, description="rows made from each training row")
    share: float | None = Field(None, gt=0, le=1, description="make one row from this share of the training rows")
    balance: int | str | None = Field(
        None, description="make rows of the labels that have fewer, up to the 'largest' label or to this number"
    )
    near: float = Field(
        0.8, gt=0, le=1, description="a made row this near to another row is thrown away: lower throws away more"
    )
    seed: int = Field(0, description="another seed makes other rows")
    endpoint: Endpoint | None = Field(None, description="a server that is asked by edits such as `paraphrase`")
    model: str | None = Field(None, description="asked instead of a server: a run, a release, or a base such as nano")

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Augment:
        """Options from plain values, without those that are None. Raises RecipeError with every problem."""
        given = {name: value for name, value in values.items() if value is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise RecipeError(mistakes.sentences(error, cls)) from None

    def files(self) -> list[str]:
        """Files that the edits read."""
        named = [edit["words"] for edit in self.edits if isinstance(edit, dict) and "words" in edit]
        return [str(name) for name in named if name]

    @field_validator("balance")
    @classmethod
    def _is_a_size(cls, balance: int | str | None) -> int | str | None:
        if balance != "largest" and (isinstance(balance, str) or (balance is not None and balance < 1)):
            raise ValueError("must be 'largest' or a number of rows above 0")
        return balance

    @model_validator(mode="after")
    def _says_one_thing(self) -> Augment:
        given = [name for name in ("per_row", "share", "balance") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of per_row, share and balance, found {' and '.join(given)}")
        if self.endpoint is not None and self.model is not None:
            raise ValueError("give endpoint or model, not both")
        return self
