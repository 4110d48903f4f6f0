"""Identifiers with a form of their own: addresses of mail and machines, accounts, national numbers."""

from __future__ import annotations

import importlib
import ipaddress
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from tunewright.privacy import checksums
from tunewright.privacy.found import Found, holds_any

_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.!#$%&'*+/=?^`{|}~-]{0,63}[\w+-]@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24}(?![\w@])"
)
_EMAIL_IN_WORDS = re.compile(
    r"(?<!\w)[\w.+-]{1,64}\s?[\[(]\s?at\s?[\])]\s?[\w-]{1,63}(?:\s?[\[(]\s?dot\s?[\])]\s?|\.)(?:[\w-]{1,"
    r"63}\.)?[a-z]{2,10}\b",
    re.IGNORECASE,
)
_URL = re.compile(r"\b(?:https?|ftp)://[^\s<>\"'\u201d\u201c`\])}|]{3,2000}", re.IGNORECASE)
_BARE_DOMAIN = re.compile(
    r"(?<![\w@./:-])(?:www\.(?:[a-z0-9-]{1,63}\.)+[a-z]{2,24}"
    r"|(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,4}(?:com|org|net|edu|gov|mil|int|info|biz|online|shop|xyz|"
    r"club|app|dev|"
    r"io|ai|co|tv|me|eu|uk|de|fr|es|it|nl|be|ch|at|se|no|dk|fi|cz|hu|gr|pt|ie|ca|us|au|nz|jp|cn|ru|br|mx|ar|cl|in|za|"
    r"kr|tr|ro|bg|hr|si|ee|lt|lv|ua|il|sg|hk|tw|th|vn|ph))(?:/[^\s<>\"'\])]{0,300})?(?![\w@-])",
    re.IGNORECASE,
)
_DOT = re.compile(r"\.[A-Za-z]{2}|://")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?!\.?\w)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){7}|(?:[0-9a-f]{1,4}:){0,7}:(?:[0-9a-f]{1,4}:?){0,7})"
                   r"(?![\w:])", re.IGNORECASE)  # fmt: skip
_MAC = re.compile(r"(?<![\w:.-])(?:[0-9a-f]{2}([:-]))(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}(?![\w:-])"
                  r"|(?<![\w.])(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}(?![\w.])", re.IGNORECASE)  # fmt: skip
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}(?![A-Za-z0-9])", re.IGNORECASE)
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])(?!\.\d)")
_SSN_SAID = re.compile(
    r"\b(?:ssn|social security(?: (?:number|no|num|#))?)\b[^\d\n]{0,25}(?P<value>(?!000|666|"
    r"9\d\d)\d{3}[-. ]?\d{2}[-. ]?\d{4})"
    r"(?!\d)",
    re.IGNORECASE,
)
_SSN_LAST = re.compile(r"\b(?:ssn|social security)\b[^\d\n]{0,40}\b(?P<value>\d{4})\b(?![-.]\d)", re.IGNORECASE)


class _Said(NamedTuple):
    """What is known by the words before it: a type, and a form whose group `value` is the thing itself."""

    type: str
    form: re.Pattern[str]


def _said(
    type: str,
    words: str,
    value: str,
    gap: str = r"[^\w\n]{0,4}(?:(?:is|was|number|no|nr|num|id|:|#|=)[^\w\n]{0,3}){0,3}",
) -> _Said:
    return _Said(type, re.compile(rf"\b(?:{words}){gap}(?P<value>{value})(?!\w)", re.IGNORECASE))


