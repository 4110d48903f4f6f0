"""Small instructions with one right answer, made from the phrase banks: each task is a function of (bank, rng)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from grammar import amount, clock
from text_tasks import (
    Pair,
    change_case,
    compare,
    correct,
    count_words,
    edit_text,
    letters,
    pick_word,
    repeat,
    reverse_list,
    say_only,
    sort_list,
)
from written import Written

Task = Callable[[Written, random.Random], Pair]
MONTHS = [
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
]  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def person(bank: Written, rng: random.Random) -> str:
    """A made-up full name."""
    return f"{rng.choice(bank.grammar.slots['first'])} {rng.choice(bank.grammar.slots['last'])}"


def truth(bank: Written, rng: random.Random) -> Pair:
    """Yes or no to a plain statement."""
    statement, answer = rng.choice(bank.facts["truths"])
    if rng.random() < 0.3:
        return f"True or false? {statement}", "true" if answer == "yes" else "false"
    ask = rng.choice(["Is this right? {} Answer yes or no.", "Yes or no: {}", "{} Yes or no?"])
    return ask.format(statement), answer


def extract(bank: Written, rng: random.Random) -> Pair:
    """One named field out of a sentence."""
    who, city, sum_, time = person(bank, rng), rng.choice(bank.grammar.slots["city"]), amount(rng), clock(rng)
    date = f"{rng.randrange(1, 29)} {rng.choice(MONTHS)}"
    mail = f"{who.split()[0].lower()}{rng.randrange(1, 99)}@example.{rng.choice(['com', 'org', 'net'])}"
    number = f"{rng.choice('ABCDKLMR')}{rng.randrange(1000, 99999)}"
    fields = {
        "name": who,
        "city": city,
        "amount": sum_,
        "time": time,
        "date": date,
        "email address": mail,
        "order number": number,
    }
    parts = [
        ("My name is {name}", "I am {name}", "{name} here", "This is {name}"),
        (
            "I live in {city}",
            "I am in {city} now",
            "I paid {amount}",
            "I sent {amount} on {date}",
            "you owe me {amount}",
        ),
        ("my order is {order number}", "write to {email address}", "I come on {date} at {time}", "call me at {time}"),
    ]
    text = ", ".join(rng.choice(options) for options in parts[: rng.randint(2, 3)]) + "."
    wanted = rng.choice([key for key in fields if "{" + key + "}" in text])
    for key, value in fields.items():
        text = text.replace("{" + key + "}", value)
    ask = rng.choice(["What is the {}? {}", "Find the {}: {}", "Extract the {}.\n\n{}", "Give only the {}.\n{}"])
    return ask.format(wanted, text), fields[wanted]


def write_json(bank: Written, rng: random.Random) -> Pair:
    """Fields as JSON."""
    fields = {
        "name": rng.choice(bank.grammar.slots["first"]),
        "city": rng.choice(bank.grammar.slots["city"]),
        "age": rng.randrange(18, 90),
        "day": rng.choice(DAYS),
        "product": rng.choice(bank.grammar.slots["product"]),
        "count": rng.randrange(1, 20),
    }
    keys = rng.sample(sorted(fields), k=rng.randint(1, 3))
    said = {"name": "The name is {}.", "city": "The city is {}.", "age": "The age is {}.", "day": "It is on {}."}
    said |= {"product": "It is a {}.", "count": "There are {}."}
    text = " ".join(said[key].format(fields[key]) for key in keys)
    ask = rng.choice(["Write JSON with the fields {}. {}", "Give {} as JSON: {}", "Make a JSON object with {}.\n\n{}"])
    return ask.format(" and ".join(keys), text), json.dumps({key: fields[key] for key in keys})


def odd_one_out(bank: Written, rng: random.Random) -> Pair:
    """The word of another kind."""
    (_, members), (_, others) = rng.sample(bank.facts["categories"], k=2)
    known = set(members.split(","))
    odd = rng.choice([word for word in others.split(",") if word not in known] or ["hammer"])
    words = [*rng.sample(sorted(known - {odd}), k=3), odd]
    rng.shuffle(words)
    ask = rng.choice(
        ["Which word does not fit: {}?", "Find the odd one out: {}", "Three belong together, one does not: {}"]
    )
    return ask.format(", ".join(words)), odd


def kind_of(bank: Written, rng: random.Random) -> Pair:
    """What kind of thing a word names, or words of a kind."""
    name, members = rng.choice(bank.facts["categories"])
    words = members.split(",")
    if rng.random() < 0.3:
        count = rng.randint(2, 3)
        return f"Name {count} things of this kind: {name}", ", ".join(rng.sample(words, k=count))
    word = rng.choice(words)
    ask = rng.choice(
        ["What kind of thing is this: {}?", "Put the word {} into a group.", "{}: which group?", "Category of {}:"]
    )
    if rng.random() < 0.5:
        others = rng.sample([other for other, all_ in bank.facts["categories"] if word not in all_.split(",")], k=3)
        options = rng.sample([name, *others], k=4)
        return f"Is {word} one of these: {', '.join(options)}? Name it.", name
    return ask.format(word), name


def table_fact(bank: Written, rng: random.Random) -> Pair:
    """Opposites, plurals, past forms and capitals."""
    table, asks = rng.choice(
        [
            ("opposites", ("What is the opposite of {}?", "Opposite of {}:", "Give the opposite: {}")),
            ("plurals", ("What is the plural of {}?", "One {}, two ...", "Write the plural: {}")),
            ("past", ("What is the past tense of {}?", "Past of {}:", "Today I {}. Yesterday I ...")),
            ("capitals", ("What is the capital of {}?", "Name the capital of {}.", "Which city is the capital of {}?")),
            ("capitals", ("Capital of {}?", "What is the capital city of {}?", "Tell me the capital of {}.")),
        ]
    )
    given, answer = rng.choice(bank.facts[table])
    is_whole = table == "capitals" and rng.random() < 0.4
    return rng.choice(asks).format(given), f"The capital of {given} is {answer}." if is_whole else answer


def translate(bank: Written, rng: random.Random) -> Pair:
    """Simple words and number words into three languages and back."""
    if rng.random() < 0.4:
        digit, english, *foreign = rng.choice(bank.facts["numbers"])
        if rng.random() < 0.5:
            return rng.choice([(f"Write {digit} as a word.", english), (f"Write {english} as a number.", digit)])
    else:
        english, *foreign = rng.choice(bank.facts["words"])
    at = rng.randrange(3)
    language = ("Spanish", "French", "German")[at]
    asks = [(f"What is {english} in {language}?", foreign[at]), (f"Translate into {language}: {english}", foreign[at])]
    return rng.choice([*asks, (f"What does the {language} word {foreign[at]} mean?", english)])


def arithmetic(bank: Written, rng: random.Random) -> Pair:
    """Sums with small numbers, bare or told."""
    one, two = rng.randint(0, 20), rng.randint(0, 12)
    name, thing = (
        rng.choice(bank.grammar.slots["first"]),
        rng.choice(["apples", "coins", "books", "cards", "letters", "eggs"]),
    )
    forms = [
        (f"What is {one} + {two}?", one + two),
        (f"{one} plus {two}", one + two),
        (f"What is {one + two} - {two}?", one),
        (f"{one + two} minus {one}", two),
        (f"What is {one % 10} times {two % 10}?", (one % 10) * (two % 10)),
        (f"{name} has {one} {thing} and gets {two} more. How many {thing} does {name} have?", one + two),
        (f"{name} had {one + two} {thing} and gave away {two}. How many are left?", one),
        (f"Which is larger, {one} or {two + 21}?", two + 21),
    ]
    ask, answer = rng.choice(forms)
    return ask, str(answer)


def next_in_row(bank: Written, rng: random.Random) -> Pair:
    """What comes next."""
    if rng.random() < 0.5:
        row = rng.choice([MONTHS, DAYS])
        at = rng.randrange(len(row))
        kind = "month" if row is MONTHS else "day"
        if rng.random() < 0.6:
            return f"Which {kind} comes after {row[at]}?", row[(at + 1) % len(row)]
        return f"Which {kind} comes before {row[at]}?", row[at - 1]
    start, step = rng.randint(1, 20), rng.randint(1, 5)
    numbers = [start + step * at for at in range(4)]
    ask = rng.choice(["What comes next: {}?", "Go on: {}"])
    return ask.format(", ".join(map(str, numbers))), str(start + step * 4)


def fill_blank(bank: Written, rng: random.Random) -> Pair:
    """The missing word of a known pair."""
    capital, opposite = rng.choice(bank.facts["capitals"]), rng.choice(bank.facts["opposites"])
    numbers = rng.choice(bank.facts["numbers"])
    forms = [
        (f"{capital[1]} is the capital of ___.", capital[0]),
        (f"The capital of {capital[0]} is ___.", capital[1]),
        (f"The opposite of {opposite[0]} is ___.", opposite[1]),
        (f"The number {numbers[0]} is written ___.", numbers[1]),
    ]
    ask, answer = rng.choice(forms)
    return rng.choice(["Fill in the blank: ", "Complete: ", "What goes in the gap? "]) + ask, answer


def rewrite(bank: Written, rng: random.Random) -> Pair:
    """A rude line made polite, or a polite one made short."""
    rude, polite = rng.choice(bank.facts["rewrite"])
    if rng.random() < 0.2:
        return f"Say it in fewer words: {polite}", rude
    ask = rng.choice(
        [
            "Make this polite: {}",
            "Rewrite politely: {}",
            "Say this in a kinder way: {}",
            "Please make it friendlier: {}",
        ]
    )
    return ask.format(rude), polite


def summarise(bank: Written, rng: random.Random) -> Pair:
    """One sentence for several: hand-written, or a told event whose core is known."""
    ask = rng.choice(
        [
            "Summarise in one sentence: {}",
            "Say it in one sentence.\n\n{}",
            "What is the main point?\n{}",
            "Short version: {}",
        ]
    )
    if rng.random() < 0.25:
        text, core = rng.choice(bank.facts["summaries"])
        return ask.format(text), core

    def draw(template: str) -> str:
        return bank.grammar.expand(template, rng=rng)

    who, thing, city, day = draw("{first}"), draw("{product}"), draw("{city}"), draw("{day}")
    told = [
        (f"{who} bought a {thing} {draw('{ago}')}. It cost {draw('{amount}')}. After {draw('{small}')} days it broke. "
         f"The shop does not answer.", f"{who}'s new {thing} broke and the shop does not answer."),
        (f"{who} wanted to go to {city} on {day}. The train was late and the next one was full. In the end "
         f"{who} stayed at home.", f"{who} could not get to {city} on {day}."),
        (f"We meet on {day} at {draw('{time}')}. {who} brings the {thing}. Please tell me if you can't come.",
         f"We meet on {day}, and {who} brings the {thing}."),
        (f"It rained in {city} all week. Streets were closed and schools stayed shut. On {day} the sun came out again.",
         f"After a week of rain in {city} the sun came out on {day}."),
        (f"{who} lost a {draw('{colour}')} bag in {city}. A man found it {draw('{ago}')} and took it to the "
         f"police. {who} is very glad.", f"A man found {who}'s lost bag in {city}."),
        (f"{who} cooked {draw('{food}')} for {draw('{small}')} people. Everybody liked it. There was nothing left.",
         f"Everybody liked {who}'s cooking."),
    ]  # fmt: skip
    text, core = rng.choice(told)
    return ask.format(text), core


def support(bank: Written, rng: random.Random) -> Pair:
    """A customer's message answered by an agent."""
    intent = rng.choice(bank.intents)
    message = bank.message(intent, rng=rng).text
    ask = rng.choice(
        ["Answer this customer: {}", "A customer writes: {}\nWrite a short answer.", "Reply to the message.\n\n{}"]
    )
    return ask.format(message), bank.reply(intent, rng=rng)


