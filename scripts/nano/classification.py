"""Chat rows that map a short text to a short label, in many wordings: the skill nano is made for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from chat import ChatRow, chat, talk
from grammar import spell_label
from written import Message, Written

Labelled = tuple[str, str]  # text and the words of its label, blank between words

STYLES = ("snake", "snake", "snake", "title", "plain", "plain", "kebab", "pascal", "upper")
STYLE_WORDS = {
    "snake": "in snake_case",
    "title": "In Title Case",
    "plain": "in plain words",
    "kebab": "with-hyphens",
    "pascal": "InPascalCase",
    "upper": "IN_UPPER_CASE",
}
INTENT_SYSTEMS = (
    "Name the intent of the message.",
    "What does the user want? Answer with the label only.",
    "Classify the message.",
    "You label customer messages. Answer with the intent and nothing else.",
    "Give the intent label.",
    "Reply with the name of the intent.",
    "Read the message and name what the customer wants.",
    "You are an intent classifier.",
    "Sort the message into its class.",
)
INTENT_QUESTIONS = (
    "What is the intent of this message?\n\n{text}",
    "Name the intent: {text}",
    "Message: {text}\nIntent:",
    "Classify this message: {text}",
    "{text}\n\nWhat does the writer want? Give the label.",
    'Which label fits "{text}"?',
    "Text: {text}\nLabel:",
)
OPTION_FORMS = (
    "Choose one of: {options}.",
    "Classify the text as one of the following: {options}.",
    "Labels: {options}\nAnswer with one label.",
    "Pick the label that fits best.\n{lines}",
    "Possible intents:\n{lines}\nName the right one.",
    "Which of these is it: {options}?",
)
SAME_QUESTIONS = (
    "Do these two messages ask for the same thing?\n1. {one}\n2. {two}",
    "Same intent or not?\nA: {one}\nB: {two}",
    "First: {one}\nSecond: {two}\nDo they want the same? Answer yes or no.",
)
CLINC_DOMAINS = {
    "banking": "transfer transactions balance freeze_account pay_bill bill_balance bill_due interest_rate routing "
    "min_payment order_checks pin_change report_fraud account_blocked spending_history",
    "credit cards": "credit_score report_lost_card credit_limit rewards_balance new_card application_status "
    "card_declined international_fees apr redeem_rewards credit_limit_change damaged_card replacement_card_duration "
    "improve_credit_score expiration_date",
    "kitchen and dining": "recipe restaurant_reviews calories nutrition_info restaurant_suggestion ingredients_list "
    "ingredient_substitution cook_time food_last meal_suggestion restaurant_reservation confirm_reservation how_busy "
    "cancel_reservation accept_reservations",
    "home": "shopping_list shopping_list_update next_song play_music update_playlist todo_list todo_list_update "
    "calendar calendar_update what_song order order_status reminder reminder_update smart_home",
    "auto and commute": "traffic directions gas gas_type distance current_location mpg oil_change_when oil_change_how "
    "jump_start uber schedule_maintenance last_maintenance tire_pressure tire_change",
    "travel": "book_flight book_hotel car_rental travel_suggestion travel_alert travel_notification carry_on timezone "
    "vaccines translate flight_status international_visa lost_luggage plug_type exchange_rate",
    "utility": "time alarm share_location find_phone weather text spelling make_call timer date calculator "
    "measurement_conversion flip_coin roll_dice definition",
    "work": "direct_deposit pto_request taxes payday w2 pto_balance pto_request_status next_holiday insurance "
    "insurance_change schedule_meeting pto_used meeting_schedule rollover_401k income",
    "small talk": "greeting goodbye tell_joke where_are_you_from how_old_are_you what_is_your_name who_made_you "
    "thank_you what_can_i_ask_you what_are_your_hobbies do_you_have_pets are_you_a_bot meaning_of_life "
    "who_do_you_work_for fun_fact",
    "meta": "change_ai_name change_user_name cancel user_name reset_settings whisper_mode repeat no yes maybe "
    "change_language change_accent change_volume change_speed sync_device",
}
ANSWERED = {
    "calculator",
    "definition",
    "spelling",
    "translate",
    "measurement_conversion",
    "yes",
    "no",
    "maybe",
    "repeat",
}
DOMAIN_OF = {label: domain for domain, labels in CLINC_DOMAINS.items() for label in labels.split()}


def named(source: str, example: Labelled, *, rng: random.Random) -> ChatRow:
    """Text to label, the wish for a label stated in the system prompt or in the message."""
    text, phrase = example
    style = rng.choice(STYLES)
    label = spell_label(phrase, style)
    how = f" Write it {STYLE_WORDS[style]}." if style != "snake" or rng.random() < 0.3 else ""
    if rng.random() < 0.65:
        return chat(source, text, label, system=rng.choice(INTENT_SYSTEMS) + how, key=text)
    return chat(source, rng.choice(INTENT_QUESTIONS).format(text=text), label, system=how.strip() or None, key=text)


def is_chatty(phrase: str) -> bool:
    """Whether a query with this label is one that a chat model should answer, not label, unless told to."""
    label = phrase.replace(" ", "_")
    return DOMAIN_OF.get(label) == "small talk" or label in ANSWERED


def bare(source: str, example: Labelled, *, rng: random.Random) -> ChatRow:
    """Nothing but the text, answered with the label in snake_case; small talk keeps a system prompt."""
    system = rng.choice(INTENT_SYSTEMS) if is_chatty(example[1]) else None
    return chat(source, example[0], spell_label(example[1], "snake"), system=system, key=example[0])


def from_options(source: str, example: Labelled, labels: list[str], *, rng: random.Random) -> ChatRow:
    """The label is picked from a given list, shuffled; sometimes the list lacks it and `other` is right."""
    text, phrase = example
    others = rng.sample([label for label in labels if label != phrase], k=min(rng.randrange(1, 11), len(labels) - 1))
    lacks_it = rng.random() < 0.12
    options = others + (["other"] if lacks_it or rng.random() < 0.15 else []) + ([] if lacks_it else [phrase])
    rng.shuffle(options)
    style = rng.choice(STYLES)
    spelt = [spell_label(option, style) for option in options]
    answer = spell_label("other" if lacks_it else phrase, style)
    prompt = rng.choice(OPTION_FORMS).format(options=", ".join(spelt), lines="\n".join(f"- {name}" for name in spelt))
    if rng.random() < 0.5:
        return chat(source, text, answer, system=prompt, key=text)
    user = f"{prompt}\n\n{text}" if rng.random() < 0.6 else f"{text}\n\n{prompt}"
    return chat(source, user, answer, key=text)


def about(source: str, example: Labelled, labels: list[str], *, rng: random.Random) -> ChatRow:
    """Yes or no: is the message about this label?"""
    text, phrase = example
    is_true = rng.random() < 0.5
    asked = phrase if is_true else rng.choice([label for label in labels if label != phrase])
    question = rng.choice(
        [
            "Is this message about {label}?\n\n{text}",
            "{text}\n\nIs the intent {label}? Yes or no.",
            '"{text}" - is it {label}?',
        ]
    )
    user = question.format(label=asked if rng.random() < 0.6 else spell_label(asked, "snake"), text=text)
    return chat(source, user, "yes" if is_true else "no", key=text)


def same(source: str, one: Labelled, two: Labelled, *, rng: random.Random) -> ChatRow:
    """Yes or no: do two messages have the same intent?"""
    user = rng.choice(SAME_QUESTIONS).format(one=one[0], two=two[0])
    return chat(source, user, "yes" if one[1] == two[1] else "no", key=one[0])


def session(source: str, examples: list[Labelled], *, rng: random.Random) -> ChatRow:
    """Several messages sorted one after the other in one talk; half the time the labels' names carry no meaning."""
    phrases = sorted({phrase for _, phrase in examples})
    rng.shuffle(phrases)
    style = rng.choice(STYLES)
    names = {phrase: spell_label(phrase, style) for phrase in phrases}
    if rng.random() < 0.35:
        signs = rng.choice(["ABCDEFGH", "12345678", "XYZPQRST"])
        names = dict(zip(phrases, signs, strict=False))
    turns = [turn for text, phrase in examples for turn in (("user", text), ("assistant", names[phrase]))]
    system = rng.choice(
        [None, "Sort each message.", "Label every message in the same way.", f"Labels: {', '.join(names.values())}"]
    )
    return talk(source, turns, system=system, key=examples[0][0])


