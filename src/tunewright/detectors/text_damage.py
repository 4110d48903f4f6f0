"""text_damage: characters that nobody meant: wrong encodings, unseen characters, mark-up, odd spaces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.example import Example
from tunewright.data import damage
from tunewright.data.rewrite import rewritten, texts
from tunewright.detectors._rows import Rows


@dataclass(frozen=True)
class Kind:
    """A kind of damage. mend: undoes it. needs: what a text must hold to have it, looked for first.

    code: belongs in code, so rows with code are left alone.
    """

    name: str
    mend: Callable[[str], str]
    needs: re.Pattern[str]
    severity: Literal["info", "warning", "problem"]
    message: str
    remedy: str
    fix: str
    safe: bool
    code: bool = False


KINDS = (
    Kind(
        name="mojibake",
        mend=damage.without_mojibake,
        needs=re.compile("[^\x00-\x7f]{2}"),
        severity="warning",
        message="hold letters that were read in a wrong encoding, such as '\u00c3\u00bc' for '\u00fc'",
        remedy="Read the source in its own encoding, or let the letters be undone.",
        fix="undo the wrong reading where the same mistake leads back to the same text",
        safe=True,
    ),
    Kind(
        name="control_characters",
        mend=damage.without_controls,
        needs=re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufff9-\ufffb]"),
        severity="warning",
        message="hold control characters, which nobody sees and the model learns",
        remedy="Leave the characters out.",
        fix="leave them out; Windows' quotes and dashes among them become what they were",
        safe=True,
    ),
    Kind(
        name="zero_width",
        mend=damage.without_zero_width,
        needs=re.compile("[\u00ad\u180e\u200b-\u200d\u2060\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]"),
        severity="warning",
        message="hold characters of no width where neither a script nor an emoji needs them: text can hide in them",
        remedy="Leave the characters out.",
        fix="leave them out",
        safe=True,
    ),
    Kind(
        name="bidi_controls",
        mend=damage.without_bidi,
        needs=re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]"),
        severity="warning",
        message="hold marks of writing direction that their script does not need: people may read another text than "
        "the model",
        remedy="Look at them, then leave the marks out.",
        fix="leave the marks out",
        safe=False,
    ),
    Kind(
        name="mixed_normal_forms",
        mend=damage.composed,
        needs=re.compile("[^\x00-\x7f]"),
        severity="info",
        message="write letters and their accents as two characters, where one (NFC) is usual: other tokens for the "
        "same words",
        remedy="Write all in NFC.",
        fix="write them in NFC",
        safe=True,
    ),
    Kind(
        name="html_entities",
        mend=damage.without_entities,
        needs=re.compile("&[a-zA-Z#]"),
        severity="warning",
        message="hold HTML entities such as '&amp;' outside code",
        remedy="Write the characters themselves, unless the answers are meant to be HTML.",
        fix="write the characters that they stand for",
        safe=False,
        code=True,
    ),
    Kind(
        name="html_tags",
        mend=damage.without_tags,
        needs=re.compile("</?[a-zA-Z]"),
        severity="warning",
        message="hold HTML tags outside code",
        remedy="Take the tags out, unless the answers are meant to be HTML.",
        fix="take the tags out; those of blocks become line ends",
        safe=False,
        code=True,
    ),
    Kind(
        name="odd_spaces",
        mend=damage.plain_spaces,
        needs=re.compile("[\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\x0b]"),
        severity="info",
        message="hold odd spaces (no-break, thin, wide) where a plain one is meant",
        remedy="Write plain spaces.",
        fix="write plain spaces",
        safe=True,
    ),
    Kind(
        name="mixed_line_ends",
        mend=damage.line_feeds,
        needs=re.compile("\r"),
        severity="info",
        message="end lines with a carriage return",
        remedy="End lines with a line feed alone.",
        fix="end lines with a line feed alone",
        safe=True,
    ),
)
_ASCII = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\r]|&[a-zA-Z#]|</?[a-zA-Z]")
_CURLY = re.compile("[\u2018\u2019\u201c\u201d]")
_LOST = "\ufffd"


class TextDamage(Detector):
    """Each kind of damage is a finding of its own; what only looks like damage is left alone: joiners of emoji and
    scripts, accents of Arabic and Indic letters, mark-up in code.
    """

    fixes: ClassVar[tuple[str, ...]] = (
        *(kind.name for kind in KINDS), "replacement_characters", "outer_space", "mixed_quotes",
    )  # fmt: skip

    quotes: float = Field(0.05, gt=0, lt=0.5, description="share of rows from which on the rarer form of quotes counts")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(scene, self.quotes)


class _Watch:
    def __init__(self, scene: Scene, quotes: float) -> None:
        self.quotes = quotes
        self.found = {kind.name: Rows(scene) for kind in KINDS}
        self.lost, self.outer, self.curly = Rows(scene), Rows(scene), Rows(scene)
        self.stuck = 0  # rows with mojibake that cannot surely be undone
        self.num_straight = self.num_curly = 0

    def see(self, row: Seen) -> None:
        """Look at the characters of a row."""
        said = row.said
        plain = said.isascii()
        if not plain or _ASCII.search(said):
            self._look(row, said)
        if not plain and _LOST in said:
            self.lost.add(row, said[max(0, said.index(_LOST) - 40) :])
        straight = "'" in said or '"' in said
        self.num_straight += straight
        if not plain and _CURLY.search(said):
            self.curly.add(row, said)
        if row.example.text is None:
            self._ends(row)

    def _look(self, row: Seen, said: str) -> None:
        pieces: list[str] | None = None
        code: bool | None = None
        for kind in KINDS:
            if not kind.needs.search(said):
                continue
            pieces = texts(row.example) if pieces is None else pieces
            if kind.code:
                code = damage.is_code(said) if code is None else code
                if code:
                    continue
            broken = next((piece for piece in pieces if kind.mend(piece) != piece), None)
            if broken is not None:
                self.found[kind.name].add(row, _shown(broken, kind))
            elif kind.name == "mojibake" and (broken := next(filter(damage.bad_letters, pieces), None)):
                self.stuck += 1
                self.found[kind.name].add(row, broken)

    def _ends(self, row: Seen) -> None:
        example = row.example
        for message in example.messages:
            said = message.content
            if said and (said[0] <= " " or said[-1] <= " ") and message.role != "tool":
                wrong = [piece for piece in texts(example) if damage.stripped(piece) != piece]
                if wrong:
                    self.outer.add(row, repr(wrong[0] if len(wrong[0]) < 100 else wrong[0][-60:]))
                return

    def faults(self) -> Iterable[Fault]:
        """A fault for each kind of damage."""
        if self.lost:
            yield self.lost.fault(
                name="replacement_characters",
                severity="warning",
                message=f"{len(self.lost):,} rows hold U+FFFD: a letter was lost when the text was read.",
                remedy="Make the rows anew from their source; what was there cannot be told any more.",
            )
        for kind in KINDS:
            rows = self.found[kind.name]
            if not rows:
                continue
            more = f"; in {self.stuck:,} this cannot be undone surely" if kind.name == "mojibake" and self.stuck else ""
            yield Fault(
                name=kind.name,
                severity=kind.severity,
                message=f"{len(rows):,} rows {kind.message}{more}.",
                rows=rows.numbers,
                example=rows.example,
                remedy=kind.remedy,
                fix=kind.fix,
                safe=kind.safe,
                change=partial(_mended, mend=kind.mend),
            )
        yield from self._of_form()

    def _of_form(self) -> Iterable[Fault]:
        """Spaces around texts, and two kinds of quotes."""
        if self.outer:
            yield Fault(
                name="outer_space",
                message=f"{len(self.outer):,} rows begin or end a text with white space.",
                rows=self.outer.numbers,
                example=self.outer.example,
                remedy="Leave it out: users will not type it, and the model need not learn it.",
                fix="leave it out; an indent before further lines stays",
                change=partial(_mended, mend=damage.stripped),
            )
        least = self.quotes * max(len(self.curly), self.num_straight)
        if min(len(self.curly), self.num_straight) > max(least, 1):
            yield Fault(
                name="mixed_quotes",
                message=f"{len(self.curly):,} rows hold curly quotes, {self.num_straight:,} straight ones.",
                rows=self.curly.numbers,
                example=self.curly.example,
                remedy="Write one kind, if the answers should look alike.",
                fix="write straight ones",
                change=partial(_mended, mend=damage.straight_quotes),
            )


def _mended(example: Example, mend: Callable[[str], str]) -> Example:
    return rewritten(example, mend)


def _shown(text: str, kind: Kind) -> str:
    """What is around the damage, with unseen characters as escapes."""
    found = kind.needs.search(text)
    start = max(0, found.start() - 30) if found else 0
    piece = text[start : start + 90]
    return piece if kind.name in ("mojibake", "html_entities", "html_tags") else ascii(piece)[1:-1]
