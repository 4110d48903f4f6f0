"""Forms with a file in them, as they come: fields are kept, the file goes to the disk block by block."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from tunewright.core import storage
from tunewright.server.protocol import ApiError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

OVERHEAD = 64 * 1024  # bytes of a form beside its file
_MOST_FIELDS = 16
_LONGEST_FIELD = 4096  # bytes
_BLOCK = 2**20


@dataclass
class Form:
    """What came. arrived: the file's size and digests, its bytes in their place."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str = ""
    arrived: storage.Arriving | None = None


async def receive(request: Request, path: Path, *, file: str, most: int) -> Form:
    """The form of a request, its field `file` written to `path`; nothing is there when this raises.

    most: bytes that the file may have. Raises ApiError 400 (no form, no such field), 413 or 507.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise ApiError(400, f"Send a form (multipart/form-data) with the field '{file}'.", param=file)
    reader = _Reader(file, most)
    stack = ExitStack()
    try:
        arriving = await asyncio.to_thread(stack.enter_context, storage.arriving(path))
        try:
            parser = MultipartParser(options[b"boundary"], reader.callbacks())
            await _pump(request, parser, reader, arriving)
        except FormParserError:
            raise ApiError(400, "The form is broken (multipart/form-data). Send it again.", param=file) from None
        if not reader.ended or not reader.found:
            what = f"has no field '{file}'" if reader.ended else "breaks off"
            raise ApiError(400, f"The form {what}. Send the whole file in the field '{file}'.", param=file)
        if not arriving.num_bytes:
            raise ApiError(400, "The file is empty. Send one with at least one byte.", param=file, code="empty_file")
        await asyncio.to_thread(stack.close)
    except BaseException as error:
        stack.__exit__(*sys.exc_info())
        raise _told(error) from None
    reader.form.arrived = arriving
    return reader.form


async def _pump(request: Request, parser: MultipartParser, reader: _Reader, arriving: storage.Arriving) -> None:
    async for chunk in request.stream():
        parser.write(chunk)
        if len(reader.pending) >= _BLOCK:
            await asyncio.to_thread(arriving.write, reader.taken())
    if reader.pending:
        await asyncio.to_thread(arriving.write, reader.taken())


def _told(error: BaseException) -> BaseException:
    if isinstance(error, ClientDisconnect):
        return ApiError(400, "The connection broke off before the whole file was here. Send it again.")
    if isinstance(error, OSError):
        return disk_is_full(error)
    return error


def disk_is_full(error: OSError) -> ApiError:
    """The answer where the disk takes no more. A client need not try again by itself."""
    message = (
        f"The file could not be kept: {error.strerror}. Nothing of it is left; ask the server's owner to make room."
    )
    return ApiError(507, message, type="server_error", code="no_space", headers={"x-should-retry": "false"})


class _Reader:
    """Takes what the parser finds. pending: bytes of the file that are not written yet."""

    def __init__(self, file: str, most: int) -> None:
        self.form = Form()
        self.pending = bytearray()
        self.found = self.ended = False
        self._file, self._most, self._taken = file, most, 0
        self._name: str | None = None
        self._value = bytearray()
        self._header = bytearray(), bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """As MultipartParser takes them."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._named,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }

    def taken(self) -> bytes:
        """What is to be written, which is then no longer held."""
        block, self.pending = bytes(self.pending), bytearray()
        return block

    def _begin(self) -> None:
        self._name, self._value, self._header = None, bytearray(), (bytearray(), bytearray())

    def _header_end(self) -> None:
        name, value = (bytes(part) for part in self._header)
        self._header = bytearray(), bytearray()
        if name.lower() != b"content-disposition":
            return
        options = parse_options_header(value)[1]
        self._name = _text(options.get(b"name", b""))
        if self._name == self._file:
            self.form.filename = _text(options.get(b"filename", b""))

    def _named(self) -> None:
        name = self._name
        if not name:
            raise ApiError(400, "A part of the form has no name. Name each part.")
        if name in self.form.fields or (name == self._file and self.found):
            raise ApiError(400, f"The field '{name[:80]}' comes twice. Send it once.", param=name[:80])
        if len(self.form.fields) >= _MOST_FIELDS:
            raise ApiError(400, f"The form has more than {_MOST_FIELDS} fields. Send the documented ones alone.")
        self.found |= name == self._file

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._file:
            self._taken += end - start
            if self._taken > self._most:
                message = f"The file is larger than {self._most:,} bytes. Send a smaller one, or use uploads."
                raise ApiError(413, message, param=self._file, code="file_too_large")
            self.pending += data[start:end]
            return
        self._value += data[start:end]
        if len(self._value) > _LONGEST_FIELD:
            raise ApiError(
                400, f"The field '{str(self._name)[:80]}' is longer than {_LONGEST_FIELD} bytes. Shorten it."
            )

    def _end(self) -> None:
        if self._name != self._file:
            self.form.fields[str(self._name)] = _text(bytes(self._value))

    def _all(self) -> None:
        self.ended = True


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
