"""What the words around a name say: a person, an organisation or a place."""

from __future__ import annotations

import re
from itertools import product

from tunewright.privacy.letters import UPPER, spaced

Phrases = frozenset[str]

_ROLES = spaced("""
husband wife son daughter kid child partner friend brother sister mother father mom mum dad grandmother grandfather
uncle aunt cousin nephew niece fiance fiancee girlfriend boyfriend guardian colleague coworker boss manager doctor nurse
author writer novelist poet singer songwriter rapper producer composer guitarist drummer bassist pianist commenter
commentator director filmmaker president senator minister chancellor king queen prince princess pope saint coach captain
player striker goalkeeper champion journalist reporter analyst lawyer attorney professor teacher student actor actress
comedian artist painter scientist engineer detective officer agent customer client patient employee tenant neighbor
neighbour classmate roommate founder co-founder chairman chairwoman ceo cfo cto spokesman spokeswoman spokesperson
secretary assistant beneficiary
""")
PERSON_BEFORE: Phrases = _ROLES | spaced("""
dear hi hello hey regards sincerely cheers thanks love signed by with meet met contact starring features featuring heard
attn attention thank marry married given add remove invite email tell told ask asked about like called named say's
name's i'm early late met helped hired fired seen saw believe poor old young
""") | {
    "my name is", "name is", "names are", "call me", "calls me", "people call me", "calls him", "calls her", "i am",
    "this is", "it's", "written by", "directed by", "ask for", "speak to", "speak with", "speaking to", "speaking with",
    "talk to", "talk with", "talking to", "spoke to", "spoke with", "listen to", "listening to", "named him",
    "named her", "care of", "c/o", "love to", "interview with", "behalf of", "accompanied by", "change it to",
    "correct it to", "gender of", "follow up with", "belongs to", "gave it to", "was called", "is called",
    "by the name of", "fan of", "works of", "songs of", "life of", "death of", "portrait of", "novel by",
    "between him and", "between her and", "name as", "have you heard", "have you seen",
}  # fmt: skip
ORG_BEFORE: Phrases = spaced("joined company firm startup start-up employer") | frozenset(
    f"{verb} {word}"
    for verb, word in product(
        sorted(spaced("work works worked working job interned intern internship employed hired hiring position role")),
        ("for", "at", "with"),
    )
) | {
    "founder of", "ceo of", "cfo of", "cto of", "owner of", "director of", "director at", "president of", "manager of",
    "manager at", "engineer at", "headquarters of", "employee of", "employees of", "customer of", "year at", "years at",
    "months at", "month at", "studied at", "graduate of", "graduated from", "recorded for", "acquired by", "bought by",
    "owned by", "merged with", "later became", "shares of", "shares in", "stock of", "stock in", "subsidiary of",
    "division of", "partnered with", "looking to support", "according to", "invest in", "invested in", "logo of",
    "account with", "contract with", "resign from", "resigned from", "retired from", "laid off from", "fired from",
}  # fmt: skip
_MOVES = spaced("""
move moved moving fly flew flying flight travel traveled travelled traveling travelling trip went go going return
returned returning came come back drive drove driving ship shipped shipping ticket tickets way relocate relocated close
emigrated emigrate delivery deliver delivered train bus arrival transfer commute
""")
PLACE_BEFORE: Phrases = spaced("""
in from near around across outside inside throughout visit visited visiting leave left leaving toward towards via
southern northern eastern western central hometown where city town village country location place birthplace state
region nationality destination
""") | frozenset(f"{verb} to" for verb in _MOVES) | {
    "north of", "south of", "east of", "west of", "city of", "town of", "village of", "capital of", "state of",
    "province of", "county of", "region of", "university of", "mayor of", "people of", "republic of", "kingdom of",
    "port of", "lake of", "gulf of", "bay of", "suburb of", "district of", "home town", "home city", "arrived at",
    "arrive at", "arrives at", "arrived in", "based out of", "originally from", "moved here from", "place of birth",
    "tribute here to the", "around the world to", "to the", "government of", "outskirts of", "embassy of", "borders of",
}  # fmt: skip
AT_PEOPLE: Phrases = spaced("shouted shouting yelled yelling looked looking laughed smiled screamed angry mad")
_SKIPPED = frozenset({"is", "was", "the"})
_WORDS = re.compile(r"[^\s\"\u201c\u201d(),:;.!?>*]+|[,:;.!?]")

