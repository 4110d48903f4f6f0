"""Takes personal data out of the texts of a row: finds it, and puts surrogates, markers or hashes in its place."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tunewright.core.errors import RecipeError
from tunewright.core.scrubbing import Scrub
from tunewright.privacy.coined import folded
from tunewright.privacy.detect import personal_data
from tunewright.privacy.found import Found
from tunewright.privacy.surrogates import Surrogates, is_surrogate

Find = Callable[[str], list[Found]]
_PASSES = 3  # what stands beside a replaced name can become a name itself: it is looked at again, until nothing changes
_LEAST_KEY = 8
FIRST_ROWS = 200  # which tell what belongs to a template
_LEAST_ROWS = 40  # fewer tell nothing
_GUESSED = frozenset({"PERSON", "ORGANIZATION", "GPE", "NRP", "TITLE"})  # by capitals and words beside them
_SHORT = 80  # a value of a table; longer ones are texts that say themselves what they are about
_COLUMNS = (
    (re.compile(r"(?:^|_| )(?:name|surname|customer|client|patient|contact|employee|agent|owner|author)$"), "name: "),
    (re.compile(r"(?:phone|mobile|telephone|tel|fax|cell)(?:_| |$)"), "phone: "),
    (re.compile(r"(?:^|_| )(?:city|town|country|state|birthplace)$"), "city: "),
    (re.compile(r"(?:^|_| )(?:company|employer|organi[sz]ation)$"), "company: "),
    (re.compile(r"(?:zip|post_?code|postal)"), "zip: "),
    (re.compile(r"(?:^|_| )age$"), "age: "),
    (re.compile(r"ssn|social_security"), "ssn: "),
    (re.compile(r"passport"), "passport: "),
)


@dataclass(frozen=True)
class Edit:
    """Characters start to end - 1 of a text became `size` characters."""

    start: int
    end: int
    size: int


@dataclass
class Scrubbed:
    """A text without its personal data, and how places of the old text move into it."""

    text: str
    passes: list[list[Edit]] = field(default_factory=list)

    def moved(self, start: int, end: int) -> tuple[int, int]:
        """Where a span of the old text is in the new one. What was replaced in part is covered as a whole."""
        for edits in self.passes:
            shift, first, last = 0, start, end
            for edit in edits:
                if edit.end <= start:
                    first = start + shift + edit.size - (edit.end - edit.start)
                elif edit.start < start:
                    first = edit.start + shift
                if edit.end <= end:
                    last = end + shift + edit.size - (edit.end - edit.start)
                elif edit.start < end:
                    last = edit.start + shift + edit.size
                shift += edit.size - (edit.end - edit.start)
            start, end = first, last
        return start, end


class Scrubber:
    """Scrubs rows under one key, and counts what it did. The same key gives the same result; twice is as once."""

    def __init__(self, options: Scrub, *, key: bytes | None = None, find: Find | None = None) -> None:
        self.options = options
        self.key = key if key is not None else the_key(options.key)
        self.counts: Counter[str] = Counter()  # by type
        self.rows_touched = 0
        self.rows_dropped = 0
        self.common: list[str] = []  # words of a template, which stay
        self.mapping: dict[tuple[str, str], str] = {}  # kept where the options ask for it
        self._surrogates = Surrogates(self.key)
        self._find = find or recognizer(options)

    def look(self, rows: Iterable[Sequence[str]]) -> None:
        """Learn from the texts of the first rows which words are a template's: names of formats and of classes that
        rules take for people and places, but that stand in at least half of the rows. They are not replaced. Names of
        several words always are: one person may be in every row.
        """
        counts: Counter[str] = Counter()
        num_rows = 0
        for texts in rows:
            num_rows += 1
            counts.update({
                value
                for text in texts
                for one in self.found(text)
                if one.type in _GUESSED and " " not in (value := text[one.start : one.end])
            })  # fmt: skip
        if num_rows >= _LEAST_ROWS:
            self.common = sorted(value for value, count in counts.items() if 2 * count >= num_rows)

    def found(self, text: str, column: str = "") -> list[Found]:
        """What the options ask for, in a text. column: where it stands; 'phone' or 'name' say what a short one is."""
        types, said = self.options.types, _said_by(column) if len(text) <= _SHORT else ""
        found = self._find(said + text)
        if said:
            size = len(said)
            found = [one._replace(start=one.start - size, end=one.end - size) for one in found if one.start >= size]
        if self.common:
            found = [one for one in found if one.type not in _GUESSED or text[one.start : one.end] not in self.common]
        return [one for one in found if types == "all" or one.type in types]

    def row(
        self, texts: Sequence[str], *, columns: Sequence[str] = (), hashed: frozenset[int] = frozenset()
    ) -> list[Scrubbed] | None:
        """The texts of one row without personal data; None where the row has to go.

        columns: where each text stands, if all of them are named.
        hashed: texts by number in which a mask would make different values one (a column that groups rows): hashes
        stand there instead.
        """
        done = [Scrubbed(text) for text in texts]
        places = columns or [""] * len(done)
        counts: Counter[str] = Counter()
        for attempt in range(_PASSES):
            found = [self.found(one.text, column) for one, column in zip(done, places, strict=True)]
            if attempt == 0 and any(self.options.action_of(one.type) == "drop" for some in found for one in some):
                self.rows_dropped += 1
                self.counts.update(
                    {one.type: 1 for some in found for one in some if self.options.action_of(one.type) == "drop"}
                )
                return None
            person = self._person(done, found)
            changed = [
                self._replace(one, some, person, counts, hashed=place in hashed)
                for place, (one, some) in enumerate(zip(done, found, strict=True))
            ]
            if not any(changed):
                break
        self.counts.update(counts)
        self.rows_touched += bool(counts)
        return done

    def _person(self, done: Sequence[Scrubbed], found: Sequence[Sequence[Found]]) -> str | None:
        """Whose row it is: the first person named. A surrogate, when that person's dates were moved before."""
        people = [
            one.text[span.start : span.end]
            for one, some in zip(done, found, strict=True)
            for span in some
            if span.type == "PERSON"
        ]
        return next((name for name in people if is_surrogate("PERSON", name)), people[0] if people else None)

    def _replace(
        self, scrubbed: Scrubbed, found: Sequence[Found], person: str | None, counts: Counter[str], *, hashed: bool
    ) -> bool:
        text, pieces, edits, end = scrubbed.text, [], [], 0
        for one in found:
            value = text[one.start : one.end]
            new = self._new(one.type, value, person, hashed=hashed)
            if new == value:
                continue
            pieces += [text[end : one.start], new]
            edits.append(Edit(one.start, one.end, len(new)))
            end = one.end
            counts[one.type] += 1
            if self.options.keep_mapping is not None:
                self.mapping.setdefault((one.type, value), new)
        if edits:
            scrubbed.text = "".join([*pieces, text[end:]])
            scrubbed.passes.append(edits)
        return bool(edits)

    def _new(self, type: str, value: str, person: str | None, *, hashed: bool) -> str:
        action = self.options.action_of(type)
        if action == "keep":
            return value
        if action == "hash" or (action == "mask" and hashed):
            digest = hmac.new(
                self.key, f"{type}\x1f{folded(value) or value}".encode("utf-8", "surrogatepass"), hashlib.sha256
            )
            return f"[{type}:{digest.hexdigest()[:12]}]"
        if action == "surrogate":
            if type in ("DATE_TIME", "AGE") and person is not None:
                return self._of_person(type, value, person)
            return self._surrogates.of(type, value, None)
        return f"[{type}]"

    def _of_person(self, type: str, value: str, person: str) -> str:
        if type == "DATE_TIME" and is_surrogate("PERSON", person):
            return value  # moved before, with the person
        return self._surrogates.of(type, value, folded(person.split()[0]))


