"""Words that people take offence at, by group: English mainly, some German, Spanish and French. Words that have a
harmless sense in one of these languages (French 'retard', German 'dick', Spanish 'negro') are left out.
"""

from __future__ import annotations

import re
from functools import cache

_PROFANITY = """
fuck fucks fucked fucker fuckers fucking fuckin motherfucker motherfuckers motherfucking fuckup clusterfuck wtf stfu
shit shits shitty shitting bullshit horseshit dipshit shithead shithole asshole assholes arsehole arseholes jackass
dumbass badass goddamn goddamned goddamnit bollocks bugger buggered piss pissed pissing crap crappy
scheisse schei\u00dfe schei\u00df beschissen verdammt verdammte verdammter arschloch arschl\u00f6cher verpiss kacke
mierda mierdas joder jodido jodida cojones co\u00f1o carajo pendejo pendejos cabr\u00f3n cabrones gilipollas
merde merdes putain bordel chiant chiante emmerde emmerder foutre foutu
"""
_INSULTS = """
bitch bitches bitchy bastard bastards moron morons moronic idiot idiots idiotic imbecile imbeciles cretin cretins
dickhead dickheads douche douchebag douchebags scumbag scumbags twat twats wanker wankers tosser tossers prat dumbfuck
cunt cunts loser losers retarded retards slut sluts slutty whore whores skank skanks hoe hoes
wichser hurensohn hurens\u00f6hne fotze schlampe schlampen hure huren missgeburt spast spasti vollidiot trottel drecksau
puta putas hijoputa zorra maric\u00f3n maricones imb\u00e9cil subnormal
connard connards connasse salope salopes encul\u00e9 encul\u00e9s pute putes b\u00e2tard b\u00e2tards abruti abrutis
"""
_SLURS = """
nigger niggers nigga niggas niglet kike kikes spic spics wetback wetbacks gook gooks chinaman coon coons darkie darkies
faggot faggots fag fags dyke dykes tranny trannies shemale shemales homo homos towelhead towelheads raghead ragheads
camelfucker sandnigger beaner beaners paki pakis redskin redskins gypsies gyppo mongoloid spaz halfbreed
kanake kanaken neger negerin bimbo schwuchtel schwuchteln zigeuner kameltreiber judensau
sudaca sudacas moraco
bougnoule bougnoules negresse youpin youpins tapette tapettes p\u00e9dale bicot bicots
"""
_SEXUAL = """
porn porno pornography blowjob blowjobs handjob handjobs cumshot cumshots dildo dildos gangbang gangbangs hentai milf
masturbate masturbates masturbating masturbation jizz boner horny tits titties boobs buttplug deepthroat creampie
ficken fickt gefickt m\u00f6se titten wichsen follar follando polla chupapollas baiser niquer bite nichons
"""
_THREATS = re.compile(
    r"\b(?:kill (?:yourself|urself|them all)|kys|go die|(?:i|we)(?: wi|'|\u2019)ll (?:kill|murder|rape|shoot|stab) "
    r"(?:you|him|her|them|your)|burn in hell|"
    r"(?:should|deserves?|deserve to) (?:all )?(?:be )?(?:die|killed|shot|hanged|raped|gassed)|"
    r"rape (?:you|her|him|them)|"
    r"bomb (?:the|a|your)|bring dich um|te voy a matar|je vais te tuer)\b",
    re.IGNORECASE,
)
GROUPS: dict[str, frozenset[str]] = {
    "profanity": frozenset(_PROFANITY.split()),
    "insults": frozenset(_INSULTS.split()) - {"loser", "losers", "hoe", "hoes", "pute"},
    "slurs": frozenset(_SLURS.split()) - {"gypsies", "bimbo", "coon", "coons", "dyke", "dykes", "homo"},
    "sexual": frozenset(_SEXUAL.split()) - {"bite", "polla"},
}
_GROUP = {word: name for name, words in GROUPS.items() for word in words}
_EVERY = frozenset(_GROUP)
_MARKS = ".,:;?!()[]{}\"'/\\|<>=+-_~`^&%#\n\t\u201c\u201d\u2018\u2019\u2026\u2013\u2014\u00bf\u00a1"
_NO_WORD = dict.fromkeys(map(ord, _MARKS), " ")
_STRETCHED = re.compile(r"([a-z])\1{2,}")
# Letters written as signs or digits inside a word that also has letters.
_DISGUISED = re.compile(
    r"(?<![\w@$*!])(?=[\w@$*!]*[a-z])(?=[\w@$*!]*[a-z@$*!0-9][0-9@$*!]|[0-9@$*!][\w@$*!]*[a-z])[\w@$*!]{3,20}"
)
_LETTERS = str.maketrans("013457@$!", "oieastasi")
_STARRED = re.compile(
    r"^(?:f\*+(?:ck|k)(?:ing|in|er|ed|s)?|f\*{3}|f\*+ing|sh\*+t?(?:ty|s)?|s\*+t|b\*+t?ch(?:es)?|c\*+nts?|a\*+holes?|n\*+(?:ger|ga)s?|"
    r"p\*+ssy|wh\*+res?|b\*+(?:tard|stard)s?|mother\w*\*+\w*)$"
)
_HINT = re.compile(r"[a-z*][0-9@$!*]+[a-z*]|[0-9@$!*][a-z]")  # what a disguised word holds
_THREAT_WORDS = """
kill kys die murder rape shoot stab burn killed shot hanged raped gassed bomb um matar tuer
"""
_THREAT_HINTS = frozenset(_THREAT_WORDS.split())
_LEAST_DISGUISED = 4  # letters of a word that is looked for behind signs


def rude_words(text: str) -> dict[str, str]:
    """The groups whose words a text holds, each with the first of them; `threats` are phrases."""
    folded = text.lower()
    if not text.isascii():
        folded = folded.replace("\u2019", "'")
    words = folded.translate(_NO_WORD).split()
    found: dict[str, str] = {}
    if not _EVERY.isdisjoint(words):
        for word in words:
            if word in _GROUP:
                found.setdefault(_GROUP[word], word)
    for disguised in _DISGUISED.findall(folded) if _HINT.search(folded) else ():
        real = _undisguised(disguised)
        if real is not None:
            found.setdefault(_GROUP[real], disguised)
    for match in _STRETCHED.finditer(folded):
        word = _word_around(folded, match.start())
        for short in (_STRETCHED.sub(r"\1", word), _STRETCHED.sub(r"\1\1", word)):
            if short in _EVERY:
                found.setdefault(_GROUP[short], word)
    threat = None if _THREAT_HINTS.isdisjoint(words) else _THREATS.search(folded)
    if threat:
        found["threats"] = threat[0]
    return found


@cache
def _undisguised(word: str) -> str | None:
    """The word of the list behind one with digits or signs for letters; None where there is none."""
    bare = word.rstrip("!")
    if _STARRED.match(bare):
        for real, begins in (("fuck", "f"), ("shit", "s"), ("bitch", "b"), ("cunt", "c"), ("asshole", "a")):
            if bare.startswith(begins):
                return real
        return {"n": "nigger", "w": "whore", "m": "motherfucker"}.get(bare[0], "bitch")
    if bare.isalpha() or "*" in bare:
        return None
    read = bare.translate(_LETTERS)
    if len(read) >= _LEAST_DISGUISED and read in _EVERY and sum(map(str.isalpha, bare)) * 2 >= len(bare):
        return read
    return None


def _word_around(text: str, at: int) -> str:
    start = end = at
    while start and text[start - 1].isalpha():
        start -= 1
    while end < len(text) and text[end].isalpha():
        end += 1
    return text[start:end]
