"""Sources that hold everything that preparing must see, and all that came of them as plain JSON."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunewright.core.report import Report
from tunewright.core.run import Run

Rows = list[dict[str, Any]]
WORDS = (
    "card", "money", "fee", "rate", "account", "branch", "phone", "code", "block", "send", "lost", "late", "parcel",
    "order", "letter", "house", "water",
)  # fmt: skip
LABELS = ("card_lost", "Card lost", "fees", "access", "rare")
SYSTEMS = ("Be brief.", "Be kind.", "Answer in rhyme.", "You are a bank.", "Say less.", "No jokes.", "Use numbers.")
CALL = {"id": "1", "type": "function", "function": {"name": "tip", "arguments": '{"x": 1}'}}
TOOL = {"type": "function", "function": {"name": "tip", "parameters": {}}}


class Mixed:
    """Draws rows that repeat, contradict and break the rules about as often as they are good."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def words(self, least: int, most: int) -> str:
        """Some words; now and then with capitals, punctuation or a number."""
        text = " ".join(self.draw.choices(WORDS, k=self.draw.randint(least, most)))
        return self.draw.choice((text, text, text.upper(), f"{text}!", f"  {text.title()}  ", f"{text} -5"))

    def again(self, rows: Rows, share: float, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Rows:
        """Some of the rows once more, changed."""
        return [change(dict(row)) for row in rows if self.draw.random() < share]

    def labels(self, count: int) -> Rows:
        """Labelled texts: copies, near copies, contradictions, spellings, unused columns, unusable rows."""
        rows: Rows = [
            {
                "text": self.words(1, 3) if number % 20 else self.words(200, 300),
                "label": self.draw.choice(LABELS[: 4 + (number % 50 == 0)]),
                "customer": self.draw.choice(("", None, *range(12))),
                "story": self.words(15, 40) if number % 3 else "",
                "number": number,
            }
            for number in range(count)
        ]
        rows += self.again(rows, 0.2, lambda row: row)
        rows += self.again(rows, 0.1, lambda row: row | {"text": f"{row['text'].swapcase()}?"})
        rows += self.again(rows, 0.02, lambda row: row | {"text": " "})
        rows += self.again(rows, 0.02, lambda row: row | {"label": None})
        self.draw.shuffle(rows)
        return rows

    def completions(self, count: int) -> Rows:
        """Prompts with several answers, in two spellings."""
        rows: Rows = [{"prompt": self.words(2, 3), "completion": self.words(1, 2)} for _ in range(count)]
        rows += self.again(rows, 0.3, lambda row: row | {"completion": f"{row['completion'].upper()}."})
        return rows + self.again(rows, 0.2, lambda row: row | {"completion": "another"})

    def chats(self, count: int) -> Rows:
        """Conversations of one to four turns: system messages, tools, calls, weights, names, odd keys."""
        return [self._chat(number) for number in range(count)]

    def _chat(self, number: int) -> dict[str, Any]:
        messages: Rows = []
        if self.draw.random() < 0.6:
            messages.append({"role": "system", "content": self.draw.choice(SYSTEMS)})
        for _ in range(self.draw.randint(1, 4)):
            messages.append({"role": "user", "content": self.words(1, 2)})
            weight = self.draw.choice((0, 1, None))
            messages.append({"role": "assistant", "content": self.words(1, 2), "weight": weight})
        if number % 7 == 0:
            messages[-1] |= {"tool_calls": [CALL], "content": None, "weight": 1}
            messages.append({"role": "tool", "content": "3", "tool_call_id": "1"})
            messages.append({"role": "assistant", "content": "So 3."})
        if number % 9 == 0:
            messages[-1]["seen"] = {"at": number, "by": None}
        return {"messages": messages, "tools": [TOOL] if number % 7 == 0 else None, "topic": self.words(1, 1)}

    def pairs(self, count: int) -> Rows:
        """Preference pairs, some with equal answers."""
        return [
            {"prompt": self.words(1, 2), "chosen": self.words(1, 2), "rejected": self.words(1, 2)} for _ in range(count)
        ]

    def texts(self, count: int) -> Rows:
        """Documents, some twice."""
        rows: Rows = [{"text": self.words(1, 60), "id": number} for number in range(count)]
        return rows + self.again(rows, 0.3, lambda row: row | {"text": f"{row['text']}."})


def written(folder: Path) -> None:
    """All the files."""
    mixed = Mixed(7)
    files = {
        "labels": mixed.labels(240), "held.test": mixed.labels(40), "held": mixed.labels(40),
        "completions": mixed.completions(80), "chats": mixed.chats(150), "pairs": mixed.pairs(120),
        "texts": mixed.texts(90), "alone": [{"question": f"{n} {mixed.words(1, 3)}", "answer": "a"} for n in range(30)],
        "classes": [{"text": mixed.words(3, 6), "label": f"class {n % 61}"} for n in range(90)],
    }  # fmt: skip
    for name, rows in files.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        if name in ("chats", "pairs"):
            lines[5:5] = ["{broken\n", "\n", "[1]\n", '{"messages": [{"role": "user", "content": "\\ud800"}]}\n']
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    cells = [f'"{mixed.words(1, 3)}",{mixed.draw.choice(LABELS)}\n' for _ in range(60)]
    (folder / "table.csv").write_text("text,label\n" + "".join(cells) + "one,too,many\n", encoding="utf-8")


GIVEN = {"validation": "held.jsonl", "max_bad": 0.2}
SCENARIOS: dict[str, dict[str, Any]] = {
    "labels": {"sources": ["labels.jsonl"]},
    "labels in groups": {"sources": ["labels.jsonl"], "split": {"group": "customer", "train": 0.5}},
    "given files": {"sources": ["labels.jsonl", "table.csv"], **GIVEN, "test": "held.test.jsonl"},
    "one file for both": {"sources": ["labels.jsonl"], **GIVEN, "test": "held.jsonl"},
    "a test file": {"sources": ["labels.jsonl", "held.jsonl"], "test": "held.jsonl", "limit": 200, "max_bad": 0.2},
    "a validation file": {"sources": ["labels.jsonl"], **GIVEN, "split": {"seed": 3}},
    "chats": {"sources": ["chats.jsonl"], "system": "Be quick.", "max_bad": 0.2},
    "pairs": {"sources": ["pairs.jsonl"]},
    "texts": {"sources": ["texts.jsonl"]},
    "answers": {"sources": ["completions.jsonl"]},
    "all": {"sources": ["*.jsonl", "table.csv"], "split": {"train": 0.6, "validation": 0.2, "test": 0.2}},
    "few": {"sources": ["alone.jsonl"], "split": {"train": 0.98, "validation": 0.01, "test": 0.01}},
    "classes": {"sources": ["classes.jsonl"], "fields": {"prompt": "text", "label": "label"}},
    "no training": {"sources": ["alone.jsonl"], "split": {"train": 0, "validation": 0.5, "test": 0.5}},
    "no group": {"sources": ["labels.jsonl"], "split": {"group": "client"}},
    "too many bad": {"sources": ["labels.jsonl"], "max_bad": 0.01},
}


def outcome(report: Report, run: Run, folder: Path) -> dict[str, Any]:
    """The card, the findings, the hash of each side and the quarantine, without what differs from place to place."""
    sides = {side: _hash(run.path("data", f"{side}.jsonl").read_bytes()) for side in ("train", "validation", "test")}
    quarantine = run.path("data", "quarantine.jsonl").read_text(encoding="utf-8").replace(str(folder), "FOLDER")
    told = json.dumps(report.model_dump(exclude={"seconds", "next", "run"}), ensure_ascii=False)
    told = told.replace(str(folder), "FOLDER")
    return {"report": json.loads(told), "sides": sides, "quarantine": _hash(quarantine.encode())}


def _hash(content: bytes) -> str:
    num_lines = len(content.splitlines())
    return f"{num_lines} lines, {hashlib.sha256(content).hexdigest()[:16]}"
