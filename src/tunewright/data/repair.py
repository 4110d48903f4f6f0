"""Lines that are no UTF-8: the encoding of the whole file where one fits, else Windows' Western one, line by line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tunewright.core.report import Finding, Place

WESTERN = "cp1252"  # Windows' Western code page; Latin-1 but for its control characters
_SAMPLE_LINES = 200
_BY_CHANCE = 2  # in East Asian encodings, of so many stray bytes one pair is UTF-8 without being meant so
_LINE_BYTES = 2**16  # of a line, in the sample
_NAMED_ROWS = 20
_ASCII = b"\n" + bytes(range(0x20, 0x7F))
_WORD = re.compile(r"[^\W\d_]+")
_OPENING = "\u201a\u201e\u2018\u201c\u00ab\u00bf\u00a1"  # quotes, and signs upside down
_ANYWHERE = "\u2019\u201d\u00bb\u2013\u2014\u2026\u2022\u20ac\u2122\u00a0\u00a2\u00a3\u00a5\u00a7\u00a9\u00ae\u00b7"
_NEAR_NUMBERS = "\u00b0\u00b1\u00d7\u00bd\u00bc\u00be"  # degree, plus or minus, times, fractions
_BEHIND_UNITS = "\u00b2\u00b3"  # raised 2 and 3
_UNITS = re.compile(r"(?<![^\W\d_])(m|km|cm|mm|dm|ft|in)$")
_ALONE = "\u00e0\u00e1\u00e5\u00e8\u00e9\u00ed\u00f2\u00f3\u00f4\u00f6\u00f9\u00fa"  # words of one letter
_NEVER = "\u00ff\u0178"  # y with two dots: a stray 0xff far more often than a letter
# Code pages of other alphabets, and how the names of their letters begin.
_ALPHABETS = {"cp1251": "CYRILLIC", "koi8-r": "CYRILLIC", "cp866": "CYRILLIC", "cp1253": "GREEK"}
_MIN_LETTERS = 10
_SHARE = 0.05  # of lines that are no UTF-8, for another encoding than the Western one to be believed
_HALF = re.compile(rb"\xed[\xa0-\xbf]")  # half a character, as programs write it that know UTF-16 only
_ESCAPED = re.compile("[\udc80-\udcff]+")


class Repair:
    """What to make of the bytes of one file that are no UTF-8. It decides once, counts, and tells at the end.

    pieces: opens the file again and gives its lines (or blocks of it), to look for an encoding that fits them all.
    """

    def __init__(self, path: Path, notes: list[Finding], pieces: Callable[[], Iterator[bytes]]) -> None:
        self.path = path
        self.notes = notes
        self._pieces = pieces
        self._asked = False
        self._encoding: str | None = None
        self._rows: list[int] = []
        self._num_rows = 0
        self._example = ""

    def text(self, raw: bytes, number: int) -> tuple[str, str | None]:
        """The text of a line, and what is wrong with it when no encoding is to be trusted."""
        if not self._asked:
            self._asked, self._encoding = True, whole_encoding(self._pieces())
            if self._encoding is not None:
                self._note_whole()
        if self._encoding is not None:
            try:
                return raw.decode(self._encoding), None
            except UnicodeDecodeError as error:
                what = f"not {self._encoding}: byte 0x{raw[error.start]:02x} at {error.start}"
                return raw.decode(self._encoding, "replace"), what
        text = mixed(raw)
        if text is None:
            at = _first_odd(raw)
            return raw.decode("utf-8", "replace"), f"not UTF-8: byte 0x{raw[at]:02x} at {at}"
        self._num_rows += 1
        if len(self._rows) < _NAMED_ROWS:
            self._rows.append(number)
        self._example = self._example or text.strip()[:200]
        return text, None

    def tell(self) -> None:
        """Add the finding, when lines were read in another encoding than the file's."""
        if not self._num_rows:
            return
        self.notes.append(
            Finding(
                name="mixed_encodings",
                severity="warning",
                message=f"{self.path.name} is UTF-8, but {self._num_rows:,} of its lines are not; "
                f"they were read as {WESTERN}, which makes plausible words of them.",
                count=self._num_rows,
                rows=[Place(source=str(self.path), line=number) for number in self._rows],
                example=self._example,
                remedy="Look at these rows; if letters are wrong, save the file as UTF-8.",
            )
        )
        self._num_rows = 0

    def _note_whole(self) -> None:
        self.notes.append(
            Finding(
                name="encoding",
                severity="warning",
                message=f"{self.path.name} is not UTF-8; it was read as {self._encoding}, which is a guess.",
                example=str(self.path),
                remedy="Look at a few rows with accents or quotes; if they are wrong, save the file as UTF-8.",
            )
        )


