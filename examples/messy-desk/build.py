"""Makes the messy files of this example from the clean ones of ../support-desk: each fault is planted and counted.

    python examples/messy-desk/build.py

Deterministic: the same files each time. `planted.json` says what was planted, for docs/data.md and its test.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

HERE = Path(__file__).parent
CLEAN = HERE.parent / "support-desk" / "train.jsonl"
OTHER = {
    "Account Access": "Fraud Report",
    "Fraud Report": "Transaction Dispute",
    "Transaction Dispute": "General Inquiry",
    "General Inquiry": "Account Access",
}
GERMAN = (
    "Guten Tag, ich komme nicht mehr in mein Konto, bitte helfen Sie mir.",
    "Warum wurde mir diese Woche zweimal eine Gebühr abgebucht?",
    "Meine Karte ist weg, bitte sperren Sie sie sofort.",
    "Wie lange dauert eine Überweisung ins Ausland?",
)
PERSONAL = (
    "Please call me back on +44 20 7946 0018, my account is locked.",
    "My mail is jane.porter@example.org and I cannot log in.",
    "Card 4111 1111 1111 1111 was charged twice on Monday, why?",
)
SECRETS = ("Our import job fails with AKIAIOSFODNN7EXAMPLE as key id, is the account blocked?",)


def clean_rows() -> list[tuple[str, str]]:
    """Message and label of the clean rows, shuffled; no two messages alike."""
    found: dict[str, str] = {}
    for line in CLEAN.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["input"], json.loads(row["output"])["intent"])
    rows = [(text, label) for text, label in found.items() if "\n" not in text and ";" not in text and '"' not in text]
    random.Random(7).shuffle(rows)
    return rows


def build() -> None:
    """Write tickets.csv, chat-export.jsonl, test.jsonl and planted.json."""
    rows = clean_rows()
    own, extra, test = rows[:500], rows[500:560], rows[560:640]
    planted: dict[str, int] = {}

    def put(name: str, new: list[tuple[str, str]]) -> list[tuple[str, str]]:
        planted[name] = len(new)
        return new

    faulty = [
        *put("duplicates", own[:9]),
        *put("normalised_twins", [(f"{text.upper()} !!", label) for text, label in own[20:30]]),
        *put("near_twins", [(f"{text} please", label) for text, label in own[40:60] if len(text) > 60]),
        *put("contradictions", [(text, OTHER[label]) for text, label in own[80:86]]),
        *put("label_spellings", [(text, label.lower() + ".") for text, label in extra[:12]]),
        *put("wrong_labels", [(text, OTHER[label]) for text, label in extra[12:24]]),
        *put("zero_width", [(text.replace(" ", " \u200b", 1), label) for text, label in extra[24:28]]),
        *put(
            "mojibake", [(f"Caf\u00e9 Z\u00fcrich: {t}".encode().decode("cp1252"), label) for t, label in extra[28:32]]
        ),
        *put("html", [(f"<p>{text}</p>&nbsp;", label) for text, label in extra[32:37]]),
        *put("language_mix", [(text, "General Inquiry") for text in GERMAN]),
        *put("personal_data", [(text, "Account Access") for text in PERSONAL]),
        *put("secrets", [(text, "General Inquiry") for text in SECRETS]),
    ]
    random.Random(8).shuffle(faulty)
    lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in faulty]
    broken = ['{"text": "cut off', '{"text": "", "label": "Fraud Report"}', "not JSON at all"]
    planted["quarantined"] = len(broken)
    for place, line in zip((5, 17, 40), broken, strict=True):
        lines.insert(place, line)
    (HERE / "chat-export.jsonl").write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())

    table = [f'"{text}";{label};c-{number % 90}' for number, (text, label) in enumerate(own[:-3])]
    table[-1] = table[-1].replace('";', ' (branch of Z\u00fcrich)";', 1)  # UTF-8, as most lines
    table += [f'"{text} (agent: Ren\u00e9 Gr\u00fcn)";{label};c-x' for text, label in own[-3:]]
    encoded = [
        line.encode("cp1252" if "\u00e9" in line else "utf-8") for line in ["sep=;", "text;label;customer", *table]
    ]
    planted["mixed_encodings"] = 3
    (HERE / "tickets.csv").write_bytes(b"\r\n".join(encoded) + b"\r\n")

    held = [*test[:60], *((text.lower() + "?", label) for text, label in own[100:104] if not text.endswith("?"))]
    planted["test_rows"] = len(held)
    text = "".join(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in held)
    (HERE / "test.jsonl").write_text(text, encoding="utf-8")
    (HERE / "planted.json").write_text(json.dumps(planted, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    build()
