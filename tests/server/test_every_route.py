"""Every route of the application asks for a key, for a scope, and shows nothing of another project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunewright.server.routing import Guarded
from tunewright.workspace.keys import SCOPES

from .conftest import Place
from .locked import Locked, opened
from .route_cases import CASES, MAKERS, NOWHERE, SHARED, Case, table

OURS, THEIRS = "ours", "theirs"


@pytest.fixture(scope="module")
def locked(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    with opened(tmp_path_factory.mktemp("every"), place.base) as application:
        application.key()
        yield application


def cases(locked: Locked) -> Iterator[tuple[str, Guarded, Case]]:
    """All routes with how to ask them."""
    for name, route in table(locked.app).items():
        assert name in CASES, f"{name} has no line in tests/server/route_cases.py: say there what it names and takes."
        yield name, route, CASES[name]


def ask(locked: Locked, name: str, route: Guarded, case: Case, things: dict[str, str], key: str | None) -> Any:
    return locked.ask(name.partition(" ")[0], case.url(route, things), key, **case.request(things))


def things_of(locked: Locked, case: Case, project: str) -> dict[str, str]:
    return {kind: MAKERS[kind](locked, project) for kind in case.kinds}


def test_every_route_is_known_here(locked: Locked) -> None:
    missing = set(table(locked.app)) - set(CASES)
    assert not missing, f"{sorted(missing)} have no line in tests/server/route_cases.py."
    for name, route, case in cases(locked):
        assert set(case.path) == set(route.param_convertors), name
        assert (name.partition(" ")[0] == "POST") or case.body is None, name


def test_every_route_asks_for_a_key(locked: Locked) -> None:
    for name, route, case in cases(locked):
        needed = route.endpoint.needs  # type: ignore[attr-defined]
        things = {kind: NOWHERE[kind] for kind in case.kinds}
        for key in (None, "tw-wrong"):
            answer = ask(locked, name, route, case, things, key)
            assert answer.status_code == (200 if needed == "nothing" else 401), name
        if needed != "nothing":
            assert answer.json()["error"]["code"] == "invalid_api_key"


def test_every_route_asks_for_its_scope(locked: Locked) -> None:
    by_scope = {scope: locked.key(scopes=(scope,), project=OURS) for scope in SCOPES}
    for name, route, case in cases(locked):
        needed = route.endpoint.needs  # type: ignore[attr-defined]
        things = {kind: NOWHERE[kind] for kind in case.kinds}
        for scope, key in by_scope.items():
            answer = ask(locked, name, route, case, things, key)
            lacking = needed not in ("nothing", scope) and scope != "admin"
            assert (answer.status_code == 403) is lacking, f"{name} with {scope}: {answer.text}"
            assert not lacking or answer.json()["error"]["code"] == "scope_missing"


def test_what_is_another_projects_is_as_if_it_were_not_there(locked: Locked) -> None:
    ours, theirs = (locked.key(project=project) for project in (OURS, THEIRS))
    seen = 0
    for name, route, case in cases(locked):
        if not set(case.kinds) - SHARED:
            continue
        seen += 1
        things = things_of(locked, case, THEIRS)
        absent = {kind: NOWHERE[kind][: len(one)].ljust(len(one), "x") for kind, one in things.items()}
        hidden, nothing = (ask(locked, name, route, case, named, ours) for named in (things, absent))
        assert hidden.status_code == nothing.status_code == case.hidden, f"{name}: {hidden.text} {nothing.text}"
        assert _without(hidden, things) == _without(nothing, absent), name
        there = ask(locked, name, route, case, things, theirs)
        assert there.status_code < 400 or not case.works, f"{name} of their own: {there.text}"  # it is there, still
        assert _without(there, things) != _without(nothing, absent), name
    assert seen


def test_lists_hold_what_is_of_the_project(locked: Locked) -> None:
    ours, theirs = (locked.key(project=project) for project in (OURS, THEIRS))
    for name, route, case in cases(locked):
        if case.lists is None:
            continue
        things = {case.lists: MAKERS[case.lists](locked, THEIRS)}
        things |= {kind: things.get(kind) or MAKERS[kind](locked, THEIRS) for kind in case.kinds}
        if not case.path:  # else the list itself is hidden
            assert things[case.lists] not in ask(locked, name, route, case, things, ours).text, name
        assert things[case.lists] in ask(locked, name, route, case, things, theirs).text, name


def _without(answer: Any, things: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The body and headers of an answer without what was asked for."""
    text = answer.text
    for one in things.values():
        text = text.replace(one, "")
    return text, {
        name: value for name, value in answer.headers.items() if name not in ("x-request-id", "content-length")
    }


def test_a_route_that_nobody_classified_is_found(place: Place, tmp_path: Path) -> None:
    from tunewright.server.routing import needs

    with opened(tmp_path, place.base) as locked:

        @locked.app.get("/v1/new")
        @needs("admin")
        def new() -> None: ...

        with pytest.raises(AssertionError, match="GET /v1/new has no line"):
            list(cases(locked))
        with pytest.raises(AssertionError, match="say what it needs"):
            locked.app.get("/v1/open")(lambda: None)
        locked.app.mount("/files", lambda *_: None)
        with pytest.raises(AssertionError, match="no Guarded"):
            table(locked.app)
