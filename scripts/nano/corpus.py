"""Builds the corpus of the bundled base model: packed text, chat rows and a small validation share of each.

python scripts/nano/corpus.py --data DIR --out DIR [--seed 0]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import classification
import sources
from chat import ChatRow, chat, talk
from documents import labelled_list, write_documents
from grammar import spell_label
from instructions import TASKS
from written import Written

WRITTEN = "written for nano"
Piece = tuple[str, str]  # source and text
CLINC_SHARES = {"bare": 1, "named": 0.7, "options": 0.3, "about": 0.1, "same": 0.1, "session": 0.06, "example": 0.03}
WRITTEN_SHARES = {
    "bare": 0.8,
    "named": 0.5,
    "options": 0.3,
    "about": 0.1,
    "same": 0.1,
    "session": 0.08,
    "example": 0.05,
}
MOST_CHARACTERS = 1700


def main() -> None:
    """Reads the arguments and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TUNEWRIGHT_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    bank = Written()
    pieces = list(text_pieces(arguments.data, bank, seed=arguments.seed))
    rows = list(chat_rows(arguments.data, bank, seed=arguments.seed))
    report = {
        "seed": arguments.seed,
        "pretrain": write_texts(pieces, out=arguments.out, seed=arguments.seed),
        "chat": write_chats(rows, out=arguments.out, seed=arguments.seed),
    }
    (arguments.out / "corpus.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for part in ("pretrain", "chat"):
        for name, counts in report[part]["sources"].items():
            print(
                f"{part:9} {name:32} {counts['licence']:15} {counts['rows']:7} rows {counts['characters']:9} characters"
            )


def seeded(seed: int, name: str) -> random.Random:
    """A stream of its own for each part, so that a change in one part leaves the others as they were."""
    return random.Random(f"{seed}:{name}")


def text_pieces(data: Path, bank: Written, *, seed: int) -> Iterator[Piece]:
    """Everything of the packed-text phase."""
    yield from (("lm-english-novels", text) for text in sources.novel_pieces(data, budget=4_600_000))
    yield from (("lm-us-speeches", text) for text in sample(sources.speech_pieces(data), 400, seed, "speeches"))
    yield from (("lm-shakespeare", text) for text in sample(sources.play_pieces(data), 120, seed, "plays"))
    sums = [f"{ask}\n{answer}" for ask, answer in sources.sums(data)]
    yield from (("instruction-gsm8k", text) for text in sample(sums, 4_000, seed, "sums"))
    for text, label in sources.reviews(data):
        for piece in sources.cut(text.split("\n")):
            if sources.is_clean(piece):
                yield "sentiment-movie-reviews-long", f"{piece}\nThe review is {label}." if len(piece) > 1000 else piece
    yield from polarity_pieces(data, seed=seed)
    yield from intent_pieces(data, seed=seed)
    yield from (("ner-wnut17", text) for text in bundle([text for text, _ in sources.entities(data)], size=12))
    yield from (("pii-presidio-synth", text) for text in bundle([text for text, _ in sources.identities(data)], size=8))
    for turns in sources.assistant_talks(data):
        names = {"user": "User", "assistant": "Assistant"}
        yield "toolcalls-glaive-demo", "\n".join(f"{names[role]}: {text}" for role, text in turns)
    yield from ((WRITTEN, text) for text in write_documents(bank, rng=seeded(seed, "documents"), budget=6_800_000))


def sample(pieces: list[str], count: int, seed: int, name: str) -> list[str]:
    """At most `count` of the pieces."""
    return seeded(seed, name).sample(pieces, k=min(count, len(pieces)))


def bundle(texts: list[str], *, size: int, most: int = 1500) -> list[str]:
    """Several short texts on one page."""
    pages: list[list[str]] = [[]]
    for text in texts:
        if len(pages[-1]) == size or sum(map(len, pages[-1])) + len(text) > most:
            pages.append([])
        pages[-1].append(text)
    return ["\n".join(page) for page in pages if page]


def polarity_pieces(data: Path, *, seed: int) -> Iterator[Piece]:
    """Pages of review sentences, half of them with their label."""
    rng = seeded(seed, "polarity")
    pairs = sources.polarity(data)
    rng.shuffle(pairs)
    for start in range(0, len(pairs), 10):
        page = pairs[start : start + 10]
        text = labelled_list(page, rng=rng) if rng.random() < 0.5 else "\n".join(text for text, _ in page)
        yield "sentiment-sentence-polarity", text


def intent_pieces(data: Path, *, seed: int) -> Iterator[Piece]:
    """CLINC150 queries as pages: mixed with labels, and grouped by label."""
    rng = seeded(seed, "clinc pages")
    pairs = [(text, label.replace("_", " ")) for text, label in sources.intents(data)]
    rng.shuffle(pairs)
    for start in range(0, len(pairs), 14):
        yield "intent-clinc150", labelled_list(pairs[start : start + 14], rng=rng)
    by_label: dict[str, list[str]] = {}
    for text, label in pairs:
        by_label.setdefault(label, []).append(text)
    groups = [f"{label}\n{text}" for label, texts in by_label.items() for text in bundle(texts, size=10)]
    rng.shuffle(groups)
    yield from (("intent-clinc150", "\n\n".join(groups[start : start + 2])) for start in range(0, len(groups), 2))


def chat_rows(data: Path, bank: Written, *, seed: int) -> Iterator[ChatRow]:
    """Everything of the chat phase."""
    yield from clinc_rows(data, seed=seed)
    rng = seeded(seed, "written intents")
    examples = classification.written_examples(bank, rng=rng, each=35)
    yield from classification.intent_rows(WRITTEN, examples, rng=rng, shares=WRITTEN_SHARES)
    domain_of = {intent.phrase: intent.domain for intent in bank.intents}
    some = rng.sample(examples, k=len(examples) // 5)
    yield from classification.domain_rows(WRITTEN, [(text, domain_of[phrase]) for text, phrase in some], rng=rng)
    toned = [bank.toned_message(rng.choice(bank.intents), rng=rng) for _ in range(2500)]
    timed = [bank.timed_message(rng.choice(bank.intents), rng=rng) for _ in range(1500)]
    yield from classification.mood_rows(WRITTEN, toned + timed, rng=rng)
    rng = seeded(seed, "sentiment")
    yield from classification.sentiment_rows("sentiment-sentence-polarity", sources.polarity(data), rng=rng)
    short = [(text[: text.rfind("\n", 0, 1100)], label) for text, label in sources.reviews(data)]
    short = [(text, label) for text, label in short if 300 < len(text) < 1100 and sources.is_clean(text)]
    yield from classification.sentiment_rows("sentiment-movie-reviews-long", short[:600], rng=rng)
    yield from instruction_rows(bank, seed=seed, count=17_000)
    yield from support_rows(bank, seed=seed, count=2_000)
    yield from entity_rows(data, seed=seed)
    yield from (chat("instruction-self-instruct-seed", ask, answer) for ask, answer in sources.seed_tasks(data))
    short_sums = [(ask, answer) for ask, answer in sources.sums(data) if len(ask) + len(answer) < 330]
    yield from (chat("instruction-gsm8k", ask, answer) for ask, answer in short_sums)
    yield from (talk("toolcalls-glaive-demo", turns) for turns in sources.assistant_talks(data))


def clinc_rows(data: Path, *, seed: int) -> Iterator[ChatRow]:
    """CLINC150 in every classification form, its ten fields, and its out-of-scope queries."""
    rng = seeded(seed, "clinc")
    examples = [(text, label.replace("_", " ")) for text, label in sources.intents(data)]
    yield from classification.intent_rows("intent-clinc150", examples, rng=rng, shares=CLINC_SHARES)
    with_domain = [(text, classification.DOMAIN_OF[label]) for text, label in sources.intents(data)]
    some = rng.sample(with_domain, k=len(with_domain) // 8)
    yield from classification.domain_rows("intent-clinc150", some, rng=rng)
    labels = sorted({phrase for _, phrase in examples})
    for text, _ in sources.intents(data, splits=("oos_train", "oos_validation")):
        options = [spell_label(label, "snake") for label in rng.sample(labels, k=rng.randint(3, 8))]
        prompt = f"Choose one of: {', '.join(options)}. If none fits, answer other."
        yield chat("intent-clinc150", text, "other", system=prompt, key=text)


def instruction_rows(bank: Written, *, seed: int, count: int) -> Iterator[ChatRow]:
    """Small instructions; a system prompt in a third of them, two or three tasks in one talk now and then."""
    rng = seeded(seed, "instructions")
    tasks, weights = [task for task, _ in TASKS], [weight for _, weight in TASKS]
    seen: set[tuple[str, str]] = set()
    for _ in range(count):
        pairs = [task(bank, rng) for task in rng.choices(tasks, weights=weights, k=rng.choice([1] * 8 + [2, 3]))]
        if len(pairs) == 1 and pairs[0] in seen and rng.random() < 0.8:
            continue
        seen.update(pairs)
        turns = [turn for ask, answer in pairs for turn in (("user", ask), ("assistant", answer))]
        system = rng.choice(bank.facts["systems"])[0] if rng.random() < 0.33 else None
        yield talk(WRITTEN, turns, system=system)


def support_rows(bank: Written, *, seed: int, count: int) -> Iterator[ChatRow]:
    """Talks of a customer with an agent; the system prompt says who answers."""
    rng = seeded(seed, "support")
    for _ in range(count):
        intent = rng.choice(bank.intents)
        message = bank.message(intent, rng=rng).text
        systems = (
            f"You answer customers of a {intent.domain} service.",
            "You are a support agent. Answer kindly and briefly.",
            "Help the customer.",
            f"You work at the help desk ({intent.domain}). Keep it short.",
        )
        turns = [("user", message), ("assistant", bank.reply(intent, rng=rng))]
        if rng.random() < 0.4:
            thanks = rng.choice(["Thank you.", "Thanks!", "ok great", "thank you so much"])
            welcome = rng.choice(["You are welcome.", "Is there anything else?", "Any time."])
            turns += [("user", thanks), ("assistant", welcome)]
        yield talk(WRITTEN, turns, system=rng.choice(systems))


def entity_rows(data: Path, *, seed: int) -> Iterator[ChatRow]:
    """Which people and places does a text name?"""
    rng = seeded(seed, "entities")
    kinds = {
        "person": "people",
        "location": "places",
        "PERSON": "people",
        "GPE": "places",
        "ORGANIZATION": "organisations",
    }
    found = [("ner-wnut17", *entry) for entry in sources.entities(data)]
    found += [("pii-presidio-synth", *entry) for entry in sources.identities(data)]
    for source, text, values in found:
        known = [kind for kind in values if kind in kinds]
        if not known and rng.random() < 0.75:
            continue
        kind = rng.choice(known) if known else rng.choice(["person", "location"])
        ask = rng.choice(["Which {} are named in the text?", "List the {} in the text.", "Name the {}:"]).format(
            kinds[kind]
        )
        answer = ", ".join(values.get(kind, [])) or "none"
        if rng.random() < 0.5:
            yield chat(source, text, answer, system=ask + " If there are none, say none.", key=text)
        else:
            yield chat(source, f"{ask}\n\n{text}", answer, key=text)


def is_held_out(key: str, *, share: int) -> bool:
    """Whether a text belongs to the validation split: one in `share`, by its own hash."""
    return int(hashlib.sha256(key.lower().encode()).hexdigest()[:8], 16) % share == 0


def write_texts(pieces: list[Piece], *, out: Path, seed: int) -> dict[str, Any]:
    """pretrain.jsonl and pretrain-validation.jsonl."""
    seeded(seed, "order of texts").shuffle(pieces)
    rows = [(source, {"text": text}, text) for source, text in dict.fromkeys(pieces)]
    return write_split(rows, name="pretrain", out=out, share=80)


def write_chats(rows: Iterable[ChatRow], *, out: Path, seed: int) -> dict[str, Any]:
    """chat.jsonl and chat-validation.jsonl."""
    kept = [row for row in rows if sum(len(message["content"]) for message in row.messages) < MOST_CHARACTERS]
    kept = [row for row in kept if all(message["content"].strip() for message in row.messages)]
    kept = list({json.dumps(row.messages): row for row in kept}.values())
    seeded(seed, "order of chats").shuffle(kept)
    return write_split(
        [(row.source, {"messages": row.messages}, row.key) for row in kept], name="chat", out=out, share=60
    )


def write_split(rows: list[tuple[str, dict[str, Any], str]], *, name: str, out: Path, share: int) -> dict[str, Any]:
    """Writes both splits of one phase and returns counts per source and the files' hashes."""
    lines: dict[str, list[str]] = {name: [], f"{name}-validation": []}
    counts: dict[str, dict[str, Any]] = {}
    for source, row, key in rows:
        line = json.dumps(row, ensure_ascii=False)
        lines[f"{name}-validation" if is_held_out(key, share=share) else name].append(line)
        texts = [row["text"]] if "text" in row else [message["content"] for message in row["messages"]]
        entry = counts.setdefault(source, {**licence_of(source), "rows": 0, "characters": 0})
        entry["rows"] += 1
        entry["characters"] += sum(map(len, texts))
    files = {}
    for split, split_lines in lines.items():
        content = ("\n".join(split_lines) + "\n").encode()
        (out / f"{split}.jsonl").write_bytes(content)
        files[f"{split}.jsonl"] = {"rows": len(split_lines), "sha256": hashlib.sha256(content).hexdigest()}
    return {"sources": dict(sorted(counts.items())), "files": files}


def licence_of(source: str) -> dict[str, str]:
    """The licence and the credit of a source."""
    if source == WRITTEN:
        return {"licence": "Apache-2.0", "credit": "this project"}
    return {"licence": sources.SOURCES[source].licence, "credit": sources.SOURCES[source].credit}


if __name__ == "__main__":
    main()
