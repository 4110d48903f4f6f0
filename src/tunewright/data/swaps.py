"""Counterfactual swaps: the same English text about another group (he/she, names, origins, religions, ages).

What stands in the place of what: data/swap_words.py. Counterfactual data augmentation: Lu et al. 2018 (1807.11714),
Zhao et al. 2018 (1804.06876); names in pairs: Hall Maudslay et al. 2019 (1909.00871).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from tunewright.data import swap_words as words
from tunewright.data.changes import Change, applied

GROUPS = ("gender", "ethnicity", "nationality", "religion", "age", "disability")
_WORD = re.compile(r"ma['\u2019]am|[^\W_]+(?:-[^\W_]+)*", re.IGNORECASE)
_YEARS = re.compile(r"\b(\d\d)(?=[ -]years?[ -]olds?\b)", re.IGNORECASE)
_AFRICAN = re.compile(r"\bAfrican[ -]American(s?)\b")
_YEARS_APART = 40  # 18 to 44 years become 58 to 84, and back; ages between are left alone
_MOST_ADJECTIVES = 3  # between a term and the people it speaks of


@dataclass(frozen=True)
class Swap:
    """The text about another group; `before` and `after` are categories of it, such as male and female.

    changes: which characters were replaced, so that a place in the old text is found in the new one.
    """

    text: str
    group: str
    before: str
    after: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Alike:
    """The changes of several texts that turn one category into another in all of them."""

    before: str
    after: str
    changes: list[list[Change]]


@dataclass(frozen=True)
class Mention:
    """Where a text speaks of a category of a group. into: what says the same of another one; None: no word does."""

    start: int
    end: int
    category: str
    into: Callable[[str], str | None]


def swapped(text: str, group: str) -> list[Swap]:
    """The text with one category of the group turned into another: one swap for each pair. Both are exchanged: "he
    told her" becomes "she told him". Empty when the text does not speak of the group.
    """
    return [
        Swap(applied(text, alike.changes[0]), group, alike.before, alike.after, tuple(alike.changes[0]))
        for alike in swapped_alike([text], group)
    ]


def swapped_alike(texts: Sequence[str], group: str) -> list[Alike]:
    """As `swapped`, for texts that belong together (question and answer): the same exchange in all of them."""
    found = [mentions(text, group) for text in texts]
    present = list(dict.fromkeys(mention.category for of_text in found for mention in of_text))
    done: set[frozenset[str]] = set()
    swaps = []
    for before in present:
        for after in categories(group):
            if after == before or (pair := frozenset((before, after))) in done:
                continue
            done.add(pair)
            changes = [_exchange(text, of, before, after) for text, of in zip(texts, found, strict=True)]
            whole = [one for one in changes if one is not None]
            if len(whole) == len(texts) and any(whole):
                swaps.append(Alike(before, after, whole))
    return swaps


def categories(group: str) -> tuple[str, ...]:
    """What a group's mentions may speak of."""
    if group == "gender":
        return ("male", "female")
    return tuple(words.TERMS[group])


def mentions(text: str, group: str) -> list[Mention]:
    """Where the text speaks of the group, from left to right."""
    assert group in GROUPS, f"group '{group}' is not one of {', '.join(GROUPS)}"
    found = _Words(text)
    spoken = _gendered(found) if group == "gender" else _terms(found, group)
    ordered: list[Mention] = []
    for mention in sorted(spoken, key=lambda one: (one.start, -one.end)):
        if not ordered or mention.start >= ordered[-1].end:
            ordered.append(mention)
    return ordered


