"""Writes train.jsonl and test.jsonl from seeds/ and policy.py: `python examples/support-desk/build.py`.

Needs the standard library only; the same seed gives the same bytes. Test rows use phrases that no train row uses.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from policy import INSTRUCTION, INTENTS, TOPICS, respond

HERE = Path(__file__).resolve().parent
SEED = 20
# What the customer finally asks for, by topic: a bank of asks and the topics that use it.
ASKS = {
    "login": ("password", "locked", "code", "app", "new_phone", "username", "access_help"),
    "card": ("card_blocked", "pin"),
    "scam": ("phishing_call", "phishing_text", "strange_login", "identity"),
    "loss": ("lost_phone", "stolen_card"),
    "victim": ("scam_paid", "gave_code", "money_leaving"),
    "dispute": (
        "unknown_charge",
        "double_charge",
        "refund",
        "wrong_amount",
        "not_received",
        "subscription",
        "cash_machine",
        "wrong_transfer",
        "dispute_complaint",
    ),
    "info": ("fees", "exchange", "new_account", "savings", "travel", "limits", "statements", "loan", "transfer_time"),
    "change": ("details_change",),
    "debt": ("money_worries",),
    "talk": ("human",),
    "death": ("bereavement",),
    "fear": ("coerced",),
}
# Rows in all (hand-written ones included), a quarter for each intent.
NUM_TRAIN = 2000
NUM_TEST_GENERATED = 176
Banks = dict[str, list[str]]  # name of a phrase bank -> its phrases


@dataclass
class Phrases:
    """The phrase banks of one side: train and test share none of the messages, moods or closings."""

    cores: Banks = field(default_factory=dict)
    details: Banks = field(default_factory=dict)
    around: Banks = field(default_factory=dict)
    slots: Banks = field(default_factory=dict)
    asks: Banks = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """A customer message before it becomes a row: what it is about, how it feels, whether a person must take over."""

    topic: str
    text: str
    tone: str = "calm"
    person: bool = False


def read_phrases(rng: random.Random) -> dict[str, Phrases]:
    """Both sides of every phrase bank: `== name`, then a phrase a line (`* ` marks a detail that may follow)."""
    whole = Phrases()
    for path in sorted((HERE / "seeds").glob("*.txt")):
        if path.name.startswith("hand_"):
            continue
        name = ""
        for line in path.read_text(encoding="ascii").splitlines():
            if line.startswith("== "):
                name = line[3:]
            elif line.startswith("* "):
                whole.details.setdefault(name, []).append(line[2:])
            else:
                banks = getattr(whole, path.stem) if path.stem in ("around", "slots", "asks") else whole.cores
                banks.setdefault(name, []).append(line)
    pairs = [hold_out(banks, rng) for banks in (whole.cores, whole.details, whole.around, whole.slots, whole.asks)]
    return {"train": Phrases(*(pair[0] for pair in pairs)), "test": Phrases(*(pair[1] for pair in pairs))}


def hold_out(banks: Banks, rng: random.Random) -> tuple[Banks, Banks]:
    """Draw an eighth of every bank (at least one phrase) for the test rows; the rest is for training."""
    train, test = {}, {}
    for name, phrases in banks.items():
        drawn = set(rng.sample(range(len(phrases)), max(1, len(phrases) // 8)))
        train[name] = [phrase for at, phrase in enumerate(phrases) if at not in drawn]
        test[name] = [phrase for at, phrase in enumerate(phrases) if at in drawn]
    return train, test


def read_hand(path: Path) -> list[Draft]:
    """Hand-written messages: `topic flags | message`, flags u (upset), w (worried), p (a person takes over)."""
    drafts = []
    for line in path.read_text(encoding="ascii").splitlines():
        head, text = line.split(" | ", 1)
        topic, _, flags = head.partition(" ")
        tone = "upset" if "u" in flags else "worried" if "w" in flags else "calm"
        drafts.append(Draft(topic, text, tone, "p" in flags))
    return drafts


def fill(text: str, slots: Banks, rng: random.Random) -> str:
    """Choose one of each `[a|b]` and put a phrase into each `{slot}`."""
    text = re.sub(r"\[([^\]]+)\]", lambda found: rng.choice(found[1].split("|")), text)
    return re.sub(r"\{(\w+)\}", lambda found: rng.choice(slots[found[1]]), text)


def sentence(text: str, rng: random.Random) -> str:
    """A phrase with an end mark, asked with a question mark only where it is a question (and not always then)."""
    first = text.lower().split()[0]
    asks = first in (
        "what",
        "what's",
        "how",
        "when",
        "where",
        "where's",
        "who",
        "why",
        "which",
        "can",
        "could",
        "is",
        "are",
        "do",
        "does",
        "did",
        "will",
        "am",
        "may",
        "should",
        "would",
        "till",
        "who's",
        "any",
    )
    return text + rng.choices(["?", "."] if asks else [".", "!"], weights=[9, 1])[0]


def compose(topic: str, phrases: Phrases, rng: random.Random) -> Draft:
    """One message as a customer puts it together: the matter, and around it whatever else is on the mind."""

    def pick(bank: str) -> str:
        return fill(rng.choice(phrases.around[bank]), phrases.slots, rng)

    def maybe(chance: float, make: Callable[[], str]) -> list[str]:
        return [make()] if rng.random() < chance else []

    tone = rng.choices(["calm", "upset", "worried"], weights=[7, 2, 1])[0]
    if not TOPICS[topic].about or (TOPICS[topic].intent == "General Inquiry" and tone == "worried"):
        tone = "calm"
    person = not TOPICS[topic].needs_person and rng.random() < 0.1
    parts = maybe(0.08, lambda: pick("lead"))
    parts.append(fill(rng.choice(phrases.cores[topic]), phrases.slots, rng))
    parts += maybe(0.3, lambda: fill(rng.choice(phrases.details[topic]), phrases.slots, rng))
    asks = [bank for bank, topics in ASKS.items() if topic in topics]
    if asks:
        parts += maybe(0.6, lambda: rng.choice(phrases.asks[asks[0]]))
    if tone != "calm":
        parts.insert(rng.choice([0, len(parts)]), pick(tone))
    parts += maybe(0.07, lambda: pick("aside"))
    if person:
        parts.append(pick("care"))
    opening = maybe(0.25, lambda: pick("opening"))
    closing = maybe(0.2, lambda: pick("closing"))
    return Draft(topic, join(opening, parts, closing, rng), tone, person)


def join(opening: list[str], parts: list[str], closing: list[str], rng: random.Random) -> str:
    """Put the pieces into one text: tidy sentences, or one breath with commas as many people type."""
    if rng.random() < 0.65:
        tidy = [sentence(part[0].upper() + part[1:], rng) for part in parts]
        head = [opening[0] + ","] if opening else []
        tail = [sentence(closing[0][0].upper() + closing[0][1:], rng)] if closing else []
        return " ".join(head + tidy + tail)
    return rng.choice([", ", " ", " ... ", ", "]).join(opening + parts + closing)


NEIGHBOURS = {"a": "s", "e": "r", "i": "o", "o": "p", "n": "m", "t": "r", "s": "d", "r": "t", "c": "v", "l": "k"}
SHORTER = (
    (r"\bplease\b", "pls"),
    (r"\byou\b", "u"),
    (r"\byour\b", "ur"),
    (r"\baccount\b", "acct"),
    (r"\bthanks\b", "thx"),
    (r"\bbecause\b", "bc"),
    (r"\band\b", "&"),
    (r"\bpassword\b", "pw"),
    (r"\bmessage\b", "msg"),
    (r"\bare\b", "r"),
)


def slip(word: str, rng: random.Random) -> str:
    """One slip of the finger in a word of five letters or more: a letter lost, doubled, swapped or hit beside."""
    if len(word) < 5 or not word.isalpha():
        return word
    at = rng.randrange(1, len(word) - 1)
    kind = rng.choice(["lost", "doubled", "swapped", "beside"])
    if kind == "lost":
        return word[:at] + word[at + 1 :]
    if kind == "doubled":
        return word[:at] + word[at] + word[at:]
    if kind == "swapped":
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + NEIGHBOURS.get(word[at], word[at]) + word[at + 1 :]


def typed(text: str, rng: random.Random) -> str:
    """The text as this customer types it: tidy, lower case, shouting, hasty, abbreviated or in a second language."""
    habit = rng.choices(["tidy", "lower", "shouting", "hasty", "short", "foreign"], weights=[44, 20, 4, 16, 10, 6])[0]
    if habit == "shouting":
        return re.sub(r"[.!]$", "!!", text.upper())
    if habit == "foreign":
        text = re.sub(r"\b(the|a|an) (?=[a-z])", "", text)
    if habit == "short":
        for pattern, short in SHORTER:
            text = re.sub(pattern, short, text) if rng.random() < 0.7 else text
    if habit == "hasty":
        text = " ".join(slip(word, rng) if rng.random() < 0.16 else word for word in text.split(" "))
    if habit != "tidy" and rng.random() < 0.5:
        text = text.replace("'", "")
    if habit in ("lower", "short", "hasty") and rng.random() < 0.8:
        text = text.lower()
    if habit == "lower":
        text = text.rstrip(".!")
    return text


def key(text: str) -> str:
    """The text without case, space and punctuation: two inputs with one key are twins."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def generate(num_rows: dict[str, int], phrases: Phrases, seen: set[str], rng: random.Random) -> list[Draft]:
    """As many new messages of each intent as asked, its topics in turn; `seen` holds the keys that are taken."""
    drafts: list[Draft] = []
    for intent in INTENTS:
        topics = [name for name, topic in TOPICS.items() if topic.intent == intent]
        wanted = len(drafts) + num_rows[intent]
        turn = 0
        while len(drafts) < wanted:
            draft = compose(topics[turn % len(topics)], phrases, rng)
            text = typed(draft.text, rng)
            if key(text) not in seen:
                seen.add(key(text))
                drafts.append(Draft(draft.topic, text, draft.tone, draft.person))
                turn += 1
    return drafts


