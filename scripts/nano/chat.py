"""One chat row and its message list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChatRow:
    """A conversation; `key` is the text it is built on, so that one text never falls into both splits."""

    source: str
    key: str
    messages: list[dict[str, str]]


def chat(source: str, user: str, assistant: str, *, system: str | None = None, key: str | None = None) -> ChatRow:
    """A row of one question and one answer."""
    return talk(source, [("user", user), ("assistant", assistant)], system=system, key=key)


def talk(source: str, turns: list[tuple[str, str]], *, system: str | None = None, key: str | None = None) -> ChatRow:
    """A row of several (role, text) turns; the key is the first user text unless given."""
    turns = [("system", system), *turns] if system else turns
    first_user = next(text for role, text in turns if role == "user")
    messages = [{"role": role, "content": text} for role, text in turns]
    return ChatRow(source, key or first_user, messages)
