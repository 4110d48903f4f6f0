"""Token ids to text while they are being generated: whole characters only, stop strings never shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunewright.models.chat import Chat

BROKEN = "\ufffd"  # what a tokenizer shows for bytes that are not a whole character yet


@dataclass(frozen=True)
class Token:
    """One generated token with its log-prob (nats) and the likeliest tokens at its place."""

    text: str
    logprob: float
    likeliest: list[tuple[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Said:
    """Text that is sure, and the tokens that it is made of."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)


class Words:
    """The text of one answer as it grows. strip: leave out white space around it, as evaluation does. texts: of single
    tokens, as far as they are known, shared by all answers of a tokenizer. keep_control: show control tokens.
    """

    def __init__(
        self,
        chat: Chat,
        *,
        stops: Sequence[str] = (),
        strip: bool = False,
        texts: dict[int, str] | None = None,
        keep_control: bool = False,
    ) -> None:
        self.chat = chat
        self.keep_control = keep_control
        self.texts = {} if texts is None else texts
        self.stops = stops
        self.strip = strip
        self.stopped = False
        self.text = ""
        self.ids: list[int] = []
        # ids before _read are in `text`; decoding starts at _from, which gives them context
        self._from = self._read = 0
        self._told = 0
        self._begun = False
        self._waiting: list[tuple[int, Token]] = []

    def add(self, token_id: int, token: Token | None = None) -> Said:
        """Take one more token; return what may be shown now. Sets `stopped` when a stop string is complete."""
        self.ids.append(token_id)
        return self.add_text(self._fresh(last=False), [token] if token is not None else [])

    def add_later(self, token_id: int) -> None:
        """Take one more token, whose text `more` makes: for answers without stop strings."""
        self.ids.append(token_id)

    def more(self) -> Said:
        """What may be shown now of tokens that were added for later."""
        return self.add_text(self._fresh(last=False)) if self._read < len(self.ids) else Said()

    def add_text(self, text: str, tokens: Sequence[Token] = ()) -> Said:
        """As `add`, where text comes instead of ids."""
        before = len(self.text)
        self._waiting += [(before, token) for token in tokens]
        self.text += text
        if self._cut(before):
            return self.end()
        return self._release(len(self.text) - self._held())

    def end(self) -> Said:
        """What is left to show when the answer is over."""
        if not self.stopped:
            before = len(self.text)
            self.text += self._fresh(last=True)
            self._cut(before)
        upto = len(self.text.rstrip()) if self.strip else len(self.text)
        said = self._release(upto)
        tokens = [token for start, token in self._waiting if start < len(self.text) or not self.stopped]
        self._waiting = []
        return Said(said.text, [*said.tokens, *tokens])

    def _fresh(self, *, last: bool) -> str:
        """Text of the ids that are not in `text` yet; nothing while a character is incomplete."""
        known = self._known()
        whole = self._decoded(self.ids[self._from :])
        if len(whole) <= len(known) or (whole.endswith(BROKEN) and not last):
            return ""
        self._from, self._read = self._read, len(self.ids)
        return whole[len(known) :]

    def _known(self) -> str:
        """The text before the new ids. It is mostly one token's, which need not be decoded each time it is said."""
        ids = self.ids[self._from : self._read]
        if len(ids) != 1:
            return self._decoded(ids) if ids else ""
        if ids[0] not in self.texts:
            self.texts[ids[0]] = self._decoded(ids)
        return self.texts[ids[0]]

    def _decoded(self, ids: list[int]) -> str:
        return self.chat.decode(ids, keep_control=self.keep_control)

    def _cut(self, before: int) -> bool:
        """End the text at the first stop string, if one is in it."""
        starts = [self.text.find(stop, max(0, before - len(stop) + 1)) for stop in self.stops]
        found = [start for start in starts if start >= 0]
        if found:
            self.text = self.text[: min(found)]
            self.stopped = True
        return bool(found)

    def _held(self) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        longest = 0
        for stop in self.stops:
            for size in range(min(len(stop) - 1, len(self.text)), longest, -1):
                if self.text.endswith(stop[:size]):
                    longest = size
                    break
        return longest

    def _release(self, upto: int) -> Said:
        if self.strip:
            upto = len(self.text[:upto].rstrip())  # white space is shown only once something follows it
        text = self.text[self._told : upto]
        self._told = max(self._told, upto)
        if self.strip and not self._begun:
            text = text.lstrip()
        if not text:
            return Said()
        self._begun = True
        tokens = [token for start, token in self._waiting if start < upto]
        self._waiting = [(start, token) for start, token in self._waiting if start >= upto]
        return Said(text, tokens)
