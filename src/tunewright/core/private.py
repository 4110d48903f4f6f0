"""Which files are encrypted, and how files are opened so that the rest of the code need not know.

A folder with a vault file is private, and all below it. What is written there is encrypted, but for the names listed
here; what is read is decrypted into memory. The keys are the business of privacy/vault.py.
"""

from __future__ import annotations

import importlib
import io
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from tunewright.core import sealed
from tunewright.core.errors import CannotDecrypt, NoKey, RunError
from tunewright.core.sealed import Sealer

VAULT = "tunewright-vault.json"  # makes a folder private: the key of its files, itself encrypted
# What a person or a program needs without the key: state, settings, and figures of steps with ids of rows.
PLAIN = frozenset({VAULT, ".lock", "run.json", "recipe.yaml", "recipe.given.yaml", "ledger.jsonl"})
# The base's own settings and tokenizer, which other libraries write and read by themselves.
LIBRARIES = frozenset({
    "config.json", "generation_config.json", "adapter_config.json", "model.safetensors.index.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "preprocessor_config.json", "processor_config.json",
})  # fmt: skip


_SECONDS = 0.5  # for which a folder is known to be private or not: logs are appended many times a second
_MOST_KNOWN = 1000
_known: dict[str, tuple[float, Path | None]] = {}


class _Vaults(Protocol):
    """What privacy/vault.py gives."""

    def opened(self, folder: Path) -> Sealer:
        """The vault of a private folder. Raises NoKey."""
        ...

    def ephemeral(self) -> Sealer:
        """A key that only this process has."""
        ...

    def is_complete(self, folder: Path) -> bool:
        """Whether every file of the folder that should be encrypted is."""
        ...


def home(path: Path) -> Path | None:
    """The private folder that a path lies in, the nearest; None where there is none."""
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isfile(os.path.join(folder, VAULT)):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return Path(folder)


def forget() -> None:
    """Look anew before the next write: a vault file has come or gone."""
    _known.clear()


def is_private(folder: Path) -> bool:
    """Whether what is written into a folder is encrypted."""
    return home(folder / VAULT) is not None


def refuse_leak(sources: dict[str, Path], target: Path) -> None:
    """Raise RunError where something private would be written in plain. sources: what they are for, and where."""
    leaks = [f"{what} {path}" for what, path in sources.items() if home(path / VAULT) is not None]
    if leaks and not is_private(target):
        raise RunError(
            f"{', '.join(leaks)} is private, and what is made from it in {target} would lie there in plain. Give that "
            "run a key too (privacy.vault), or decrypt what it is made from: tunewright data unlock RUN"
        )


def stays_plain(path: Path) -> bool:
    """Whether a file of this name is left as it is in a private folder."""
    return path.name in PLAIN or path.name in LIBRARIES


def sealer_of(path: Path) -> Sealer | None:
    """What encrypts a file that is to be written; None where it stays plain. Raises NoKey."""
    if stays_plain(path):
        return None
    text = str(path)
    folder = os.path.dirname(text if os.path.isabs(text) else os.path.abspath(text))
    now = time.monotonic()
    until, found = _known.get(folder, (0.0, None))
    if now >= until:
        found = home(path)
        if len(_known) > _MOST_KNOWN:
            _known.clear()
        _known[folder] = now + _SECONDS, found
    return None if found is None else _vaults().opened(found)


def open_read(path: Path, *, kept: int = sealed.KEPT) -> BinaryIO:
    """Open any file for reading; an encrypted one is decrypted block by block, in memory. kept: how many of these.

    Raises CannotDecrypt, NoKey, and FileNotFoundError.
    """
    file = path.open("rb")
    if file.peek(len(sealed.MAGIC))[: len(sealed.MAGIC)] != sealed.MAGIC:
        with _closing_on_error(file):
            _refuse_plain(path)
        return file
    with _closing_on_error(file):
        folder = home(path)
        if folder is None:
            raise NoKey(
                f"{path} is encrypted, and no {VAULT} lies beside it or in a folder above: with that file its key is "
                "lost. Bring the file back."
            )
        return cast(
            BinaryIO, io.BufferedReader(sealed.Reader(file, path, _vaults().opened(folder), kept=kept), sealed.BLOCK)
        )


