"""Talk with a release."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunewright.cli import carrying, options

if TYPE_CHECKING:
    from tunewright.stages.answering import Speaker

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would obey
HELP = "/quit ends, /reset forgets the conversation, /system TEXT sets a system message (and forgets the conversation)"


def chat(
    release: options.ReleaseName,
    say: Annotated[
        str | None, typer.Option("--say", metavar="TEXT", help="Say this, print the answer, and end.")
    ] = None,
    system: Annotated[
        str | None,
        typer.Option("--system", metavar="TEXT", help="A system message, instead of the one it was tuned with."),
    ] = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright chat desk --say "I cannot log in"

    Without --say a conversation begins: /quit ends it, /reset forgets it, /system TEXT sets a system message. Where the
    release chooses among labels, the likeliest ones are shown with their share.
    """
    from tunewright.stages.answering import Speaker

    with carrying.quiet(as_json):
        speaker = Speaker.open(release, runs=runs)
    opening = [{"role": "system", "content": system}] if system else []
    if say is not None:
        _answer(speaker, [*opening, {"role": "user", "content": say}], as_json)
        return
    _converse(speaker, opening, as_json)


def _converse(speaker: Speaker, opening: list[dict[str, Any]], as_json: bool) -> None:
    from tunewright.core.errors import DataError

    print(f"{speaker.name}. {HELP}", file=sys.stderr)
    messages = list(opening)
    while (line := _line()) is not None:
        word, _, rest = line.partition(" ")
        if word in ("/quit", "/exit"):
            break
        if word == "/reset":
            messages = list(opening)
        elif word == "/system":
            opening = [{"role": "system", "content": rest.strip()}] if rest.strip() else []
            messages = list(opening)
        elif word == "/help":
            print(HELP, file=sys.stderr)
        elif line:
            try:
                text = _answer(speaker, [*messages, {"role": "user", "content": line}], as_json)
            except DataError as error:
                print(f"{error} (/reset forgets the conversation)", file=sys.stderr)
                continue
            # a release that chooses labels was trained on single messages: each line is asked anew
            if speaker.decode.kind == "generate":
                messages += [{"role": "user", "content": line}, {"role": "assistant", "content": text}]


def _line() -> str | None:
    """The next line of the person; None at the end of input."""
    try:
        return input("you> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        print(file=sys.stderr)
        return None


def _answer(speaker: Speaker, messages: list[dict[str, Any]], as_json: bool) -> str:
    with carrying.quiet(as_json):
        given = speaker.answer([messages], with_scores=True)[0]
    if as_json:
        print(given.model_dump_json(), flush=True)
        return given.text
    print(_CONTROL.sub("\ufffd", given.text) if sys.stdout.isatty() else given.text, flush=True)
    for label, share in speaker.shares(given)[:3]:
        print(f"  {share:6.1%}  {label}", flush=True)
    if given.escalate:
        print("(less sure than what was found to be right: let a person look at it)", file=sys.stderr)
    if given.finish == "length":
        print("(cut at the longest length the release allows)", file=sys.stderr)
    return given.text
