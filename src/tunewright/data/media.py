"""Images, sounds and films of rows: each a reference beside the text, where a mark such as <image> says its place."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.core.example import Media, Message
from tunewright.core.report import Finding

KINDS = ("image", "video", "audio")
_MARK = re.compile("|".join(f"<({kind})>" for kind in KINDS))
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
_ENDINGS = (
    ".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a",
    ".mp4", ".mov", ".avi", ".mkv", ".webm",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where references of a file's rows lead: relative paths begin in `folder`, embedded content is kept in `store`.

    Without a folder references stay as they are written; without a store embedded content is only hashed.
    """

    folder: Path | None = None
    store: Path | None = None

    def take(self, kind: str, value: Any) -> Media:
        """One image, sound or film: a path, an address, a data: URL, bytes, or an object that holds one of these.
        Raises DataError where it is not there.
        """
        if isinstance(value, dict):
            if isinstance(value.get("bytes"), bytes | bytearray):
                return self._kept(kind, bytes(value["bytes"]), Path(str(value.get("path") or "")).suffix)
            value = next((value[key] for key in ("path", "url", kind, f"{kind}_url") if value.get(key)), None)
        if isinstance(value, bytes | bytearray):
            return self._kept(kind, bytes(value), "")
        if not isinstance(value, str) or not value.strip() or "\x00" in value:
            raise DataError(f"no {kind}: a path, an address or a data: URL is needed, found {str(value)[:60]!r}")
        if value[:5].lower() == "data:":
            return self._embedded(kind, value)
        if re.match(r"https?://", value, re.IGNORECASE):
            return Media(kind=kind, path=value)
        return self._file(kind, value.removeprefix("file://"))

    def encoded(self, kind: str, data: Any, mime: Any) -> Media:
        """Content in base64. Raises DataError where it is none."""
        try:
            content = base64.b64decode("".join(str(data).split()), validate=True)
        except (binascii.Error, ValueError):
            raise DataError(f"broken {kind}: its content is not base64") from None
        return self._kept(kind, content, _ending(str(mime or "")))

    def _embedded(self, kind: str, url: str) -> Media:
        head = _DATA_URL.match(url)
        if head is None:
            raise DataError(f"broken {kind}: a data: URL must hold base64, found {url[:40]!r}")
        return self.encoded(kind, url[head.end() :], head.group(1))

    def _kept(self, kind: str, content: bytes, ending: str) -> Media:
        if not content:
            raise DataError(f"broken {kind}: it is empty")
        digest = hashlib.sha256(content).hexdigest()
        name = f"{digest}{ending.lower() if re.fullmatch(r'[.][a-zA-Z0-9]{1,5}', ending) else ''}"
        if self.store is None:
            return Media(kind=kind, path=name, sha256=digest)
        path = (self.store / name).resolve()
        if not path.exists():
            storage.write_bytes(path, content, point="media")
        return Media(kind=kind, path=str(path), sha256=digest)

    def _file(self, kind: str, name: str) -> Media:
        if self.folder is None:
            return Media(kind=kind, path=name)
        path = (self.folder / Path(name)).resolve()
        try:
            if not path.is_file():
                raise DataError(f"missing {kind}: there is no file {name}")
            if not path.stat().st_size:
                raise DataError(f"broken {kind}: the file {name} is empty")
            return Media(kind=kind, path=str(path), sha256=storage.sha256(path))
        except OSError as error:
            raise DataError(f"missing {kind}: {name[:80]} cannot be read ({error.strerror})") from None


NOWHERE = Place()


def findings(num_rows: Mapping[str, int]) -> list[Finding]:
    """That rows hold what no model here reads; `num_rows`: of each kind."""
    if not num_rows:
        return []
    what = ", ".join(f"{kind} in {count:,} rows" for kind, count in num_rows.items())
    return [
        Finding(
            name="media",
            severity="warning",
            message=f"Rows hold more than text: {what}. It is kept beside the texts, and no model here learns from it.",
            count=max(num_rows.values()),
            remedy="To train on the texts alone, name their columns in data.fields, or leave those rows out.",
        )
    ]


def listed(value: Any) -> list[Any]:
    """The references of a column: one, a list of them, or such a list as JSON in a text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # a file name may begin so
            value = json.loads(value)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def looks_so(value: Any) -> bool:
    """Whether a column's value looks like references."""
    found = listed(value)
    return bool(found) and all(_looks_so(one) for one in found)


def attach(found: Sequence[Message], given: dict[str, list[Media]]) -> list[Message]:
    """Messages with what columns beside them hold, at the marks of the texts; without any mark, before what the user
    says first. Raises DataError where marks and references are not equal in number.
    """
    texts = [one.content for one in found]
    own = [list(one.media or ()) for one in found]
    for kind, items in given.items():
        mark = f"<{kind}>"
        free = sum(text.count(mark) - sum(one.kind == kind for one in of) for text, of in zip(texts, own, strict=True))
        if items and not free:
            first = next((at for at, one in enumerate(found) if one.role == "user"), None)
            if first is None:
                raise DataError(f"marks do not fit: no message of the user has room for {len(items)} x {mark}")
            texts[first] = mark * len(items) + texts[first]
    waiting = {kind: list(items) for kind, items in given.items() if items}
    made = []
    for one, text, of in zip(found, texts, own, strict=True):
        made.append(_with_media(one, text, of, waiting) if of or waiting else one)
    if left := next((kind for kind, items in waiting.items() if items), None):
        marks = sum(text.count(f"<{left}>") for text in texts)
        raise DataError(f"marks do not fit: {marks} x <{left}> in the texts, and {len(given[left])} given")
    return made


def _with_media(one: Message, text: str, own: list[Media], waiting: dict[str, list[Media]]) -> Message:
    ours = {kind: [part for part in own if part.kind == kind] for kind in KINDS}
    known = {part.kind for part in own} | set(waiting)
    placed = []
    for mark in _MARK.finditer(text):
        kind = mark.group().strip("<>")
        queue = ours[kind] or waiting.get(kind)
        if queue:
            placed.append(queue.pop(0))
        elif kind in known:
            raise DataError(f"marks do not fit: there are more <{kind}> in the texts than the row has")
    return one.model_copy(update={"content": text, "media": placed or None})


def _looks_so(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("bytes"), bytes) or any(_looks_so(value.get(key)) for key in ("path", "url"))
    if not isinstance(value, str):
        return isinstance(value, bytes)
    start = value[:8].lower()
    return start.startswith(("data:", "http://", "https://")) or value.strip().lower().endswith(_ENDINGS)


def _ending(mime: str) -> str:
    return mimetypes.guess_extension(mime) or "" if "/" in mime else f".{mime}" if mime else ""
