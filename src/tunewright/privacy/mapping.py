"""What was replaced by what, encrypted (age, through pyrage) before it is written: never in plain on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import MissingPackage, RecipeError


def refuse_unreadable(who: str) -> None:
    """Raise RecipeError now for a reader who could not be told later."""
    _reader(who)


def write(path: Path, mapping: Mapping[tuple[str, str], str], who: str) -> None:
    """Write JSON lines {type, original, replaced_by}, encrypted for `who`: an age recipient, or a passphrase by
    env:NAME or in a file. Raises RecipeError.
    """
    rows = (
        json.dumps({"type": type, "original": value, "replaced_by": new}, ensure_ascii=False)
        for (type, value), new in mapping.items()
    )
    storage.write_bytes(path, _encrypted("\n".join(rows).encode("utf-8", "surrogatepass"), who))


def read(path: Path, *, identity: str | None = None, passphrase: str | None = None) -> list[dict[str, str]]:
    """The rows of a mapping, with the secret age identity or the passphrase. Raises RecipeError."""
    import pyrage

    content = path.read_bytes()
    try:
        if passphrase is not None:
            plain = pyrage.passphrase.decrypt(content, passphrase)
        else:
            plain = pyrage.decrypt(content, [pyrage.x25519.Identity.from_str(identity or "")])
    except (pyrage.DecryptError, pyrage.IdentityError) as error:
        raise RecipeError(
            f"{path} cannot be opened: {error}. Give the identity or the passphrase it was made for."
        ) from None
    return [json.loads(line) for line in plain.decode("utf-8", "surrogatepass").splitlines()]


def _encrypted(content: bytes, who: str) -> bytes:
    import pyrage

    reader = _reader(who)
    if isinstance(reader, str):
        return bytes(pyrage.passphrase.encrypt(content, reader))
    return bytes(pyrage.encrypt(content, [reader]))


def _reader(who: str) -> Any:
    """An age recipient, or a passphrase as text."""
    try:
        import pyrage
    except ImportError:
        raise MissingPackage("pyrage", needed_for="scrub.keep_mapping") from None
    if who.startswith("age1"):
        try:
            return pyrage.x25519.Recipient.from_str(who)
        except pyrage.RecipientError as error:
            raise RecipeError(
                f"scrub.mapping_for: {who[:12]}... is no age recipient: {error}. Check its letters."
            ) from None
    return _passphrase(who)


def _passphrase(named: str) -> str:
    if named.startswith("env:"):
        phrase = os.environ.get(named.removeprefix("env:"), "")
    else:
        try:
            phrase = Path(named).expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            raise RecipeError(
                f"scrub.mapping_for: {named} cannot be read: {error.strerror}. Name a file or env:NAME."
            ) from None
    if not phrase:
        raise RecipeError(
            f"scrub.mapping_for: {named} holds no passphrase. Set it, or give an age recipient (age1...)."
        )
    return phrase
