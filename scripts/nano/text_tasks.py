"""Small instructions on a given text or list: repeat, sort, count, change; each is a function of (bank, rng)."""

from __future__ import annotations

import random

from grammar import capitalise, misspell
from written import Written

Pair = tuple[str, str]  # the request and its answer


def a_sentence(bank: Written, rng: random.Random) -> str:
    """A short sentence to work on: a message or a line of prose."""
    if rng.random() < 0.3:
        return rng.choice(rng.choice(bank.prose)[1].split(". ")).rstrip(".")
    return capitalise(bank.sentence(rng.choice(bank.intents), rng=rng))


def some_words(bank: Written, rng: random.Random, *, least: int = 3, most: int = 6) -> list[str]:
    """Different words of one or of several kinds."""
    members = [word for _, words in bank.facts["categories"] for word in words.split(",")]
    return rng.sample(sorted(set(members)), k=rng.randint(least, most))


def repeat(bank: Written, rng: random.Random) -> Pair:
    """Say it again, as it is."""
    text = a_sentence(bank, rng)
    ask = rng.choice(
        ["Repeat: {}", "Repeat this sentence: {}", "Say this: {}", 'Write exactly "{}"', "Copy the text:\n{}"]
    )
    return ask.format(text), text


def reverse_list(bank: Written, rng: random.Random) -> Pair:
    """A list from its end."""
    words = some_words(bank, rng)
    ask = rng.choice(["Reverse the list: {}", "Write these in reverse order: {}", "Turn the order round: {}"])
    return ask.format(", ".join(words)), ", ".join(reversed(words))


def sort_list(bank: Written, rng: random.Random) -> Pair:
    """A list by the alphabet or numbers by size."""
    if rng.random() < 0.4:
        numbers = rng.sample(range(1, 100), k=rng.randint(3, 5))
        return f"Sort from small to large: {', '.join(map(str, numbers))}", ", ".join(map(str, sorted(numbers)))
    words = some_words(bank, rng, most=5)
    ask = rng.choice(["Sort by the alphabet: {}", "Put in alphabetical order: {}"])
    return ask.format(", ".join(words)), ", ".join(sorted(words, key=str.lower))


def change_case(bank: Written, rng: random.Random) -> Pair:
    """Upper or lower case."""
    text = a_sentence(bank, rng) if rng.random() < 0.5 else " ".join(some_words(bank, rng, least=1, most=4))
    if rng.random() < 0.6:
        ask = rng.choice(["Write in upper case: {}", "Put this in capital letters: {}", "Upper-case the text: {}"])
        return ask.format(text), text.upper()
    return rng.choice(["Write in lower case: {}", "No capital letters: {}"]).format(text.upper()), text.lower()


def count_words(bank: Written, rng: random.Random) -> Pair:
    """How many words or things."""
    if rng.random() < 0.5:
        words = some_words(bank, rng, least=2, most=7)
        ask = rng.choice(["How many things are in this list: {}?", "Count the items: {}"])
        return ask.format(", ".join(words)), str(len(words))
    text = " ".join(a_sentence(bank, rng).split()[: rng.randint(2, 8)])
    ask = rng.choice(["How many words are in: {}", 'Count the words: "{}"'])
    return ask.format(text), str(len(text.split()))


def pick_word(bank: Written, rng: random.Random) -> Pair:
    """The first, last or n-th word."""
    words = some_words(bank, rng, least=3, most=5)
    place, at = rng.choice([("first", 0), ("second", 1), ("last", -1), ("third", 2)])
    ask = rng.choice(
        ["What is the {} word: {}", "Give me the {} of these: {}", "Write only the {} item of the list: {}"]
    )
    return ask.format(place, ", ".join(words)), words[at]


def letters(bank: Written, rng: random.Random) -> Pair:
    """Spelling and single letters."""
    word = rng.choice(some_words(bank, rng))
    forms = [
        (f"Spell the word {word}.", "-".join(word.replace(" ", ""))),
        (f"What is the first letter of {word}?", word[0]),
        (f"What is the last letter of {word}?", word[-1]),
        (f"How many letters are in {word}?", str(len(word.replace(" ", "")))),
    ]
    return rng.choice(forms)


def edit_text(bank: Written, rng: random.Random) -> Pair:
    """Replace, add or remove a word."""
    text = a_sentence(bank, rng)
    words = text.split()
    word = rng.choice(words)
    new = rng.choice(bank.grammar.slots["colour"] + bank.grammar.slots["first"])
    forms = [
        (f"Replace {word} with {new}: {text}", " ".join(new if other == word else other for other in words)),
        (f"Remove the first word: {text}", " ".join(words[1:])),
        (f"Add the word {new} at the end: {text}", f"{text} {new}"),
        (f"Put the text in quotes: {text}", f'"{text}"'),
        (f"Write one word on each line: {' '.join(words[:6])}", "\n".join(words[:6])),
    ]
    return rng.choice(forms)


def correct(bank: Written, rng: random.Random) -> Pair:
    """A slip of the finger put right."""
    text = a_sentence(bank, rng)
    ask = rng.choice(["Correct the mistake: {}", "Fix the spelling: {}", "Write this without the error: {}"])
    return ask.format(misspell(text, rng=rng)), text


def say_only(bank: Written, rng: random.Random) -> Pair:
    """Answer with exactly this."""
    word = rng.choice([*some_words(bank, rng, least=1, most=3), "yes", "no", "OK", "ready", "done", "hello"])
    ask = rng.choice(["Say {} and nothing else.", "Answer only with the word {}.", "Just write {}.", "Please say {}."])
    return ask.format(word), word


def compare(bank: Written, rng: random.Random) -> Pair:
    """Does a text contain a word; is it a question; how does it begin."""
    text = bank.message(rng.choice(bank.intents), rng=rng).text
    words = [word for word in text.replace(",", " ").split() if word.isalpha()]
    has_it = rng.random() < 0.5
    word = rng.choice(words) if has_it else rng.choice(some_words(bank, rng))
    forms = [
        (f"Does the word {word} appear in this text? {text}", "yes" if word in words else "no"),
        (f"Does this text end with a question mark? {text}", "yes" if text.endswith("?") else "no"),
        (f"What is the first word of this text? {text}", text.split()[0]),
    ]
    return rng.choice(forms)
