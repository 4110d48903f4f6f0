"""What gives a label away is told: its name in the prompt, codes, columns, lengths, files; topics are no leak."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from looking import look

from tunewright.core.example import Example
from tunewright.data import chance
from tunewright.data.formats import to_example
from tunewright.detectors.label_in_prompt import LabelInPrompt

ALL = {"train": 1, "validation": 0, "test": 0}
LABELS = ["card_lost", "top_up", "exchange rate", "refund"]
WORDS = [a + b + c for a in ("ba", "de", "fi", "ko", "mu") for b in ("la", "re", "si", "to") for c in "npxm"]


def rows(
    count: int, text: Callable[[int, str, str], str], name: str = "a", **columns: Callable[[int, str], object]
) -> list[Example]:
    """Rows of four labels; text: from number, label and eight words that mean nothing."""
    draw = random.Random(count)
    found = []
    for number in range(count):
        label = draw.choice(LABELS)
        row = {"text": text(number, label, " ".join(draw.sample(WORDS, 8))), "label": label}
        row |= {column: value(number, label) for column, value in columns.items()}  # type: ignore[dict-item]
        found.append(to_example("labels", row, {"text": "text", "label": "label"}, f"{name}:{number + 1}"))
    return found


def test_a_label_in_the_prompt_is_told_with_every_row() -> None:
    examples = rows(300, lambda n, label, said: f"[{label.upper()}] {said}" if n % 5 else said)
    fault = look(examples, "label_in_prompt", split=ALL)["label_in_prompt"]
    assert [int(row) for row in fault.rows] == [n for n in range(300) if n % 5] and fault.severity == "problem"
    spoken = rows(300, lambda n, label, said: f"{said} ({label.replace('_', ' ')})" if n % 2 else said)
    assert len(look(spoken, "label_in_prompt", split=ALL)["label_in_prompt"].rows) == 150
    few = rows(300, lambda n, label, said: f"{said} intent=card_lost" if label == "card_lost" and n < 60 else said)
    planted = [n for n, e in enumerate(few) if "card_lost" in e.messages[0].content]
    fault = look(few, "label_in_prompt", split=ALL)["label_in_prompt"]
    assert [int(row) for row in fault.rows] == planted and fault.severity == "warning"


def test_all_labels_in_all_prompts_and_topics_by_their_names_are_no_leak() -> None:
    listed = rows(300, lambda n, label, said: f"Choose of {', '.join(LABELS)}: {said}")
    assert look(listed, "label_in_prompt", split=ALL) == {}
    topics = rows(300, lambda n, label, said: f"{said} {label.replace('_', ' ')}" if n % 5 == 0 else said)
    assert look(topics, "label_in_prompt", split=ALL) == {}
    assert "label_in_prompt" in look(topics, LabelInPrompt(share=0.1), split=ALL)
    inside = rows(300, lambda n, label, said: f"{said} x{label}x")  # no word of its own
    assert look(inside, "label_in_prompt", split=ALL) == {}


def test_codes_that_tell_the_label_are_told_and_others_are_not() -> None:
    prefixes = rows(400, lambda n, label, said: f"{said} ref {label[:2].upper()}-{n:05d}" if n % 2 else said)
    fault = look(prefixes, "label_shortcuts", split=ALL)["label_by_code"]
    assert [int(row) for row in fault.rows] == list(range(1, 400, 2)) and "100%" in fault.message
    ranges = rows(400, lambda n, label, said: f"order {LABELS.index(label) * 1000 + n} {said}")
    assert "label_by_code" in look(ranges, "label_shortcuts", split=ALL)
    dates = rows(400, lambda n, label, said: f"20{20 + LABELS.index(label)}-0{1 + n % 9}-11 {said}")
    assert "label_by_code" in look(dates, "label_shortcuts", split=ALL)
    anything = rows(400, lambda n, label, said: f"{said} ref QX-{(n * 7919) % 100_000:05d}")
    assert look(anything, "label_shortcuts", split=ALL) == {}
    having = rows(400, lambda n, label, said: f"{said} {100 + n * 37 % 900}" if label == "refund" else said)
    assert look(having, "label_shortcuts", split=ALL) == {}  # amounts belong to refunds: what they say tells nothing


def test_columns_that_tell_the_label_are_told_once_and_its_other_name_is_not() -> None:
    examples = rows(
        400,
        lambda n, label, said: said,
        ticket=lambda n, label: f"{label[:3]}-{n}",
        queue=lambda n, label: LABELS.index(label) // 2,
        label_id=lambda n, label: LABELS.index(label),
        agent=lambda n, label: f"agent {n % 7}",
        when=lambda n, label: f"2026-03-{1 + n % 28:02d}",
    )
    found = look(examples, "label_shortcuts", split=ALL)
    assert set(found) == {"label_by_column"} and found["label_by_column"].severity == "info"
    message = found["label_by_column"].message
    assert "column ticket" in message and "tell it, too: queue" in message and "label_id" not in message
    assert "agent" not in message and "when" not in message and len(found["label_by_column"].rows) == 400


def test_lengths_and_files_that_tell_the_label() -> None:
    long = rows(400, lambda n, label, said: said * (1 + LABELS.index(label)))
    assert set(look(long, "label_shortcuts", split=ALL)) == {"label_by_length"}
    examples = rows(400, lambda n, label, said: said)
    for number, example in enumerate(examples):
        examples[number] = example.model_copy(update={"id": f"{str(example.label)[:3]}:{number + 1}"})
    assert set(look(examples, "label_shortcuts", split=ALL)) == {"label_by_source"}
    assert look(rows(400, lambda n, label, said: said), "label_shortcuts", split=ALL) == {}


def test_a_guess_is_no_better_than_chance_where_there_is_nothing_to_know() -> None:
    draw = np.random.default_rng(0)
    gains = [chance.guess(draw.integers(0, 8, 300), draw.integers(0, 3, 300), seed=seed).gain for seed in range(40)]
    assert sum(gain > 0 for gain in gains) <= 6 and max(gains) < 0.1
    label = draw.integers(0, 3, 300)
    told = chance.guess(label * 2 + draw.integers(0, 2, 300), label)
    assert told.right == 1 and told.gain == pytest.approx(1)
    assert (
        chance.bins(np.array([1, 1, 1, 9, 9, 9])).tolist() == [0, 0, 0, 1, 1, 1]
        or len(set(chance.bins(np.array([1, 1, 1, 9, 9, 9])).tolist())) == 2
    )


def test_clean_intents_and_sentences_have_no_leak(real: Path) -> None:
    for name in ("intent-banking77", "sentiment-sentence-polarity"):
        lines = (real / name / "train.jsonl").open(encoding="utf-8").readlines()[:4000]
        examples = [to_example("labels", json.loads(line), {}, f"train:{n}") for n, line in enumerate(lines, 1)]
        assert look(examples, "label_in_prompt", "label_shortcuts") == {}
