"""Where English texts speak of groups of people (gender, ethnicity, religion, age, disability, nationality,
orientation): words from data/group_words.py, and rules for those that mean other things too.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tunewright.data import group_words as words

GROUPS = ("gender", "ethnicity", "religion", "age", "disability", "nationality", "orientation")
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_BESIDE = re.compile(r"[\s\-'\u2019\"]*")  # what may stand between words that belong together
_YOUNG, _OLD = range(13, 31), range(55, 120)  # years
_FAR = 3  # words between a term and the people it speaks of
_KEEPS_FORM = ("ish", "ese", "ch", "sh", "iss")  # words for a people without a plural in s
Kinds = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a text speaks of people of a category of a group."""

    group: str
    category: str
    start: int
    end: int


class Words:
    """The words of a text, as they stand and in small letters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = [match.span() for match in _TOKEN.finditer(text)]
        self.plain = [text[start:end] for start, end in self.spans]
        self.low = [word.lower() for word in self.plain]

    def beside(self, number: int, step: int) -> str:
        """The next word in a direction; empty where a stop is between, or there is none."""
        other = number + step
        if not 0 <= other < len(self.low):
            return ""
        left, right = min(number, other), max(number, other)
        between = self.text[self.spans[left][1] : self.spans[right][0]]
        return self.low[other] if _BESIDE.fullmatch(between) else ""


def may_speak(low_words: Sequence[str]) -> bool:
    """Whether any of these words, in small letters, could speak of a group: a quick look before the slow one."""
    return not _tables().triggers.isdisjoint(low_words)


def is_english(low_words: Sequence[str]) -> bool:
    """Whether a text may be English, by its most frequent words: "man" and "son" are other words elsewhere."""
    foreign = sum(word in words.FOREIGN for word in low_words)
    return not foreign or foreign <= sum(word in words.ENGLISH for word in low_words)


def mentions(text: str) -> list[Mention]:
    """Where the text speaks of groups, from left to right."""
    return list(_mentions(Words(text)))


def spoken(text: str) -> dict[str, str]:
    """The category of each group that a text speaks of; a group of which it speaks of several is left out."""
    found: dict[str, set[str]] = {}
    for mention in mentions(text):
        found.setdefault(mention.group, set()).add(mention.category)
    return {group: categories.pop() for group, categories in found.items() if len(categories) == 1}


def pronouns(low_words: Sequence[str]) -> Counter[str]:
    """How often a text says he, she or they, in any form."""
    return Counter(words.PRONOUNS[word] for word in low_words if word in words.PRONOUNS)


def names(found: Words) -> Counter[str]:
    """Given names in a text that are usual for women, and for men."""
    table = _tables().names
    return Counter(
        table[word]
        for number, word in enumerate(found.plain)
        if word in table and found.beside(number, 1) not in words.NOT_A_NAME_BEFORE
    )


def sentiment(low_words: Sequence[str]) -> int:
    """1, 0 or -1: whether more words praise or blame; a negation up to three words before turns a word round."""
    score = 0
    for number, word in enumerate(low_words):
        value = 1 if word in words.POSITIVE else -1 if word in words.NEGATIVE else 0
        if value:
            near = low_words[max(0, number - 3) : number]
            score += -value if not words.NEGATIONS.isdisjoint(near) else value
    return (score > 0) - (score < 0)


def neutral_key(found: Words, spoken: Sequence[Mention]) -> bytes:
    """Equal for texts that differ only in the people they speak of: such are each other's counterfactual twins."""
    kept: list[str] = []
    places = iter(spoken)
    place = next(places, None)
    table = _tables().names
    for (start, _), plain, low in zip(found.spans, found.plain, found.low, strict=True):
        while place is not None and start >= place.end:
            place = next(places, None)
        if low in words.PLACEHOLDER:
            kept.append(words.PLACEHOLDER[low])
        elif place is not None and start >= place.start:
            if start == place.start:
                kept.append(f"<{place.group}>")
        elif plain in table:
            kept.append("<name>")
        else:
            kept.append("a" if low == "an" else low)
    return hashlib.blake2b(" ".join(kept).encode(), digest_size=16).digest()


# --- finding ---


