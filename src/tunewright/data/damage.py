"""Damage to characters: what it looks like, what is no damage although it looks like it, and how it is undone.

Each way to mend is also how damage is found: a text is damaged when mending changes it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import html5

# --- letters read in a wrong encoding ---

_WRONG = ("cp1252", "latin-1", "cp1251", "cp1250", "iso8859-2", "mac-roman", "cp437", "cp850")


def _class(encoding: str, first: int, last: int) -> str:
    """A character class of what some bytes are in an encoding."""
    decoded = bytes(range(first, last + 1)).decode(encoding, "ignore")
    return "[" + "".join(re.escape(one) for one in sorted(set(decoded))) + "]"


# A byte that begins a character of UTF-8 and one that goes on with it, both read in one of the wrong encodings.
_MOJIBAKE = re.compile("|".join(f"{_class(one, 0xC2, 0xF4)}{_class(one, 0x80, 0xBF)}" for one in _WRONG))
_STRANGE = re.compile(r"[^\x00-\x7f]+")
_STRANGE_PHRASE = re.compile(r"[^\x00-\x7f]+(?: [^\x00-\x7f]+)*")


def without_mojibake(text: str) -> str:
    """UTF-8 that was read in another encoding, read rightly. Changes only what the same mistake turns into the old
    text again, to the character; what is bad is judged by ftfy (Speer 2019, doi 10.5281/zenodo.2591652).
    """
    if text.isascii() or not _MOJIBAKE.search(text):
        return text
    from ftfy.badness import is_bad

    if not is_bad(text):
        return text
    for pieces in (None, _STRANGE_PHRASE, _STRANGE):  # the whole, else what of it is surely wrong
        new = _undone(text) if pieces is None else pieces.sub(lambda found: _undone(found[0]), text)
        if new != text:
            return new
    return text


def bad_letters(text: str) -> bool:
    """Whether a text looks as if it was read in a wrong encoding."""
    if text.isascii() or not _MOJIBAKE.search(text):
        return False
    from ftfy import fix_encoding

    return bool(fix_encoding(text) != text)


def _undone(text: str) -> str:
    """The text, or what became it by encoding as UTF-8 and decoding wrongly, if that is surely so."""
    from ftfy import fix_encoding_and_explain

    fixed = fix_encoding_and_explain(text)
    if fixed.text == text or not fixed.explanation:
        return text
    again: str = fixed.text
    try:
        for action, what in reversed(fixed.explanation):
            if action == "decode":
                again = again.encode(what)  # type: ignore[assignment]
            elif action == "encode":
                again = again.decode(what)  # type: ignore[attr-defined]
            else:
                return text
    except (UnicodeError, LookupError, AttributeError):
        return text
    return fixed.text if again == text else text


def _beside(found: re.Match[str]) -> tuple[str, str]:
    """The characters before and after a match; empty at the ends."""
    start, end = found.span()
    return found.string[max(0, start - 1) : start], found.string[end : end + 1]


# --- what is not seen ---

_JOINED = "\u0600-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u18af\ua8e0-\ua8ff\ufb50-\ufdff\ufe70-\ufefc"  # scripts
_UNSPACED = re.compile("[\u0e00-\u109f\u1780-\u17ff\u1a20-\u1aaf\ua980-\ua9df]")  # scripts that break at U+200B
_IN_SCRIPT = re.compile(f"[{_JOINED}]")
_FLAG = "\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"  # of England, Scotland, Wales
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_UNSEEN = re.compile(f"({_FLAG})|[\u200b-\u200d\u2060\ufeff\u00ad\u180e\U000e0000-\U000e007f]|[{_SELECTORS}]{{2,}}")


def without_zero_width(text: str) -> str:
    """Without characters of no width, where no script and no emoji needs them."""
    if text.isascii():
        return text

    def one(found: re.Match[str]) -> str:
        if found.group(1):
            return found[0]
        before, after = _beside(found)
        if found[0] in "\u200c\u200d" and _IN_SCRIPT.match(before):
            return found[0]
        if found[0] == "\u200d" and _is_picture(before) and _is_picture(after):
            return found[0]
        if found[0] == "\u200b" and (_UNSPACED.match(before) or _UNSPACED.match(after)):
            return found[0]
        return found[0][:1] if len(found[0]) > 1 and found[0][0] in "\ufe0e\ufe0f" else ""

    return _UNSEEN.sub(one, text)


def _is_picture(character: str) -> bool:
    return character != "" and (
        unicodedata.category(character) in ("So", "Sk", "Sm", "Po") or character in "\ufe0f\u20e3"
    )


_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
_CONTROL = re.compile("([\xc2-\xf4][\x80-\xbf]{1,3})|[\x00-\x08\x0e-\x1f\x7f-\x9f\ufff9-\ufffb]")  # first: mojibake


def without_controls(text: str) -> str:
    """Without control characters and terminal colours; those that are quotes or dashes of Windows become these."""

    def one(found: re.Match[str]) -> str:
        if found.group(1):
            return found[0]
        character = found[0]
        if "\x80" <= character <= "\x9f":
            return character.encode("latin-1").decode("cp1252", "ignore")
        return " " if "\x1c" <= character <= "\x1f" else ""

    return _CONTROL.sub(one, _ANSI.sub("", text))


_BIDI = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_OVERRIDES = re.compile("[\u202d\u202e]")
_RIGHT_TO_LEFT = re.compile("[\u05d0-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")


def without_bidi(text: str) -> str:
    """Without marks of writing direction: all in texts that run from left to right, else those that turn letters
    around (Boucher and Anderson 2021, arXiv 2111.00169).
    """
    if text.isascii():
        return text
    return (_OVERRIDES if _RIGHT_TO_LEFT.search(text) else _BIDI).sub("", text)


def composed(text: str) -> str:
    """Letters and their accents as one character where there is one (NFC); the same text where none would join."""
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        return text
    new = unicodedata.normalize("NFC", text)
    return new if len(new) < len(text) else text


# --- mark-up ---

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,24});")
_BLOCKS = "br|p|div|li|ul|ol|tr|table|tbody|thead|h[1-6]|blockquote|hr|center|section|article"
_INLINE = "span|em|strong|font|img|td|th|sup|sub|small|a|b|i|u"
_LETTERS = "abipuqs"
_TAG = re.compile(
    rf"<(/?)({_BLOCKS}|{_INLINE})((?:\s+[a-zA-Z-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+))*)\s*/?>", re.IGNORECASE
)
_NEW_LINE = re.compile(f"(?:{_BLOCKS})$", re.IGNORECASE)
_CODE = re.compile(
    r"```|`[^`\n]+`|<!|<\?|</?(?:html|body|script|style|head|code|pre|input|button|form|svg)\b"
    r"|\b(?:x?html|xml|css|svg|javascript|jsx?|php|markup|mark-up|tags?|url|escaped?|snippet|regex)\b"
    r"|^\s*(?:def |function |class |import |#include|public |const |let |var |return |SELECT |from \w+ import)",
    re.IGNORECASE | re.MULTILINE,
)


def is_code(text: str) -> bool:
    """Whether a text holds code or speaks of mark-up, so that tags and entities belong there."""
    return _CODE.search(text) is not None


def without_entities(text: str) -> str:
    """With the characters that HTML entities stand for; they may be escaped twice."""
    if "&" not in text:
        return text
    for _ in range(3):
        new = _ENTITY.sub(lambda found: html.unescape(found[0]) if _is_entity(found[0]) else found[0], text)
        if new == text:
            break
        text = new
    return text


def _is_entity(text: str) -> bool:
    return text[1] == "#" or text[1:] in html5


def without_tags(text: str) -> str:
    """Without HTML tags: line ends for blocks, nothing for others. A name of one letter counts only with attributes or
    when it is closed.
    """
    if "<" not in text:
        return text
    closed = {name.lower() for slash, name, _ in _TAG.findall(text) if slash}

    def one(found: re.Match[str]) -> str:
        _, name, attributes = found.groups()
        if name.lower() in _LETTERS and not attributes and name.lower() not in closed:
            return found[0]
        return "\n" if _NEW_LINE.match(name) else ""

    return _TAG.sub(one, text)


# --- spaces, line ends, quotes ---

_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2028\u2029\x0b]")
_EAST_ASIAN = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_BEHIND_SPACE = ":;!?\u00bb%\u20ac$\u00a3\u00b0\u2013\u2014"


def plain_spaces(text: str) -> str:
    """With plain spaces for odd ones, but for those that typography asks for: inside numbers, before French colons,
    between East Asian signs.
    """

    def one(found: re.Match[str]) -> str:
        before, after = _beside(found)
        if found[0] in "\u2028\u2029\x0b":
            return "\n"
        if found[0] == "\u3000":
            near = text[max(0, found.start() - 4) : found.end() + 4]
            return found[0] if _EAST_ASIAN.search(near.replace("\u3000", "")) else " "
        if (before.isdigit() and after.isalnum()) or after.isdigit():
            return found[0]
        return found[0] if (after and after in _BEHIND_SPACE) or (before and before in "\u00ab\u2013\u2014") else " "

    return _SPACE.sub(one, text)


def stripped(text: str) -> str:
    """Without spaces around it; the indent of a first line that more lines follow stays, as code needs it."""
    kept = text.rstrip()
    if kept[:1] in " \t" and "\n" in kept.lstrip():
        return kept
    return kept.lstrip()


def line_feeds(text: str) -> str:
    """With a line feed at the end of each line."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


_CURLY = {ord(curly): straight for curly, straight in zip("\u2018\u2019\u201c\u201d", "''\"\"", strict=True)}


def straight_quotes(text: str) -> str:
    """With straight quotes for curly ones."""
    return text.translate(_CURLY)