def row(draft: Draft, source: str, rng: random.Random) -> dict[str, str]:
    topic = TOPICS[draft.topic]
    response = respond(topic, tone=draft.tone, person=draft.person, rng=rng)
    output = json.dumps({"intent": topic.intent, "response": response})
    return {"instruction": INSTRUCTION, "input": draft.text, "output": output, "source": source}


def build() -> dict[str, list[dict[str, str]]]:
    """All rows of both files, shuffled within each."""
    rng = random.Random(SEED)
    sides = read_phrases(rng)
    hand = {side: read_hand(HERE / "seeds" / f"hand_{side}.txt") for side in ("train", "test")}
    seen = {key(draft.text) for drafts in hand.values() for draft in drafts}
    num_train = {
        intent: NUM_TRAIN // len(INTENTS) - sum(TOPICS[draft.topic].intent == intent for draft in hand["train"])
        for intent in INTENTS
    }
    num_test = dict.fromkeys(INTENTS, NUM_TEST_GENERATED // len(INTENTS))
    generated = {
        "train": generate(num_train, sides["train"], seen, rng),
        "test": generate(num_test, sides["test"], seen, rng),
    }
    files = {}
    for side in ("train", "test"):
        rows = [row(draft, "hand", rng) for draft in hand[side]]
        rows += [row(draft, "generated", rng) for draft in generated[side]]
        rng.shuffle(rows)
        files[side] = rows
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write into (default: beside this file)")
    out = parser.parse_args().out
    for name, rows in build().items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (out / f"{name}.jsonl").write_bytes(text.encode("ascii"))


if __name__ == "__main__":
    main()