@dataclass(frozen=True)
class _Tables:
    always: Mapping[str, Kinds]
    of_people: Mapping[str, Kinds]
    nations: Mapping[str, str]
    plurals: Mapping[str, str]
    peoples: Mapping[str, str]
    countries: Mapping[str, str]
    phrases: Mapping[str, list[tuple[tuple[str, ...], str, str]]]
    names: Mapping[str, str]
    triggers: frozenset[str]


@cache
def _tables() -> _Tables:
    phrases: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
    listed = [
        (tuple(phrase.split()), group, category)
        for group, categories in words.PHRASES.items()
        for category, text in categories.items()
        for phrase in text.split("/")
    ]
    listed += [(tuple(phrase.split()), "nationality", nation) for phrase, nation in words.TWO_WORDS.items()]
    for phrase, group, category in sorted(listed, key=lambda one: -len(one[0])):
        phrases.setdefault(phrase[0], []).append((phrase, group, category))
    pairs = [pair.split() for pair in words.NATIONS.replace("\n", "").split("|")]
    nations = {word.lower(): word for _, word in pairs}
    countries = {country.lower(): word for country, word in reversed(pairs)}
    plurals = {f"{low}s": word for low, word in nations.items() if not low.endswith(_KEEPS_FORM)}
    peoples = {word.lower(): nation for word, nation in (pair.split() for pair in _parted(words.PEOPLES))}
    plurals |= peoples
    always, of_people = _by_word(words.ALWAYS), _by_word(words.OF_PEOPLE)
    pronoun = {word for word, kind in words.PRONOUNS.items() if kind != "they"}
    every: list[Iterable[str]] = [
        always,
        of_people,
        nations,
        plurals,
        phrases,
        pronoun,
        ("blacks", "whites", "christian", "year", "years", "from"),
    ]
    return _Tables(
        always, of_people, nations, plurals, peoples, countries, phrases,
        {name: gender for gender, text in words.NAMES.items() for name in text.split()},
        frozenset(word for table in every for word in table),
    )  # fmt: skip


def _parted(text: str) -> list[str]:
    return text.replace("\n", "").split("|")


def _by_word(groups: Mapping[str, Mapping[str, str]]) -> dict[str, Kinds]:
    found: dict[str, Kinds] = {}
    for group, categories in groups.items():
        for category, text in categories.items():
            for word in text.split():
                found[word] = (*found.get(word, ()), (group, category))
    return found


def _mentions(found: Words) -> Iterator[Mention]:
    number = 0
    while number < len(found.low):
        length, kinds = _at(found, number)
        start, end = found.spans[number][0], found.spans[number + length - 1][1]
        for group, category in kinds:
            yield Mention(group, category, start, end)
        number += length


def _at(found: Words, number: int) -> tuple[int, Kinds]:
    """How many words from here on speak of people, and of whom; one word and nothing where none does."""
    tables, low = _tables(), found.low[number]
    for phrase, group, category in tables.phrases.get(low, ()):
        if tuple(found.low[number : number + len(phrase)]) == phrase and not _excluded(found, number):
            return len(phrase), ((group, category),)
    if low.isdigit():
        return _years(found, number)
    if low in words.PRONOUNS:
        kind = words.PRONOUNS[low]
        return 1, () if kind == "they" else (("gender", "male" if kind == "he" else "female"),)
    if _excluded(found, number):
        return 1, ()
    if low in tables.always:
        return 1, tables.always[low]
    if low in tables.of_people:
        return 1, tables.of_people[low] if _of_people(found, number) else ()
    if low in ("blacks", "whites") and words.LAUNDRY.isdisjoint(found.low):
        return 1, (("ethnicity", "Black" if low == "blacks" else "white"),)
    if low == "christian":
        return 1, (("religion", "Christian"),) if _of_christians(found, number) else ()
    nation = _nation(found, number)
    return 2 if low == "from" and nation else 1, (("nationality", nation),) if nation else ()


def _excluded(found: Words, number: int) -> bool:
    low = found.low[number]
    after, before = words.NOT_AFTER.get(low), words.NOT_BEFORE.get(low)
    return bool(
        (after and found.beside(number, -1) in after.split()) or (before and found.beside(number, 1) in before.split())
    )


