"""The form of an encrypted file: blocks, each sealed by itself, so that any place of it can be read and rows appended.

The head names the file by 16 random bytes. Each block's sealed part repeats that name and the block's number, and says
whether the file may end with it: a block that was changed, moved, left out or cut off is found out, never read.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

from tunewright.core.errors import CannotDecrypt

MAGIC = b"tunewright/sealed 1\n"
BLOCK = 2**18  # bytes of content in a block: what reading one row decrypts, against 0.1 % of room
_NAME = 16
_HEAD = len(MAGIC) + _NAME
_FIELDS = struct.Struct("<IIQ")  # length of the sealed part, of its content, number of the block
_NUMBER = struct.Struct("<I")  # behind the fields their checksum; behind the sealed part its length, for going back
_FRAME = _FIELDS.size + _NUMBER.size
_INSIDE = struct.Struct("<QB")  # behind the file's name, before the content: number of the block, how it ends
_MORE, _LAST, _APPENDED = 0, 1, 2  # a file may end with either of the latter
KEPT = 4  # decrypted blocks that a reader keeps


class Sealer(Protocol):
    """What encrypts and decrypts. `open` raises ValueError for what was changed, or sealed for another."""

    def seal(self, content: bytes) -> bytes:
        """Encrypt and authenticate."""
        ...

    def open(self, sealed: bytes) -> bytes:
        """Decrypt what `seal` made."""
        ...


def is_sealed(path: Path) -> bool:
    """Whether a file begins as an encrypted one does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


class Block(NamedTuple):
    """Where a sealed part lies in the file and its content in the whole, and their lengths."""

    at: int
    sealed: int
    begin: int
    content: int


class Content(io.RawIOBase):
    """Bytes that lie in blocks; any place of them can be read, by several threads."""

    def __init__(self, blocks: list[Block], *, kept: int = KEPT) -> None:
        self.blocks = blocks
        self._most = kept
        self.size = blocks[-1].begin + blocks[-1].content if blocks else 0
        self._position = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def read_at(self, at: int, size: int) -> bytes:
        """Bytes from a place on, fewer at the end."""
        parts, stop = [], min(at + size, self.size)
        number = bisect_right(self.blocks, at, key=lambda block: block.begin) - 1
        while at < stop:
            begin = self.blocks[number].begin
            part = self._content(number)[at - begin : stop - begin]
            parts.append(part)
            at, number = at + len(part), number + 1
        return b"".join(parts)

    def readinto(self, buffer: object) -> int:
        """As files do."""
        view = memoryview(cast(bytearray, buffer)).cast("B")
        found = self.read_at(self._position, len(view))
        view[: len(found)] = found
        self._position += len(found)
        return len(found)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As files do."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        return self._position

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Forget what was decrypted."""
        self._kept.clear()
        super().close()

    def opened(self, number: int) -> bytes:
        """Decrypt the content of a block."""
        raise NotImplementedError

    def _content(self, number: int) -> bytes:
        with self._guard:
            if (kept := self._kept.get(number)) is not None:
                self._kept.move_to_end(number)
                return kept
        content = self.opened(number)
        with self._guard:
            self._kept[number] = content
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return content


class Reader(Content):
    """An encrypted file, read. Raises CannotDecrypt where it is not what was written."""

    def __init__(self, file: BinaryIO, path: Path, sealer: Sealer, *, kept: int = KEPT) -> None:
        self._file, self._path, self._sealer = file, path, sealer
        self._name = os.pread(file.fileno(), _NAME, len(MAGIC))
        blocks, _ = _scan(file, path)
        super().__init__(blocks, kept=kept)
        if not blocks or self._inside(len(blocks) - 1)[0] == _MORE:
            raise CannotDecrypt(path, "it is cut off")

    def opened(self, number: int) -> bytes:
        """Decrypt the content of a block."""
        return self._inside(number)[1]

    def close(self) -> None:
        """Close the file and forget what was decrypted."""
        self._file.close()
        super().close()

    def _inside(self, number: int) -> tuple[int, bytes]:
        block = self.blocks[number]
        try:
            inside = self._sealer.open(os.pread(self._file.fileno(), block.sealed, block.at))
        except ValueError:
            raise CannotDecrypt(self._path, "it was changed since it was written") from None
        prefix = _NAME + _INSIDE.size
        if len(inside) != prefix + block.content or inside[:_NAME] != self._name:
            raise CannotDecrypt(self._path, "a part of it belongs elsewhere")
        own, ending = _INSIDE.unpack_from(inside, _NAME)
        if own != number:
            raise CannotDecrypt(self._path, "its parts are not in order")
        return ending, inside[prefix:]


class Writer(io.RawIOBase):
    """A new encrypted file, whole once it is closed; one that was not closed reads as cut off."""

    def __init__(self, file: BinaryIO, sealer: Sealer) -> None:
        self._file, self._sealer = file, sealer
        self._name = os.urandom(_NAME)
        self._number = 0
        self._waiting = bytearray()
        file.write(MAGIC + self._name)

    def write(self, content: object) -> int:
        """Take content in; whole blocks go to the file."""
        view = memoryview(cast(bytes, content)).cast("B")
        self._waiting += view
        while len(self._waiting) > BLOCK:
            self._put(bytes(self._waiting[:BLOCK]), _MORE)
            del self._waiting[:BLOCK]
        return len(view)

    def writable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Write the last block."""
        if not self.closed:
            try:
                self._put(bytes(self._waiting), _LAST)
            finally:
                self._waiting.clear()
                self._file.close()
                super().close()

    def _put(self, content: bytes, ending: int) -> None:
        self._file.write(_record(self._sealer, self._name, self._number, content, ending))
        self._number += 1


