"""Names of people, organisations and places by rules: capitals, the words around, forms, and their place in the text.

No list of names is looked up. A run of capitalised words that are no common words is a name; what it names is told by
the words before and behind it. Where a language writes all nouns with capitals, only the sure rules hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tunewright.privacy import name_context as context
from tunewright.privacy.common_words import COMMON_ENDINGS, COMMON_WORDS, FUNCTION_WORDS, WORDS_AND_NAMES
from tunewright.privacy.found import Found
from tunewright.privacy.letters import LOWER, UPPER, spaced
from tunewright.privacy.words import COMPANY_ENDINGS, COMPANY_WORDS, HONORIFICS, MONTHS, PEOPLES, TITLES, WEEKDAYS

_CAP = rf"[{UPPER}](?:\w|['\u2019](?!s\b)(?=\w)|-(?=\w))*"
_PARTICLE = (
    r"(?:de|la|del|della|di|da|do|dos|das|du|van|der|den|ten|ter|von|zu|bin|ibn|al|el|y|af|av|le|nad|na|z|pri|u)"
)
_ABBREVIATION = r"(?:Mr|Mrs|Ms|Dr|St|Mt|Prof|Rev|Ft|Jr|Sr|Capt|Lt|Col|Sgt)\."
_NEXT = rf"(?:{_ABBREVIATION}|[{UPPER}]\.|{_CAP}|(?:{_PARTICLE} ){{1,2}}{_CAP})"
_RUN = re.compile(
    rf"(?<![\w@/.#&'\u2019-])(?:{_ABBREVIATION}(?= [{UPPER}])|{_CAP}|[{UPPER}]\.(?= "
    rf"[{UPPER}]))(?:[ \u00a0]{_NEXT})*(?![\w@])"
)
_PARTNERS = re.compile(rf"(?<!\w)({_CAP}), ({_CAP}) and ({_CAP})(?! [{UPPER}])(?!\w)")
_PLURAL = re.compile(
    r" (?:are|were|have|go|went|each|all|both|decided?|want|had|share|split|together|run|bought|play|live|work|eat)\b"
)
_AND_SONS = re.compile(
    rf"(?<!\w){_CAP}(?: {_CAP})*,? (?:and|&) (?:Sons|Co|Company|Partners|Associates|Brothers|Daughters)\b\.?"
)
_PARTNERS_LOWER = re.compile(r"^([a-z]{3,}), ([a-z]{3,}) and ([a-z]{3,})(?=\n)", re.MULTILINE)
_LOWER_PERSON = re.compile(
    rf"\b(?:my name is|her name is|his name is|maiden name is|people call me|named him|named her|[Mm]rs?\.|"
    rf"[Mm]s\.|[Dd]r\.|follow up with|remove my kid|speak to|i'm|this is) "
    rf"(?P<name>[{LOWER}][{LOWER}'\u2019-]+(?: [{LOWER}]\.?(?= ))?(?: [{LOWER}][{LOWER}'-]+)?)(?=[\s.,!?;]|$)"
)
_LOWER_PLACE = re.compile(
    rf"\b(?:lives? in|living in|grew up in|born in|originally from|moved to|[Ii]'m from|am from|is from|based "
    rf"in|flew to) "
    rf"(?P<name>[{LOWER}][{LOWER}-]{{3,}})(?=[\s.,!?;]|$)"
)
_GERMAN = spaced(
    "der die das und ist nicht ein eine einen ich wir sie mit f\u00fcr auf den dem zu von sind haben wird auch"
)
_ENGLISH = spaced("the and is of to in a for you that it with on are this was be at have my i i'm")
_SURNAME = re.compile(
    r"(?:sson|sen|sd[o\u00f3]ttir|d\u00f3ttir|ova|ov|ev|eva|enko|ski|ska|sky|cki|cka|wicz|vi[c\u0107]|"
    r"i[c\u0107]|ez|ini|elli|etti|"
    r"escu|yan|ian|shvili|dze|poulos|idis|akis|stra|sma|mann|bauer|meyer|maier|inen|nen|berg|str\u00f6m|qvist|"
    r"lund|son|oglu)$"
)
_COINED_COMPANY = re.compile(  # PayPal, Dataweave, Legistorm
    rf"(?!Mc|Mac|O'|De|Di|Du|La|Le|Van|Von|Fitz|St|Ap)[{UPPER}][{LOWER}]+(?:[{UPPER}][{LOWER}]+)+|"
    rf"[{LOWER}][{UPPER}]\w+|"
    rf"(?:Data|Micro|Cyber|Tele|Health|Cloud|Smart|Info)[{LOWER}]{{3,}}|"
    rf"[{UPPER}][{LOWER}]{{2,}}(?:com|gov|soft|tech|corp|bank|media|data|web|labs|ware|logic|lytics|pharma|"
    rf"health|works|"
    r"metrics|wallet|storm|stats|cloud|link|pay|fund|hub|space)"
)
_PLACE_BEGINS = re.compile(
    rf"(?:New|San|Santa|Los|Las|Saint|Fort|Mount|Port|Lake|Upper|Lower|North|South|East|"
    rf"West) [{UPPER}][{LOWER}]+"
)
_CLOSING = re.compile(r"(?i:regards|sincerely|thanks|cheers|best|love|yours|wishes|truly)[,.!]?$")
_LISTED = re.compile(rf"(?:,|,? and) [{UPPER}][{LOWER}]")
_MARKS = " \t>?*\u2022-"


@dataclass(frozen=True)
class _Run:
    """Capitalised words in a row without the common ones at the ends, and what stands around them.

    wide: start and end with the common words, for names of places and companies, which hold such words; wide_before:
    what stands before them.
    """

    start: int
    end: int
    text: str
    before: str
    after: str
    opens: bool  # at the start of a sentence or a line
    alone: bool  # the only thing in its line
    wide: tuple[int, int]
    wide_before: str
    whole: str  # the words from wide on


def names_in(text: str) -> list[Found]:
    """Names of a text: PERSON, ORGANIZATION and GPE (a place)."""
    found = list(_lower_case(text))
    runs = list(_runs(text))
    if not runs:
        return found
    found += _firms(text)
    words = text.lower().split()
    nouns_are_capital = sum(word in _GERMAN for word in words) > max(1, sum(word in _ENGLISH for word in words))
    named: list[Found] = []
    doubtful: list[_Run] = []
    for run in runs:
        told = _told(run, nouns_are_capital)
        if told is None:
            doubtful.append(run)
        else:
            named.append(told)
    return (
        found
        + named
        + list(_again(text, [one for one in named if one.type == "PERSON" and one.score >= 0.6], doubtful))
    )


def _lower_case(text: str) -> Iterator[Found]:
    for match in _LOWER_PERSON.finditer(text):
        words = match["name"].split()
        while words and words[-1].strip(".") in COMMON_WORDS:
            words.pop()
        if words and not _common(words[0]):
            start = match.start("name")
            yield Found(start, start + len(" ".join(words)), "PERSON", 0.6)
    for match in _LOWER_PLACE.finditer(text):
        if match["name"] not in COMMON_WORDS and not _ends_common(match["name"]):
            yield Found(*match.span("name"), "GPE", 0.6)


def _firms(text: str) -> Iterator[Found]:
    """Companies called after their partners: 'Hawkins, Richardson and Santana', 'Thomas and Sons'. In a list of people
    ('my friends: ...', '... went home') each is a person.
    """
    if " and " in text:
        for match in _PARTNERS.finditer(text):
            before = text[max(0, match.start() - 30) : match.start()]
            common = [word for word in match.groups() if _common(word)]
            if (
                len(common) > 1
                or any(word.lower() not in WORDS_AND_NAMES for word in common)
                or before.endswith(", ")
                or re.search(rf"[{UPPER}]\w* $", before)
            ):
                continue
            if _PLURAL.match(text, match.end()) or re.search(
                r"(?:s|of us|children|men|women|people)(?::| are|,| -) $", before
            ):
                yield from (Found(*match.span(group), "PERSON", 0.79) for group in (1, 2, 3))
            else:
                yield Found(*match.span(), "ORGANIZATION", 0.79)
        yield from (Found(*match.span(), "ORGANIZATION", 0.6) for match in _PARTNERS_LOWER.finditer(text))
    if " and " in text or "&" in text:
        yield from (Found(*match.span(), "ORGANIZATION", 0.85) for match in _AND_SONS.finditer(text))


def _runs(text: str) -> Iterator[_Run]:
    lines = "\n" in text
    for match in _RUN.finditer(text):
        start, words = match.start(), re.split("[ \u00a0]", match[0])
        before = text[max(0, start - 60) : start]
        kept = _trimmed(words, before) or _employer(words, before, text[match.end() : match.end() + 60])
        if kept is None:
            continue
        first, last = kept
        begin = start + sum(len(word) + 1 for word in words[:first])
        end = begin + sum(len(word) + 1 for word in words[first:last]) - 1
        if first:
            before = text[max(0, begin - 60) : begin]
        after = text[end : end + 90]
        alone = False
        if lines:
            line = before.rpartition("\n")[2]
            alone = len(line) < 20 and not line.strip(_MARKS) and not after.partition("\n")[0].strip(" \t,;.\\")
        wide_first = next(
            place for place, word in enumerate(words) if place == first or word.lower() not in FUNCTION_WORDS
        )
        wide = start + sum(len(word) + 1 for word in words[:wide_first])
        wide_before = before if wide == begin else text[max(0, wide - 60) : wide]
        yield _Run(
            begin,
            end,
            text[begin:end],
            before,
            after,
            _opens(before),
            alone,
            (wide, match.end()),
            wide_before,
            text[wide : match.end()],
        )


def _opens(before: str) -> bool:
    """Whether what follows starts a sentence, a line or a quotation."""
    bare = before.rstrip(" \t>*\u2022-?\"'\u201c(")
    return not bare or bare[-1] in ".!?:;\n|" or before[-1:] in "\"'\u201c("


def _trimmed(words: list[str], before: str) -> tuple[int, int] | None:
    """Which of the words are the name: first and last + 1; None when all are common."""
    first, last = 0, len(words)
    while first < last and _leaves(words, first, last):
        first += 1
    while last > first and _common(words[last - 1]) and not _belongs(words, last - 1, first):
        last -= 1
    if first < last and not all(_common(word) for word in words[first:last]):
        return first, last
    called = words[0].rstrip(".") in HONORIFICS or before.endswith(
        ("named ", "called ", "named him ", "named her ", "name is ", "name's ")
    )
    if called:  # Dr. Wells, a boy called Frank
        first = int(words[0].rstrip(".") in TITLES)
        if (
            first < len(words)
            and words[first].lower() not in FUNCTION_WORDS
            and words[first].lower() in WORDS_AND_NAMES
        ):
            return first, first + 1
    return None


def _employer(words: list[str], before: str, after: str) -> tuple[int, int] | None:
    """A company whose name is made of common words, where only a company can stand: 'I work for Walk Score'."""
    first, last = 0, len(words)
    while first < last and words[first].lower() in FUNCTION_WORDS:
        first += 1
    own = [word for word in words[first:last] if len(word) > 1 and not word.isupper()]
    if first == last or not own or all(word in PEOPLES or word in MONTHS or word in WEEKDAYS for word in own):
        return None
    follows = last - first > 1 and context.organisation_follows(after)
    return (first, last) if follows or context.says(context.tail(before), context.ORG_BEFORE) else None


def _leaves(words: list[str], place: int, last: int) -> bool:
    """Whether the first word is no part of the name."""
    word = words[place].rstrip(".")
    if word in TITLES and place + 1 < last:
        return True
    if not _common(words[place]):
        return False
    if word.lower() in FUNCTION_WORDS and word.lower() not in ("will", "may", "van", "al"):
        return True
    return not (word.lower() in WORDS_AND_NAMES and place + 1 < last and not _common(words[place + 1]))


def _belongs(words: list[str], place: int, first: int) -> bool:
    """Whether a common word at the end is part of the name: of a company, or a surname that is a word."""
    word = words[place].rstrip(".")
    if place == first or not (word in COMPANY_WORDS or word.lower() in WORDS_AND_NAMES):
        return False
    others = [one for one in words[first:place] if len(one.rstrip(".")) > 1]
    return bool(others) and not _common(others[-1])


@lru_cache(maxsize=65536)
def _common(word: str) -> bool:
    plain = word.rstrip(".").lower().replace("\u2019", "'")
    if plain in COMMON_WORDS or plain.removesuffix("'s") in COMMON_WORDS or len(plain) == 1:
        return True
    if word in MONTHS or word in WEEKDAYS or word in PEOPLES or word.removesuffix("s") in PEOPLES or word == "Europe":
        return True
    if len(plain) > 3 and plain.endswith("s") and plain[:-1] in COMMON_WORDS:
        return True
    if any(part in COMMON_WORDS for part in plain.split("-")) and "-" in plain:
        return True
    return _ends_common(plain)


def _ends_common(plain: str) -> bool:
    return len(plain) > 5 and plain.endswith(COMMON_ENDINGS)


def _told(run: _Run, nouns_are_capital: bool) -> Found | None:
    """What the run names; None where nothing says that it is a name."""
    type, score = _type(run)
    if not score or (nouns_are_capital and score < 0.8):
        return None
    shouted = all(len(word) > 1 and word.isupper() for word in run.text.split(" "))
    if shouted and score < 0.7 and not (type == "GPE" and len(run.text) > 3):
        return None
    if type == "PERSON":
        return Found(run.start, run.end, type, score)
    followed = type == "ORGANIZATION" and context.organisation_follows(run.after)  # the X Orchestra: X
    return Found(run.wide[0], run.end if followed else run.wide[1], type, score)


def _type(run: _Run) -> tuple[str, float]:
    """The type and how sure it is; a score of 0 where it is left open."""
    words = [word.rstrip(".") for word in run.text.split(" ")]
    tail = context.tail(run.before)
    many = len(words) > 1
    wide = tail if run.wide_before is run.before else context.tail(run.wide_before)
    for known in (_by_form(run, words, tail), _by_company(run, wide)):
        if known is not None:
            return known
    if run.alone:
        return _alone(run)
    person_after = context.person_follows(run.after, opens=run.opens)
    if many and any(len(word) == 1 for word in words[1:]):  # Ella H. Snider
        return "PERSON", 0.78
    if context.says(wide, context.PLACE_BEFORE) and not (many and person_after):
        return "GPE", 0.65
    if context.place_follows(run.after):
        return "GPE", 0.65
    if context.says(tail, context.PERSON_BEFORE):
        return "PERSON", 0.7
    if person_after:
        return "PERSON", 0.7 if many else 0.62
    if many and _SURNAME.search(words[-1].lower()):
        return "PERSON", 0.68
    if wide and wide[-1] == "at":
        return ("PERSON", 0.6) if len(wide) > 1 and wide[-2] in context.AT_PEOPLE else ("ORGANIZATION", 0.55)
    if run.opens and not many and _LISTED.match(run.after):
        return "PERSON", 0.55
    if not run.opens:
        return "PERSON", 0.6 if many else 0.5
    return ("PERSON", 0.55) if many else ("PERSON", 0.0)


def _by_form(run: _Run, words: list[str], tail: list[str]) -> tuple[str, float] | None:
    if run.before.endswith(" ") and tail and tail[-1].capitalize() in HONORIFICS:
        return "PERSON", 0.95
    if run.before.endswith(". ") and len(tail) == 0:
        last = run.before[:-2].rpartition(" ")[2].rpartition("\n")[2].strip("\"'(\u201c>")
        if last.capitalize() in TITLES:
            return "PERSON", 0.95
    if len(words) > 1 and words[-1] in COMPANY_ENDINGS:
        return "ORGANIZATION", 0.92
    if len(words) == 1 and _COINED_COMPANY.fullmatch(words[0]) and not context.labelled(run.before):
        return "ORGANIZATION", 0.64
    wide = run.wide_before is not run.before or run.wide[1] > run.end or len(words) > 1
    if wide and _PLACE_BEGINS.match(run.whole) and not context.says(tail, context.PERSON_BEFORE):
        return "GPE", 0.66
    if len(words) > 1 and words[-1] in COMPANY_WORDS:
        return "ORGANIZATION", 0.78
    return ("PERSON", 0.85) if context.labelled(run.before) else None


def _by_company(run: _Run, tail: list[str]) -> tuple[str, float] | None:
    if context.says(tail, context.ORG_BEFORE):
        return "ORGANIZATION", 0.72
    if context.organisation_follows(run.after):
        return "ORGANIZATION", 0.71
    return None


def _alone(run: _Run) -> tuple[str, float]:
    """A line with nothing else: the first of a block is a person, what follows one a company."""
    lines = [line.strip(_MARKS) for line in run.before.split("\n")[:-1]]
    above = next((line for line in reversed(lines) if line), "")
    if not above or run.text in lines or any(len(word.rstrip(".")) == 1 for word in run.text.split(" ")[1:]):
        return "PERSON", 0.66
    if re.search(r"\d", above):
        return "GPE", 0.6
    if _CLOSING.search(above):
        return "PERSON", 0.9
    if all(word[:1].isupper() for word in above.split()) and len(above.split()) <= 5:
        return "ORGANIZATION", 0.6
    return "PERSON", 0.55


def _again(text: str, people: list[Found], doubtful: list[_Run]) -> Iterator[Found]:
    """Words that named a person elsewhere in the text name one where nothing else says so."""
    known = {word.rstrip(".").lower() for one in people for word in text[one.start : one.end].split() if len(word) > 2}
    for run in doubtful:
        if all(word.rstrip(".").lower() in known for word in run.text.split(" ")):
            yield Found(run.start, run.end, "PERSON", 0.6)
