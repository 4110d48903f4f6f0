"""Coined words: what stands for a name. They are nobody's, can be spoken, and are known again as coined.

A word is three syllables and an end. The first two are drawn by a key from the word that is replaced; the third and the
end follow from those two, so that a coined word is told from a real one without the key, and is never replaced again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
import zlib

from tunewright.privacy.letters import spaced

_ONSETS = sorted(spaced("d f g k l m n p r s t v z dr fl fr gl gr kl kr pl pr sk sl sm sn sp st tr vl vr zl zv"))
_VOWELS = "aeiou"
_SYLLABLES = [onset + vowel for onset in _ONSETS for vowel in _VOWELS]
_ENDS = "lnrs"
# Endings that tell a language, or a kind of street: kept, so that the form of the name is.
_KEPT = (
    "ov\u00e1", "ova", "eva", "ski", "ska", "sky", "cki", "cka", "wicz", "ovi\u0107", "i\u0107", "sson",
    "sd\u00f3ttir", "sdottir", "sen", "ez", "ini", "elli", "escu", "mann", "enko", "poulos", "idis", "nen",
    "stra\u00dfe", "strasse", "gasse", "weg", "platz", "straat", "laan", "plein", "gata", "gatan", "gade", "vej",
    "veien", "vegen", "v\u00e4gen", "katu", "tie", "utca",
)  # fmt: skip
_LONGEST = sorted(_KEPT, key=len, reverse=True)
_STEM = re.compile(
    rf"(?P<first>(?:{'|'.join(_ONSETS)})[{_VOWELS}])(?P<second>(?:{'|'.join(_ONSETS)})[{_VOWELS}])"
    rf"(?P<third>(?:{'|'.join(_ONSETS)})[{_VOWELS}])(?P<end>[{_ENDS}]|{'|'.join(sorted(_KEPT, key=len, reverse=True))})"
)
_LATIN = "adefgiklmnoprstuvz"
_SCRIPTS = {
    "GREEK": str.maketrans(
        _LATIN,
        "\u03b1\u03b4\u03b5\u03c6\u03b3\u03b9\u03ba\u03bb\u03bc\u03bd\u03bf\u03c0\u03c1\u03c3\u03c4\u03c5\u03b2\u03b6",
    ),
    "CYRILLIC": str.maketrans(
        _LATIN,
        "\u0430\u0434\u0435\u0444\u0433\u0438\u043a\u043b\u043c\u043d\u043e\u043f\u0440\u0441\u0442\u0443\u0432\u0437",
    ),
}
_BACK = {new: old for table in _SCRIPTS.values() for old, new in table.items()}


def draw(key: bytes, *parts: str) -> int:
    """A large number that only the key and the parts decide."""
    text = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hmac.new(key, text, hashlib.sha256).digest()[:8], "big")


def folded(word: str) -> str:
    """A word as it is compared: without marks, case and surrounding signs. Two spellings are one name."""
    plain = unicodedata.normalize("NFKD", word).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def coin(key: bytes, word: str) -> str:
    """The coined word for a word: in its case and script, with the ending that tells its language."""
    number = draw(key, "word", folded(word))
    first = _SYLLABLES[number % len(_SYLLABLES)]
    second = _SYLLABLES[number // len(_SYLLABLES) % len(_SYLLABLES)]
    third, end = _follows(first, second)
    lower = word.lower()
    kept = next(
        (
            ending
            for ending in sorted(_KEPT, key=len, reverse=True)
            if len(lower) > len(ending) + 2 and lower.endswith(ending)
        ),
        None,
    )
    made = first + second + third + (kept if kept is not None and kept != "an" else end)
    return cased(_written(made, word), word)


def is_coined(word: str) -> bool:
    """Whether a word was coined here, whatever the key."""
    match = _STEM.fullmatch(word.lower().translate(_BACK))
    if match is None:
        return False
    third, end = _follows(match["first"], match["second"])
    return match["third"] == third and (match["end"] == end or match["end"] in _KEPT)


def cased(word: str, like: str) -> str:
    """In capitals, with a capital, or in lower case, like another word."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word.capitalize() if like[:1].isupper() else word


def _follows(first: str, second: str) -> tuple[str, str]:
    """Third syllable and end of a word with these first two."""
    number = zlib.crc32(f"{first}{second}".encode())
    return _SYLLABLES[number % len(_SYLLABLES)], _ENDS[number // len(_SYLLABLES) % len(_ENDS)]


def _written(made: str, word: str) -> str:
    letter = next((one for one in word if one.isalpha()), "")
    script = unicodedata.name(letter, "").partition(" ")[0]
    return made.translate(_SCRIPTS[script]) if script in _SCRIPTS else made
