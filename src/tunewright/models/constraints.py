"""What an answer is held to: JSON of a schema, or one of some texts. Tokens that would break it are never taken.

A constraint is a grammar of the llguidance library (extra `constraints`), written as a string so that it can be queued.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tunewright.core.errors import DataError, NotThere

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

    from tunewright.models.chat import Chat

log = logging.getLogger("tunewright.models")

SPACE = r"[ \n]{1,20}"  # between the parts of JSON: room to indent, and an end to it


def json_of(schema: dict[str, Any] | bool) -> str:
    """The grammar of JSON values of a schema. Raises DataError for a schema that cannot be followed."""
    if _only_refers(schema):
        raise DataError("The JSON schema cannot be followed: its $ref leads back to itself. Change it or leave it out.")
    grammar: str = _library().LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_pattern": SPACE})
    return checked(grammar, "JSON schema")


def _only_refers(schema: dict[str, Any] | bool) -> bool:
    """Whether the $ref of a schema leads from reference to reference and never to a value."""
    at: Any = schema
    seen: set[str] = set()
    while isinstance(at, dict) and isinstance(reference := at.get("$ref"), str):
        if reference in seen:
            return True
        seen.add(reference)
        at = schema
        for name in reference.removeprefix("#").split("/")[1:]:
            at = at.get(name) if isinstance(at, dict) else None
    return False


def one_of(texts: Sequence[str]) -> str:
    """The grammar of some texts."""
    return checked("start: " + " | ".join(json.dumps(text) for text in texts), "list of choices")


def checked(grammar: str, what: str) -> str:
    """A grammar that can be followed. Raises DataError, naming what it is of, where it cannot."""
    if error := _library().LLMatcher.validate_grammar(grammar):
        raise DataError(f"The {what} cannot be followed: {str(error).splitlines()[0]}. Change it or leave it out.")
    return grammar


def _library() -> Any:
    try:
        import llguidance
    except ImportError:
        raise NotThere(
            "Constrained answers need the package llguidance, which is not installed. "
            "Install it: pip install 'tunewright[constraints]'"
        ) from None
    return llguidance


class Follower:
    """One answer on its way through a grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def hold(self, logits_V: torch.Tensor) -> None:
        """Make tokens that may not come next impossible, in place."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed_V = np.unpackbits(bits, bitorder="little")[: len(logits_V)].astype(bool)
        logits_V.masked_fill_(torch.from_numpy(~allowed_V).to(logits_V.device), float("-inf"))

    def take(self, token: int) -> str | None:
        """Go on by a token. "stop" when nothing can follow, "length" when the answer is lost before it is whole."""
        self._matcher.consume_token(token)
        if self._matcher.is_error():
            log.warning("an answer lost its constraint: %s", self._matcher.get_error().splitlines()[0])
            return "length"
        return "stop" if self._matcher.is_stopped() else None


class Grammars:
    """Makes followers for one tokenizer, which is prepared once for each set of stop tokens."""

    def __init__(self, chat: Chat, vocabulary: int) -> None:
        self.chat = chat
        self.vocabulary = vocabulary
        self._tokenizers: dict[tuple[int, ...], LLTokenizer] = {}

    def follow(self, grammar: str, stop_ids: Sequence[int]) -> Follower:
        """A follower at the beginning of an answer, which one of the stop tokens ends."""
        tokenizer = self._tokenizer(stop_ids)
        for token in self.chat.new.ids if self.chat.new else ():
            if tokenizer.is_special_token(token) and (text := self.chat.decode([token])) in grammar:
                raise DataError(
                    f"The constraint holds {text}, one token here, and llguidance takes tokens in angle brackets for "
                    "control tokens. Leave the constraint out, or train with another spelling, such as [order]."
                )
        matcher = _library().LLMatcher(tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise DataError(f"The constraint cannot be followed: {matcher.get_error().splitlines()[0]}")
        return Follower(matcher)

    def _tokenizer(self, stop_ids: Sequence[int]) -> LLTokenizer:
        ends = tuple(token for token in stop_ids if token < self.vocabulary) or tuple(self.chat.stop_ids)
        if ends not in self._tokenizers:
            _library()
            from llguidance.hf import from_tokenizer

            tokenizer: Any = self.chat.tokenizer  # the library refuses those it cannot read
            self._tokenizers[ends] = from_tokenizer(tokenizer, n_vocab=self.vocabulary, eos_token=list(ends))
        return self._tokenizers[ends]
