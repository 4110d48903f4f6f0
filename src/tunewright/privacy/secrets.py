"""Secrets: private keys, keys and tokens of services, passwords, URLs with credentials and card numbers.

Formats of keys are those that the services document; what has no format is known by the word before it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from tunewright.privacy.cards import cards_in
from tunewright.privacy.found import Found, holds_any, resolved

__all__ = ["Found", "secrets_in"]

SECRET_TYPES = ("PRIVATE_KEY", "API_KEY", "JWT", "PASSWORD", "URL_CREDENTIALS", "CREDIT_CARD")

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----"
    r"(?:(?:(?!-----BEGIN).){0,20000}?-----END (?P=kind)-----|[A-Za-z0-9+/=\s\\]{16,20000})"
    r"|AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}",
    re.DOTALL,
)
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA|AIDA|AROA|AGPA|ANPA)[A-Z2-7]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{22,255}"  # GitHub
    r"|gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{20,}"  # GitLab
    r"|sk-ant-[A-Za-z0-9_-]{20,}|sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9]{32,}"  # model services
    r"|sk-or-v1-[a-f0-9]{64}|gsk_[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{37}|hf_[A-Za-z0-9]{30,}|xai-[A-Za-z0-9]{60,}"
    r"|xox[abeoprs]-(?:[A-Za-z0-9]+-)*[A-Za-z0-9]{10,}|xapp-\d-[A-Za-z0-9-]{20,}"  # Slack
    r"|AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{20,}"  # Google
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9]{24,}"  # Stripe
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}|key-[a-f0-9]{32}|(?:AC|SK)[a-f0-9]{32}"  # mail and telephony
    r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}|dckr_pat_[A-Za-z0-9_-]{20,}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"
    r"|do[opr]_v1_[a-f0-9]{64}|dp\.pt\.[A-Za-z0-9]{40,}|lin_api_[A-Za-z0-9]{40}|sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}"
    r"|EAA[A-Za-z0-9]{60,}|\d{8,10}:AA[A-Za-z0-9_-]{33}"
    r")(?![A-Za-z0-9])"
)
_HOOK = re.compile(
    r"https://(?:hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{20,}"
    r"|(?:ptb\.|canary\.)?discord(?:app)?\.com/api/webhooks/\d{17,20}/[A-Za-z0-9_-]{60,})"
)
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{0,2000}(?![A-Za-z0-9_-])")
_URL = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/?#@\[\]\"'<>]{0,100}:(?P<word>[^\s/@\"'<>]{1,200})@[^\s\"'<>]+", re.IGNORECASE
)
_NAMED = re.compile(
    r"(?<![A-Za-z])(?P<name>"
    r"(?:[A-Za-z0-9]+[_.-])*(?:pass(?:word|wort|phrase|code|wd)?|pwd|secret|token|credentials?|"
    r"authorization[\"']?\s?[:=]\s?[\"']?(?:bearer|basic|token)|bearer"
    r"|(?:api|access|auth|secret|private|client|account|encryption|signing|master|shared|subscription)[_. -]?"
    r"(?:key|token|secret)s?"
    r"|contrase(?:\u00f1|n)a|mot de passe|kennwort|wachtwoord|has[\u0142l]o|senha|parola)"
    r"(?:[_.-][A-Za-z0-9]+)*)"
    r"(?P<between>[\"']?\s{0,3}(?:=>|:=|==?|:|\bis\b:?|\bwas\b|\bto\b|\s)\s{0,3})"
    r"(?P<quote>[\"'`]?)(?P<value>[^\s\"'`<>(){}\[\]|,;]{4,300})",
    re.IGNORECASE,
)
_TRIGGERS = (
    "pass", "pwd", "secret", "token", "credential", "bearer", "authori", "key", "contrase", "mot de", "wort", "wachtw",
    "haslo", "has\u0142o", "senha", "parola",
)  # fmt: skip
_PLACEHOLDER = re.compile(
    r"^(?:[*.xX_#-]+|\$.*|%.*|.*\.\.\.$|(?:your|my|the|some|example|changeme|redacted|null|none|true|false|undefined|"
    r"password|secret|token|string|os\.|process\.|env|self\.|settings\.|config).*)$",
    re.IGNORECASE,
)


def secrets_in(text: str) -> list[Found]:
    """Every secret of a text, in order, none over another. Types: SECRET_TYPES."""
    return resolved(all_in(text))


def all_in(text: str) -> Iterator[Found]:
    """Every secret, overlaps included."""
    yield from keys_in(text)
    yield from cards_in(text)


def keys_in(text: str) -> Iterator[Found]:
    """Every secret but card numbers, overlaps included."""
    if "-----BEGIN" in text or "AGE-SECRET" in text:
        yield from (Found(*match.span(), "PRIVATE_KEY") for match in _PRIVATE_KEY.finditer(text))
    if "://" in text:
        yield from (Found(*match.span(), "URL_CREDENTIALS") for match in _URL.finditer(text) if _real(match["word"]))
        yield from (Found(*match.span(), "API_KEY") for match in _HOOK.finditer(text))
    yield from (Found(*match.span(), "API_KEY") for match in _KEY.finditer(text))
    if "eyJ" in text:
        yield from (Found(*match.span(), "JWT") for match in _JWT.finditer(text))
    if holds_any(text.lower(), _TRIGGERS):
        yield from _named(text)


def _named(text: str) -> Iterator[Found]:
    """What stands behind a word such as 'password' or 'api_key', where it looks like one."""
    for match in _NAMED.finditer(text):
        value = match["value"].rstrip(".?:")
        assigned = match["between"].strip(" \"'") in ("=", ":", "=>", ":=", "==") or bool(match["quote"])
        if _PLACEHOLDER.match(value) or not _real(value):
            continue
        is_password = (
            re.search(r"pass|pwd|contra|wort|wacht|has|senha|parola", match["name"], re.IGNORECASE) is not None
        )
        if is_password and (_num_kinds(value) >= (2 if assigned else 3)) and len(value) >= 6:
            start = match.start("value")
            yield Found(start, start + len(value), "PASSWORD", 0.9)
        elif len(value) >= 16 and _num_kinds(value) >= 2 and entropy(value) >= 3.0 and any(map(str.isdigit, value)):
            start = match.start("value")
            yield Found(start, start + len(value), "API_KEY", 0.9)


def _num_kinds(value: str) -> int:
    """How many of lower case, capitals, digits and other signs there are."""
    kinds = (str.islower, str.isupper, str.isdigit, lambda letter: not letter.isalnum())
    return sum(any(map(kind, value)) for kind in kinds)


def _real(value: str) -> bool:
    """Not a row of stars, a variable's name in braces or the word password itself."""
    return _PLACEHOLDER.match(value) is None and len(set(value)) > 2


def entropy(value: str) -> float:
    """Shannon's entropy of the letters of a value, in bits a letter: random keys have 3 and more."""
    counts = Counter(value)
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
