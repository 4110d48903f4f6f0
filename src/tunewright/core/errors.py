"""The one error tree. An error says what is wrong, what was found and what to do, in one or two sentences.

TunewrightError                 exit 2   the user can mend it: no traceback is shown
    RecipeError    (ValueError)          the recipe, or a word in it
    DataError      (ValueError)          the examples
    NotThere       (LookupError)         a run, a release, a model or a file that is not there
    MissingPackage (ImportError)         an optional package; the message holds the pip line
    RunError       (ValueError)          a run that does not fit what was asked (other recipe, other data)
    RunBusy        (RuntimeError)        another process works on this run
    CheckpointError (OSError)            a checkpoint that cannot be written or read
    EndpointError  (ConnectionError)     a server that was asked and gave no answer
    CannotMerge    (TypeError)           a method whose result cannot become plain weights
    CannotDecrypt  (ValueError)          an encrypted file that is not what was written
    NoKey          (LookupError)         the key of a private run is not there, or is another one
    ProofBroken    (AssertionError) exit 3   a measured promise does not hold
    Refused        (PermissionError) exit 3 or 4  deploy without a GO
    Stopped        (RuntimeError)   exit 75  stopped on request; the same command resumes
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_CHOICES = 60  # names that a sentence lists


class TunewrightError(Exception):
    """Anything the user can mend. `exit_code` is what a command ends with."""

    exit_code = 2


class RecipeError(TunewrightError, ValueError):
    """The recipe cannot be carried out. `problems` holds every problem found."""

    def __init__(self, problems: str | list[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else problems
        super().__init__("\n".join(self.problems))


class DataError(TunewrightError, ValueError):
    """The examples cannot be used as they are."""


class NotThere(TunewrightError, LookupError):
    """Something named by the user does not exist."""


class MissingPackage(TunewrightError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, *, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the package '{package}', which is not installed. Run: pip install {package}"
        )


class RunError(TunewrightError, ValueError):
    """The run in the folder does not fit what was asked of it."""


class RunBusy(TunewrightError, RuntimeError):
    """Another process holds this run."""


class CheckpointError(TunewrightError, OSError):
    """A checkpoint could not be written, or none that is whole was found."""


class EndpointError(TunewrightError, ConnectionError):
    """A server could not be asked, or gave no answer that can be used. of_question: another one may fare better."""

    def __init__(self, message: str, *, of_question: bool = False) -> None:
        self.of_question = of_question
        super().__init__(message)


class CannotMerge(TunewrightError, TypeError):
    """The method's result cannot be folded into plain weights."""


class CannotDecrypt(TunewrightError, ValueError):
    """An encrypted file was changed, cut off or exchanged. why: what was found, in a few words."""

    def __init__(self, path: object, why: str) -> None:
        self.why = why
        super().__init__(f"{path} cannot be decrypted: {why}. Bring it back from a copy, or make it again.")


class NoKey(TunewrightError, LookupError):
    """What is encrypted cannot be opened with the key that was given, or none was."""


class ProofBroken(TunewrightError, AssertionError):
    """A measured promise does not hold on the user's own model and data."""

    exit_code = 3


class Refused(TunewrightError, PermissionError):
    """The verdict does not allow this: it ends with that verdict's code."""

    def __init__(self, message: str, *, exit_code: int = 3) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Stopped(TunewrightError, RuntimeError):
    """The work was stopped on request and saved; the same command goes on."""

    exit_code = 75


def unknown(what: str, found: str, choices: Iterable[str]) -> str:
    """One sentence for an unknown name: the value, the nearest match, then the choices."""
    known = sorted(choices)
    near = difflib.get_close_matches(found, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    more = f" and {len(known) - MOST_CHOICES:,} more" if len(known) > MOST_CHOICES else ""
    return f"Unknown {what} '{found}'.{hint} Choose from: {', '.join(known[:MOST_CHOICES]) or '(none)'}{more}."
