"""The tokenizer of an encoder-decoder in the place of a chat: a conversation becomes one plain text for the encoder, an
answer one for the decoder, each framed as the tokenizer frames a text (T5: ... </s>, BART: <s> ... </s>).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from tunewright.core.errors import DataError
from tunewright.core.example import Message
from tunewright.models.chat import Chat, Dicts
from tunewright.models.turns import Draft, Turn

RULE = "text: system, blank line, then one message alone or 'User: ...' and 'Assistant: ...' line by line"


class TextPairs(Chat):
    """Plain text in, plain text out. Control strings in messages are read as plain text.

    A single user message is the encoder's text as it stands. A system message comes before it, with a blank line. Where
    the assistant has spoken before, each message is a line that begins with who speaks.
    """

    uses_template: ClassVar[bool] = False

    @property
    def template(self) -> str:
        """The rule above, in words: there is no Jinja template."""
        return RULE

    @cached_property
    def end_id(self) -> int:
        """The token that ends an answer. Raises DataError when the tokenizer has none."""
        if self.tokenizer.eos_token_id is None:
            raise DataError(
                "This model's tokenizer has no end-of-sequence token, so answers could never end. Set eos_token in it."
            )
        return int(self.tokenizer.eos_token_id)

    def prompt_ids(
        self, messages: Sequence[Message | dict[str, Any]], tools: list[dict[str, Any]] | None = None
    ) -> list[int]:
        """Ids of what the encoder reads."""
        clean, _, _ = self._marked(messages, tools)
        return self._framed([_source(clean)])[0]

    def beginning_ids(self, text: str) -> list[int]:
        """Ids of a bare text that the encoder reads."""
        return self._framed([text])[0]

    def readable(self, text: str) -> str:
        """The text as this tokenizer can say it: SentencePiece of T5 knows no line breaks."""
        return self.decode(self._framed([text])[0])

    def _marked(
        self, messages: Sequence[Message | dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> tuple[Dicts, list[dict[str, Any]] | None, dict[str, str]]:
        plain = [message if isinstance(message, Message) else Message.model_validate(message) for message in messages]
        dicts = [message.for_template() for message in plain]
        if tools or any(message.get("tool_calls") or message["role"] == "tool" for message in dicts):
            raise DataError("An encoder-decoder calls no tools. Leave them out, or take a causal model.")
        return dicts, None, {}

    def _draft(
        self, messages: Dicts, tools: list[dict[str, Any]] | None, marks: dict[str, str], name: str, weight: float
    ) -> Draft:
        return Draft(_source(messages[:-1]), str(messages[-1]["content"] or ""), marks, weight)

    def _encoded(self, drafts: Sequence[Draft]) -> list[Turn]:
        ids = iter(self._framed([text for draft in drafts for text in (draft.prompt, draft.answer)]))
        turns = []
        for draft in drafts:
            prompt, answer = next(ids), next(ids)
            ended = answer if answer[-1:] == [self.end_id] else [*answer, self.end_id]
            turns.append(Turn(prompt, ended, draft.weight))
        return turns


def _source(messages: Dicts) -> str:
    """What the encoder reads. Raises DataError when there is nothing."""
    system = [str(m["content"]) for m in messages if m["role"] in ("system", "developer")]
    rest = [m for m in messages if m["role"] not in ("system", "developer")]
    spoken = any(message["role"] == "assistant" for message in rest)
    lines = [f"{m['role'].capitalize()}: {m['content']}" if spoken else str(m["content"]) for m in rest]
    text = "\n\n".join([*system, "\n".join(lines)] if lines else system)
    if not text.strip():
        raise DataError("An encoder-decoder reads what comes before the answer, and there is nothing. Send a message.")
    return text
