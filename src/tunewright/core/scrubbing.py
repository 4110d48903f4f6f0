"""How personal data is taken out of rows: options of `data.scrub`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tunewright.core.errors import unknown

Action = Literal["surrogate", "mask", "hash", "drop", "keep"]
ACTIONS: tuple[str, ...] = get_args(Action)
# Types that presidio's synthetic set has, by the same names, and then our own.
TYPES = (
    "PERSON", "ORGANIZATION", "GPE", "STREET_ADDRESS", "ZIP_CODE", "NRP", "TITLE", "AGE", "DATE_TIME", "EMAIL_ADDRESS",
    "PHONE_NUMBER", "DOMAIN_NAME", "IP_ADDRESS", "MAC_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "BANK_ACCOUNT",
    "SWIFT_CODE", "CRYPTO_ADDRESS", "US_SSN", "US_DRIVER_LICENSE", "NATIONAL_ID", "PASSPORT", "MEDICAL_RECORD",
    "LICENSE_PLATE", "USERNAME", "PRIVATE_KEY", "API_KEY", "JWT", "PASSWORD", "URL_CREDENTIALS",
)  # fmt: skip


class Scrub(BaseModel):
    """What is taken out of every text of a row, and what comes in its place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    types: Literal["all"] | list[str] = Field("all", description="what is looked for, e.g. [EMAIL_ADDRESS, PERSON]")
    action: Action = Field(
        "surrogate", description="surrogate keeps the form, and one person is one surrogate; mask, hash, drop (the row)"
    )
    actions: dict[str, Action] = Field({}, description="another action for a type, e.g. {CREDIT_CARD: mask, GPE: keep}")
    recognizer: Literal["rules", "presidio"] = Field(
        "rules", description="rules need no model; presidio is asked beside them, where it is installed"
    )
    key: str | None = Field(
        None, description="what surrogates and hashes follow from: env:NAME or a file; none: a new one, thrown away"
    )
    keep_mapping: str | None = Field(
        None, description="an encrypted file of what was replaced by what; none: nobody can turn it back"
    )
    mapping_for: str | None = Field(
        None, description="who may read that file: an age recipient (age1...), or a passphrase as env:NAME or a file"
    )

    @field_validator("types")
    @classmethod
    def _known_types(cls, types: Literal["all"] | list[str]) -> Literal["all"] | list[str]:
        for type in [] if types == "all" else types:
            _known(type)
        return types

    @field_validator("actions")
    @classmethod
    def _known_keys(cls, actions: dict[str, Action]) -> dict[str, Action]:
        for type in actions:
            _known(type)
        return actions

    @model_validator(mode="after")
    def _both_or_none(self) -> Scrub:
        if (self.keep_mapping is None) != (self.mapping_for is None):
            raise ValueError("keep_mapping and mapping_for belong together: a file, and who may read it")
        return self

    def action_of(self, type: str) -> Action:
        """What is done with a type."""
        return self.actions.get(type, self.action)

    def located(self, absolute: Callable[[str], str]) -> Scrub:
        """With the paths that it names made absolute."""
        named = {"key": self.key, "keep_mapping": self.keep_mapping, "mapping_for": self.mapping_for}
        paths = {key: absolute(value) for key, value in named.items() if value and not value.startswith("age1")}
        return self.model_copy(update=paths)


def _known(type: str) -> None:
    if type not in TYPES:
        raise ValueError(unknown("type of personal data", type, TYPES))
