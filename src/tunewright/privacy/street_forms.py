"""The forms of streets, units and boxes of many countries, as patterns."""

from __future__ import annotations

import re
from typing import NamedTuple

from tunewright.privacy.letters import LOWER, UPPER
from tunewright.privacy.words import COUNTRIES, COUNTRY_CODES, STREET_BEGINNINGS, STREET_ENDINGS, STREET_SUFFIXES

NUMBER = r"\d{1,5}[A-Za-z]?(?:[-/]\d{1,4}[A-Za-z]?)?\.?(?![\w%])(?![.,:]\d)"
_FIRST = r"(?<![\w.,$\u20ac\u00a3#-])\d{1,5}[A-Za-z]?(?:[-/]\d{1,4}[A-Za-z]?)?(?![\w%])(?![.,:]\d)"
CAP = rf"[{UPPER}][\w'\u2019-]*"
_WORD = rf"{CAP}\.?"
_FOREIGN = (
    r"(?:de|del|della|delle|dei|degli|di|da|do|dos|das|du|des|la|le|les|el|los|las|van|der|den|het|von|zum|zur|"
    r"am|im|und|"
    r"terrasse|alle|all\u00e9|gate|vei|rua|gamle|store|fejedelem|k\u00f6zt)"
)
_PART = rf"(?:{_FOREIGN}|y|e|i|of|the)"
SUFFIX = "(?:" + "|".join(sorted(STREET_SUFFIXES, key=len, reverse=True)) + r")\b\.?"
_PLAIN_SUFFIX = r"(?i:street|road|avenue|ave|boulevard|blvd|lane)\b\.?"
UNIT = r"(?:(?i:apt|apartment|suite|unit|flat)|Ste|Floor|Room|Rm)\b\.? ?#? ?[A-Za-z]?-?\d{1,5}[A-Za-z]?\b"
_MILITARY = (
    r"(?i:psc\s\d{1,5},?\sbox\s\d{1,5}|unit\s\d{1,5}\sbox\s\d{1,5}|u(?:sns|ss|scgc|snv|snm)\s[\w'-]+(?:\s[\w'-]+)?)"
    r"[\s,]{1,3}(?i:apo|fpo|dpo)\s(?i:aa|ae|ap)\s\d{5}(?:-\d{4})?"
)
_BOX = (
    r"(?i:p\.?\s?o\.?\s?box|post ?box|postboks|postfach|post office box|apartado|bo\u00eete postale|casella postale|"
    r"gpo box|postbus)\s?#?\d{1,6}"
)
_ENDED = rf"[{UPPER}][{LOWER}'\u2019-]*(?:{STREET_ENDINGS})(?<![aeiourndhscltvk]ing)(?!\w)\.?"
_BEGUN = rf"(?i:(?<!\w)(?:{STREET_BEGINNINGS}) )"
_ABBREVIATED = r"(?:\u00fatja|utca|u\.|t\u00e9r|k\u00f6r\u00fat|str\.|sok\.|cad\.|rkp\.|sgt\.)"
COUNTRY = (
    "(?:" + "|".join(sorted((re.escape(name) for name in COUNTRIES | COUNTRY_CODES), key=len, reverse=True))
    + r")(?: \([A-Z]\w+\))?(?!\w)"
)  # fmt: skip
ZIP = (
    r"(?:\d{5}(?:-\d{3,4})?|\d{4} [A-Z]{2}|\d{3} \d{2}|\d{2}-\d{3}|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|"
    r"[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]{2}-\d{4,5}|\d{4})(?![\w-])"
)
STATE = r"[A-Z]{2,3}|nan|[A-Z]|\d\d"
CITY = (
    r"(?!(?i:please|the|it|this|he|she|i|and|when|where|in|on|thanks|that|mobile|phone|tel|fax|desk|office)\b)"
    rf"[{UPPER}][\w'\u2019/.-]*(?: (?:{_FOREIGN} |nad |na |u |z |v |pri |upon |on ){{0,"
    rf"2}}(?:[{UPPER}][\w'\u2019/.-]*|\([{UPPER}]\w+\))){{0,3}}(?<!\.)"
)


class Form(NamedTuple):
    """A form, how sure it is, what a text must hold to be searched for it, whether a house number may
    precede it, and whether a word of it must be no common one.
    """

    form: re.Pattern[str]
    score: float
    gate: re.Pattern[str] | None = None
    is_street: bool = True
    needs_name: bool = False


