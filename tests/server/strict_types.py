"""Whether answers fit the client's types: the client itself builds them without looking."""

from __future__ import annotations

import json
from typing import Any

from openai.types.fine_tuning import FineTuningJob
from pydantic import BaseModel, ValidationError

AHEAD = {"paused"}  # states that the API's examples show and the client's types lack
NOTHING = {"code": "", "message": ""}  # the API's examples show null where an eval met no error; the types lack that


def fits(kind: type[BaseModel], body: str) -> Any:
    """The parsed JSON; raises AssertionError where a required field lacks, or a value is of another type."""
    given = json.loads(body)
    looked = given
    if kind is FineTuningJob and given["status"] in AHEAD:
        looked = given | {"status": "queued"}
    if given.get("object") == "eval.run":
        looked = given | {"error": given["error"] or NOTHING}
    if given.get("object") == "eval.run.output_item":
        looked = given | {"sample": given["sample"] | {"error": given["sample"]["error"] or NOTHING}}
    try:
        kind.model_validate_json(json.dumps(looked), strict=True)
    except ValidationError as error:
        raise AssertionError(f"{kind.__name__}: {error}\n{body}") from None
    return given


def fits_list(kind: type[BaseModel], body: str) -> Any:
    """As `fits`, for a page of a list."""
    given = json.loads(body)
    assert given["object"] == "list" and isinstance(given["has_more"], bool) and isinstance(given["data"], list), body
    for one in given["data"]:
        fits(kind, json.dumps(one))
    return given
