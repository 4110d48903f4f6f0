"""The one place where messages become token ids and learned spans. Training, evaluation and serving all come through
here.

Text comes from the tokenizer's own chat template, rendered in transformers' sandbox. A prompt is what the template
makes
of the messages so far with the generation prompt; an answer is what the template adds for the next message, up to and
with its end-of-turn token. Nothing is found by marker strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# For bases without a template of their own: plain words, no control tokens, and the end token after each answer.
PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}Assistant: {{ message['content'] }}{{ eos_token }}\n"
    "{% else %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
# "Assistant:" and " answer" must meet as the template writes them, so the space belongs to the answer.


@dataclass(frozen=True)
class Turn:
    """One assistant turn: the ids it is asked with, the ids it should say (end of turn included), its weight."""

    prompt: list[int]
    answer: list[int]
    weight: float = 1.0


class Chat:
    """A tokenizer with its chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.has_own_template = bool(tokenizer.chat_template)
        if not self.has_own_template:
            tokenizer.chat_template = PLAIN_TEMPLATE
        self._controls = sorted(
            {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}, key=len, reverse=True
        )
        self._control_pattern = re.compile("|".join(map(re.escape, self._controls))) if self._controls else None
        self._answers: dict[str, list[int]] = {}  # labels are asked for again with every question

    # --- what the tokenizer knows ---

    @property
    def template(self) -> str:
        """The Jinja template in use."""
        return str(self.tokenizer.get_chat_template())

    @property
    def bos_id(self) -> int | None:
        """The token that begins a sequence, where the model has one."""
        return self.tokenizer.bos_token_id

    @cached_property
    def end_id(self) -> int:
        """The token that ends an assistant turn: the first control token the template writes after an answer, else
        EOS.
        """
        text = self._render([Message(role="user", content="a"), Message(role="assistant", content="b")], None, False)
        ids = self._ids(text[text.rindex("b") + 1 :], {})
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        for token in ids:
            if token in special and token != self.bos_id:
                return int(token)
        for token in ids:
            if token in special:  # GPT-2 begins and ends with the same token
                return int(token)
        if self.tokenizer.eos_token_id is None:
            raise DataError(
                "This model's tokenizer has no end-of-sequence token, so answers could never end. Set eos_token in it."
            )
        return int(self.tokenizer.eos_token_id)

    @cached_property
    def stop_ids(self) -> list[int]:
        """Tokens at which an answer ends."""
        return sorted(
            {self.end_id, *([self.tokenizer.eos_token_id] if self.tokenizer.eos_token_id is not None else [])}
        )

    @cached_property
    def digest(self) -> str:
        """A hash of everything that decides token ids: vocabulary, merges and template."""
        backend = self.tokenizer.backend_tokenizer.to_str() if hasattr(self.tokenizer, "backend_tokenizer") else ""
        return storage.digest([json.loads(backend) if backend else self.tokenizer.get_vocab(), self.template])

    def control_strings(self, text: str) -> list[str]:
        """Control tokens written out in a text; they are encoded as plain text, never as control tokens."""
        return self._control_pattern.findall(text) if self._control_pattern else []

    # --- messages to ids ---

    def prompt_ids(
        self, messages: Sequence[Message | dict[str, Any]], tools: list[dict[str, Any]] | None = None
    ) -> list[int]:
        """Ids of a conversation that waits for the assistant. Exactly what training learned to answer."""
        clean, offered, marks = self._marked(messages, tools)
        return self._ids(self._render(clean, offered, True), marks)

    def answer_ids(self, text: str) -> list[int]:
        """Ids of a plain answer after a generation prompt, with its end of turn: how a label is scored."""
        if text not in self._answers:
            probe = [Message(role="user", content="a"), Message(role="assistant", content=text)]
            self._answers[text] = self.turns(Example(id="label", messages=probe))[-1].answer
        return self._answers[text]

    def turns(self, example: Example) -> list[Turn]:
        """Each learned assistant turn of a conversation. Raises DataError when the template cannot be followed by
        prefixes.
        """
        turns = []
        clean, tools, marks = self._marked(example.messages, example.tools)
        for index, message in enumerate(example.messages):
            weight = 1.0 if message.weight is None else message.weight
            if message.role == "assistant" and weight > 0:
                turns.append(self._turn(clean[: index + 1], tools, marks, example.id, weight))
        return turns

    def rejected_turn(self, example: Example) -> Turn:
        """The worse answer of a preference pair, asked with the same prompt."""
        assert example.rejected
        clean, tools, marks = self._marked([*example.prompt, *example.rejected], example.tools)
        return self._turn(clean, tools, marks, example.id, 1.0)

    def text_ids(self, text: str) -> list[int]:
        """Ids of a plain document, with the tokens that begin and end one."""
        return [
            *self.beginning_ids(text),
            self.tokenizer.eos_token_id if self.tokenizer.eos_token_id is not None else self.end_id,
        ]

    def beginning_ids(self, text: str) -> list[int]:
        """Ids of a plain document that goes on: with the token that begins one, without the one that ends it."""
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return [self.bos_id, *ids] if self.bos_id is not None else ids

    def decode(self, ids: Sequence[int], *, keep_control: bool = False) -> str:
        """Text of ids; control tokens are left out unless asked for."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=not keep_control, clean_up_tokenization_spaces=False)
        )

    def answer_text(self, ids: Sequence[int]) -> str:
        """The text of a generated answer: without its end of turn and the white space that templates put around it."""
        return self.decode(ids).strip()

    def _turn(
        self,
        messages: list[Message],
        tools: list[dict[str, Any]] | None,
        marks: dict[str, str],
        name: str,
        weight: float,
    ) -> Turn:
        prompt = self._render(messages[:-1], tools, True)
        whole = self._render(messages, tools, False)
        if not whole.startswith(prompt):
            shared = next(
                (i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), min(len(prompt), len(whole))
            )
            raise DataError(
                f"The chat template does not continue its own generation prompt: "
                f"'...{prompt[max(0, shared - 20) :][:40]}' against "
                f"'...{whole[max(0, shared - 20) :][:40]}' in example {name}. Use a template whose prompt is a "
                f"beginning of the "
                "full conversation, or set assistant messages to weight 0."
            )
        answer = self._ids(whole[len(prompt) :], marks)
        if self.end_id in answer:
            answer = answer[: len(answer) - answer[::-1].index(self.end_id)]  # white space after the end is not learned
        else:
            answer = [*answer, self.end_id]
        return Turn(self._ids(prompt, marks), answer, weight)

    def _marked(
        self, messages: Sequence[Message | dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> tuple[list[Message], list[dict[str, Any]] | None, dict[str, str]]:
        """Messages and tools with control strings replaced by private-use marks, and what each mark stands for."""
        plain = [message if isinstance(message, Message) else Message.model_validate(message) for message in messages]
        marks: dict[str, str] = {}
        texts = [*_texts([message.for_template() for message in plain]), *_texts(tools)]
        if self._control_pattern is None or not any(map(self._control_pattern.search, texts)):
            return plain, tools, marks
        pattern, taken = self._control_pattern, {character for text in texts for character in text}
        fresh = (chr(code) for code in range(0xF0000, 0xFFFFD) if chr(code) not in taken)

        def mark(found: re.Match[str]) -> str:
            sign = next(fresh)
            marks[sign] = found.group()
            return sign

        def marked(value: Any) -> Any:
            if isinstance(value, str):
                return pattern.sub(mark, value)
            if isinstance(value, list):
                return [marked(one) for one in value]
            if isinstance(value, dict):
                return {marked(key): marked(one) for key, one in value.items()}
            return value

        changed = [one.model_copy(update=marked(one.for_template()) | {"role": one.role}) for one in plain]
        return changed, marked(tools), marks

    def _render(self, messages: Sequence[Message], tools: Any, generation_prompt: bool) -> str:
        from jinja2.exceptions import TemplateError

        try:
            text = self.tokenizer.apply_chat_template(
                [message.for_template() for message in messages],
                tools=tools,
                tokenize=False,
                add_generation_prompt=generation_prompt,
            )
        except TemplateError as error:
            roles = ", ".join(message.role for message in messages)
            raise DataError(f"The model's chat template refuses this conversation ({roles}): {error}") from None
        return str(text)

    def _ids(self, text: str, marks: dict[str, str]) -> list[int]:
        if not marks:
            return list(self.tokenizer.encode(text, add_special_tokens=False))
        ids: list[int] = []
        for piece in re.split(f"([{''.join(marks)}])", text):
            if piece in marks:
                ids += self.tokenizer.encode(marks[piece], add_special_tokens=False, split_special_tokens=True)
            elif piece:
                ids += self.tokenizer.encode(piece, add_special_tokens=False)
        return ids


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON-like value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _texts(key)
            yield from _texts(one)