def open_write(path: Path, *, final: Path | None = None) -> BinaryIO:
    """Open a file for writing from its beginning; encrypted in a private folder. final: what it will be renamed to."""
    return open_form(path, sealer_of(final or path))


def open_form(path: Path, sealer: Sealer | None) -> BinaryIO:
    """Open a file for writing from its beginning, encrypted by `sealer` wherever it lies; in plain without one."""
    if sealer is None:
        return path.open("wb")
    return cast(BinaryIO, io.BufferedWriter(sealed.Writer(path.open("wb"), sealer), sealed.BLOCK))


def open_scratch(path: Path) -> BinaryIO:
    """Open a new file that is written at its end and read anywhere, for as long as this process needs it.

    In a private folder its key is in memory alone: what a killed process leaves of it cannot be read by anybody.
    """
    if home(path) is None:
        return path.open("w+b")
    return cast(BinaryIO, io.BufferedRandom(sealed.Scratch(path.open("w+b"), _vaults().ephemeral()), sealed.BLOCK))


def open_nameless(folder: Path) -> BinaryIO:
    """A file that is gone with the process and can be mapped: on the disk of `folder`; of a private one, in memory."""
    if not is_private(folder):
        return cast(BinaryIO, tempfile.TemporaryFile(dir=folder))
    return os.fdopen(_memory_file("stored"), "w+b")


def read_at(file: BinaryIO, at: int, size: int) -> bytes:
    """Bytes from a place of a file that one of these functions opened, whatever its position; several threads may."""
    if is_encrypted(file):
        return cast(sealed.Content, cast(io.BufferedReader, file).raw).read_at(at, size)
    return os.pread(file.fileno(), size, at)


def is_encrypted(file: BinaryIO) -> bool:
    """Whether a file that one of these functions opened is decrypted as it is read, and so cannot be mapped."""
    return isinstance(getattr(file, "raw", None), sealed.Content)


def size_of(path: Path) -> int:
    """Bytes of a file's content, decrypted."""
    return sealed.size_of(path) if sealed.is_sealed(path) else path.stat().st_size


@contextmanager
def readable(folder: Path) -> Iterator[Path]:
    """A folder in which other libraries find plain files under the same names: the folder itself, where none is
    encrypted.

    Else names alone are on the disk, and lead to memory of this process, which is gone when the process is.
    """
    encrypted = home(folder / VAULT) is not None and [
        path for path in sorted(folder.iterdir()) if path.is_file() and sealed.is_sealed(path)
    ]
    if not encrypted:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="tunewright-") as names, ExitStack() as held:
        for path in sorted(folder.iterdir()):
            target = str(path.absolute())
            if path in encrypted:
                memory = held.enter_context(os.fdopen(_memory_file(path.name), "w+b"))
                with open_read(path) as file:
                    while block := file.read(sealed.BLOCK):
                        memory.write(block)
                memory.flush()
                target = f"/proc/{os.getpid()}/fd/{memory.fileno()}"
            os.symlink(target, os.path.join(names, path.name))
        yield Path(names)


def _memory_file(name: str) -> int:
    if not hasattr(os, "memfd_create"):
        raise RunError(
            "A private run keeps what other libraries read in files of memory, which this system does not have. "
            "Work on it under Linux, or decrypt it first: tunewright data unlock RUN"
        )
    return os.memfd_create(name[:200])


def _refuse_plain(path: Path) -> None:
    """A file of a private folder that should be encrypted and is not was damaged at its head, or put there by hand."""
    folder = None if stays_plain(path) else home(path)
    if folder is not None and _vaults().is_complete(folder):
        raise CannotDecrypt(
            path, f"it is not encrypted as it should be (one put there by hand: tunewright data lock {folder})"
        )


@contextmanager
def _closing_on_error(file: BinaryIO) -> Iterator[None]:
    try:
        yield
    except BaseException:
        file.close()
        raise


def _vaults() -> _Vaults:
    # found by its name, as parts are: this floor knows what a vault does, and not how
    return cast(_Vaults, importlib.import_module("tunewright.privacy.vault"))
