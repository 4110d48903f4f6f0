"""Titles: how people are addressed, and what they do for a living."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunewright.privacy.found import Found, holds_any
from tunewright.privacy.letters import UPPER
from tunewright.privacy.words import HONORIFICS

_HONORIFIC = re.compile(rf"(?<![\w.-])(?:{'|'.join(sorted(HONORIFICS, key=len, reverse=True))})\.?(?=\s[{UPPER}])")
_LOWER_HONORIFIC = re.compile(r"(?<![\w.-])(?:mr|mrs|ms|dr|prof)\.(?=\s\w)", re.IGNORECASE)
# What occupations end in; a line or a phrase that ends so, in a place where occupations stand, is one.
_OCCUPATION_END = (
    r"(?:engineer|technician|operator|manager|specialist|nurse|midwife|clerk|driver|teacher|designer|developer|analyst|"
    r"consultant|assistant|administrator|director|officer|inspector|installer|installers?|repairer|mechanic|"
    r"electrician|"
    r"plumber|carpenter|chef|cook|waiter|waitress|attendant|representative|agent|broker|planner|writer|editor|author|"
    r"artist|singer|musician|actor|actress|dancer|photographer|cinematographer|journalist|reporter|lawyer|"
    r"attorney|judge|"
    r"paralegal|accountant|auditor|bookkeeper|cashier|teller|economist|statistician|mathematician|scientist|physicist|"
    r"chemist|biologist|geologist|psychologist|psychiatrist|therapist|physician|surgeon|dentist|pharmacist|"
    r"veterinarian|"
    r"optometrist|paramedic|soldier|sergeant|firefighter|detective|guard|pilot|captain|sailor|farmer|fisher|worker|"
    r"laborer|helper|cleaner|janitor|maid|housekeeper|tailor|weaver|baker|butcher|maker|packer|packager|loader|mover|"
    r"distributor|dispatcher|secretary|receptionist|librarian|professor|lecturer|tutor|instructor|coach|trainer|"
    r"programmer|architect|surveyor|draftsman|supervisor|foreman|superintendent|president|executive|ceo|cto|cfo|coo|"
    r"trader|salesperson|salesman|buyer|merchandiser|counselor|chaplain|priest|pastor|rabbi|imam|gardener|"
    r"[a-z]{3,}(?:ologist|ographer|ician|smith|wright|keeper|cutter|setter|fitter|grinder|welder|painter|roofer))s?"
)
_WORD = r"[A-Za-z][\w'/-]*"
_LINE = re.compile(
    rf"(?<=\n)[ \t>*?-]*(?P<title>[A-Za-z][\w'/-]*(?:,? (?:and |of |& )?{_WORD}){{0,5}}?)(?=[ \t]*(?:\n|$))"
)
_PHRASES = (
    re.compile(rf"\b(?:work(?:s|ed|ing)?|employed|hired|job|career|position|role|trained|started)\b[^.\n]{{0,"
               rf"60}}?\bas (?:an? |the )?"
               rf"(?P<title>(?:{_WORD},? ){{0,5}}?{_OCCUPATION_END})\b", re.IGNORECASE),
    re.compile(rf"(?<=, )the (?P<title>(?:{_WORD} ){{0,4}}?{_OCCUPATION_END})(?=,)", re.IGNORECASE),
    re.compile(rf"\b(?:i am|i'm|he is|she is|he's|she's|was|becomes?|became) (?:an? )(?P<title>(?:[a-z][\w/-]* "
               rf"){{0,2}}?{_OCCUPATION_END})"
               r"(?=\s*(?:[.,!?;]|$|at\b|in\b|for\b|from\b|with\b))", re.IGNORECASE),
    re.compile(r"\b(?:occupation|profession|job title|job|position)\s?[:=]\s?(?P<title>[A-Za-z][\w',/ &-]{2,"
               r"60}?)(?=\s*(?:[\n;.]|$))",
               re.IGNORECASE),
    re.compile(r"\b(?:work|works|worked|working|employed|hired)\b[^.\n]{0,50}? as (?:an? "
               r")?(?P<title>[A-Z][a-z]+(?:[ -][a-z]+){0,5})(?=,? but|,? and|\.|$)"),
)  # fmt: skip
_OCCUPATION = re.compile(rf"(?:.*[ /-])?{_OCCUPATION_END}(?:,? (?:and|&|in|of|for) [\w ,]+)?", re.IGNORECASE)
_JOB_TRIGGERS = (
    " as ", ", the ", "i am", "i'm", "he is", "he's", "was a", "becom", "became", "occupation", "profession", "job",
    "position",
)  # fmt: skip


def titles_in(text: str) -> Iterator[Found]:
    """Forms of address and occupations."""
    yield from (Found(*match.span(), "TITLE", 0.9) for match in _HONORIFIC.finditer(text))
    if "." in text:
        yield from (Found(*match.span(), "TITLE", 0.9) for match in _LOWER_HONORIFIC.finditer(text))
    if "\n" in text:
        for match in _LINE.finditer(text):
            if _OCCUPATION.fullmatch(match["title"]):
                yield Found(*match.span("title"), "TITLE", 0.85)
    if holds_any(text.lower(), _JOB_TRIGGERS):
        for form in _PHRASES:
            yield from (Found(*match.span("title"), "TITLE", 0.72) for match in form.finditer(text))
