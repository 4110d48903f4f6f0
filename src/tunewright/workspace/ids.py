"""Names that the API gives to things: a word for the kind, then characters that nobody can guess."""

from __future__ import annotations

import secrets
import string

_LETTERS = string.ascii_letters + string.digits
_LENGTH = 24  # 142 bits


def new(prefix: str) -> str:
    """A new name such as `file-` or `ftjob-` with 24 characters behind it."""
    return prefix + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
