"""Opens files as bytes and unpacks them on the way: gzip, xz, bzip2, Zstandard, zip of one file. Told by content."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

from tunewright.core import private
from tunewright.core.errors import DataError

BROKEN_FILE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
PACKED = (".gz", ".xz", ".zst", ".bz2", ".zip")  # endings that may follow those of the readers
_LAYERS = 3  # a packed file inside a packed file, and so on
_MAGIC = {b"\x1f\x8b\x08": ".gz", b"\xfd7zXZ\x00": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
_PACKED_BYTES = 2**14  # unpacked at once


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes; a packed file is unpacked on the way. Raises DataError for a zip of several files."""
    file = private.open_read(path)
    try:
        return _unpacked(file, path)
    except BaseException:
        file.close()
        raise


def packing(path: Path) -> list[str]:
    """The endings that the content of a file deserves, the outermost first."""
    found: list[str] = []
    with private.open_read(path) as file:
        try:
            while len(found) < _LAYERS and (kind := _kind(file, path, outermost=not found)) is not None:
                found.append(kind)
                file = _open(kind, file, path)
        except BROKEN_FILE:
            pass  # reading will tell
    return found


def bare_name(name: str) -> str:
    """A file's name in lower case, without the endings of packed files."""
    name = name.lower()
    while (ending := next((ending for ending in PACKED if name.endswith(ending)), None)) is not None:
        name = name.removesuffix(ending)
    return name


def packed_name(name: str) -> list[str]:
    """The endings of packed files that a name has, the outermost first."""
    rest = name.lower().removeprefix(bare_name(name)).split(".")
    return [f".{ending}" for ending in reversed(rest) if ending]


def _unpacked(file: BinaryIO, path: Path) -> BinaryIO:
    for layer in range(_LAYERS):
        kind = _kind(file, path, outermost=layer == 0)
        if kind is None:
            break
        file = _open(kind, file, path)
    return file


def _kind(file: BinaryIO, path: Path, *, outermost: bool) -> str | None:
    start = cast(io.BufferedReader, file).peek(8)[:8]
    for magic, ending in _MAGIC.items():
        if start.startswith(magic):
            return ending
    if start.startswith(b"BZh") and start[3:4].isdigit() and start[4:8] == b"1AY&":
        return ".bz2"
    # workbooks are zip files, too: those are read as they are
    return ".zip" if start.startswith(b"PK\x03\x04") and outermost and _member(path) is not None else None


def _open(kind: str, file: BinaryIO, path: Path) -> BinaryIO:
    layer: Any
    if kind == ".gz":
        layer = gzip.GzipFile(fileobj=file, mode="rb")
    elif kind == ".xz":
        layer = lzma.LZMAFile(file)  # noqa: SIM115
    elif kind == ".bz2":
        layer = bz2.BZ2File(file)
    elif kind == ".zst":
        layer = _Zstandard(file)
    else:
        member = _member(path)
        assert member is not None
        try:
            layer = zipfile.ZipFile(cast(Any, file)).open(member)  # noqa: SIM115
        except (RuntimeError, NotImplementedError) as error:  # with a password, or of a rare method
            raise DataError(f"{path} cannot be unpacked: {error}. Unpack it and give the file inside.") from None
    return cast(BinaryIO, _Layer(layer, file))


def members(path: Path) -> list[str] | None:
    """The names of the files in a zip file; None when it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (*BROKEN_FILE, ValueError, NotImplementedError, RuntimeError):
        return None
    return [name for name in names if not name.startswith("__MACOSX/") and not name.endswith(".DS_Store")]


def unpacked_bytes(path: Path) -> int:
    """What a zip file says it will unpack to; 0 when it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(info.file_size for info in archive.infolist())
    except (*BROKEN_FILE, ValueError, NotImplementedError, RuntimeError):
        return 0


def _member(path: Path) -> str | None:
    """The one file inside a zip file."""
    names = members(path)
    return names[0] if names is not None and len(names) == 1 else None


class _Layer(io.BufferedReader):
    """What a packed file holds; closing it closes the packed file."""

    def __init__(self, layer: Any, packed: BinaryIO) -> None:
        super().__init__(layer if isinstance(layer, io.RawIOBase) else _Piecemeal(layer), 2**17)
        self._packed = packed

    def close(self) -> None:
        """Close both."""
        super().close()
        self._packed.close()


class _Piecemeal(io.RawIOBase):
    """Gives what has been unpacked before it asks for more, so that nothing in front of a break is lost."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as one piece goes."""
        piece = self._layer.read1(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class _Zstandard(io.RawIOBase):
    """Zstandard frames, one behind the other. Unlike the library's reader it tells when the last one breaks off."""

    def __init__(self, file: BinaryIO) -> None:
        import zstandard

        self._file = file
        self._errors = zstandard.ZstdError
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame = self._decompressor.decompressobj()
        self._begun = False  # whether the frame has got bytes
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer. Raises OSError for what is no frame, EOFError for one that breaks off."""
        while not len(self._ready):
            packed = self._frame.unused_data if self._frame.eof else b""
            packed = packed or self._file.read(_PACKED_BYTES)
            if self._frame.eof:
                self._frame, self._begun = self._decompressor.decompressobj(), False
            if not packed:
                if self._begun:
                    raise EOFError("the last Zstandard frame is not whole")
                return 0
            self._begun = True
            try:
                self._ready = memoryview(self._frame.decompress(packed))
            except self._errors as error:
                raise OSError(f"not Zstandard: {error}") from None
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count
