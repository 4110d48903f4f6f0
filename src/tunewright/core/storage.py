"""The only place that writes files: atomic, flushed to the disk, with named failpoints for the fault tests.

Files of private runs are encrypted on their way out and decrypted on their way in (core/private.py).

A failpoint is armed by the environment: TUNEWRIGHT_FAIL=save.rename:3:kill makes the third visit to the point
`save.rename` kill the process; `:full` raises "no space left on device" instead.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tunewright.core import private, sealed
from tunewright.core.errors import CannotDecrypt, CheckpointError

_visits: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Do nothing, unless the environment asks this point to fail at this visit."""
    armed = os.environ.get("TUNEWRIGHT_FAIL")
    if not armed:
        return
    point, visit, action = armed.split(":")
    if point != name:
        return
    _visits[name] = _visits.get(name, 0) + 1
    if _visits[name] != int(visit):
        return
    if action == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    os.kill(os.getpid(), signal.SIGKILL)


def sync(path: Path) -> None:
    """Flush a file or a folder's directory entry to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _replaced(path: Path, point: str) -> Iterator[Path]:
    """A temporary file that takes the place of `path` once it is whole and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        failpoint(f"{point}.write")
        yield temporary
        failpoint(f"{point}.sync")
        sync(temporary)
        failpoint(f"{point}.rename")
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, point: str = "write") -> None:
    """Write a file so that a reader sees the old text or the new one, never half of either."""
    write_bytes(path, text.encode("utf-8"), point=point)


def write_bytes(path: Path, content: bytes, *, point: str = "write") -> None:
    """As `write_text`."""
    with _replaced(path, point) as temporary, private.open_write(temporary, final=path) as file:
        file.write(content)


def write_secret(path: Path, content: bytes, *, point: str = "write") -> None:
    """As `write_text`, a file that only its owner can read."""
    with _replaced(path, point) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def write_json(path: Path, value: Any, *, point: str = "write") -> None:
    """Write JSON, indented so that a person can read it."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n", point=point)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(read_text(path))


def read_text(path: Path) -> str:
    """Read a file of UTF-8 text."""
    with private.open_read(path) as file:
        return io.TextIOWrapper(file, encoding="utf-8").read()


def read_bytes(path: Path) -> bytes:
    """Read a whole file."""
    with private.open_read(path) as file:
        return file.read()


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]], *, point: str = "write") -> int:
    """Write rows as JSON lines, atomically; return how many."""
    num_rows = 0
    with (
        _replaced(path, point) as temporary,
        io.TextIOWrapper(private.open_write(temporary, final=path), encoding="utf-8") as file,
    ):
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            num_rows += 1
    return num_rows


def write_lines(path: Path, blocks: Iterable[Iterable[bytes]], *, point: str = "write") -> None:
    """Write blocks of lines that are JSON already, atomically."""
    with _replaced(path, point) as temporary, private.open_write(temporary, final=path) as file:
        for block in blocks:
            file.writelines(block)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Read whole JSON lines; a torn last line (a crash while appending) is left out."""
    return map(json.loads, read_lines(path))