@lru_cache(maxsize=1024)
def _said_by(column: str) -> str:
    """What the name of a column says of its values, as words before them."""
    return next((words for form, words in _COLUMNS if form.search(column.lower())), "")


def the_key(named: str | None) -> bytes:
    """The key behind env:NAME or in a file; a new one where none is named. Raises RecipeError."""
    if named is None:
        return secrets.token_bytes(32)
    if named.startswith("env:"):
        value = os.environ.get(named.removeprefix("env:"), "").encode()
        if not value:
            raise RecipeError(
                f"scrub.key: the environment has no variable {named.removeprefix('env:')}. Set it, or name a file."
            )
    else:
        try:
            value = Path(named).expanduser().read_bytes().strip()
        except OSError as error:
            raise RecipeError(
                f"scrub.key: {named} cannot be read: {error.strerror}. Name a file or env:NAME."
            ) from None
    if len(value) < _LEAST_KEY:
        raise RecipeError(
            f"scrub.key: {named} holds {len(value)} characters, which can be guessed. Give {_LEAST_KEY} or more, "
            "e.g. by: openssl rand -hex 32"
        )
    return hashlib.sha256(b"tunewright scrub\x1f" + value).digest()


def recognizer(options: Scrub) -> Find:
    """What finds personal data under these options."""
    if options.recognizer == "rules":
        return personal_data
    from tunewright.privacy.presidio import with_presidio

    return with_presidio()
