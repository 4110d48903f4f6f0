"""Who may read what a run keeps: options of `privacy`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Vault(BaseModel):
    """Encrypts what the run keeps. Names where the key is: the recipe never holds the key itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str | None = Field(None, description="an age key file (made by: tunewright data key FILE), or env:NAME")
    passphrase: str | None = Field(
        None, description="instead of a key: a file that holds a passphrase, env:NAME, or 'ask'"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Vault:
        if (self.key is None) == (self.passphrase is None):
            raise ValueError("give either key or passphrase: a file, or env:NAME")
        if (self.key or "").upper().startswith("AGE-SECRET-KEY"):
            raise ValueError("this is the key itself: put it into a file and name that")
        return self


class PrivacyOptions(BaseModel):
    """What is kept from the eyes of others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vault: Vault | None = Field(
        None, description="encrypts rows, answers, reports and weights at rest; none: files are as they are"
    )