class _Words:
    """The words of a text, with what is beside each."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.places = [match.span() for match in _WORD.finditer(text)]
        self.plain = [text[start:end] for start, end in self.places]
        self.low = [word.lower().replace("\u2019", "'") for word in self.plain]

    def after(self, number: int, far: int = 1) -> str:
        """The word behind, in small letters; empty when anything but spaces is between, or the text ends."""
        return self._beside(number, far)

    def before(self, number: int, far: int = 1) -> str:
        """As `after`, to the left."""
        return self._beside(number, -far)

    def _beside(self, number: int, far: int) -> str:
        other = number + far
        if not 0 <= other < len(self.places):
            return ""
        left, right = sorted((number, other))
        between = self.text[self.places[left][1] : self.places[right][0]]
        if far in (1, -1):
            return self.low[other] if between.isspace() else ""
        return self.low[other] if not re.search(r"[.!?;:,()\n]", between) else ""


# --- gender ---


@cache
def _opposite() -> dict[str, tuple[str, str]]:
    """Word -> its category, and the word of the other one."""
    table = {male: ("male", female) for male, female in words.GENDERED}
    table |= {female: ("female", male) for male, female in words.GENDERED}
    return table | {female: ("female", male) for female, male in words.ALSO_FEMALE.items()}


@cache
def _names() -> dict[str, tuple[str, str, int]]:
    """Name -> its origin, its gender, and its place in that list."""
    return {
        name: (origin, gender, place)
        for origin, genders in words.NAMES.items()
        for gender, names in genders.items()
        for place, name in enumerate(names)
    }


def _gendered(found: _Words) -> Iterator[Mention]:
    for number, (plain, low) in enumerate(zip(found.plain, found.low, strict=True)):
        start, end = found.places[number]
        name = _name(found, number)
        if name is not None:
            origin, gender, place = name
            yield Mention(start, end, gender, _always(words.NAMES[origin][_other(gender)][place]))
        elif low in ("his", "him", "her", "hers"):
            gender, opposite = _pronoun(low, found.after(number))
            yield Mention(start, end, gender, _always(_cased(opposite, plain)))
        elif low in _opposite() and _is_title_where_needed(found, number):
            gender, opposite = _opposite()[low]
            yield Mention(start, end, gender, _always(_cased(opposite, plain)))


def _other(gender: str) -> str:
    return "female" if gender == "male" else "male"


def _pronoun(low: str, following: str) -> tuple[str, str]:
    """Category and opposite of a pronoun that English does not pair one to one."""
    owns = bool(following) and following not in words.NO_NOUN
    if low == "her":
        return "female", "his" if owns else "him"
    if low == "his":
        return "male", "her" if owns else "hers"
    return ("male", "her") if low == "him" else ("female", "his")


def _is_title_where_needed(found: _Words, number: int) -> bool:
    """Whether a short word is the title that it looks like: "Miss Jones", not "I miss"; "Ms", not "20 ms"."""
    plain, low = found.plain[number], found.low[number]
    behind = found.text[found.places[number][1] :][:3]
    if low in ("mr", "ms", "mrs", "miss"):
        return plain[0].isupper() and behind.lstrip(". ")[:1].isupper()
    return not (low in ("sir", "madam") and plain[0].isupper() and behind.lstrip(" ")[:1].isupper())  # Sir Isaac


def _name(found: _Words, number: int) -> tuple[str, str, int] | None:
    name = _names().get(found.plain[number])
    if name is None or found.before(number) in words.SAINTS or found.after(number) in words.PLACES:
        return None
    return name


# --- terms ---


@cache
def _forms(group: str) -> dict[str, tuple[str, int]]:
    """Term in small letters -> its category, and its form: 0 an adjective, 1 one of them, 2 several."""
    table: dict[str, tuple[str, int]] = {}
    for category, forms in words.TERMS[group].items():
        for number, form in enumerate(forms):
            if form is not None:
                table.setdefault(form.lower(), (category, number))
    return table


@cache
def _adjectives() -> frozenset[str]:
    """Every term that may stand between another and the people."""
    own = {forms[0].lower() for terms in words.TERMS.values() for forms in terms.values()}
    return frozenset(own | {other for others in words.OTHER_TERMS.values() for other in others})


def _terms(found: _Words, group: str) -> Iterator[Mention]:
    if group == "ethnicity":
        yield from _origins(found)
    if group == "age":
        yield from _ages(found.text)
    others = words.OTHER_TERMS.get(group, {})
    for number, low in enumerate(found.low):
        start, end = found.places[number]
        if low in others and _speaks_of_people(found, number) is not None:
            category, opposite = others[low]
            yield Mention(start, end, category, _always(_cased(opposite, found.plain[number])))
            continue
        category, form = _forms(group).get(low, ("", 0))
        if not category:
            continue
        as_noun = _speaks_of_people(found, number)
        always = form == 2 or low in ("youngster", "pensioner")
        if not always and as_noun is None:
            continue
        form = form if always else 1 if as_noun else 0
        yield Mention(start, end, category, _term(found, number, group, category, form))


def _term(found: _Words, number: int, group: str, own: str, form: int) -> Callable[[str], str | None]:
    plain, known = found.plain[number], words.TERMS[group][own][form] or ""
    begins = plain[0].isupper() and _begins_sentence(found.text, found.places[number][0])
    proper = plain == known or (begins and plain == _capital(known)) or plain in ("black", "White")

    def into(category: str) -> str | None:
        word = words.TERMS[group][category][form]
        if word is None:
            return None
        if proper:
            return _capital(word) if begins else word
        return _cased(word.lower(), plain)

    return into


def _speaks_of_people(found: _Words, number: int) -> bool | None:
    """Whether a term stands as a noun ("is a Muslim") or before people ("Muslim women"); None when it does neither."""
    for far in range(1, _MOST_ADJECTIVES + 1):
        following = found.after(number, far)
        if following in words.PEOPLE:
            return False
        if following not in _adjectives():
            break
    following = found.after(number)
    if following and following not in words.NO_NOUN:
        return None
    far = 1
    while found.before(number, far) in words.BETWEEN:
        far += 1
    verb = found.before(number, far)
    subject = found.before(number, far + 1)
    told = verb in words.BE and _is_person(found, number - far - 1, subject)
    asked = subject in words.BE and _is_person(found, number - far, verb)
    if told or asked or (verb in ("m", "re", "s") and subject in words.PERSONS):
        return far > 1 and found.before(number) in ("a", "an")
    return None


def _is_person(found: _Words, number: int, low: str) -> bool:
    return low in words.PERSONS or low in words.PEOPLE or (number >= 0 and found.plain[number] in _names())


def _origins(found: _Words) -> Iterator[Mention]:
    for number in range(len(found.places)):
        name = _name(found, number)
        if name is not None:
            origin, gender, place = name
            yield Mention(*found.places[number], origin, _named(gender, place))
    for match in _AFRICAN.finditer(found.text):
        yield Mention(*match.span(), "Black", _american(match.group(1)))


def _named(gender: str, place: int) -> Callable[[str], str | None]:
    return lambda category: words.NAMES[category][gender][place]


def _american(plural: str) -> Callable[[str], str | None]:
    return lambda category: f"{words.TERMS['ethnicity'][category][0]} American{plural}"


def _ages(text: str) -> Iterator[Mention]:
    for match in _YEARS.finditer(text):
        years = int(match.group(1))
        if 18 <= years <= 84 - _YEARS_APART:
            yield Mention(*match.span(), "young", _always(str(years + _YEARS_APART)))
        elif 18 + _YEARS_APART <= years <= 84:
            yield Mention(*match.span(), "old", _always(str(years - _YEARS_APART)))


# --- writing ---


def _always(word: str) -> Callable[[str], str | None]:
    return lambda category: word


def _exchange(text: str, found: Sequence[Mention], before: str, after: str) -> list[Change] | None:
    """The changes of one text; None when a word for the other category is missing."""
    changes = []
    for mention in found:
        if mention.category not in (before, after):
            continue
        word = mention.into(after if mention.category == before else before)
        if word is None:
            return None
        article = _article(text, mention.start, word)
        if article is not None:
            changes.append(article)
        changes.append(Change(mention.start, mention.end, word))
    return changes


def _article(text: str, start: int, word: str) -> Change | None:
    """The article before a word that needs another one now ("an old" -> "a young")."""
    match = re.search(r"\b(an?)\s$", text[max(0, start - 4) : start], re.IGNORECASE)
    if match is None:
        return None
    wanted = "an" if re.match(r"[aeiou]|8|18\b", word, re.IGNORECASE) else "a"
    if match.group(1).lower() == wanted:
        return None
    at = max(0, start - 4) + match.start(1)
    return Change(at, at + len(match.group(1)), _cased(wanted, match.group(1)))


def _cased(word: str, like: str) -> str:
    """A word in the letters of another: SMALL, Capital or as it is."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return _capital(word) if like[:1].isupper() else word


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]


def _begins_sentence(text: str, start: int) -> bool:
    return not text[:start].strip() or text[:start].rstrip()[-1] in ".!?\n"