_CODE = r"(?=[A-Z0-9 -]*\d)[A-Z0-9]+(?:-[A-Z0-9]+){0,4}"
_SAID = (
    _said(
        "US_DRIVER_LICENSE",
        r"driver'?s?'? ?licen[cs]e|driving licen[cs]e|licen[cs]e (?:number|no\.?|#)|driver'?s? id|\bDL(?: "
        r"number| no\.?|#)?"
        r"|f\u00fchrerschein(?:nummer)?|permis de conduire|rijbewijs",
        rf"(?=[A-Z0-9-]*\d[A-Z0-9-]*\d[A-Z0-9-]*\d){_CODE}",
    ),
    _said("PASSPORT", r"passport|reisepass(?:nummer)?|passeport|pasaporte|passaporto",
          r"(?=(?:[A-Z]*\d){3})[A-Z0-9]{6,12}"),
    _said(
        "BANK_ACCOUNT",
        r"(?:bank )?account (?:number|no\.?|#)|acct\.?(?: no\.?| number| #)?|kontonummer|num\u00e9ro de compte|"
        r"n\u00famero de cuenta|routing (?:number|no\.?)|sort code",
        r"\d(?:[ -]?\d){5,19}",
    ),
    _said("SWIFT_CODE", r"swift(?: code)?|bic(?: code)?", r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?"),
    _said(
        "MEDICAL_RECORD",
        r"medical record|mrn|patient (?:id|number|no\.?)|health insurance (?:number|id)|policy (?:number|no\.?)|"
        r"nhs (?:number|no\.?)",
        rf"(?=[A-Z0-9-]*\d{{3}}){_CODE}",
    ),
    _said("LICENSE_PLATE", r"licen[cs]e plate|number plate|plate (?:number|no\.?)|kennzeichen|registration plate",
          r"(?=[A-Z -]*\d)[A-Z0-9]{1,4}(?:[ -][A-Z0-9]{1,4}){0,2}"),
    _said("NATIONAL_ID",
          r"national (?:id|insurance)(?: number| no\.?)?|nino|nie|dni|identity (?:card|number)|id card|"
          r"personalausweis(?:nummer)?"
          r"|steuer-?id(?:entifikationsnummer)?|tax ?(?:id|number)|tin|bsn|burgerservicenummer|pesel|cpf|cnp|"
          r"egn|oib|personnummer",
          r"(?=[A-Z0-9./-]*\d{3})[A-Z0-9]{5,14}(?:[./-][A-Z0-9]{1,6}){0,3}"),
    _said("USERNAME", r"user ?name|login|user id", r"(?=\w*\d)[A-Za-z][\w.-]{3,30}", r"\s{0,2}(?:is|:|=)\s{0,2}"),
)  # fmt: skip
_SAID_TRIGGERS = (
    "licen", "driver", "dl", "f\u00fchrersch", "permis", "rijbew", "pass", "pasa", "account", "acct", "konto", "compte",
    "cuenta", "routing", "sort code", "swift", "bic", "medical", "mrn", "patient", "insurance", "policy", "nhs",
    "plate", "kennz", "nation", "nino", "dni", "nie", "identity", "id card", "ausweis", "steuer", "tax", "tin", "bsn",
    "burgers", "pesel", "cpf", "cnp", "egn", "oib", "personnum", "user", "login",
)  # fmt: skip


class _National(NamedTuple):
    """A national number: its form, the module of python-stdnum that checks it (none: the form is enough), and words
    that must stand near it.
    """

    form: re.Pattern[str]
    module: str
    words: re.Pattern[str] | None = None


def _national(form: str, module: str, words: str | None = None) -> _National:
    near = re.compile(rf"(?<!\w)(?:{words})", re.IGNORECASE) if words else None
    return _National(re.compile(rf"(?<![\w-])(?:{form})(?![\w-])"), module, near)


_ELEVEN = r"\d{11}"
_NATIONAL = (
    _national(r"[0-9XYZ]\d{7}-?[A-Z]", "es.nie"),
    _national(r"\d{8}-?[A-Z]", "es.dni"),
    _national(r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", "it.codicefiscale"),
    _national(r"[12]\d{2}(?:0[1-9]|1[0-2])(?:\d{2}|2[AB])\d{6}(?:\d{2})", "fr.nir"),
    _national(r"[12] \d{2} (?:0[1-9]|1[0-2]) (?:\d{2}|2[AB]) \d{3} \d{3} \d{2}", "fr.nir"),
    _national(r"\d{6}[-+A]\d{3}[0-9A-Y]", "fi.hetu"),
    _national(r"\d{3}\.\d{3}\.\d{3}-\d{2}", "br.cpf"),
    _national(r"756\.\d{4}\.\d{4}\.\d{2}", "ch.ssn"),
    _national(r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", "be.nn"),
    _national(r"(?:\d{2})?\d{6}[-+]\d{4}", "se.personnummer"),
    _national(r"\d{1,2}\.?\d{3}\.?\d{3}-[\dkK]", "cl.rut"),
    _national(r"\d{6}(?:18|19|20)\d{9}[\dX]", "cn.ric"),
    _national(r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", "mx.curp"),
    _national(r"\d{6}-[1-8]\d{6}", "kr.rrn"),
    _national(r"\d{7}[A-W][ABHWTX]?", "ie.pps"),
    _national(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]", ""),
    _national(r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]", "in_.pan", "pan|tax|permanent"),
    _national(r"\d{4} ?\d{4} ?\d{4}", "in_.aadhaar", "aadhaar|aadhar|uid"),
    _national(r"\d{2} ?\d{3} ?\d{3} ?\d{3}", "de.idnr", "steuer|tax|idnr|identifikation"),
    _national(_ELEVEN, "pl.pesel", "pesel|id|ident"),
    _national(_ELEVEN, "no.fodselsnummer", "f\u00f8dsel|personn|fodsel|national|norweg"),
    _national(r"\d{6} \d{5}", "no.fodselsnummer", "f\u00f8dsel|personn|fodsel|national|norweg"),
    _national(r"\d{6}-\d{4}", "dk.cpr", "cpr|personn|danish|national"),
    _national(r"\d{6}-\d{4}", "is_.kennitala", "kennit|iceland|national"),
    _national(r"\d{9}|\d{4}\.?\d{2}\.?\d{3}", "nl.bsn", "bsn|burger|sofi|dutch"),
    _national(_ELEVEN, "tr.tckimlik", "kimlik|t\\.?c\\.?|turk"),
    _national(r"\d{13}", "za.idnr", "id|south afric"),
    _national(r"\d{13}", "ro.cnp", "cnp|cod numeric|roman"),
    _national(r"\d{10}", "bg.egn", "egn|bulgar|\u0435\u0433\u043d"),
    _national(r"\d{6}/?\d{3,4}", "cz.rc", "rodn|czech|birth number"),
    _national(_ELEVEN, "hr.oib", "oib|croat"),
    _national(_ELEVEN, "ee.ik", "isikukood|eston|personal code"),
    _national(_ELEVEN, "lt.asmens", "asmens|lithuan|personal code"),
    _national(r"\d{3}[ -]?\d{3}[ -]?\d{3}", "ca.sin", "sin|social insurance|canad"),
    _national(r"\d{3} ?\d{3} ?\d{3}", "au.tfn", "tfn|tax file"),
    _national(r"\d{3} ?\d{3} ?\d{4}", "gb.nhs", "nhs|health"),
    _national(r"\d{10}", "at.vnr", "svnr|sozialversich|versicherungsnummer"),
    _national(r"\d{9}", "il.idnr", "teudat|israel|id number"),
    _national(r"\d-?\d{4}-?\d{5}-?\d{2}-?\d", "th.pin", "thai|citizen|id"),
)  # fmt: skip
_NATIONAL_GATE = re.compile(r"\d{6}|\d{2,4}[. ]\d{2,4}[. ]\d|[A-Z]{4}\d|[A-Z]{2} ?\d{2} ?\d{2} ?\d{2}")
_LONG = re.compile(r"[A-Za-z]{2}\d\d|[A-Za-z0-9]{26}")
_BITCOIN = re.compile(r"(?<![A-Za-z0-9])(?:bc1[a-z0-9]{25,62}|[13][1-9A-HJ-NP-Za-km-z]{25,34})(?![A-Za-z0-9])"
                      r"|(?<!\w)0x[0-9a-fA-F]{40}(?!\w)")  # fmt: skip


def identifiers_in(text: str) -> Iterator[Found]:
    """Every identifier of a text, overlaps included."""
    has_digit = re.search(r"\d", text) is not None
    if "@" in text or "[at]" in text or "(at)" in text:
        yield from (Found(*match.span(), "EMAIL_ADDRESS") for match in _EMAIL.finditer(text))
        yield from (Found(*match.span(), "EMAIL_ADDRESS", 0.9) for match in _EMAIL_IN_WORDS.finditer(text))
    if _DOT.search(text):
        yield from _domains(text)
    if has_digit:
        yield from _machines(text)
        yield from _accounts(text)
        yield from _us(text)
        yield from _nationals(text)
        if holds_any(text.lower(), _SAID_TRIGGERS):
            yield from _said_in(text)


def _domains(text: str) -> Iterator[Found]:
    if "://" in text:
        for match in _URL.finditer(text):
            yield Found(match.start(), match.start() + len(match[0].rstrip(".,;:!?")), "DOMAIN_NAME", 0.95)
    for match in _BARE_DOMAIN.finditer(text):
        yield Found(match.start(), match.start() + len(match[0].rstrip(".,;:!?")), "DOMAIN_NAME", 0.8)


def _machines(text: str) -> Iterator[Found]:
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            before = text[max(0, match.start() - 12) : match.start()].lower()
            if not re.search(r"(?:version|ver\.?|v\.?|release|build|section|chapter)\s*$", before) and _is_ip(match[0]):
                yield Found(*match.span(), "IP_ADDRESS")
    if ":" in text:
        for match in _IPV6.finditer(text):
            if match[0].count(":") >= 2 and len(match[0]) > 4 and _is_ip(match[0]):
                yield Found(*match.span(), "IP_ADDRESS")
    if text.count(":") > 4 or text.count("-") > 4 or text.count(".") > 1:
        yield from (Found(*match.span(), "MAC_ADDRESS") for match in _MAC.finditer(text))


def _is_ip(text: str) -> bool:
    try:
        ip = ipaddress.ip_interface(text).ip
    except ValueError:
        return False
    return not (ip.is_unspecified or ip.is_loopback)


def _accounts(text: str) -> Iterator[Found]:
    if not _LONG.search(text):
        return
    for match in _IBAN.finditer(text):
        country = match[0][:2].upper()
        length = _IBAN_LENGTHS.get(country)
        compact, end = "", match.start()
        for place in range(match.start(), match.end()):
            if text[place] not in " -":
                compact += text[place].upper()
                end = place + 1
            if len(compact) == length:
                break
        whole = len(compact) == length and not text[end : end + 1].isalnum()
        if whole and checksums.iban(compact):
            yield Found(match.start(), end, "IBAN_CODE")
    for match in _BITCOIN.finditer(text):
        if match[0].startswith("0x") or _checked("bitcoin", match[0]):
            yield Found(*match.span(), "CRYPTO_ADDRESS")


def _us(text: str) -> Iterator[Found]:
    yield from (Found(*match.span(), "US_SSN") for match in _SSN.finditer(text))
    for form in (_SSN_SAID, _SSN_LAST):
        yield from (Found(*match.span("value"), "US_SSN", 0.95) for match in form.finditer(text))


def _said_in(text: str) -> Iterator[Found]:
    for said in _SAID:
        yield from (Found(*match.span("value"), said.type, 0.93) for match in said.form.finditer(text))


def _nationals(text: str) -> Iterator[Found]:
    if not _NATIONAL_GATE.search(text):
        return
    for national in _NATIONAL:
        for match in national.form.finditer(text):
            near = text[max(0, match.start() - 50) : match.end() + 20]
            if national.words is not None and not national.words.search(near):
                continue
            if not national.module or _checked(national.module, match[0]):
                yield Found(*match.span(), "NATIONAL_ID", 0.92)


def _checked(module: str, value: str) -> bool:
    return bool(_stdnum(module).is_valid(value))


@cache
def _stdnum(module: str) -> Any:
    return importlib.import_module(f"stdnum.{module}")
