"""Training rows drawn at random, as the model will see them: for the page and for the terminal.

Their tokens are known once a model is; they wait beside the encoded rows, which may be deleted at any time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.errors import TunewrightError
from tunewright.core.example import Example, Message
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import token_lengths

if TYPE_CHECKING:
    from tunewright.models.chat import Chat

NUM_ROWS = 20
SEED = 0
MOST_TURNS = 3  # rows shown of one example, which has one for each turn that is learned
_LONGEST = 1200  # characters of one stretch of text
_TAIL = 300  # of these, at its end


@dataclass(frozen=True)
class Stretch:
    """A stretch of a row: who says it (empty inside a row of tokens), the text, and whether it is learned."""

    role: str
    text: str
    learned: bool
    num_left_out: int = 0


@dataclass(frozen=True)
class DrawnRow:
    """A row as the model will see it: in its template with tokens counted, else as a conversation."""

    id: str
    stretches: list[Stretch]
    num_tokens: int = 0
    num_learned: int = 0

    @property
    def in_template(self) -> bool:
        """Whether the stretches are what a tokenizer makes of the row."""
        return self.num_tokens > 0


def drawn(run: Run, num: int = NUM_ROWS) -> list[DrawnRow]:
    """Rows to learn from, drawn at random with a fixed seed; none where there are none, or no readable ones."""
    try:
        examples = _drawn(run)[:num]
    except (TunewrightError, ValueError, OSError):  # replaced by hand: the stage that reads them says what is wrong
        return []
    kept = {row["row"]: row for row in _kept(run)}
    found: list[DrawnRow] = []
    for example in examples:
        row = kept.get(_digest(example))
        if row is None or not row["shown"]:
            found.append(_conversation(example))
            continue
        for one in row["shown"]:
            stretches = [_stretch("", piece["text"], piece["learned"]) for piece in one["pieces"]]
            found.append(DrawnRow(example.id, stretches, one["tokens"], one["learned"]))
    return found


def write(recipe: Recipe, run: Run, chat: Chat) -> None:
    """Keep the drawn rows as training will see them."""
    from tunewright.stages import showing

    objective, longest = recipe.the_objective(), recipe.train.max_tokens or showing.PREVIEW_TOKENS
    rows = []
    for example in _drawn(run):
        shown = list(showing.encoded([example], chat, objective, max_tokens=longest))[:MOST_TURNS]
        as_read = [
            {"pieces": [asdict(piece) for piece in one.pieces], "tokens": one.num_tokens, "learned": one.num_learned}
            for one in shown
        ]
        rows.append({"row": _digest(example), "shown": as_read})
    storage.write_jsonl(_path(run), rows)


def write_where_named(recipe: Recipe, run: Run) -> None:
    """As `write`, where the recipe names a model that is at hand; `choose` finds out what is wrong with others."""
    if not token_lengths.names_model(recipe) or recipe.the_objective().fits_encoders:
        return  # such objectives learn labels that `choose` fills in
    from tunewright.models.opening import open_chat

    with suppress(TunewrightError, OSError, ValueError):
        write(recipe, run, open_chat(recipe.model))


def _drawn(run: Run) -> Sequence[Example]:
    """The examples, in the order in which they were drawn: any first few of them are random too."""
    training = run.split("train")
    numbers = random.Random(SEED).sample(range(len(training)), min(NUM_ROWS, len(training)))
    return [training[number] for number in numbers]


def _path(run: Run) -> Path:
    return run.path("encoded", "preview.jsonl")


def _kept(run: Run) -> list[dict[str, Any]]:
    return list(storage.read_jsonl(_path(run)))


def _digest(example: Example) -> str:
    return storage.digest(example.to_row())


def _conversation(example: Example) -> DrawnRow:
    """Who says what. Learned are the assistant's messages whose weight is not 0; of a pair or a class, the answer."""
    if example.text is not None:
        return DrawnRow(example.id, [_stretch("document", example.text, True)])
    answer_begins = len(example.prompt)
    only_answer = example.rejected is not None or example.num_answer_messages is not None
    found = [
        _stretch(
            message.role,
            _said(message),
            message.role == "assistant" and message.weight != 0 and (place >= answer_begins or not only_answer),
        )
        for place, message in enumerate(example.messages)
    ]
    found += [_stretch("rejected", _said(message), False) for message in example.rejected or ()]
    return DrawnRow(example.id, found)


def _said(message: Message) -> str:
    calls = [json.dumps(call.get("function", call), ensure_ascii=False) for call in message.tool_calls or ()]
    return "\n".join([*([message.content] if message.content else []), *calls])


def _stretch(role: str, text: str, learned: bool) -> Stretch:
    over = len(text) - _LONGEST
    if over <= 0:
        return Stretch(role, text, learned)
    return Stretch(role, f"{text[: _LONGEST - _TAIL]} [...] {text[-_TAIL:]}", learned, over)