_PERSON_AFTER = re.compile(
    r"(?:['\u2019]s\b|,? (?:said|says|asked|told|wrote|writes|thinks?|thought|likes?|loves?|hates?|lives?|lived|"
    r"wants?|wanted|"
    r"went|goes|works?|worked|shouted|began|begins|points out|pointed out|explained|explains|added|replied|"
    r"answered|died|"
    r"was born|grew up|moved|flew|spent|had given|has been|had been|called|met|married|plays|played|sang|sings|"
    r"sees?|saw|"
    r"knows?|knew|feels?|felt|believes?|has|had|is (?:a very |so |very |the true |my |his |her |our |an? )|"
    r"was (?:a huge |my |his |her |a )|is (?:from|on|at|in) |listed|takes|took|gave|gives|got|gets|did|does|"
    r"can't|couldn't|"
    r"won't|isn't|wasn't|doesn't|didn't|bought|sold|made|makes|needs|needed|decided|decides|started|starts|"
    r"speak|who)\b|"
    r",? (?:II|III|IV|Jr|Sr)\.?\b|"
    r",? (?:can|could|may|please|what|how|why|when|will|would|do|did|are|you|i|thank)(?: i| you| we| the| me)?\b"
    r")"
)
_SPEAKS = re.compile(rf": ?[\"\u201c'{UPPER}]")
_ORG_AFTER = re.compile(
    r"(?:['\u2019]s)? (?:website|web site|office|offices|headquarters|shares?|stock|ceo|employees?|customers|"
    r"resignation|"
    r"spokes\w+|stores?|products?|[Oo]rchestra|board|group|company|brand|factory|songwriter|invites|offers|announced|"
    r"acquired|launched|reported|(?:is|was|are) (?:an?|the|one of) [^.!?\n]{0,60}?(?:company|firm|bank|agency|"
    r"corporation|"
    r"brainchild|provider|startup|organi[sz]ation|charity|non-?profit|multinational|retailer|manufacturer|501))\b"
)
_PLACE_AFTER = re.compile(
    r"(?:, [A-Z]{2}\b| (?:is|was|are) (?:(?:super|so|very|really) )?(?:(?:fun|great|nice|beautiful|lovely) )?to "
    r"(?:visit|live)"
    r"|['\u2019]s (?:capital|president|government|economy|population))"
)
_LABEL = re.compile(
    r"(?:^|[\s.?!>])(?:(?:full|first|last|maiden|family|given|customer|user|patient|account|contact|employee|birth) )?"
    r"(?:name|customer|patient|user|attn|contact|contact person|from|to|cc|author|signed|sender|recipient|"
    r"employee|tenant|"
    r"passenger|guest|client|holder|beneficiary|directed by|written by|nom|apellido|nombre|speaker)\s*[:=]$|\bname\?$",
    re.IGNORECASE,
)


def tail(before: str) -> list[str]:
    """The last words before a name, lower case, as far as the sentence goes."""
    words = [word.lower() for word in _WORDS.findall(before[-48:])][-5:]
    for place in range(len(words) - 1, -1, -1):
        if words[place] in ".!?;" or (words[place] in ",:" and place < len(words) - 1):
            return words[place + 1 :]
    return words


def says(words: list[str], phrases: Phrases) -> bool:
    """Whether the words end with one of the phrases; 'the', 'is' and a comma or colon may stand between."""
    end = len(words)
    if end and words[end - 1] in ",:":
        end -= 1
    for _ in range(2):
        if any(" ".join(words[end - size : end]) in phrases for size in range(1, min(5, end) + 1)):
            return True
        if end and words[end - 1] in _SKIPPED:
            end -= 1
        else:
            return False
    return False


def labelled(before: str) -> bool:
    """Whether 'Name:' or the like stands before."""
    stripped = before.rstrip()
    return stripped[-1:] in (":", "=", "?") and _LABEL.search(stripped[-40:]) is not None


def person_follows(after: str, *, opens: bool) -> bool:
    """Whether what follows is what people do: a verb, 's, a question to them; at the start of a line, a speech."""
    return _PERSON_AFTER.match(after) is not None or (opens and _SPEAKS.match(after) is not None)


def organisation_follows(after: str) -> bool:
    """Whether what follows is what companies have or are."""
    return _ORG_AFTER.match(after) is not None


def place_follows(after: str) -> bool:
    """Whether what follows is said of places."""
    return _PLACE_AFTER.match(after) is not None