class Scratch(Content):
    """A file for reading and writing that grows at its end only. Its key lives no longer than the process."""

    def __init__(self, file: BinaryIO, sealer: Sealer) -> None:
        super().__init__([])
        self._file, self._sealer = file, sealer

    def write(self, content: object) -> int:
        """Append."""
        assert self._position == self.size, "scratch files grow at their end"
        view = memoryview(cast(bytes, content)).cast("B")
        for start in range(0, len(view), BLOCK):
            part = bytes(view[start : start + BLOCK])
            sealed = self._sealer.seal(part)
            self.blocks.append(Block(self._file.seek(0, os.SEEK_END), len(sealed), self.size, len(part)))
            self._file.write(sealed)
            self._file.flush()
            self.size += len(part)
        self._position = self.size
        return len(view)

    def opened(self, number: int) -> bytes:
        """Decrypt the content of a block."""
        block = self.blocks[number]
        return self._sealer.open(os.pread(self._file.fileno(), block.sealed, block.at))

    def writable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Close the file and forget what was decrypted."""
        self._file.close()
        super().close()


def append(path: Path, content: bytes, sealer: Sealer) -> None:
    """Append to an encrypted file. What a crash left of an unfinished block is cut off first."""
    with path.open("r+b") as file:
        name, number = os.pread(file.fileno(), _NAME, len(MAGIC)), _next_number(file, path)
        blocks = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]
        records = [_record(sealer, name, n, block, _APPENDED) for n, block in enumerate(blocks, number)]
        file.seek(0, os.SEEK_END)
        file.write(b"".join(records))


def size_of(path: Path) -> int:
    """Bytes of content of an encrypted file, told by its frames alone. Raises CannotDecrypt."""
    with path.open("rb") as file:
        blocks, _ = _scan(file, path)
    return blocks[-1].begin + blocks[-1].content if blocks else 0


def _next_number(file: BinaryIO, path: Path) -> int:
    """The number of the block to come, after cutting off what is unfinished."""
    size = os.fstat(file.fileno()).st_size
    sealed = int.from_bytes(os.pread(file.fileno(), _NUMBER.size, size - _NUMBER.size), "little")
    at = size - _NUMBER.size - sealed - _FRAME
    if at >= _HEAD and (frame := _frame(os.pread(file.fileno(), _FRAME, at))) and frame[0] == sealed:
        return frame[2] + 1
    blocks, end = _scan(file, path)
    file.truncate(end)
    return len(blocks)


def _record(sealer: Sealer, name: bytes, number: int, content: bytes, ending: int) -> bytes:
    sealed = sealer.seal(name + _INSIDE.pack(number, ending) + content)
    fields = _FIELDS.pack(len(sealed), len(content), number)
    return fields + _NUMBER.pack(zlib.crc32(fields)) + sealed + _NUMBER.pack(len(sealed))


def _frame(found: bytes) -> tuple[int, int, int] | None:
    """The fields of a frame that is whole and not damaged."""
    fields = found[: _FIELDS.size]
    if len(found) < _FRAME or _NUMBER.unpack_from(found, _FIELDS.size)[0] != zlib.crc32(fields):
        return None
    sealed, content, number = _FIELDS.unpack(fields)
    return sealed, content, number


def _scan(file: BinaryIO, path: Path) -> tuple[list[Block], int]:
    """The whole blocks, and where the last of them ends. A block that an append left unfinished is left out."""
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    blocks: list[Block] = []
    at, begin = _HEAD, 0
    while at + _FRAME <= size:
        frame = _frame(os.pread(descriptor, _FRAME, at))
        if frame is None or frame[2] != len(blocks):
            raise CannotDecrypt(path, "it was changed since it was written")
        end = at + _FRAME + frame[0] + _NUMBER.size
        if end > size:
            break
        if os.pread(descriptor, _NUMBER.size, end - _NUMBER.size) != _NUMBER.pack(frame[0]):
            raise CannotDecrypt(path, "it was changed since it was written")
        blocks.append(Block(at + _FRAME, frame[0], begin, frame[1]))
        at, begin = end, begin + frame[1]
    return blocks, at
