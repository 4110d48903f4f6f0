"""Options of the commands that ask a model: an endpoint, or a release or base of ours."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Url = Annotated[
    str | None, typer.Option("--endpoint", metavar="URL", help="An OpenAI-compatible server: http://host:8000/v1.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", help="The model's name at the endpoint; without one, a run, a release or a base of ours."),
]
Key = Annotated[
    str | None, typer.Option("--key", metavar="env:NAME", help="Where the endpoint's key is: env:NAME or file:PATH.")
]


def named(url: str | None, model: str | None, key: str | None, **more: Any) -> dict[str, Any]:
    """The keys `endpoint` and `model` of a recipe."""
    if url is None:
        return {"model": model}
    given = {"url": url, "model": model, "key": key, **more}
    return {"endpoint": {name: value for name, value in given.items() if value is not None}}


def priced(text: str | None) -> dict[str, float] | None:
    """Prices from `IN,OUT`. Raises RecipeError."""
    from tunewright.core.errors import RecipeError

    if text is None:
        return None
    try:
        sent, received = (float(one) for one in text.split(","))
    except ValueError:
        raise RecipeError(
            f"--prices takes two numbers, IN,OUT, found '{text}'. For example: --prices 0.5,1.5"
        ) from None
    return {"input": sent, "output": received}
