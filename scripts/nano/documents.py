"""Plain-text documents for the packed-text phase: dialogues, mails, lists and notes around the generated messages."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from classification import Labelled
from grammar import amount, capitalise, clock, punctuate, spell_label
from instructions import TASKS
from written import Intent, Written

Document = Callable[[Written, random.Random], str]
SPEAKERS = (("Customer", "Agent"), ("Caller", "Clerk"), ("User", "Assistant"), ("Q", "A"), ("Client", "Support"))
FOLLOW_UPS = (
    ("How long will that take?", "[About {small} days.|It is mostly done by {day}.|Not long, an hour at most.]"),
    ("Does it cost anything?", "[No, it is free.|It costs {amount}.|Only if it is our fault not to, so no.]"),
    (
        "Can you do it for me?",
        "[Yes, I have just done it.|Of course, one moment. Done.|I am afraid only you can do it.]",
    ),
    (
        "What do you need from me?",
        "[Only your name and date of birth.|The number on the letter, please.|Nothing more.]",
    ),
    ("I have tried that already.", "[I see. Then I will pass it on to my colleague {first}.|Let me look closer.]"),
    (
        "Could you send me that in writing?",
        "[Yes, you will have a mail in a minute.|Gladly. Is your address still right?]",
    ),
    ("My name is {first} {last}.", "[Thank you, {first}, I have found you.|Thank you. I can see your details now.]"),
    ("My number is {number}.", "[Thank you, I have it here.|I can't find that number, could you check it?]"),
    ("Is there another way?", "[You can also come to our office in {city}.|You can do the same by phone.]"),
    ("When are you open?", "[From eight to six.|Every day but {day}.|Until {time}.]"),
    ("Why did that happen?", "[It was a mistake in our system.|I don't know yet, but I will find out.]"),
    ("And if it happens again?", "[Then please call us at once.|It should not; we have changed the setting.]"),
)
ENDINGS = (
    ("Thank you.", "You are welcome."),
    ("Great, thanks a lot!", "Glad to help. Have a nice day!"),
    ("All right, I will wait.", "Thank you for your patience."),
    ("I am not happy with that.", "I understand. I will tell my manager."),
    ("Perfect.", "Is there anything else?"),
    ("Okay, bye.", "Goodbye!"),
)
MAIL_HEADS = ("Dear team,", "Hello,", "Dear Sir or Madam,", "Hi {first},", "Good morning,", "To whom it may concern,")
MAIL_MIDDLES = (
    "I have been your customer for {small} years.",
    "This happened {ago}.",
    "I called {ago}, but nobody could help me.",
    "My number is {number}.",
    "My address is {number} {last} Street, {city}.",
    "I would like an answer by {day}.",
    "It matters to me because I leave for {country} {soon}.",
    "[{person}] had the same trouble in {month}.",
    "You can call me at {time} on {day}.",
    "I add a photo and the receipt over {amount}.",
)
MAIL_ENDS = ("Kind regards,", "Many thanks,", "Best wishes,", "Yours sincerely,", "Thank you in advance,")
STORY_LINES = (
    "{first} woke up at {time} and looked out of the window.",
    "It was a [cold|bright|grey|windy|quiet] {day} in {month}.",
    "On the table lay a [letter|map|key|{colour} {product}|note] that had not been there before.",
    '"[Did you sleep well|Are you coming|What is that|Where is my {product}]?" asked {first}.',
    '"[Not really|Yes, of course|I have no idea|Ask your brother]," said {first}.',
    "They had {food} for [breakfast|lunch|dinner] and talked about {city}.",
    "[The phone rang|Somebody knocked|The dog barked], and it was {first} from the {subject} class.",
    "[{person}] had sent {amount} for the journey.",
    "The bus to {city} was [late|full|early|empty], so they [walked|waited|took a taxi|went home].",
    "In the {room} it smelled of {food}.",
    "{first} worked as a [nurse|driver|teacher|cook|clerk|gardener] and was often tired in the evening.",
    "The shop had sold its last {product} {ago}.",
    "Nobody knew why the {device} had stopped.",
    "{first} laughed, [put on a {colour} coat|closed the door|took the {product}] and went out.",
    "By {time} the rain had [stopped|begun|turned to snow].",
    "They wrote a list: [bread, milk and eggs|a tent, two lamps and a map|soap, tea and apples].",
    "At {shop} a man was asking for a {colour} {product}.",
    "It cost {amount}, which was more than {first} had.",
    "[In the end|After an hour|A little later] they found what they had been looking for.",
    "{first} promised to write from {country}.",
    "The children learned {subject} and played until dark.",
    "That was the last time anybody saw the {colour} {product}.",
)


def dialogue(bank: Written, rng: random.Random) -> str:
    """A customer and an agent, four to ten turns."""
    intent = rng.choice(bank.intents)
    customer, agent = rng.choice(SPEAKERS)
    turns = [(bank.message(intent, rng=rng).text, bank.reply(intent, rng=rng))]
    turns += rng.sample(FOLLOW_UPS, k=rng.randint(0, 3))
    if rng.random() < 0.3:
        other = rng.choice(same_domain(bank, intent))
        turns.append((f"One more thing: {punctuate(bank.sentence(other, rng=rng))}", bank.reply(other, rng=rng)))
    if rng.random() < 0.7:
        turns.append(rng.choice(ENDINGS))
    lines = [line for said, answer in turns for line in (f"{customer}: {said}", f"{agent}: {answer}")]
    return bank.grammar.expand("\n".join(lines), rng=rng)


def same_domain(bank: Written, intent: Intent) -> list[Intent]:
    """The other intents of the domain."""
    return [other for other in bank.intents if other.domain == intent.domain and other is not intent]


def dialogues(bank: Written, rng: random.Random) -> str:
    """Two or three talks after one another."""
    return "\n\n".join(dialogue(bank, rng) for _ in range(rng.randint(2, 3)))


def mail(bank: Written, rng: random.Random) -> str:
    """A letter to a company and its answer."""
    intent = rng.choice(bank.intents)
    middles = rng.sample(MAIL_MIDDLES, k=rng.randint(1, 4))
    body = " ".join([capitalise(punctuate(bank.sentence(intent, rng=rng))), *middles])
    writer = bank.grammar.expand("{first} {last}", rng=rng)
    head = f"Subject: {intent.phrase}\n\n" if rng.random() < 0.6 else ""
    text = f"{head}{rng.choice(MAIL_HEADS)}\n\n{body}\n\n{rng.choice(MAIL_ENDS)}\n{writer}"
    if rng.random() < 0.5:
        answer = f"Thank you for your message. {bank.reply(intent, rng=rng)}"
        text += f"\n\n---\n\nDear {writer},\n\n{answer}\n\nKind regards,\n{{first}}"
    return sentence_case(bank.grammar.expand(text, rng=rng))


def sentence_case(text: str) -> str:
    """Every sentence begins with a capital."""
    return re.sub(r"(?<=[.!?] )[a-z]", lambda match: match[0].upper(), text)


def questions(bank: Written, rng: random.Random) -> str:
    """Questions and answers of one field."""
    domain = rng.choice(bank.domains)
    intents = [intent for intent in bank.intents if intent.domain == domain]
    chosen = rng.sample(intents, k=min(len(intents), rng.randint(3, 7)))
    pairs = [
        f"Q: {capitalise(punctuate(bank.sentence(intent, rng=rng)))}\nA: {bank.reply(intent, rng=rng)}"
        for intent in chosen
    ]
    return f"Questions about {domain}\n\n" + "\n\n".join(pairs)


def ways_to_say(bank: Written, rng: random.Random) -> str:
    """Several messages with the same meaning, for two intents of one field."""
    first = rng.choice(bank.intents)
    blocks = []
    for intent in [first, rng.choice(same_domain(bank, first))]:
        drawn = [bank.message(intent, rng=rng).text for _ in range(rng.randint(5, 8))]
        texts = {text.lower().rstrip(".?!"): text for text in drawn}.values()
        blocks.append(
            f"{spell_label(intent.phrase, rng.choice(['snake', 'plain', 'title']))}\n"
            + "\n".join(f"- {text}" for text in sorted(texts))
        )
    return "\n\n".join(blocks)


def sorted_inbox(bank: Written, rng: random.Random) -> str:
    """A list of messages, each with its label."""
    examples = [
        (bank.message(intent, rng=rng).text, intent.phrase) for intent in rng.sample(bank.intents, k=rng.randint(8, 14))
    ]
    return labelled_list(examples, rng=rng)


def labelled_list(examples: list[Labelled], *, rng: random.Random) -> str:
    """Texts and labels line by line, in one of several layouts."""
    style = rng.choice(["snake", "snake", "plain", "title"])
    layout = rng.choice(
        [
            "{text} -> {label}",
            "Message: {text}\nIntent: {label}\n",
            "{label}: {text}",
            "{text}\n[{label}]",
            "{text} | {label}",
        ]
    )
    return "\n".join(layout.format(text=text, label=spell_label(phrase, style)) for text, phrase in examples)


def story(bank: Written, rng: random.Random) -> str:
    """A little chain of everyday events around two people."""
    hero, friend = rng.sample(bank.grammar.slots["first"], k=2)
    lines = []
    for line in rng.sample(STORY_LINES, k=rng.randint(6, 11)):
        lines.append(line.replace("{first}", hero if rng.random() < 0.6 else friend))
    return sentence_case(bank.grammar.expand(" ".join(lines), rng=rng))


def tasks(bank: Written, rng: random.Random) -> str:
    """A page of small tasks with their answers."""
    chosen = rng.choices([task for task, _ in TASKS], weights=[weight for _, weight in TASKS], k=rng.randint(4, 8))
    layout = rng.choice(["Task: {}\nAnswer: {}", "Q: {}\nA: {}", "{}\n{}", "Question: {}\nAnswer: {}"])
    return "\n\n".join(layout.format(*task(bank, rng)) for task in chosen)


def notes(bank: Written, rng: random.Random) -> str:
    """Hand-written prose, its sentences now and then followed by a question from the same field."""
    title, text = rng.choice(bank.prose)
    sentences = text.split(". ")
    start = rng.randrange(max(1, len(sentences) - 3))
    part = ". ".join(sentences[start:])
    return f"{capitalise(title)}\n\n{part}\n\n{story(bank, rng)}"


def ledger(bank: Written, rng: random.Random) -> str:
    """A short table of payments, visits or orders, told and then asked about."""
    rows = []
    for _ in range(rng.randint(3, 6)):
        name = f"{rng.choice(bank.grammar.slots['first'])} {rng.choice(bank.grammar.slots['last'])}"
        rows.append(
            (
                name,
                rng.choice(bank.grammar.slots["product"]),
                amount(rng),
                rng.choice(bank.grammar.slots["day"]),
                clock(rng),
            )
        )
    table = "\n".join(", ".join(row) for row in rows)
    name, product, paid, day, time = rng.choice(rows)
    asks = [
        (f"What did {name} buy?", f"A {product}."),
        (f"How much did {name} pay?", f"{capitalise(paid)}."),
        (f"When was {name} there?", f"On {day} at {time}."),
        (f"Who came on {day} at {time}?", f"{name}."),
    ]
    chosen = rng.sample(asks, k=2)
    return f"name, goods, price, day, time\n{table}\n\n" + "\n".join(f"{ask} {answer}" for ask, answer in chosen)


DOCUMENTS: tuple[tuple[Document, float], ...] = (
    (dialogues, 6), (mail, 4), (questions, 3), (ways_to_say, 4), (sorted_inbox, 4), (story, 2), (tasks, 4),
    (notes, 0.3), (ledger, 1),
)  # fmt: skip


def write_documents(bank: Written, *, rng: random.Random, budget: int) -> list[str]:
    """Documents of every kind up to `budget` characters; exact repeats are dropped."""
    kinds, weights = [kind for kind, _ in DOCUMENTS], [weight for _, weight in DOCUMENTS]
    found: dict[str, None] = {}
    room = budget
    while room > 0:
        text = rng.choices(kinds, weights=weights)[0](bank, rng)
        if text not in found and len(text) < 1600:
            found[text] = None
            room -= len(text)
    return list(found)
