"""The key of a private folder: an age identity of its own, in the folder's vault file, encrypted to the user's key.

Blocks of files are sealed to that identity (age v1, X25519 and ChaCha20-Poly1305; age-encryption.org/v1, through
pyrage), so that another key of the user's, or a passphrase, opens the folder after one small file was rewritten.
"""

from __future__ import annotations

import base64
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import private, storage
from tunewright.core.errors import NoKey, RunError
from tunewright.privacy import passphrases

if TYPE_CHECKING:
    from pyrage import x25519

FORMAT = 1
MOST_COST = 2**22  # scrypt's N; a vault file that asks for more was not written here
VARIABLE = "TUNEWRIGHT_VAULT_KEY"  # a key file, env:NAME or passphrase:... that is used instead of the recorded one
PASSPHRASE = "passphrase:"
ASK = "ask"
_SECRET = "AGE-SECRET-KEY-1"


class Vault:
    """Seals blocks of files to one identity."""

    def __init__(self, identity: x25519.Identity) -> None:
        self.identity = identity

    def seal(self, content: bytes) -> bytes:
        """Encrypt and authenticate, with a fresh key for each call."""
        import pyrage

        return bytes(pyrage.encrypt(content, [self._recipient]))

    def open(self, sealed: bytes) -> bytes:
        """Decrypt. Raises ValueError for what was changed, or sealed to another identity."""
        import pyrage

        try:
            return bytes(pyrage.decrypt(sealed, [self.identity]))
        except pyrage.DecryptError as error:
            raise ValueError(str(error)) from None

    @cached_property
    def _recipient(self) -> x25519.Recipient:
        return self.identity.to_public()


@dataclass(frozen=True)
class Key:
    """Where the user's key is: never the key itself. where: a file, `env:NAME`, for a passphrase also `ask`."""

    where: str
    is_passphrase: bool = False

    @classmethod
    def named(cls, text: str) -> Key:
        """Of its written form: `FILE`, `env:NAME`, or the same behind `passphrase:`."""
        if text.startswith(PASSPHRASE):
            return cls(text.removeprefix(PASSPHRASE), is_passphrase=True)
        return cls(text)

    def __str__(self) -> str:
        return f"{PASSPHRASE}{self.where}" if self.is_passphrase else self.where

    @property
    def located(self) -> Key:
        """With an absolute path, as it is recorded."""
        if self.where == ASK or self.where.startswith("env:"):
            return self
        return Key(str(Path(self.where).expanduser().absolute()), self.is_passphrase)

    def read(self, *, twice: bool = False) -> str:
        """The secret itself. twice: it is new, so a prompt asks for it two times. Raises NoKey."""
        what = "passphrase" if self.is_passphrase else "key"
        if self.where.startswith("env:"):
            text = os.environ.get(self.where.removeprefix("env:"), "")
            if not text.strip():
                raise NoKey(f"The {what} should be in the environment variable {self.where[4:]}, which is not set.")
        elif self.is_passphrase and self.where == ASK:
            text = _asked(twice)
        else:
            try:
                text = Path(self.where).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                path = Path(self.where).expanduser()
                if self.is_passphrase:  # the name may be the passphrase itself, which no message repeats
                    where, another = f"the file in {path.parent} that was named", f"{VARIABLE}=passphrase:FILE"
                else:
                    where, another = f"the file {path}", f"{VARIABLE}=FILE"
                raise NoKey(
                    f"The {what} should be in {where}, which is not there or cannot be read. Bring it back, or name "
                    f"another: {another} (env:NAME is a variable)."
                ) from None
        if self.is_passphrase:
            if not (text := text.rstrip("\r\n")):
                raise NoKey(f"The passphrase in {self.where} is empty. Write one there.")
            return text
        return _secret_of(text, self.where)


_Stamp = tuple[int, int, int]
_open: dict[Path, tuple[_Stamp, Vault]] = {}
_unwrapped: dict[str, Vault] = {}  # by the encrypted identity: copies of a vault file ask for the key once
_named: dict[Path, Key] = {}
_guard = threading.RLock()


# --- what core/private.py asks for ---


def opened(folder: Path) -> Vault:
    """The vault of a private folder; its key is read once. Raises NoKey."""
    stamp = _stamp(folder)
    with _guard:
        known = _open.get(folder)
        if known is None or known[0] != stamp:
            facts = _facts(folder)
            found = _unwrapped.get(facts["identity"]) or Vault(_identity(folder, facts))
            _unwrapped[facts["identity"]] = found
            _open[folder] = known = (stamp, found)
        return known[1]


def ephemeral() -> Vault:
    """A vault whose identity is in memory alone."""
    from pyrage import x25519

    return Vault(x25519.Identity.generate())


def is_complete(folder: Path) -> bool:
    """Whether every file of the folder that should be encrypted is: not while it is being locked or unlocked."""
    return bool(_facts(folder).get("complete"))


# --- making, changing and removing ---


def use(folder: Path, key: Key) -> None:
    """Open a folder with this key in this process, instead of the one that it records."""
    with _guard:
        _named[folder.absolute()] = key


def begin(folder: Path, key: Key, *, complete: bool) -> None:
    """Make a folder private with a new identity. complete: nothing lies in it yet. Raises NoKey."""
    from pyrage import x25519

    assert not (folder / private.VAULT).exists(), "a second identity would lose the first one's files"
    identity = x25519.Identity.generate()
    _write(folder, identity, key, complete=complete)