def _years(found: Words, number: int) -> tuple[int, Kinds]:
    """ "66-year-old", "18 years old": young or old people; other ages are neither."""
    if found.beside(number, 1) not in ("year", "years", "yr") or found.low[number + 2 : number + 3] not in (
        ["old"],
        ["olds"],
    ):
        return 1, ()
    subject = number - 2
    if found.beside(number, -1) in words.BE and not (
        subject >= 0 and (_is_person(found, subject) or found.plain[subject][0].isupper())
    ):
        return 3, ()  # "the account is 20 years old"
    years = int(found.low[number]) if len(found.low[number]) < 4 else 0
    if years in _YOUNG or years in _OLD:
        return 3, (("age", "young" if years in _YOUNG else "old"),)
    return 3, ()


def _of_people(found: Words, number: int, *, ones: bool = False) -> bool:
    """Whether an adjective stands before people ("old men") or tells of a person ("she is old")."""
    tables, at = _tables(), number
    for _ in range(_FAR + 1):
        following = found.beside(at, 1)
        if following in words.PEOPLE or (ones and following in words.ONES):
            return found.beside(at + 1, 1) != "friendly"  # "family friendly" is said of places
        if following not in words.ADJECTIVES and not (
            following in tables.of_people or following in tables.nations or following in tables.always
        ):
            break
        at += 1
    following = found.beside(number, 1)
    if following and following not in words.NO_NOUN:
        return False
    return _told_of_person(found, number, ones=ones) or (
        found.low[number] == "disabled" and found.beside(number, -1) == "the"
    )


def _told_of_person(found: Words, number: int, *, ones: bool = False) -> bool:
    """Whether "... is" with a person stands before: "he is", "my neighbor was also", "are they". ones: "the other is"
    too.
    """
    at = number - 1
    while at >= 0 and found.low[at] in words.BETWEEN:
        at -= 1
    if at < 1 or found.low[at] not in words.BE:
        return at >= 1 and _is_person(found, at) and found.low[at - 1] in words.BE
    return _is_person(found, at - 1) or (ones and found.low[at - 1] in ("one", "other"))


def _is_person(found: Words, number: int) -> bool:
    low = found.low[number]
    return low in words.PERSONS or low in words.PEOPLE or found.plain[number] in _tables().names


def _of_christians(found: Words, number: int) -> bool:
    """Not of somebody called Christian."""
    if found.plain[number][0].islower() or found.beside(number, 1) in words.OF_CHRISTIANS - {"and"}:
        return True
    return _of_people(found, number, ones=True) or _is_noun(found, number)


def _nation(found: Words, number: int) -> str | None:
    tables, low = _tables(), found.low[number]
    capital = found.plain[number][0].isupper()
    if low == "from":
        return _country(found, number)
    if not capital and low in words.LOWER_CASE_IS_ANOTHER:
        return None
    if low in tables.plurals:
        return tables.plurals[low] if capital or low not in tables.peoples else None
    if low not in tables.nations:
        return None
    if _of_people(found, number, ones=True) or _is_noun(found, number):
        return tables.nations[low]
    return None


def _is_noun(found: Words, number: int) -> bool:
    """ "The Syrian had ...", "a German who ..."; not "is an Italian near the river", which may be a restaurant."""
    following = found.beside(number, 1)
    if found.low[number].endswith(_KEEPS_FORM) or (following and following not in words.NO_NOUN):
        return False
    at = number - 1
    while at > 0 and found.low[at] in words.ADJECTIVES and found.beside(at, 1):
        at -= 1
    if at < 0 or not found.beside(at, 1) or found.low[at] not in words.DETERMINERS:
        return False
    return found.beside(at, -1) not in words.BE or _is_person(found, at - 2)


def _country(found: Words, number: int) -> str | None:
    """ "someone from Nigeria", "they are from Iraq"."""
    following = number + 1
    if not found.beside(number, 1) or not found.plain[following][0].isupper():
        return None
    before = found.beside(number, -1)
    told = before in words.BE | {"came", "come", "comes"} and number >= 2 and _is_person(found, number - 2)
    if before in words.PEOPLE or before in words.PERSONS or told:
        return _tables().countries.get(found.low[following])
    return None