def known(section: str) -> Task:
    """A task that asks the hand-written pairs of a section."""

    def task(bank: Written, rng: random.Random) -> Pair:
        ask, answer = rng.choice(bank.facts[section])
        if section == "greetings" and rng.random() < 0.5:
            ask = rng.choice([ask.lower(), ask + "!", ask + "."])
        return ask, answer

    return task


def unknown(bank: Written, rng: random.Random) -> Pair:
    """Things that nobody could know from here."""
    question = rng.choice(bank.facts["unknown"])[0]
    if rng.random() < 0.6:
        sort = rng.choice(["phone number", "birthday", "favourite food", "shoe size", "address", "middle name"])
        question = rng.choice(["What is {}'s {}?", "Tell me {}'s {}.", "Do you know {}'s {}?"]).format(
            person(bank, rng), sort
        )
    return question, rng.choice(bank.facts["unknown_answers"])[0]


# how often each task is drawn, relative to the others
TASKS: tuple[tuple[Task, float], ...] = (
    (repeat, 5), (reverse_list, 3), (sort_list, 2), (change_case, 4), (count_words, 3), (pick_word, 3), (truth, 3),
    (extract, 8), (write_json, 4), (odd_one_out, 3), (kind_of, 4), (table_fact, 7), (translate, 4), (arithmetic, 7),
    (next_in_row, 4), (letters, 2), (edit_text, 4), (fill_blank, 3), (rewrite, 2), (summarise, 4), (support, 10),
    (correct, 3), (say_only, 4), (compare, 4), (known("answers"), 6), (known("greetings"), 3), (known("identity"), 2),
    (unknown, 2),
)  # fmt: skip