def _form(
    form: str, score: float, gate: str | None = None, *, is_street: bool = True, needs_name: bool = False
) -> Form:
    return Form(re.compile(form), score, re.compile(gate) if gate else None, is_street, needs_name)


FORMS = (
    _form(_MILITARY, 1.0, r"(?i:[afd]po)\s", is_street=False),
    _form(rf"(?:{_FIRST} )?{_BOX}(?: (?:{_WORD} ){{1,2}}?{SUFFIX})?", 0.97, r"(?i:box|postf|apartado|bo.te p|"
                                                                            r"casella|postb)"),
    # 1317 Kimberly Way Laidlaw Green
    _form(rf"(?:{_FIRST} )?{_FIRST} (?:(?:{_WORD}|{_PART}) ){{1,4}}{SUFFIX}(?: (?:{_WORD} ){{1,2}}{SUFFIX})?(?: "
          rf"{NUMBER})?", 0.97),
    _form(rf"(?:{_FIRST} )?{_FIRST} (?:[\w'-]+ ){{1,2}}{_PLAIN_SUFFIX}", 0.93, r"(?i:street|road|ave|boul|blvd|lane)"),
    # Aqqusinersuaq 176 Pinto Hill
    _form(rf"(?:{_WORD} |{_FOREIGN} ){{1,4}}{NUMBER} (?:{_WORD} ){{1,2}}{SUFFIX}", 0.96, rf"\d [{UPPER}]"),
    # Via dei Fiorentini 17, 86036 Rua do Arenque 1634, rue du centre 320
    _form(rf"(?:{_FIRST} )?(?<!\w)(?i:{STREET_BEGINNINGS}) (?:(?:{_WORD}|{_PART}|\d{{1,2}}) ){{1,"
          rf"6}}?{NUMBER}", 0.95, _BEGUN),
    _form(
        rf"(?i:(?:{_FIRST} )?(?<!\w)(?:rue|r\u00faa|rua|calle|ul\.|via|piazza|viale|avenida) "
        rf"(?:(?!you|i|a|the|your|my|it)[\w'\u2019.-]+ ){{1,4}}?{NUMBER})", 0.85, r"(?i:rue|r\u00faa|rua|calle|"
                                                                                  r"ul\.|via|piazza|viale|avenida) "
    ),
    _form(rf"{_FIRST},? (?<!\w)(?i:{STREET_BEGINNINGS}) (?:(?:{_WORD}|{_PART}) ?){{1,5}}", 0.93, _BEGUN),
    # Breivangvegen 38, Erika Lang-Gasse 5
    _form(rf"(?:{_FIRST} )?(?:{_WORD} ){{0,3}}{_ENDED} {NUMBER}", 0.95, rf"{_ENDED} \d"),
    _form(rf"{_FIRST} (?:{_WORD} ){{0,3}}{_ENDED}(?= *(?:[\n,]|{UNIT}))", 0.9, rf"{_ENDED}[ \n,]"),
    _form(rf"(?:{_FIRST} )?(?:{_WORD} |{_PART} ){{1,4}}{_ABBREVIATED} {NUMBER}", 0.95, rf"{_ABBREVIATED} \d"),
    # 51709 Spinatsch 94
    _form(rf"{_FIRST} (?:{_FOREIGN} )?{_WORD} (?:{_WORD} |{_FOREIGN} ){{0,4}}{NUMBER}", 0.9, needs_name=True),
    _form(rf"{UNIT}(?=[\s,.;)?]|$)", 0.85, UNIT, is_street=False),
    # a name and a number where an address is told, or before a unit
    _form(
        r"(?i:\b(?:lives? (?:on|at|in)|living (?:on|at)|located (?:at|in|on)|address(?:es)?(?: is|:)?|is on|side of|"
        r"drops? (?:you )?off at|stop at|moved to|resid\w+ at|taxi to|meet (?:me |you )?at|arrived at|return to|"
        r"offices? (?:is|are) (?:located )?at|delivered? to|ship to|street:?)\s{1,3})"
        rf"(?P<street>(?:{_FIRST} )?(?:(?:{_WORD}|{_FOREIGN}) ){{1,5}}{NUMBER})", 0.93,
    ),
    _form(rf"(?P<street>(?:{_FIRST} )?(?:(?:{_WORD}|{_FOREIGN}) ){{1,5}}(?:{NUMBER}|{SUFFIX}))[\s,>?]{{1,"
          rf"8}}{UNIT}", 0.93, UNIT),
)  # fmt: skip
