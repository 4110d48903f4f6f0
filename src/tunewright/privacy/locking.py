"""Encrypts a folder that was plain, or decrypts it: file by file, each whole at any moment; the same call finishes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tunewright.core import private, sealed, storage
from tunewright.privacy import vault
from tunewright.privacy.vault import Key

Told = Callable[[int, int], None]  # files that are done, and all


def lock(folder: Path, key: Key | None, *, told: Told = lambda done, total: None) -> int:
    """Encrypt every file that should be, those first that came to lie there in plain; return how many were.

    key: of a folder that was plain, or the new key of one that is private already. Raises NoKey.
    """
    if not (folder / private.VAULT).exists():
        assert key is not None, "a plain folder has no key yet"
        vault.begin(folder, key, complete=False)
    elif key is not None:
        vault.change_key(folder, key)
    sealer = vault.opened(folder)
    plain = [path for path in _files(folder) if not private.stays_plain(path) and not sealed.is_sealed(path)]
    if plain:
        _take_back(folder)
        vault.settle(folder, complete=False)
    for number, path in enumerate(plain):
        told(number, len(plain))
        storage.change_form(path, sealer)
    vault.settle(folder, complete=True)
    for release in _releases(folder):
        vault.hand_on(folder, release)
    told(len(plain), len(plain))
    return len(plain)


def unlock(folder: Path, *, told: Told = lambda done, total: None) -> int:
    """Decrypt every file; return how many were. The vault file goes last. Raises NoKey, and CannotDecrypt for a file
    that was damaged: then everything else stays readable as it is.
    """
    vault.opened(folder)
    encrypted = [path for path in _files(folder) if sealed.is_sealed(path)]
    _take_back(folder)
    vault.settle(folder, complete=False)
    for number, path in enumerate(encrypted):
        told(number, len(encrypted))
        storage.change_form(path, None)
    assert not any(sealed.is_sealed(path) for path in _files(folder)), "nothing may be left without its key"
    (folder / private.VAULT).unlink()
    private.forget()
    storage.sync(folder)
    told(len(encrypted), len(encrypted))
    return len(encrypted)


def _take_back(folder: Path) -> None:
    """While files change their form, releases go by the folder's own vault file, which says so."""
    for release in _releases(folder):
        (release / private.VAULT).unlink(missing_ok=True)
    private.forget()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _releases(folder: Path) -> list[Path]:
    """The folders inside that can be moved away and opened by themselves."""
    return sorted(path.parent for path in folder.glob("**/releases/*/manifest.json"))
