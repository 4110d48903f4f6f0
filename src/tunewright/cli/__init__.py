"""Floor 4: the command line. One file per command: parse, call one function of a lower floor, print a Report."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import pkgutil
import sys
import traceback
from types import ModuleType

import typer

from tunewright.core.errors import TunewrightError

# In the order of --help, which shows each module's docstring; the function's docstring is the command's own help.
COMMANDS = (
    "init",
    "check",
    "run",
    "prepare",
    "data",
    "advise",
    "choose",
    "train",
    "evaluate",
    "explain",
    "compare",
    "rate",
    "deploy",
    "compose",
    "show",
    "prove",
    "chat",
    "answer",
    "serve",
    "keys",
    "alias",
    "live",
    "traffic",
    "harvest",
    "monitor",
    "migrate",
    "schema",
)
# What the system refuses and only the user can mend.
USERS_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
    errno.EISDIR,
    errno.ENOTDIR,
)


def app() -> typer.Typer:
    """The commands, put together."""
    program = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: rich would double the time that --help takes
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        no_args_is_help=True,
    )
    program.callback()(about)
    for name in COMMANDS:
        module = importlib.import_module(f"tunewright.cli.{name}")
        if hasattr(module, "__path__"):
            program.add_typer(_group(module), name=name, help=module.__doc__)
        else:
            program.command(name, short_help=module.__doc__)(getattr(module, name))
    return program


def _group(package: ModuleType) -> typer.Typer:
    """Commands of one word more: a file each, whose function is called `command`."""
    group = typer.Typer(
        rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True
    )
    for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        module = importlib.import_module(f"{package.__name__}.{name}")
        group.command(name, short_help=module.__doc__)(module.command)
    return group


def about(
    version: bool = typer.Option(
        False, "--version", help="Print the version and stop.", is_eager=True, callback=lambda on: _version(on)
    ),
) -> None:
    """tunewright run recipe.yaml

    Fine-tuning of language models end to end: a recipe says what you want, stages carry it out in one run folder, and
    every stage leaves proofs. Begin with: tunewright init --data FILE

    Exit codes: 0 done (and GO), 2 something to mend, 3 NO-GO or a broken proof, 4 more test examples needed,
    75 stopped (the same command goes on), 1 a bug of ours.
    """


def _version(on: bool) -> None:
    if on:
        from tunewright import __version__

        print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the console script. Ends the process with the exit code."""
    atexit.register(gc.freeze)  # else Python looks through all that torch imported once more, for a second, and ends
    try:
        app()(prog_name="tunewright")
    except Exception as error:
        sys.exit(tell(error))


def tell(error: Exception) -> int:
    """Print what went wrong on standard error; return the exit code."""
    if isinstance(error, TunewrightError):
        _tell_problems(error)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in USERS_ERRORS:
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"{where}{error.strerror}. Check the path, its permissions and the free space, then run the command again.",
            file=sys.stderr,
        )
        return 2
    traceback.print_exception(error)
    print(
        "\nThis is a bug in tunewright, not in your recipe or data. What was saved in the run folder is still there.",
        file=sys.stderr,
    )
    return 1


def _tell_problems(error: TunewrightError) -> None:
    """One sentence, or several problems as a list."""
    problems: list[str] = getattr(error, "problems", [])
    if len(problems) > 1:
        print(f"{len(problems)} problems in the recipe:", file=sys.stderr)
        for problem in problems:
            print(f"  - {problem}", file=sys.stderr)
    else:
        print(str(error), file=sys.stderr)
