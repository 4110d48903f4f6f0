"""Readers of the public sets that go into nano, each with its licence; nothing else may be read."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Source:
    """A public set: its folder, its licence and whom to name."""

    folder: str
    licence: str
    credit: str


SOURCES = {
    source.folder: source
    for source in (
        Source("lm-english-novels", "public domain", "83 English novels, 1839-1930, via 100_english_novels"),
        Source("lm-us-speeches", "public domain", "US presidents' addresses, via NLTK data"),
        Source("lm-shakespeare", "public domain", "Shakespeare's plays, marked up by Jon Bosak, via NLTK data"),
        Source("instruction-gsm8k", "MIT", "GSM8K, OpenAI"),
        Source("instruction-self-instruct-seed", "Apache-2.0", "Self-Instruct seed tasks, Yizhong Wang et al."),
        Source("intent-clinc150", "CC BY 3.0", "CLINC150, Stefan Larson et al. 2019, Clinc Inc."),
        Source("sentiment-sentence-polarity", "CC BY 4.0", "sentence polarity v1.0, Bo Pang and Lillian Lee 2005"),
        Source("sentiment-movie-reviews-long", "CC BY 4.0", "polarity v2.0, Bo Pang and Lillian Lee 2004"),
        Source("ner-wnut17", "CC BY 4.0", "WNUT 2017 emerging entities, Leon Derczynski et al."),
        Source("pii-presidio-synth", "MIT", "presidio-research synthetic sentences, Microsoft"),
        Source("toolcalls-glaive-demo", "Apache-2.0", "Glaive function calling v2, Glaive AI, via LLaMA-Factory"),
    )
}

# words that would make the base unpleasant; a piece that has one is left out
RUDE = re.compile(
    r"\b(fuck\w*|shit\w*|bitch\w*|cunt\w*|nigg\w*|fag\w*|whore\w*|slut\w*|rape\w*|porn\w*|penis|vagina|dick|cock|tits|ass"
    r"|asshole\w*|bastard\w*|masturbat\w*|orgasm\w*|negro\w*|jews?|retard\w*|kike\w*|darkies|darky|coon\w*|savages?|sex"
    r"|sexual\w*|breasts?|nude\w*|naked|heil|hoe|hoes|damn\w*|piss\w*|lynch\w*)\b",
    re.IGNORECASE,
)
# everyday sentences that also stand, word for word, in the bank intents that the base is measured on
MEASURED_ON = frozenset(
    (
        "i have lost my phone", "i lost my phone", "i broke my card", "i need to report a stolen card",
        "someone stole my card", "can i get a new card", "my card isnt working", "my card is broken",
        "i cant find my phone", "how can i switch on my new card", "when can i expect my new card to get here",
        "how do i report a stolen card", "can you tell me why my card was declined",
        "my transfer did not go through", "my transfer failed", "i would like to apply for a visa card",
        "why was my card declined", "i dont know where my phone is", "what is the exchange rate",
        "what is my password", "how can i change my address", "i want a refund",
    )
)  # fmt: skip
CURLY = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "--",
        "\u2026": "...",
        "\xa0": " ",
    }
)


def read_rows(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """The rows of one split, plain or compressed."""
    openers: dict[str, Callable[..., Any]] = {".jsonl": open, ".jsonl.gz": gzip.open, ".jsonl.xz": lzma.open}
    for suffix, opener in openers.items():
        path = folder / f"{split}{suffix}"
        if path.exists():
            with opener(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    yield json.loads(line)
            return
    raise FileNotFoundError(f"{folder} holds no {split}.jsonl, .gz or .xz; point --data at the folder of public sets.")


def is_clean(text: str) -> bool:
    """Whether a piece is free of rude words and of links."""
    return not RUDE.search(text) and "http" not in text


def is_measured_on(text: str) -> bool:
    """Whether a short text is one of the measured sentences, whatever its case and marks."""
    return re.sub(r"[^a-z0-9 ]", "", text.lower()).strip() in MEASURED_ON


def tidy(text: str) -> str:
    """Straight quotes, no runs of blanks."""
    return re.sub(r"[ \t]+", " ", text.translate(CURLY)).strip()


def untokenise(text: str) -> str:
    """Joins text that was split into tokens: no blank before a comma, none inside brackets or quotes."""
    text = re.sub(r" (n't|'s|'re|'ve|'ll|'d|'m)\b", r"\1", text)
    text = re.sub(r" ([.,;:?!)\]%])", r"\1", text)
    text = re.sub(r"([(\[]) ", r"\1", text)
    text = re.sub(r'" ([^"]*?) ?"', r'"\1"', text)
    text = re.sub(r"(\w)``|``", '"', text).replace("''", '"')
    return tidy(re.sub(r"(\w) ?' ?(s|t|re|ve|ll|d|m)\b", r"\1'\2", text))


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a book, whatever way its lines were wrapped."""
    text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    if text.count("\n\n") * 400 > len(text):
        parts = re.split(r"\n\s*\n", text)
    elif statistics.median(map(len, lines)) < 85:
        # wrapped without blank lines: a paragraph ends where a line ends a sentence and stays short
        parts = re.split(r"(?<=[.?!\"'])\n", re.sub(r"(?m)(?<=^.{60})(.*)\n", r"\1 ", text))
    else:
        parts = lines
    joined = (tidy(re.sub(r"\s*\n\s*", " ", part)) for part in parts)
    return [part for part in joined if part]


