"""Prompts of /v1/completions: the token ids that they become, and how they are told back before their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunewright.server.protocol import ApiError
from tunewright.server.words import Words

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.server.worker import Scored

MAX_PROMPTS = 64  # in one request


@dataclass(frozen=True)
class Prompt:
    """What the model is sent, and what the client sent."""

    ids: list[int]
    given: str | list[int]


def prompts(chat: Chat, asked: Any) -> list[Prompt]:
    """The prompts of a request. Text gets the token that begins a document; ids stay as they are. Raises ApiError."""
    several = isinstance(asked, list) and bool(asked) and isinstance(asked[0], str | list)
    given = asked if several else [asked]
    if len(given) > MAX_PROMPTS:
        raise ApiError(400, f"'prompt' holds {len(given)} prompts; send at most {MAX_PROMPTS}.", param="prompt")
    vocabulary = len(chat.tokenizer)
    found = []
    for one in given:
        if isinstance(one, str):
            found.append(Prompt(chat.beginning_ids(one), one))
        elif isinstance(one, list) and all(type(token) is int and 0 <= token < vocabulary for token in one):
            found.append(Prompt(one, one))
        else:
            raise ApiError(400, "'prompt' must be a text, a list of token ids, or a list of these.", param="prompt")
    if not all(one.ids for one in found):
        raise ApiError(400, "'prompt' is empty. Send at least one character.", param="prompt")
    return found


@dataclass(frozen=True)
class Echo:
    """A prompt as it is told back. offsets: where in the text each of its tokens begins."""

    text: str
    ids: list[int]
    offsets: list[int]


def echo(chat: Chat, prompt: Prompt) -> Echo:
    """Text as it was given, ids as the text that they stand for. The token that begins a document is the model's alone:
    it takes no place in the text.
    """
    given = prompt.given if isinstance(prompt.given, str) else None
    frame = 1 if given is not None and chat.bos_id is not None else 0
    words, offsets, size = Words(chat, keep_control=True), [0] * frame, 0
    for token in prompt.ids[frame:]:
        offsets.append(size)
        size += len(words.add(token).text)
    words.end()
    return Echo(words.text if given is None else given, prompt.ids, offsets)


def logprobs(chat: Chat, told: Echo, scored: Scored) -> dict[str, Any]:
    """What is told of its tokens: of the first, which follows nothing, no log-prob."""
    texts: dict[int, str] = {}

    def shown(token: int) -> str:
        if token not in texts:
            texts[token] = chat.decode([token], keep_control=True)
        return texts[token]

    def likeliest(place: list[tuple[int, float]]) -> dict[str, float]:
        found: dict[str, float] = {}
        for token, logprob in place:
            found.setdefault(shown(token), logprob)  # parts of characters look alike: the likelier one is told
        return found

    return {
        "tokens": [shown(token) for token in told.ids],
        "token_logprobs": [None, *scored.logprobs],
        "top_logprobs": [None, *map(likeliest, scored.likeliest)],
        "text_offset": told.offsets,
    }