def example_of(source: str, example: Labelled, *, rng: random.Random) -> ChatRow:
    """The other way round: a message for a label."""
    text, phrase = example
    label = spell_label(phrase, rng.choice(STYLES))
    ask = rng.choice(
        [
            "Write a message with the intent {}.",
            "Give an example for the label {}.",
            "What would a customer say for {}?",
        ]
    )
    return chat(source, ask.format(label), text, key=text)


def draw_session(
    examples: list[Labelled], by_phrase: dict[str, list[Labelled]], *, rng: random.Random
) -> list[Labelled]:
    """Four to eight examples of two to four intents, so that each name comes up again."""
    phrases = rng.sample(sorted(by_phrase), k=min(rng.randrange(2, 5), len(by_phrase)))
    return [rng.choice(by_phrase[rng.choice(phrases)]) for _ in range(rng.randrange(4, 9))]


def intent_rows(
    source: str, examples: list[Labelled], *, rng: random.Random, shares: dict[str, float]
) -> Iterator[ChatRow]:
    """Every form of row over a set of labelled texts; `shares` says how many rows of a form one example gives."""
    by_phrase: dict[str, list[Labelled]] = {}
    for example in examples:
        by_phrase.setdefault(example[1], []).append(example)
    labels = sorted(by_phrase)

    def pair(one: Labelled) -> ChatRow:
        other = rng.choice(by_phrase[one[1]] if rng.random() < 0.5 else examples)
        return same(source, one, other, rng=rng)

    forms: dict[str, Callable[[Labelled], ChatRow]] = {
        "bare": lambda one: bare(source, one, rng=rng),
        "named": lambda one: named(source, one, rng=rng),
        "options": lambda one: from_options(source, one, labels, rng=rng),
        "about": lambda one: about(source, one, labels, rng=rng),
        "same": pair,
        "session": lambda one: session(source, draw_session(examples, by_phrase, rng=rng), rng=rng),
        "example": lambda one: example_of(source, one, rng=rng),
    }
    for example in examples:
        for form, share in shares.items():
            whole, part = divmod(share, 1)
            for _ in range(int(whole) + (rng.random() < part)):
                yield forms[form](example)


