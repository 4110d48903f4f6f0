"""Presidio beside the rules: its recognizers and its model of names, where the package is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from tunewright.core.errors import MissingPackage, NotThere
from tunewright.privacy.detect import personal_data
from tunewright.privacy.found import Found, resolved

# Names that presidio gives to what has another name here; what is not named is left out.
TYPES = {
    "PERSON": "PERSON", "LOCATION": "GPE", "ORGANIZATION": "ORGANIZATION", "NRP": "NRP", "DATE_TIME": "DATE_TIME",
    "EMAIL_ADDRESS": "EMAIL_ADDRESS", "PHONE_NUMBER": "PHONE_NUMBER", "URL": "DOMAIN_NAME", "IP_ADDRESS": "IP_ADDRESS",
    "CREDIT_CARD": "CREDIT_CARD", "IBAN_CODE": "IBAN_CODE", "US_SSN": "US_SSN", "CRYPTO": "CRYPTO_ADDRESS",
    "US_DRIVER_LICENSE": "US_DRIVER_LICENSE", "US_PASSPORT": "PASSPORT", "US_BANK_NUMBER": "BANK_ACCOUNT",
    "UK_NHS": "MEDICAL_RECORD", "MEDICAL_LICENSE": "MEDICAL_RECORD", "US_ITIN": "NATIONAL_ID", "UK_NINO": "NATIONAL_ID",
    "ES_NIF": "NATIONAL_ID", "ES_NIE": "NATIONAL_ID", "IT_FISCAL_CODE": "NATIONAL_ID", "PL_PESEL": "NATIONAL_ID",
    "SG_NRIC_FIN": "NATIONAL_ID", "AU_TFN": "NATIONAL_ID", "AU_MEDICARE": "NATIONAL_ID", "IN_PAN": "NATIONAL_ID",
    "IN_AADHAAR": "NATIONAL_ID", "FI_PERSONAL_IDENTITY_CODE": "NATIONAL_ID",
}  # fmt: skip
MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")  # the larger, the more names
_SURE = 0.5  # what the rules find keeps its place against what presidio is less sure of


def analyzer(models: Sequence[str] = MODELS) -> tuple[Any, str]:
    """Presidio's analyzer with the first English model of `models` that is installed, and that model's name.

    Raises MissingPackage where presidio is not installed, NotThere where it has no model.
    """
    if importlib.util.find_spec("presidio_analyzer") is None:
        raise MissingPackage("presidio-analyzer", needed_for="recognizer: presidio")
    model = next((name for name in models if importlib.util.find_spec(name) is not None), None)
    if model is None:
        raise NotThere(
            "recognizer: presidio needs a spaCy model of English, and none is installed. Run: python -m spacy download "
            "en_core_web_lg"
        )
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    engine = NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    ).create_engine()
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"]), model


def presidio_alone(models: Sequence[str] = MODELS) -> Callable[[str], list[Found]]:
    """What presidio finds as it comes, by our names of types."""
    engine, _ = analyzer(models)

    def find(text: str) -> list[Found]:
        told = engine.analyze(text=text, language="en")
        return resolved(
            Found(one.start, one.end, TYPES[one.entity_type], float(one.score))
            for one in told
            if one.entity_type in TYPES
        )

    return find


def with_presidio(models: Sequence[str] = MODELS) -> Callable[[str], list[Found]]:
    """What the rules find, and what presidio finds beside it."""
    alone = presidio_alone(models)

    def find(text: str) -> list[Found]:
        own = personal_data(text)
        return resolved([*own, *(one._replace(score=one.score * _SURE) for one in alone(text))])

    return find
