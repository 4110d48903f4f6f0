"""The language of a text, where it is long enough to tell."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LEAST_LETTERS = 40  # of alphabets; a sign of Chinese, Japanese or Korean counts as three
_MOST_CHARACTERS = 1_000
_NOT_WORDS = re.compile(
    r"```.*?(?:```|$)|`[^`\n]*`|https?://\S+|www\.\S+|\S+@\S+|<[^<>\n]{1,80}>|\{[^{}\n]*\}|\S*[\d_/\\=]\S*", re.DOTALL
)
_SIGNS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def language(text: str) -> tuple[str, float] | None:
    """ISO 639-1 code and confidence from 0 to 1 (py3langid); None for code, names and texts too short to tell."""
    words = _NOT_WORDS.sub(" ", text[:_MOST_CHARACTERS])
    letters = sum(map(str.isalpha, words)) + 2 * len(_SIGNS.findall(words))
    if letters < LEAST_LETTERS or letters < 0.5 * len(text[:_MOST_CHARACTERS].replace(" ", "")):
        return None
    if len(words.split()) < 6 and not _SIGNS.search(words):
        return None
    code, sure = _identifier().classify(words)
    return str(code), float(sure)


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