def cut(parts: list[str], *, most: int = 1350, least: int = 600, separator: str = "\n") -> list[str]:
    """Joins neighbouring paragraphs into pieces of `least` to `most` characters; a longer one ends at a sentence."""
    pieces: list[str] = []
    current = ""
    for part in parts:
        for sentence_run in split_long(part, most=most):
            if current and len(current) + len(sentence_run) > most:
                pieces.append(current)
                current = ""
            current = f"{current}{separator}{sentence_run}" if current else sentence_run
    pieces.append(current)
    return [piece for piece in pieces if len(piece) >= least]


def split_long(text: str, *, most: int) -> list[str]:
    """Splits one paragraph at sentence ends so that no run is longer than `most` characters."""
    runs: list[str] = []
    while len(text) > most:
        end = max(text.rfind(mark, 0, most) for mark in (". ", "? ", "! ", '." '))
        end = end + 1 if end > most // 3 else most - 1
        runs.append(text[:end].strip())
        text = text[end:].strip()
    return [*runs, text] if text else runs


def is_talk(text: str) -> bool:
    """Whether a piece has talk in it and no letters lost in scanning."""
    return '"' in text and not re.search(r"\w[?]\w|_{2,}|\[|\|", text)


def talk_share(text: str) -> float:
    """How much a piece is made of talk: quote marks, question marks and short words per character."""
    marks = text.count('"') + 2 * text.count("?") + text.count("you") + text.count("I ")
    return marks / max(len(text), 1)


def novel_pieces(data: Path, *, budget: int) -> list[str]:
    """Up to `budget` characters of the novels, those with most talk first from each book; later books count more."""
    books = []
    for row in read_rows(data / "lm-english-novels", "train"):
        parts = [part for part in paragraphs(row["text"]) if len(part) > 3 and not part.isupper()]
        pieces = [piece for piece in cut(parts)[2:] if is_clean(piece) and is_talk(piece)]
        books.append((row["year"], sorted(pieces, key=talk_share, reverse=True)))
    weights = [2.5 if year >= 1900 else 1.0 for year, _ in books]
    chosen: list[str] = []
    for (_, pieces), weight in zip(books, weights, strict=True):
        room = budget * weight / sum(weights)
        for piece in pieces:
            if room <= 0:
                break
            chosen.append(piece)
            room -= len(piece)
    return chosen


def speech_pieces(data: Path) -> list[str]:
    """The speeches since 1945, cut."""
    pieces: list[str] = []
    for row in read_rows(data / "lm-us-speeches", "train"):
        year = re.search(r"(\d{4})", row["id"])
        if year and int(year[1]) >= 1945:
            pieces += cut(paragraphs(row["text"]))
    return [piece for piece in pieces if is_clean(piece)]


def play_pieces(data: Path) -> list[str]:
    """The plays, cut, with their line breaks."""
    pieces: list[str] = []
    for row in read_rows(data / "lm-shakespeare", "train"):
        pieces += cut(re.split(r"\n\n+", row["text"]), separator="\n\n")
    return [piece for piece in pieces if is_clean(piece)]


