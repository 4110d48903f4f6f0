"""The one place where messages become token ids and learned spans. Training, evaluation and serving all come through
here.

Text comes from the tokenizer's own chat template, rendered in transformers' sandbox. A prompt is what it makes of the
messages so far with the generation prompt; an answer is what it adds for the next message, up to and with its
end-of-turn token. Nothing is found by marker strings.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tunewright.core import storage
from tunewright.core.deadline import TooLong, within
from tunewright.core.errors import DataError
from tunewright.core.example import ROLES, Example, Message
from tunewright.models.skeletons import Skeletons
from tunewright.models.turns import Ahead, Draft, Spelled, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tunewright.models.new_tokens import NewTokens

RENDER_SECONDS = 10.0  # that a chat template may take for one conversation
MOST_RENDERED = 2**25  # characters that it may make of one
Dicts = list[dict[str, Any]]  # messages as templates read them

# For bases without a template of their own: plain words, no control tokens, and the end token after each answer.
PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}Assistant: {{ message['content'] }}{{ eos_token }}\n"
    "{% else %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
# "Assistant:" and " answer" must meet as the template writes them, so the space belongs to the answer.


class Chat:
    """A tokenizer with its chat template."""

    uses_template: ClassVar[bool] = True  # a tokenizer that has none is given a plain one
    new: NewTokens | None = None  # those that the recipe added to the tokenizer

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.has_own_template = bool(tokenizer.chat_template)
        if self.uses_template and not self.has_own_template:
            tokenizer.chat_template = PLAIN_TEMPLATE
        self._controls = sorted(
            {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}, key=len, reverse=True
        )
        self._control_pattern = re.compile("|".join(map(re.escape, self._controls))) if self._controls else None
        words = ("role", "content", *ROLES)
        self._words_are_plain = not any(map(self._control_pattern.search, words)) if self._control_pattern else True
        self._answers: dict[str, list[int]] = {}  # labels are asked for again with every question
        self._ahead: tuple[Ahead, ...] = ()
        self._printing: tuple[Any, Skeletons] | None = None  # for a template of the tokenizer
        self._backend = _backend(tokenizer)
        self._lock = threading.Lock()  # the tokenizer holds how special tokens are read as a state

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
        text = self._render([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], None, False)
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
        known = self._known(example)
        return self._encoded(self._drafts(example)) if known is None else known[1]

    def chosen_turns(self, example: Example) -> list[Turn]:
        """The turns of the answer alone, of a preference pair's better one: those behind the prompt."""
        behind = sum(map(_is_learned, example.messages[len(example.prompt) :]))
        return self.turns(example)[-behind:] if behind else []

    def rejected_turns(self, example: Example) -> list[Turn]:
        """The turns of a preference pair's worse answer, behind the same prompt."""
        known = self._known(example)
        return self._encoded(self._rejected_drafts(example)) if known is None else known[2]

    def _known(self, example: Example) -> tuple[Example, list[Turn], list[Turn]] | None:
        found = (known.turns.get(id(example)) for known in self._ahead)
        return next((held for held in found if held is not None and held[0] is example), None)

    def encode_ahead(self, examples: Sequence[Example]) -> None:
        """Encode the turns and the documents of these examples together, which is faster than one by one.

        `turns`, `text_ids` and `beginning_ids` then only look them up, for the examples of the last two calls: one
        batch is used while the next is made. No examples: all is forgotten.
        """
        asked = [example for example in examples if example.messages]
        drafts = [(self._drafts(example), self._rejected_drafts(example)) for example in asked]
        turns = iter(self._encoded([draft for both in drafts for part in both for draft in part]))
        by_example = {
            id(example): (example, [next(turns) for _ in own], [next(turns) for _ in rejected])
            for example, (own, rejected) in zip(asked, drafts, strict=True)
        }
        texts = [example.text for example in examples if example.text]
        fresh = Ahead(by_example, dict(zip(texts, self._tokens(texts, split_special_tokens=True), strict=True)))
        self._ahead = (*self._ahead[-1:], fresh) if examples else ()

    def text_ids(self, text: str) -> list[int]:
        """Ids of a plain document, with the tokens that begin and end one."""
        return [
            *self.beginning_ids(text),
            self.tokenizer.eos_token_id if self.tokenizer.eos_token_id is not None else self.end_id,
        ]

    def beginning_ids(self, text: str) -> list[int]:
        """Ids of a plain document that goes on: with the token that begins one, without the one that ends it."""
        ids = next((known.texts[text] for known in self._ahead if text in known.texts), None)
        if ids is None:
            ids = self._tokens([text], split_special_tokens=True)[0]
        return [self.bos_id, *ids] if self.bos_id is not None else ids

    def spelled(self, text: str) -> Spelled:
        """A plain document that goes on, as `beginning_ids` encodes it, with the place of each token in the text."""
        with self._lock:
            encoding = self._offsets(text, add_special_tokens=False)
        if self.bos_id is None:
            return Spelled(encoding.ids, list(encoding.offsets))
        return Spelled([self.bos_id, *encoding.ids], [None, *encoding.offsets])

    def shortened(self, ids: list[int], longest: int) -> list[int] | None:
        """The ids where they fit into so many tokens; a conversation cannot lose its end, so None where they do not."""
        return ids if len(ids) <= longest else None

    def decode(self, ids: Sequence[int], *, keep_control: bool = False) -> str:
        """Text of ids; control tokens are left out unless asked for."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=not keep_control, clean_up_tokenization_spaces=False)
        )

    def readable(self, text: str) -> str:
        """The text as this tokenizer can say it: as it stands, but where it puts a space behind a new token."""
        return text if self.new is None else self.decode(self._tokens([text], split_special_tokens=True)[0])

    def answer_text(self, ids: Sequence[int]) -> str:
        """The text of a generated answer: without its end of turn and the white space that templates put around it."""
        return self.decode(ids).strip()

    # --- messages to texts ---

    def _drafts(self, example: Example, *, first: int = 0) -> list[Draft]:
        """Each learned turn, from a message on."""
        drafts = []
        dicts, tools, marks = self._marked(example.messages, example.tools)
        for index, message in enumerate(example.messages):
            if index >= first and _is_learned(message):
                weight = 1.0 if message.weight is None else message.weight
                drafts.append(self._draft(dicts[: index + 1], tools, marks, example.id, weight))
        return drafts

    def _rejected_drafts(self, example: Example) -> list[Draft]:
        if not example.rejected:
            return []
        prompt = example.prompt
        other = Example.model_construct(id=example.id, messages=[*prompt, *example.rejected], tools=example.tools)
        return self._drafts(other, first=len(prompt))

    def _draft(
        self, messages: Dicts, tools: list[dict[str, Any]] | None, marks: dict[str, str], name: str, weight: float
    ) -> Draft:
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
        return Draft(prompt, whole[len(prompt) :], marks, weight)

    def _marked(
        self, messages: Sequence[Message | dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> tuple[Dicts, list[dict[str, Any]] | None, dict[str, str]]:
        """Messages and tools for the template, control strings replaced by private-use marks; what each mark stands
        for.
        """
        plain = [message if isinstance(message, Message) else Message.model_validate(message) for message in messages]
        dicts = [message.for_template() for message in plain]
        marks: dict[str, str] = {}
        if self._control_pattern is None:
            return dicts, tools, marks
        pattern = self._control_pattern
        if tools is None and self._words_are_plain and all(len(one) == 2 for one in dicts):
            texts = [one["content"] for one in dicts]
        else:
            texts = [*_texts(dicts), *_texts(tools)]
        if not any(map(pattern.search, texts)):
            return dicts, tools, marks
        taken = {character for text in texts for character in text}
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

        changed = [marked(one) | {"role": one["role"]} for one in dicts]
        return changed, marked(tools), marks

    def _render(self, messages: Dicts, tools: Any, generation_prompt: bool) -> str:
        text = self._skeletons().text(messages, generation_prompt) if tools is None else None
        return self._by_template(messages, tools, generation_prompt) if text is None else text

    def _skeletons(self) -> Skeletons:
        """What the template in use prints around contents."""
        template = self.tokenizer.chat_template
        if self._printing is None or self._printing[0] is not template:
            words = [str(word) for word in self.tokenizer.special_tokens_map.values()]

            def render(messages: Dicts, generation_prompt: bool) -> str:
                return self._by_template(messages, None, generation_prompt)

            self._printing = (template, Skeletons(self.template, render, words=words))
        return self._printing[1]

    def _by_template(self, messages: Dicts, tools: Any, generation_prompt: bool) -> str:
        roles = ", ".join(message["role"] for message in messages[:20])
        try:
            with within(RENDER_SECONDS):
                text = self.tokenizer.apply_chat_template(
                    messages, tools=tools, tokenize=False, add_generation_prompt=generation_prompt
                )
        except TooLong:
            raise DataError(
                f"The model's chat template takes longer than {RENDER_SECONDS:g} s for a conversation ({roles}). "
                "Shorten the conversation, or take a model with another template."
            ) from None
        except Exception as error:  # a template is a program of the model's maker, which may fail in any way
            raise DataError(f"The model's chat template refuses this conversation ({roles}): {error}") from None
        if len(text) > MOST_RENDERED:
            raise DataError(f"The model's chat template makes {len(text):,} characters of a conversation ({roles}).")
        return str(text)

    # --- texts to ids ---

    def _encoded(self, drafts: Sequence[Draft]) -> list[Turn]:
        """The drafts as ids, all texts at once; only those with marks are pieced together one by one."""
        texts = [text for draft in drafts if not draft.marks for text in (draft.prompt, draft.answer)]
        ids = iter(self._tokens(texts))
        turns = []
        for draft in drafts:
            if draft.marks:
                prompt, answer = self._ids(draft.prompt, draft.marks), self._ids(draft.answer, draft.marks)
            else:
                prompt, answer = next(ids), next(ids)
            if self.end_id in answer:
                answer = answer[: len(answer) - answer[::-1].index(self.end_id)]  # white space after it is not learned
            else:
                answer = [*answer, self.end_id]
            turns.append(Turn(prompt, answer, draft.weight))
        return turns

    def _ids(self, text: str, marks: dict[str, str]) -> list[int]:
        if not marks:
            return self._tokens([text])[0]
        ids: list[int] = []
        for piece in re.split(f"([{''.join(marks)}])", text):
            if piece in marks:
                ids += self._tokens([marks[piece]], split_special_tokens=True)[0]
            elif piece:
                ids += self._tokens([piece])[0]
        return ids

    def _tokens(self, texts: list[str], *, split_special_tokens: bool = False, framed: bool = False) -> list[list[int]]:
        """Ids of each text, in the tokenizer's own frame if wanted; many at once are shared out over the cores."""
        if not texts:
            return []
        with self._lock:
            if self._backend is None:
                one = self.tokenizer.encode
                options = {"split_special_tokens": True} if split_special_tokens else {}
                return [list(one(text, add_special_tokens=framed, **options)) for text in texts]
            self._backend.no_padding()
            self._backend.no_truncation()
            self._backend.encode_special_tokens = split_special_tokens or self.tokenizer.split_special_tokens
            found = self._backend.encode_batch_fast(texts, add_special_tokens=framed)
        return [encoding.ids for encoding in found]

    def _framed(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text in the tokenizer's own frame, control strings read as text."""
        return self._tokens(texts, split_special_tokens=True, framed=True)

    def _offsets(self, text: str, *, add_special_tokens: bool) -> Any:
        """The tokenizers library's encoding of one text, control strings read as text. The lock must be held."""
        if self._backend is None:
            raise DataError(
                f"This model's tokenizer ({type(self.tokenizer).__name__}) does not tell which characters a token "
                "stands for, so its words cannot be tagged. Take another base."
            )
        self._backend.no_padding()
        self._backend.no_truncation()
        self._backend.encode_special_tokens = True
        return self._backend.encode_batch([text], add_special_tokens=add_special_tokens)[0]


def _is_learned(message: Message) -> bool:
    return message.role == "assistant" and message.weight != 0


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    """The tokenizers library's own object, which reads many texts at once; None where a class does more than it."""
    from transformers import PreTrainedTokenizerFast

    names = ("__call__", "encode", "_encode_plus")
    plain = all(getattr(type(tokenizer), name) is getattr(PreTrainedTokenizerFast, name) for name in names)
    return tokenizer.backend_tokenizer if plain else None


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