def whole_encoding(pieces: Iterator[bytes]) -> str | None:
    """Another encoding, when a file speaks against UTF-8: two lines (or its only one) are not, and none needs it."""
    odd: list[bytes] = []
    num_odd = num_lines = num_stray = num_whole = 0
    for raw in pieces:
        num_lines += 1
        if raw.isascii():
            continue
        try:
            raw.decode("utf-8")
            return None
        except UnicodeDecodeError:
            num_odd += 1
            strange = [one for one in raw.decode("utf-8", "surrogateescape") if one > "\x7f"]
            stray = sum("\udc80" <= one <= "\udcff" for one in strange)
            num_stray, num_whole = num_stray + stray, num_whole + len(strange) - stray
            if len(odd) < _SAMPLE_LINES:
                odd.append(raw[:_LINE_BYTES])
    if num_odd == 0 or (num_odd == 1 and num_lines > 1):
        return None
    if all(mixed(raw) is not None for raw in odd):
        return None if num_whole else WESTERN  # beside real UTF-8, line by line
    if num_odd < _SHARE * num_lines or num_whole * _BY_CHANCE > num_stray:
        return None
    alphabet = next((encoding for encoding, letters in _ALPHABETS.items() if _all_words(odd, encoding, letters)), None)
    return alphabet or _by_statistics(odd)


def _all_words(odd: list[bytes], encoding: str, letters: str) -> bool:
    """Whether all strange letters belong to one alphabet, in words whose cases are as people write them.

    Statistics need long texts; of short lines they make Thai of Russian.
    """
    try:
        text = b"\n".join(odd).decode(encoding)
    except UnicodeDecodeError:
        return False
    strange = [one for one in text if one > "\x7f" and one not in _ANYWHERE + _OPENING + _NEAR_NUMBERS]
    if len(strange) < _MIN_LETTERS or not all(unicodedata.name(one, "").startswith(letters) for one in set(strange)):
        return False
    words = [match.group() for match in _WORD.finditer(text) if not match.group().isascii()]
    natural = sum(word.islower() or word.istitle() or word.isupper() for word in words)
    return natural >= 0.95 * len(words) and sum(one.islower() for one in strange) >= 0.7 * len(strange)


def _by_statistics(odd: list[bytes]) -> str | None:
    from charset_normalizer import from_bytes

    best = from_bytes(b"\n".join(odd)[: 2**18]).best()
    if best is None or best.encoding.startswith(("utf", "ascii")):
        return None
    try:
        keeps_ascii = _ASCII.decode(best.encoding) == _ASCII.decode("ascii")
    except (UnicodeDecodeError, LookupError):
        return None
    return best.encoding if keeps_ascii else None


def mixed(raw: bytes) -> str | None:
    """UTF-8 in which stray bytes are Western letters and signs; None where that makes no plausible text of them."""
    text = raw.decode("utf-8", "surrogateescape")
    parts: list[str] = []
    marks: list[int] = []  # where the stray ones stand
    begin = length = 0
    for stray in _ESCAPED.finditer(text):
        stray_bytes = stray.group().encode("utf-8", "surrogateescape")
        if _HALF.search(stray_bytes):
            return None
        try:
            decoded = stray_bytes.decode(WESTERN)
        except UnicodeDecodeError:
            return None
        parts += [text[begin : stray.start()], decoded]
        length += stray.start() - begin
        marks += range(length, length + len(decoded))
        length += len(decoded)
        begin = stray.end()
    whole = "".join([*parts, text[begin:]])
    return whole if _plausible(whole, marks) else None


def _plausible(text: str, marks: list[int]) -> bool:
    """Whether the characters at `marks` are letters in words of a Western language, or signs where signs stand."""
    letters = set()
    for at in marks:
        character = text[at]
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        if unicodedata.category(character) in ("Lu", "Ll") and character not in _NEVER:
            letters.add(at)
        elif character in _OPENING:
            if before.isalnum() or after.isspace():
                return False
        elif character in _BEHIND_UNITS:
            if not _UNITS.search(text[max(0, at - 3) : at]):
                return False
        elif character in _NEAR_NUMBERS:
            if before.isalpha() or (after.isalpha() and character != "\u00b0"):
                return False
        elif character not in _ANYWHERE:
            return False
        if any(_is_foreign(one) for one in (before, after)):
            return False
    return all(_is_word(match, letters) for match in _WORD.finditer(text)) if letters else True


def _is_foreign(character: str) -> bool:
    """Whether this is a letter of another alphabet than the Latin one: beside it, stray bytes are no Western signs."""
    if character <= "\u036f":  # with the marks that are put on Latin letters
        return False
    return unicodedata.category(character)[0] in "LM" and not unicodedata.name(character, "").startswith("LATIN")


def _is_word(match: re.Match[str], letters: set[int]) -> bool:
    """A word as Western languages have them: few accents, no three in a row, and no capital behind a small letter."""
    begin = match.start()
    if match.string[max(0, begin - 1) : begin] == "\\":  # the letter of a JSON escape
        begin += 1
    odd = [at - begin for at in range(begin, match.end()) if at in letters]
    word = match.string[begin : match.end()]
    if not odd:
        return True
    if len(word) == 1:
        return word.lower() in _ALONE
    if any({at + 1, at + 2} <= set(odd) for at in odd) or len(odd) * 3 > len(word) * 2:
        return False
    return not any(word[at].isupper() and at and word[at - 1].islower() for at in odd)


def _first_odd(raw: bytes) -> int:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return 0


def blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Lines of a file; of one above the size, blocks of it without letters that were cut in two."""
    broken = False
    while raw := file.readline(size):
        begins_inside, broken = broken, len(raw) == size and not raw.endswith(b"\n")
        if begins_inside:
            raw = raw.lstrip(bytes(range(0x80, 0xC0)))
        if broken:
            raw = raw.rstrip(bytes(range(0x80, 0x100)))
        yield raw