def sums(data: Path) -> list[tuple[str, str]]:
    """GSM8K as (question, answer) in plain sentences, the short ones."""
    pairs = []
    for row in read_rows(data / "instruction-gsm8k", "train"):
        steps, _, number = row["answer"].partition("####")
        steps = re.sub(r"<<[^>]*>>", "", steps).strip()
        if len(row["question"]) + len(steps) < 800:
            pairs.append((tidy(row["question"]), f"{tidy(steps)}\nThe answer is {number.strip()}."))
    return pairs


def seed_tasks(data: Path) -> list[tuple[str, str]]:
    """The human-written seed instructions as (request, answer), the short ones."""
    pairs = []
    for row in read_rows(data / "instruction-self-instruct-seed", "train"):
        request = tidy(row["instruction"]) + (f"\n\n{tidy(row['input'])}" if row["input"] else "")
        if len(request) + len(row["output"]) < 1100:
            pairs.append((request, tidy(row["output"])))
    return pairs


def reviews(data: Path) -> list[tuple[str, str]]:
    """Whole film reviews as (text, label), joined back from tokens."""
    return [
        (review_text(row["text"]), row["label"]) for row in read_rows(data / "sentiment-movie-reviews-long", "train")
    ]


def review_text(text: str) -> str:
    """A review as ordinary lines, sentences begun with a capital."""
    lines = [untokenise(line) for line in text.split("\n")]
    return "\n".join(line[:1].upper() + line[1:] for line in lines if line)


def polarity(data: Path) -> list[tuple[str, str]]:
    """Sentences of reviews as (text, positive or negative)."""
    rows = [row for split in ("train", "validation") for row in read_rows(data / "sentiment-sentence-polarity", split)]
    pairs = [(untokenise(row["text"]), row["label"]) for row in rows]
    return [(text, label) for text, label in pairs if is_clean(text)]


def intents(data: Path, *, splits: tuple[str, ...] = ("train", "validation")) -> list[tuple[str, str]]:
    """CLINC150 queries as (text, label); its test split is never read."""
    rows = (row for split in splits for row in read_rows(data / "intent-clinc150", split))
    pairs = [(tidy(row["text"]), row["label"]) for row in rows]
    return [(text, label) for text, label in pairs if is_clean(text) and not is_measured_on(text)]


def entities(data: Path) -> list[tuple[str, dict[str, list[str]]]]:
    """WNUT17 posts as (text, names by kind), without links and handles."""
    found = []
    for row in read_rows(data / "ner-wnut17", "train"):
        names: dict[str, list[str]] = {}
        for token, tag in zip(row["tokens"], row["tags"], strict=True):
            if tag.startswith("B-"):
                names.setdefault(tag[2:], []).append(token)
            elif tag.startswith("I-") and tag[2:] in names:
                names[tag[2:]][-1] += f" {token}"
        text = untokenise(" ".join(row["tokens"]))
        if is_clean(text) and len(text) > 30 and not re.search(r"[@#<>\\]|RT ", text) and text.isascii():
            found.append((text, {kind: [untokenise(name) for name in values] for kind, values in names.items()}))
    return found


def identities(data: Path) -> list[tuple[str, dict[str, list[str]]]]:
    """Presidio's synthetic sentences as (text, values by kind)."""
    found = []
    for row in read_rows(data / "pii-presidio-synth", "train"):
        values: dict[str, list[str]] = {}
        for span in row["spans"]:
            values.setdefault(span["type"], []).append(span["value"])
        if is_clean(row["text"]) and len(row["text"]) < 900:
            found.append((tidy(row["text"]), values))
    return found


def assistant_talks(data: Path) -> list[list[tuple[str, str]]]:
    """Glaive dialogues as (role, text) turns, up to the first call of a tool."""
    roles = {"human": "user", "gpt": "assistant"}
    talks = []
    for row in read_rows(data / "toolcalls-glaive-demo", "train"):
        turns: list[tuple[str, str]] = []
        for turn in row["conversations"]:
            if turn["from"] not in roles:
                break
            turns.append((roles[turn["from"]], tidy(turn["value"])))
        turns = turns if turns and turns[-1][0] == "assistant" else turns[:-1]
        while turns and sum(len(text) for _, text in turns) > 1300:
            turns = turns[:-2]
        if turns:
            talks.append(turns)
    return talks