def change_key(folder: Path, key: Key) -> None:
    """Let another key open the folder, and the one before no more. No other file changes. Raises NoKey."""
    _write(folder, opened(folder).identity, key, complete=is_complete(folder))


def is_secret(text: str) -> bool:
    """Whether a text is a key itself, where the name of its file should stand."""
    return text.strip().upper().startswith(_SECRET)


def hand_on(folder: Path, to: Path) -> None:
    """Let a folder inside a private one be opened by itself, wherever it is moved; nothing where it is not private."""
    if (above := private.home(folder / private.VAULT)) is not None:
        storage.write_bytes(to / private.VAULT, (above / private.VAULT).read_bytes(), point="vault")
        private.forget()


def settle(folder: Path, *, complete: bool) -> None:
    """Record whether every file is encrypted that should be."""
    storage.write_json(folder / private.VAULT, {**_facts(folder), "complete": complete}, point="vault")


def key_of(folder: Path) -> Key:
    """Where the key of a folder is recorded to be."""
    return Key.named(str(_facts(folder)["key"]))


def new_key(file: Path) -> str:
    """Write a new key file that only its owner can read; return its public half. Raises RunError where one is."""
    from pyrage import x25519

    identity = x25519.Identity.generate()
    public = str(identity.to_public())
    made = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise RunError(
            f"{file} is there already, and a key that is overwritten opens nothing any more. Give another name."
        ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(f"# created: {made}\n# public key: {public}\n{identity}\n")
        out.flush()
        os.fsync(out.fileno())
    storage.sync(file.parent)
    return public


# --- the vault file ---


def _facts(folder: Path) -> dict[str, Any]:
    file = folder / private.VAULT
    try:
        facts = dict(storage.read_json(file))
        texts = [facts[name] for name in ("identity", "key", "salt")]
        bytes.fromhex(facts["salt"])
        if facts["format"] == FORMAT and all(isinstance(text, str) for text in texts) and facts["cost"] <= MOST_COST:
            return facts
    except (ValueError, KeyError, TypeError):
        pass
    raise NoKey(f"{file} is damaged, and with it the key of {folder} is lost. Bring it back from a copy.")


def _write(folder: Path, identity: x25519.Identity, key: Key, *, complete: bool) -> None:
    import pyrage

    salt = os.urandom(16)
    own = _own_identity(key, key.read(twice=True), salt, passphrases.COST).to_public()
    facts: dict[str, Any] = {
        "format": FORMAT,
        "key": str(key.located),
        "public": None if key.is_passphrase else str(own),
        "salt": salt.hex(),
        "cost": passphrases.COST,
        "identity": base64.b64encode(pyrage.encrypt(str(identity).encode(), [own])).decode("ascii"),
        "complete": complete,
    }
    storage.write_json(folder / private.VAULT, facts, point="vault")
    private.forget()
    with _guard:
        _named[folder.absolute()] = key.located
        _unwrapped[facts["identity"]] = Vault(identity)


def _stamp(folder: Path) -> _Stamp:
    try:
        found = (folder / private.VAULT).stat()
    except FileNotFoundError:
        raise NoKey(f"{folder / private.VAULT} has gone meanwhile. Run the same command again.") from None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _identity(folder: Path, facts: dict[str, Any]) -> x25519.Identity:
    import pyrage
    from pyrage import x25519

    override = os.environ.get(VARIABLE)
    key = Key.named(override) if override else _named.get(folder.absolute(), Key.named(facts["key"]))
    own = _own_identity(key, key.read(), bytes.fromhex(facts["salt"]), facts["cost"])
    try:
        plain = pyrage.decrypt(base64.b64decode(facts["identity"]), [own])
        return x25519.Identity.from_str(plain.decode())
    except (pyrage.DecryptError, pyrage.IdentityError, ValueError):
        pass
    wanted = f"the key {facts['public']}" if facts.get("public") else "a passphrase"
    given = "a passphrase" if key.is_passphrase else f"the key {own.to_public()}"
    other = " that does not fit" if given.split()[1] == wanted.split()[1] else ""
    raise NoKey(
        f"{folder} cannot be opened: it is encrypted to {wanted}, and {key} holds {given}{other}. "
        f"Name the right one: {VARIABLE}=FILE (or passphrase:FILE, env:NAME)."
    )


def _own_identity(key: Key, secret: str, salt: bytes, cost: int) -> x25519.Identity:
    """The user's own, which the folder's is encrypted to."""
    from pyrage import x25519

    return x25519.Identity.from_str(passphrases.identity(secret, salt, cost=cost) if key.is_passphrase else secret)


def _secret_of(text: str, where: str) -> str:
    from pyrage import IdentityError, x25519

    found = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(found) == 1 and found[0].startswith(_SECRET):
        try:
            x25519.Identity.from_str(found[0])
            return found[0]
        except IdentityError:
            pass
    raise NoKey(f"{where} holds no age key (one line {_SECRET}...). Make one with: tunewright data key FILE")


def _asked(twice: bool) -> str:
    import getpass
    import sys

    if not sys.stdin.isatty():
        raise NoKey(
            f"The passphrase is to be asked for, and nobody is at the keyboard. Name a file: {VARIABLE}=passphrase:FILE"
        )
    text = getpass.getpass("Passphrase of the private run: ")
    if twice and getpass.getpass("The same once more: ") != text:
        raise NoKey("The two passphrases differ. Try again.")
    return text