def domain_rows(source: str, examples: list[Labelled], *, rng: random.Random) -> Iterator[ChatRow]:
    """Text to topic: the broad field a message belongs to."""
    domains = sorted({domain for _, domain in examples})
    systems = (
        "Name the topic of the message.",
        "Which department is this for?",
        "What is the message about? Answer with the topic.",
    )
    for text, domain in examples:
        if rng.random() < 0.5:
            yield chat(source, text, domain, system=rng.choice(systems), key=text)
        else:
            yield from_options(source, (text, domain), domains, rng=rng)


def sentiment_rows(source: str, examples: list[Labelled], *, rng: random.Random) -> Iterator[ChatRow]:
    """Reviews to positive or negative, under changing names for the two."""
    names = (("positive", "negative"), ("good", "bad"), ("liked", "disliked"), ("Positive", "Negative"), ("yes", "no"))
    asks = {
        "positive": (
            "What is the sentiment?",
            "Positive or negative?",
            "Is the review positive or negative?",
            "Sentiment:",
        ),
        "good": ("Is this a good or a bad review?", "good or bad?"),
        "liked": ("Was it liked or disliked?", "Choose: liked, disliked."),
        "Positive": ("Label the review as Positive or Negative.",),
        "yes": ("Did the critic like the film? Answer yes or no.", "Would they recommend it? yes or no"),
    }
    for text, label in examples:
        good, bad = names[0] if rng.random() < 0.5 else rng.choice(names)
        answer = good if label == "positive" else bad
        ask = rng.choice(asks[good])
        draw = rng.random()
        if draw < 0.45:
            yield chat(source, text, answer, system=ask, key=text)
        elif draw < 0.75:
            yield chat(source, f"{ask}\n\n{text}", answer, key=text)
        else:
            yield chat(source, f"{text}\n\n{ask}", answer, key=text)


def mood_rows(source: str, messages: list[Message], *, rng: random.Random) -> Iterator[ChatRow]:
    """Generated messages to their tone or their urgency."""
    tone_asks = (
        "Name the tone of the message.",
        "How does the writer feel?",
        "Which tone is it: polite, angry, worried, happy, neutral?",
    )
    urgency_asks = (
        "Is the message urgent?",
        "Urgent or not urgent?",
        "How soon is an answer needed? Say urgent or not urgent.",
    )
    for message in messages:
        label, asks = (message.tone, tone_asks) if message.tone else (message.urgency, urgency_asks)
        ask = rng.choice(asks)
        if ask == "Is the message urgent?":
            label = "yes" if label == "urgent" else "no"
        if label and rng.random() < 0.6:
            yield chat(source, message.text, label, system=ask, key=message.text)
        elif label:
            yield chat(source, f"{ask}\n\n{message.text}", label, key=message.text)


def written_examples(written: Written, *, rng: random.Random, each: int) -> list[Labelled]:
    """Up to `each` different messages of every intent, and twice as many about banking, where intents lie close."""
    found: dict[str, Labelled] = {}
    for intent in written.intents:
        for _ in range(each * 2 if intent.domain == "banking" else each):
            text = written.message(intent, rng=rng).text
            found.setdefault(text.lower().rstrip(".?!"), (text, intent.phrase))
    return list(found.values())
