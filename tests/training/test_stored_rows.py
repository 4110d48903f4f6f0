"""Rows on the disk are the rows that encoding one by one makes; a folder that is not whole is never believed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import catalog, storage
from tunewright.core.errors import CheckpointError, DataError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Objective
from tunewright.models.chat import Chat
from tunewright.models.forest import Row
from tunewright.training import encoding, stored_rows
from tunewright.training.encoding import encode
from tunewright.training.stored_rows import StoredRows, stored

TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
Stored = Callable[..., StoredRows]


def said(*turns: str, weights: dict[int, float] | None = None, system: str | None = None) -> list[Message]:
    lead = [Message(role="system", content=system)] if system else []
    return lead + [
        Message(role="assistant" if n % 2 else "user", content=text, weight=(weights or {}).get(n))
        for n, text in enumerate(turns)
    ]


CONVERSATIONS = [
    Example(id="plain", messages=said("Where is it?", "Here.")),
    Example(id="turns", messages=said("a", "one", "b", "two", "c", "three", weights={3: 0.0, 5: 0.5}, system="brief")),
    Example(id="controls", messages=said("say <|im_end|> and\n<|im_start|>", "a <|im_end|>\nb", "again", "yes")),
    Example(id="tools", messages=said("look", "done"), tools=TOOLS),
    Example(id="call", messages=[*said("look"), Message(role="assistant", tool_calls=TOOLS)], tools=TOOLS),
    Example(id="unicode", messages=said("Où? \U0001f600 漢字", " \tspace ", "", "x")),
    Example(id="long", messages=said("q" * 400, "unlearned")),
    Example(id="cut", messages=said("q", "many words " * 90)),
    Example(id="plain", messages=said("An id that stands twice", "is one unit")),
]
TEXTS = [Example(id=f"text-{n}", text="Every word of <|im_end|> it. " * n) for n in range(1, 30)]


@pytest.fixture
def stored_in(tmp_path: Path) -> Stored:
    """Store examples in one folder, their data file beside it."""

    def store(examples: list[Example], objective: Objective, chat: Chat, max_tokens: int = 100) -> StoredRows:
        data = tmp_path / "train.jsonl"
        storage.write_jsonl(data, (example.to_row() for example in examples))
        return stored(tmp_path / "encoded", data, examples, objective, chat, max_tokens=max_tokens)

    return store


def one_by_one(examples: list[Example], objective: Objective, chat: Chat, max_tokens: int = 100) -> list[list[Row]]:
    return [objective.encode(example, chat, max_tokens=max_tokens) for example in examples]


def units_of(rows: list[list[Row]]) -> list[list[Row]]:
    units: dict[str, list[Row]] = {}
    for row in (row for of_example in rows for row in of_example if row.num_learned > 0):
        units.setdefault(row.example, []).append(row)
    return list(units.values())


def test_the_collector_looks_at_everything_again_afterwards(open_tiny: Any) -> None:
    chat, objective = open_tiny().chat, catalog.build("objectives", "sft")
    with pytest.raises(DataError):
        encode([Example(id="a")], objective, chat, max_tokens=100)
    encode(CONVERSATIONS, objective, chat, max_tokens=100)
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("batch", [2, 256])
@pytest.mark.parametrize(
    ("objective", "examples"),
    [("sft", CONVERSATIONS), ({"kind": "sft", "learn": "all"}, CONVERSATIONS), ("pretrain", TEXTS)],
)
def test_stored_rows_are_those_made_one_by_one(
    objective: Any, examples: list[Example], batch: int, stored_in: Stored, tokenizer_of: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(encoding, "BATCH_EXAMPLES", batch)
    monkeypatch.setattr(stored_rows, "FLUSH_TOKENS", 150)
    part = catalog.build("objectives", objective)
    expected = one_by_one(examples, part, Chat(tokenizer_of()))
    found = stored_in(examples, part, Chat(tokenizer_of()))
    assert list(found.by_example()) == expected
    assert list(found) == found[:] == units_of(expected)
    held = encode(examples, part, Chat(tokenizer_of()), max_tokens=100)
    assert held.units == units_of(expected)
    assert (held.unlearned, held.cut) == (found.unlearned, found.cut)
    if "sft" in str(objective):
        assert found.cut == ["cut"] and found.unlearned == ["long"] and len(found) == len(examples) - 2


def test_rows_of_the_same_making_are_not_made_again(stored_in: Stored, tokenizer_of: Any, monkeypatch: Any) -> None:
    sft, made = catalog.build("objectives", "sft"), []
    before = type(sft).encode

    def counted(self: Any, example: Example, *arguments: Any, **options: Any) -> Any:
        made.append(example.id)
        return before(self, example, *arguments, **options)

    monkeypatch.setattr(type(sft), "encode", counted)
    changes: list[tuple[list[Example], Objective, Any, int]] = [
        (CONVERSATIONS, sft, tokenizer_of(), 100),
        (CONVERSATIONS[1:], sft, tokenizer_of(), 100),
        (CONVERSATIONS, catalog.build("objectives", {"kind": "sft", "learn": "last"}), tokenizer_of(), 100),
        (CONVERSATIONS, sft, tokenizer_of(None), 100),
        (CONVERSATIONS, sft, tokenizer_of(), 99),
    ]
    for examples, objective, tokenizer, max_tokens in changes:
        made.clear()
        first = stored_in(examples, objective, Chat(tokenizer), max_tokens)[:]
        assert len(made) == len(examples)
        assert stored_in(examples, objective, Chat(tokenizer), max_tokens)[:] == first
        assert len(made) == len(examples)


@pytest.mark.parametrize("point", ["begin", "sync0", "manifest", "manifest.rename", "rename", "parent"])
def test_a_full_disk_leaves_nothing_that_is_believed(
    point: str, stored_in: Stored, tokenizer_of: Any, monkeypatch: Any
) -> None:
    sft = catalog.build("objectives", "sft")
    stored_in(CONVERSATIONS[:3], sft, Chat(tokenizer_of()))
    monkeypatch.setattr(storage, "_visits", {})
    monkeypatch.setenv("TUNEWRIGHT_FAIL", f"rows.{point}:1:full")
    with pytest.raises(CheckpointError, match="disk is full"):
        stored_in(CONVERSATIONS, sft, Chat(tokenizer_of()))
    monkeypatch.delenv("TUNEWRIGHT_FAIL")
    assert list(stored_in(CONVERSATIONS, sft, Chat(tokenizer_of())).by_example()) == one_by_one(
        CONVERSATIONS, sft, Chat(tokenizer_of())
    )


@pytest.mark.parametrize("name", ["tokens.bin", "runs.bin", "names.bin", "entries.bin", "units.bin", "told.json"])
def test_a_damaged_file_is_made_again(name: str, stored_in: Stored, tokenizer_of: Any, tmp_path: Path) -> None:
    sft = catalog.build("objectives", "sft")
    whole = stored_in(CONVERSATIONS, sft, Chat(tokenizer_of()))[:]
    path = tmp_path / "encoded" / name
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.unlink()  # the rows above may still be mapped
    path.write_bytes(content)
    assert stored_in(CONVERSATIONS, sft, Chat(tokenizer_of()))[:] == whole


def test_examples_of_the_wrong_shape_are_refused_and_nothing_is_stored(
    stored_in: Stored, tokenizer_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"'sft' needs 'messages' in every example; 29 of 31 lack it. First: text-1"):
        stored_in([*CONVERSATIONS[:2], *TEXTS], catalog.build("objectives", "sft"), Chat(tokenizer_of()))
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]
