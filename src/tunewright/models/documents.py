"""An encoder's tokenizer in the place of a chat: what is read is one text, framed as the encoder knows it ([CLS] ...
[SEP]); nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message
from tunewright.models.chat import Chat
from tunewright.models.turns import Spelled, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Documents(Chat):
    """Reads the last user message of a conversation as a document. Control strings in it are read as plain text."""

    uses_template: ClassVar[bool] = False

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        self._texts_ahead: tuple[dict[str, list[int]], ...] = ()

    @property
    def template(self) -> str:
        """None is used."""
        return ""

    @cached_property
    def stop_ids(self) -> list[int]:
        """Nothing is said, so nothing ends it."""
        return []

    @cached_property
    def digest(self) -> str:
        """A hash of what decides token ids: the vocabulary, and how a text is framed."""
        return storage.digest([self.tokenizer.get_vocab(), self._framed(["a b"])])

    def prompt_ids(
        self, messages: Sequence[Message | dict[str, Any]], tools: list[dict[str, Any]] | None = None
    ) -> list[int]:
        """Ids of the last user message. Raises DataError when there is none, or tools are offered."""
        if tools:
            raise DataError("An encoder calls no tools. Leave them out, or take a causal model.")
        plain = [message if isinstance(message, Message) else Message.model_validate(message) for message in messages]
        text = next((message.content for message in reversed(plain) if message.role == "user"), None)
        if text is None:
            raise DataError("An encoder reads the last user message, and there is none. Send one.")
        found = next((known[text] for known in self._texts_ahead if text in known), None)
        return list(found) if found is not None else self._framed([text])[0]

    def shortened(self, ids: list[int], longest: int) -> list[int] | None:
        """The text without its end, framed as before."""
        return ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]]

    def spelled(self, text: str) -> Spelled:
        """Ids of a framed text, and where in it each token stands; None for those of the frame."""
        with self._lock:
            encoding = self._offsets(text, add_special_tokens=True)
        spans = zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
        return Spelled(encoding.ids, [None if special else span for span, special in spans])

    def turns(self, example: Example) -> list[Turn]:
        """An encoder has none. Raises DataError."""
        raise DataError(
            "An encoder says nothing, so it cannot learn answers. Use an objective with a head (classify, regress, "
            "tag), or a causal model."
        )

    def encode_ahead(self, examples: Sequence[Example]) -> None:
        """Encode the texts of these examples together; `prompt_ids` then only looks them up."""
        said = [next((m.content for m in reversed(e.prompt) if m.role == "user"), None) for e in examples]
        texts = [text for text in said if text is not None]
        fresh = dict(zip(texts, self._framed(texts), strict=True))
        self._texts_ahead = (*self._texts_ahead[-1:], fresh) if examples else ()
