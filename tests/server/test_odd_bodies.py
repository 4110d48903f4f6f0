"""Whatever is sent to the fine-tuning API, the server does not fail: it answers, or says what is wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .all_calls import GRADERS as SHOWN
from .all_calls import methods
from .shop import Shop

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["auto", 10**40]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PLAIN = settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
WHOLE = {"model": "nano", "training_file": "file-1", "validation_file": "file-1", "suffix": "desk", "seed": 1}
WHOLE |= {"metadata": {"a": "b"}, "hyperparameters": {"n_epochs": 1}}
GRADERS = [SHOWN[0], SHOWN[1] | {"pass_threshold": 0.5}]
SEVERAL = {"type": "multi", "name": "m", "graders": {"a": GRADERS[0], "b": GRADERS[1]}, "calculate_output": "a + b"}


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something else can be put."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inner for place in places(one, (*at, key)))]


def put(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    """The value with something else at a place."""
    if not place:
        return other
    changed = copy.deepcopy(value)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = other
    return changed


@st.composite
def odd(draw: st.DrawFn, bodies: list[Any]) -> Any:
    """A body with one thing in it that is another."""
    body = draw(st.sampled_from(bodies))
    return put(body, draw(st.sampled_from(places(body))), draw(JSON))


def answered(shop: Shop, path: str, body: Any) -> None:
    content = json.dumps(body).encode()
    answer = shop.plain.post(path.lstrip("/"), content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400), (answer.text, body)
    if answer.status_code == 400:
        assert answer.json()["error"]["message"].endswith(".")


def test_no_job_makes_the_server_fail(shop: Shop) -> None:
    shop.file(id="file-1")
    bodies = [WHOLE, *({**WHOLE, "hyperparameters": None, "method": method} for method in methods())]
    PLAIN(given(odd(bodies))(lambda body: answered(shop, "/fine_tuning/jobs", body)))()


@pytest.mark.parametrize("path", ["run", "validate"])
def test_no_grader_makes_the_server_fail(shop: Shop, path: str) -> None:
    more = {"model_sample": '{"a": 1}', "item": {"right": "x"}} if path == "run" else {}
    bodies = [{"grader": grader, **more} for grader in (*GRADERS, SEVERAL)]
    PLAIN(given(odd(bodies))(lambda body: answered(shop, f"/fine_tuning/alpha/graders/{path}", body)))()
