"""Which columns make which format: the roles of each, the words of `data.fields`, and how both are matched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tunewright.core.retrieval import COLUMNS


@dataclass(frozen=True)
class Role:
    """A part that a format needs: the words of `data.fields` that name its column, and the columns it is known by.

    media: the kind of what the column holds beside the texts.
    """

    name: str
    words: tuple[str, ...]
    columns: tuple[str, ...]
    required: bool = True
    media: str | None = None


SYSTEM = Role("system", ("system",), ("system", "system_prompt"), required=False)
_TOOLS = Role("tools", ("tools",), ("tools", "functions"), required=False)
# Which passage holds the answer: an id, or its text. They stay in the row's meta for data.retrieval.
_PASSAGE = tuple(Role(word, (word,), (), required=False) for word in COLUMNS)
_INSTRUCTION = Role("instruction", ("instruction",), ("instruction",))
_INPUT = Role("input", ("input",), ("input", "context"), required=False)
_HISTORY = Role("history", ("history",), ("history",), required=False)
_ASKED = ("prompt", "question", "query", "input")
_MEDIA = (
    Role("images", ("images", "image"), ("images", "image", "image_path", "img_path"), required=False, media="image"),
    Role("videos", ("videos", "video"), ("videos", "video", "video_path"), required=False, media="video"),
    Role("audios", ("audios", "audio"), ("audios", "audio", "audio_path"), required=False, media="audio"),
)

FORMATS: dict[str, tuple[Role, ...]] = {
    "preference": (
        Role(
            "chosen",
            ("chosen",),
            ("chosen", "preferred_output", "preferred_completion", "chosen_response"),
            required=False,
        ),
        Role(
            "rejected",
            ("rejected",),
            ("rejected", "non_preferred_output", "non_preferred_completion", "rejected_response", "rejected_messages"),
        ),
        Role("instruction", ("instruction",), ("instruction",), required=False),
        Role(
            "messages",
            ("messages", "prompt"),
            ("messages", "conversations", "prompt", "question", "query"),
            required=False,
        ),
        Role("input", ("input",), ("input",), required=False),
        SYSTEM,
        _TOOLS,
        _HISTORY,
        *_MEDIA,
    ),
    "chat": (
        Role("messages", ("messages",), ("messages", "conversation", "conversations")),
        SYSTEM,
        _TOOLS,
        *_PASSAGE,
        *_MEDIA,
    ),
    "sharegpt": (
        Role("messages", ("messages",), ("conversations", "conversation", "messages")),
        SYSTEM,
        _TOOLS,
        *_PASSAGE,
        *_MEDIA,
    ),
    "instruction": (
        _INSTRUCTION,
        _INPUT,
        Role("output", ("output", "completion"), ("output", "response", "answer", "completion")),
        SYSTEM,
        _HISTORY,
        *_PASSAGE,
        *_MEDIA,
    ),
    "completion": (
        Role("prompt", ("prompt", "input", "text"), _ASKED),
        Role("completion", ("completion", "output"), ("completion", "response", "answer", "output")),
        SYSTEM,
        _TOOLS,
        _HISTORY,
        *_PASSAGE,
        *_MEDIA,
    ),
    "prompts": (
        Role("prompt", ("prompt", "messages"), ("messages", "prompt")),
        Role("expected", ("expected",), ("expected", "reference_answer", "ground_truth", "solution"), required=False),
        SYSTEM,
        _TOOLS,
        *_MEDIA,
    ),
    "labels": (
        Role(
            "prompt",
            ("prompt", "text", "input"),
            ("text", "message", "utterance", "sentence", "prompt", "query", "question", "comment", "review"),
        ),
        Role("label", ("label",), ("label_text", "label_name", "label", "category", "intent", "class")),
        SYSTEM,
    ),
    "pairs": (
        Role("anchor", ("anchor",), ("anchor", "sentence1", "query", "messages")),
        Role("positive", ("positive",), ("positive", "sentence2", "positive_messages")),
        Role("negative", ("negative",), ("negative", "negatives", "negative_messages"), required=False),
        SYSTEM,
    ),
    "entities": (
        Role("tokens", ("tokens",), ("tokens", "words")),
        Role("tags", ("tags",), ("tags", "ner_tags", "labels")),
        SYSTEM,
    ),
    "spans": (
        Role("text", ("text",), ("text", "document", "sentence", "content")),
        Role("spans", ("spans",), ("spans", "entities")),
        SYSTEM,
    ),
    "segments": (Role("segments", ("segments",), ("segments",)), SYSTEM),
    "captions": (
        Role("text", ("text", "caption", "completion"), ("caption", "transcription", "transcript", "text", "sentence")),
        SYSTEM,
        *_MEDIA,
    ),
    "text": (Role("text", ("text",), ("text", "document", "content")),),
}
MEDIA_COLUMNS = frozenset(column for role in _MEDIA for column in role.columns)
# Formats without which a role may stay away, but not all of several.
_ONE_OF = {"preference": ("chosen", "messages"), "captions": tuple(role.name for role in _MEDIA)}


@lru_cache(maxsize=4096)
def match(format: str, columns: tuple[str, ...], fields: tuple[tuple[str, str], ...]) -> dict[str, str] | None:
    """Role -> column, or None when a required role has none or `fields` names a word that the format does not know.

    Where `fields` names what a format needs, media count only when it names them too.
    """
    lowered = {name.strip().lower(): name for name in reversed(columns)}
    named = dict(fields)
    settled = any(role.required and word in named for role in FORMATS[format] for word in role.words)
    roles: dict[str, str] = {}
    for role in FORMATS[format]:
        word = next((word for word in role.words if word in named), None)
        if word is not None:
            column: str | None = named.pop(word)
            if column not in columns:
                column = None
        elif role.media and settled:
            continue
        else:
            free = (name for name in role.columns if name in lowered and lowered[name] not in dict(fields).values())
            column = next((lowered[name] for name in free if lowered[name] not in roles.values()), None)
        if column is not None:
            roles[role.name] = column
        elif role.required:
            return None
    if named or (format in _ONE_OF and not any(name in roles for name in _ONE_OF[format])):
        return None
    return roles


def missing(format: str, row: dict[str, Any], fields: dict[str, str]) -> str:
    """Why a row's columns do not make the format."""
    for role in FORMATS[format]:
        word = next((word for word in role.words if word in fields), None)
        if role.required and _match_one(role, row, fields[word] if word else None) is None:
            return f"no '{fields[word] if word else role.name}' among {', '.join(row) or 'no columns'}"
    return f"the columns {', '.join(row)} do not make format '{format}'"


def _match_one(role: Role, row: dict[str, Any], given: str | None) -> str | None:
    lowered = {name.strip().lower(): name for name in row}
    if given is not None:
        return given if given in row else None
    return next((lowered[name] for name in role.columns if name in lowered), None)