def read_lines(path: Path) -> Iterator[str]:
    """The whole lines of a file, none where it is missing; a torn last line is left out."""
    if not path.exists():
        return
    with io.TextIOWrapper(private.open_read(path), encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield line


def append_jsonl(path: Path, row: dict[str, Any], *, point: str = "append") -> None:
    """Append one JSON line; flushed to the system, not to the disk (a checkpoint does that). Cuts a torn last line
    first.
    """
    append_bytes(path, (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8"), point=point)


def append_bytes(path: Path, lines: bytes, *, point: str = "append") -> None:
    """Append whole lines, as `append_jsonl`."""
    failpoint(point)
    sealer = private.sealer_of(path)
    if sealer is not None:
        if not path.exists():
            write_bytes(path, lines, point=f"{point}.first")
            return
        if not sealed.is_sealed(path):
            change_form(path, sealer)
        sealed.append(path, lines, sealer)
        return
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # an append that a crash or a full disk cut short
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.write(lines)


class Arriving:
    """A file that is written block by block, with its digests on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.num_bytes = 0

    def write(self, block: bytes) -> None:
        """Write the next block."""
        failpoint("arrive.block")
        self._file.write(block)
        self._sha256.update(block)
        self._md5.update(block)
        self.num_bytes += len(block)

    @property
    def sha256(self) -> str:
        """Of what was written so far, in hex."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """Of what was written so far, in hex; to compare, never to trust."""
        return self._md5.hexdigest()


@contextmanager
def arriving(path: Path) -> Iterator[Arriving]:
    """A file of any size that comes in blocks: it is there, whole and flushed, at the end, and not at all otherwise."""
    with _replaced(path, "arrive") as temporary, private.open_write(temporary, final=path) as file:
        yield Arriving(file)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    path.unlink(missing_ok=True)


def change_form(path: Path, sealer: sealed.Sealer | None) -> None:
    """Encrypt a file, or with None decrypt it; a reader sees one whole file or the other."""
    with _replaced(path, "form") as temporary:
        with private.open_read(path) as source, private.open_form(temporary, sealer) as file:
            shutil.copyfileobj(source, file, sealed.BLOCK)
        shutil.copymode(path, temporary)


def copy_content(path: Path, to: Path) -> int:
    """Write the content of any file elsewhere, encrypted or not as that place asks; return its bytes."""
    with (
        _replaced(to, "copy") as temporary,
        private.open_read(path) as source,
        private.open_write(temporary, final=to) as file,
    ):
        shutil.copyfileobj(source, file, sealed.BLOCK)
    return private.size_of(to)


def link(path: Path, to: Path) -> None:
    """Let a file that nobody changes be found at a second place, which outlives the first; a copy where it cannot be
    linked.
    """
    if to.exists():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, to)
    except FileExistsError:
        return
    except OSError:  # another disk, or one without links
        copy_content(path, to)
    else:
        sync(to.parent)


def open_log(path: Path) -> BinaryIO:
    """A file for another process to write lines to, behind those that are there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def keep_rows(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite a JSONL file with only the whole rows that `keep` accepts (cuts a torn tail too)."""
    if path.exists():
        write_jsonl(path, [row for row in read_jsonl(path) if keep(row)])


def sha256(path: Path) -> str:
    """The SHA-256 of the file's content in hex: the same whether it is encrypted or not."""
    with private.open_read(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def digest(value: Any) -> str:
    """A stable SHA-256 of any JSON-like value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()


@contextmanager
def new_folder(target: Path, *, point: str = "save", about: dict[str, Any] | None = None) -> Iterator[Path]:
    """Build a folder under a temporary name; on success list its files in manifest.json, flush all, rename it to
    `target`.

    `about` is merged into the manifest. Raises CheckpointError (with the disk's free bytes) when the disk is full; what
    was there before stays untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    purge_stale(target.parent, target.name)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        failpoint(f"{point}.begin")
        yield temporary
        for number, file in enumerate(_files(temporary)):
            failpoint(f"{point}.sync{number}")
            sync(file)
        for folder in {file.parent for file in _files(temporary)}:
            sync(folder)
        failpoint(f"{point}.manifest")
        manifest = json.loads(json.dumps({**(about or {}), "files": listing(temporary)}, default=str))
        write_json(temporary / "manifest.json", {**manifest, "sha256": digest(manifest)}, point=f"{point}.manifest")
        failpoint(f"{point}.rename")
        if target.exists():  # a torn folder of an earlier try: never a verified one, see callers
            os.replace(target, target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old"))
        os.replace(temporary, target)
        failpoint(f"{point}.parent")
        sync(target.parent)
        purge_stale(target.parent, target.name)
    except Exception as error:
        if not _disk_is_full(error):
            raise
        free = shutil.disk_usage(target.parent).free
        raise CheckpointError(
            f"The disk is full: {target.name} could not be written with {free:,} bytes free in {target.parent}. "
            "Nothing that was saved before is lost; free some space and run the same command again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """A folder beside `target` for files that only one piece of work needs: it goes when the work ends.

    What a killed process left of an earlier one goes first.
    """
    purge_stale(target.parent, target.name)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def purge_stale(home: Path, name: str) -> None:
    """Remove what an interrupted `new_folder` or `scratch` left beside folders of this name (a glob pattern)."""
    for ending in ("tmp", "old"):
        for stale in home.glob(f".{name}.*.{ending}"):
            shutil.rmtree(stale, ignore_errors=True)


def _disk_is_full(error: Exception) -> bool:
    # the safetensors library reports the system's error as text only
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or f"(os error {errno.ENOSPC})" in str(error)


def listing(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each file's content below a folder, without the manifest itself and what makes it private."""
    return {
        file.relative_to(folder).as_posix(): {"bytes": private.size_of(file), "sha256": sha256(file)}
        for file in _files(folder)
        if file.name not in ("manifest.json", private.VAULT)
    }


def damage(folder: Path) -> str | None:
    """What is wrong with a folder made by `new_folder`, in a few words; None when its manifest verifies."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return "manifest.json is missing"
    try:
        facts = read_json(manifest)
        files, own = facts["files"], facts.pop("sha256", None)
    except CannotDecrypt as error:
        return f"manifest.json cannot be decrypted, {error.why}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "manifest.json cannot be read"
    if own is not None and own != digest(facts):
        return "manifest.json has changed since it was written"
    for name, recorded in files.items():
        if wrong := _damage_of(folder / name, recorded):
            return f"{name} {wrong}"
    return None


def link_in(folder: Path) -> str | None:
    """The first entry below a folder that is a link, or a file that has another name too; None where there is none.

    What such an entry holds can lie, and be changed, elsewhere.
    """
    for here, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            facts = os.lstat(Path(here) / name)
            if stat.S_ISLNK(facts.st_mode) or (stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1):
                return (Path(here) / name).relative_to(folder).as_posix()
    return None


def _damage_of(file: Path, recorded: dict[str, Any]) -> str | None:
    if not file.exists():
        return "is missing"
    try:
        if (size := private.size_of(file)) != recorded["bytes"]:
            return f"has {size} bytes instead of {recorded['bytes']}"
        return None if sha256(file) == recorded["sha256"] else "has changed since it was written"
    except CannotDecrypt as error:
        return f"cannot be decrypted: {error.why}"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
