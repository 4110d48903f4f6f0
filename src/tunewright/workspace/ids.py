"""Names that the API gives to things: a word for the kind, then characters that nobody can guess."""

from __future__ import annotations

import secrets
import string

_LETTERS = string.ascii_letters + string.digits
_LENGTH = 24  # 142 bits


def comparable(text: str) -> str:
    """What a row's id or name is compared with: "", which nothing has, for what no name holds. A database may refuse to
    compare that (PostgreSQL: NUL).
    """
    return text if text.isprintable() else ""


def new(prefix: str) -> str:
    """A new name such as `file-` or `ftjob-` with 24 characters behind it."""
    return prefix + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
