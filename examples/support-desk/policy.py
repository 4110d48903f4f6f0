"""What the desk answers: for each topic its intent, one request and the next step, or the team that takes over.

Knows no customer message; build.py picks a topic and a tone and asks `respond` for the words.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

INTENTS = ("Account Access", "Fraud Report", "Transaction Dispute", "General Inquiry")
INSTRUCTION = (
    "Read the customer's message. Reply in JSON with the intent (Account Access, Fraud Report, "
    "Transaction Dispute or General Inquiry) and a short first response."
)
TEAMS = {
    "Account Access": "access team",
    "Fraud Report": "fraud team",
    "Transaction Dispute": "disputes team",
    "General Inquiry": "care team",
}
STAY = "Please keep this chat open."


@dataclass(frozen=True)
class Topic:
    """One kind of message: `seen` acknowledges it plainly, `about` names it in an apology or a worry."""

    intent: str
    seen: str
    about: str = ""  # empty: only `seen` is kind enough here, whatever the tone
    request: str = ""  # empty: this topic always goes to a person
    next_steps: tuple[str, ...] = ()
    stay: str = STAY  # the one request of a hand-over

    @property
    def needs_person(self) -> bool:
        return not self.request


def respond(topic: Topic, *, tone: str, person: bool, rng: random.Random) -> str:
    """The first response: an acknowledgement, then one request and the next step, or a hand-over to a person."""
    acknowledgement = {
        "calm": topic.seen,
        "upset": f"I am sorry for the trouble with {topic.about}.",
        "worried": f"I understand your worry about {topic.about}.",
    }[tone if topic.about else "calm"]
    if person or topic.needs_person:
        return f"{acknowledgement} I am passing you to a person in our {TEAMS[topic.intent]} now. {topic.stay}"
    return f"{acknowledgement} {topic.request} {rng.choice(topic.next_steps)}"


_ACCESS, _FRAUD, _DISPUTE, _GENERAL = INTENTS

TOPICS: dict[str, Topic] = {
    # Account Access
    "password": Topic(
        _ACCESS,
        "I see that you need a new password.",
        "your password",
        "Which email address is on your account?",
        ("We will then send you a reset link.", "A reset link will follow by email."),
    ),
    "locked": Topic(
        _ACCESS,
        "I see that your account is locked.",
        "your locked account",
        "When did you last sign in?",
        ("We will then check your identity and unlock it.", "After an identity check we will unlock it."),
    ),
    "code": Topic(
        _ACCESS,
        "I see that your sign-in code does not arrive.",
        "your sign-in code",
        "Is your mobile number still the same?",
        ("We will then send you a fresh code.", "A fresh code will follow by text."),
    ),
    "app": Topic(
        _ACCESS,
        "I see that the app does not let you in.",
        "the app",
        "Which phone or browser do you use?",
        ("We will then send you the steps to fix it.", "The right steps will follow here."),
    ),
    "new_phone": Topic(
        _ACCESS,
        "I see that you have a new phone or number.",
        "your new phone",
        "Which phone do you want to use now?",
        ("We will then move your access over.", "After that we will link the new one."),
    ),
    "username": Topic(
        _ACCESS,
        "I see that you need your user name.",
        "your user name",
        "What is the postcode on your account?",
        ("We will then send the user name to your email.", "Your user name will follow by email."),
    ),
    "card_blocked": Topic(
        _ACCESS,
        "I see that your card is blocked.",
        "your blocked card",
        "What are the last four digits of the card?",
        ("We will then check the block and lift it.", "After a check we will lift the block."),
    ),
    "pin": Topic(
        _ACCESS,
        "I see that you need your PIN.",
        "your PIN",
        "Is the card with you now?",
        ("We will then show you the PIN in the app.", "A PIN reminder will follow in the app."),
    ),
    "access_help": Topic(_ACCESS, "Thank you for telling us that you need extra help.", "getting into the account"),
    # Fraud Report
    "phishing_call": Topic(
        _FRAUD,
        "Thank you for reporting this call.",
        "this call",
        "Which number did they call from?",
        ("We will then block it and check your account.", "Our fraud team will then look into it."),
    ),
    "phishing_text": Topic(
        _FRAUD,
        "Thank you for reporting this message.",
        "this message",
        "Did you open the link in it?",
        ("We will then tell you if your account is safe.", "Our fraud team will then look into it."),
    ),
    "lost_phone": Topic(
        _FRAUD,
        "I see that your phone is gone.",
        "your lost phone",
        "When did you last have the phone?",
        ("We will then block the app on it.", "After that we will close its access."),
    ),
    "stolen_card": Topic(
        _FRAUD,
        "I see that your card is gone.",
        "your lost card",
        "When did you last use the card yourself?",
        ("We will then block it and send a new one.", "After that we will block and replace it."),
    ),
    "strange_login": Topic(
        _FRAUD,
        "Thank you for reporting this sign-in.",
        "this strange sign-in",
        "When did you get the alert?",
        ("We will then sign out all other devices.", "Our fraud team will then secure the account."),
    ),
    "identity": Topic(
        _FRAUD,
        "Thank you for reporting the misuse of your name.",
        "the misuse of your name",
        "What is the date on the letter or message?",
        ("We will then freeze that account.", "Our fraud team will then freeze it."),
    ),
    "scam_paid": Topic(
        _FRAUD,
        "Thank you for telling us about this scam.",
        "this scam",
        "On which day did you pay?",
        ("We will then try to recall the money.", "Our fraud team will then try to get it back."),
    ),
    "gave_code": Topic(_FRAUD, "Thank you for telling us that your details were shared.", "your shared details"),
    "money_leaving": Topic(_FRAUD, "I see that money is leaving your account.", "the money leaving your account"),
    "coerced": Topic(
        _FRAUD,
        "Your safety comes first.",
        stay="Please call the police if you are in danger.",
    ),
    # Transaction Dispute
    "unknown_charge": Topic(
        _DISPUTE,
        "I see a charge you do not recognise.",
        "this unknown charge",
        "What date is shown next to the charge?",
        ("We will then trace who took it.", "After that we will open a dispute."),
    ),
    "double_charge": Topic(
        _DISPUTE,
        "I see that you were charged twice.",
        "the double charge",
        "On which day were you charged?",
        ("We will then ask for one payment back.", "After that we will dispute the second one."),
    ),
    "refund": Topic(
        _DISPUTE,
        "I see that your refund is missing.",
        "your missing refund",
        "When did the shop promise the refund?",
        ("We will then trace it for you.", "After that we will chase the shop."),
    ),
    "wrong_amount": Topic(
        _DISPUTE,
        "I see that the amount is wrong.",
        "the wrong amount",
        "What amount should it have been?",
        ("We will then dispute the difference.", "After that we will claim the rest back."),
    ),
    "not_received": Topic(
        _DISPUTE,
        "I see that your order did not come as promised.",
        "your order",
        "When should the order have come?",
        ("We will then open a claim with the shop.", "After that we will ask for your money back."),
    ),
    "subscription": Topic(
        _DISPUTE,
        "I see that a subscription still takes money.",
        "this subscription",
        "On which day did you cancel it?",
        ("We will then stop it and dispute the charge.", "After that we will claim the money back."),
    ),
    "cash_machine": Topic(
        _DISPUTE,
        "I see that the cash machine paid out wrongly.",
        "the cash machine",
        "Where is the cash machine?",
        ("We will then check its records.", "After that we will correct your balance."),
    ),
    "wrong_transfer": Topic(
        _DISPUTE,
        "I see that a payment went to the wrong place.",
        "your payment",
        "On which day was it sent?",
        ("We will then ask the other bank to return it.", "After that we will start a recall."),
    ),
    "dispute_complaint": Topic(_DISPUTE, "Thank you for raising this complaint.", "your disputed payment"),
    # General Inquiry
    "hours": Topic(
        _GENERAL,
        "Thank you for asking about our branches.",
        "our branches",
        "Which town do you want to visit?",
        ("We will then send you the opening hours.", "The opening hours will follow here."),
    ),
    "fees": Topic(
        _GENERAL,
        "Thank you for asking about fees.",
        "our fees",
        "Which type of account do you have?",
        ("We will then send you its list of fees.", "The list of fees will follow here."),
    ),
    "exchange": Topic(
        _GENERAL,
        "Thank you for asking about exchange rates.",
        "our exchange rates",
        "When do you need the money?",
        ("We will then send you today's rate.", "Today's rate will follow here."),
    ),
    "new_account": Topic(
        _GENERAL,
        "Thank you for your interest in an account.",
        "opening an account",
        "Do you have a passport or identity card?",
        ("We will then send you the list of papers.", "The list of papers will follow here."),
    ),
    "savings": Topic(
        _GENERAL,
        "Thank you for asking about savings.",
        "our savings rates",
        "How long do you want to save for?",
        ("We will then send you the best rates.", "The best rates will follow here."),
    ),
    "travel": Topic(
        _GENERAL,
        "Thank you for asking about cards abroad.",
        "using your card abroad",
        "When do you leave?",
        ("We will then tell you how your card works there.", "The rules for your trip will follow here."),
    ),
    "limits": Topic(
        _GENERAL,
        "Thank you for asking about limits.",
        "your limit",
        "Which account is it for?",
        ("We will then tell you how to set the limit.", "The steps to change the limit will follow here."),
    ),
    "statements": Topic(
        _GENERAL,
        "Thank you for asking about statements.",
        "your statements",
        "Do you need them on paper or as a file?",
        ("We will then send them to you.", "They will follow within two days."),
    ),
    "loan": Topic(
        _GENERAL,
        "Thank you for asking about borrowing.",
        "borrowing",
        "Over how many years do you want to repay?",
        ("We will then send you our offers.", "Our offers will follow here."),
    ),
    "transfer_time": Topic(
        _GENERAL,
        "Thank you for asking about transfers.",
        "transfer times",
        "Is the money already on its way?",
        ("We will then tell you when it arrives.", "The usual time will follow here."),
    ),
    "details_change": Topic(
        _GENERAL,
        "Thank you for asking about your details.",
        "your details",
        "Do you have a paper that shows the change?",
        ("We will then send you the form.", "The right form will follow here."),
    ),
    "bereavement": Topic(_GENERAL, "I am very sorry for your loss."),
    "money_worries": Topic(_GENERAL, "Thank you for telling us about your money worries."),
    "human": Topic(_GENERAL, "I see that you want to talk to someone.", "reaching us"),
}
