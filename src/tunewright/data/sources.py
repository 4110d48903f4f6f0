"""Where examples come from: files, folders, globs and the Hub. Finds them, names their state, and reads their rows."""

from __future__ import annotations

import glob
import hashlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunewright.core import harvested, storage
from tunewright.core.errors import DataError, MissingPackage, NotThere
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Finding
from tunewright.data.packing import bare_name
from tunewright.data.readers import READERS, is_document, read_file
from tunewright.data.rows import RawRow, checked, plain

__all__ = ["RawRow", "files", "fingerprint", "names", "read"]

HUB = "hub:"
_HUB_ADDRESS = re.compile(r"^hub:(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(:(?P<split>[\w.\[\]%:+-]+))?$")
_ABOUT_DATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}  # beside saved data sets
_digests: dict[tuple[str, int, int], str] = {}


def fingerprint(data: DataOptions) -> dict[str, str]:
    """The SHA-256 of every file the recipe reads, by path; of a Hub source, the digest of its address."""
    found: dict[str, str] = {}
    documents = data.retrieval.documents if data.retrieval else []
    named = [data.select.like] if data.select is not None and data.select.like not in ("validation", "test") else []
    more = [*data.more, *(data.augment.files() if data.augment else [])]
    for source in files([*data.sources, *filter(None, (data.test, data.validation)), *documents, *named, *more]):
        found[source] = hashlib.sha256(source.encode()).hexdigest() if source.startswith(HUB) else _digest(Path(source))
    return found


def files(paths: list[str]) -> list[str]:
    """Every file (or Hub address) behind the given paths, each once, in a fixed order. Raises NotThere.

    Of a folder, all tables are taken; its text files only when it holds no table, and never a README.
    """
    found: list[str] = []
    for path in paths:
        if path.startswith(HUB):
            found.append(path)
        elif path.startswith(harvested.TRAFFIC):
            found += harvested.files(path)
        elif Path(path).is_dir():
            found += _of_folder(Path(path))
        elif Path(path).is_file():
            found.append(str(Path(path)))
        else:
            matches = sorted(match for match in glob.glob(path, recursive=True) if Path(match).is_file())
            if not matches:
                where = "" if Path(path).is_absolute() else f" in the current folder, {Path.cwd()}"
                raise NotThere(f"There is no file or folder {path}{where}. Check the path.")
            found += matches
    return list(dict.fromkeys(found))


def names(sources: list[str]) -> dict[str, str]:
    """A short name for each file, its stem; the second of two files with one stem becomes `stem-2`."""
    given: dict[str, str] = {}
    for source in sources:
        stem = re.sub(r"[^\w.-]+", "-", _stem(source)) or "rows"
        name, number = stem, 1
        while name in given.values():
            number += 1
            name = f"{stem}-{number}"
        given[source] = name
    return given


def read(paths: list[str], *, limit: int | None = None, notes: list[Finding] | None = None) -> Iterator[RawRow]:
    """The rows of all sources, line by line; what was remarkable about a file is added to `notes`.

    A row that cannot be read has a `problem` instead of `values`; it counts towards `limit` like any other.
    """
    notes = [] if notes is None else notes
    rows = itertools.chain.from_iterable(
        _read_hub(source) if source.startswith(HUB) else read_file(Path(source), notes) for source in files(paths)
    )
    return itertools.islice(rows, limit)


def _of_folder(folder: Path) -> list[str]:
    endings = tuple(READERS)
    inside = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and bare_name(path.name).endswith(endings)
        and not path.name.lower().startswith("readme")
        and path.name.lower() not in _ABOUT_DATA
        and not path.name.endswith("version.json")  # what a file of rows came from
        and not any(part.startswith((".", "__MACOSX", "~$")) for part in path.relative_to(folder).parts)
    )
    tables = [path for path in inside if not is_document(path.name)]
    if not inside:
        raise NotThere(f"The folder {folder} holds no file that can be read. Known endings: {', '.join(READERS)}.")
    return [str(path) for path in tables or inside]


def _stem(source: str) -> str:
    if source.startswith(HUB):
        return source.removeprefix(HUB)
    name = Path(source).name
    return Path(name[: len(bare_name(name))]).stem


def _digest(path: Path) -> str:
    try:
        facts = path.stat()
        key = (str(path), facts.st_size, facts.st_mtime_ns)
        if key not in _digests:
            _digests[key] = storage.sha256(path)
    except OSError as error:
        raise NotThere(f"{path} cannot be read: {error.strerror}.") from None
    return _digests[key]


def _read_hub(source: str) -> Iterator[RawRow]:
    address = _HUB_ADDRESS.match(source)
    if address is None:
        raise DataError(
            f"'{source}' names no Hub data set. Write hub:owner/name, hub:owner/name:split or "
            "hub:owner/name@revision:split."
        )
    try:
        import datasets
    except ImportError:
        raise MissingPackage("datasets", needed_for=source) from None
    try:
        rows: Any = datasets.load_dataset(
            address["name"], split=address["split"] or "train", revision=address["revision"], streaming=True
        )
        for number, row in enumerate(rows, start=1):
            yield checked(source, number, plain(row))
    except (OSError, ValueError, LookupError) as error:
        raise NotThere(
            f"{source} cannot be read: {error}. Check the name and the split, or download it and give the files."
        ) from None
