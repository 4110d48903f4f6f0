"""Pages of lists, as the API has them: `after` names the last row of the page before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.orm import Session
from starlette.datastructures import QueryParams

from tunewright.server.protocol import ApiError
from tunewright.workspace.ids import comparable

MOST_CHARACTERS = 2**23  # on a page of rows that may be large


def page(
    session: Session,
    table: Any,
    *where: ColumnElement[bool],
    after: str | None = None,
    limit: int,
    newest_first: bool = True,
    by: Any = None,
    size: Callable[[Any], int] | None = None,
) -> tuple[Sequence[Any], bool]:
    """Rows of a table with `id` and `number`, and whether more follow. by: a column in whose order they come, those
    that are equal in it by number. size: characters of a row that may be large: a page of such ends early, beyond
    MOST_CHARACTERS. Raises ApiError 400 for an unknown `after`.
    """
    place = [table.number] if by is None else [by, table.number]
    query = select(table).where(*where)
    if after is not None:
        last = session.execute(select(*place).where(*where, table.id == comparable(after))).first()
        if last is None:
            message = (
                f"There is nothing called '{after[:80]}' in this list. Give the id of the last row of the page before."
            )
            raise ApiError(400, message, param="after", code="invalid_value")
        query = query.where(tuple_(*place) < tuple_(*last) if newest_first else tuple_(*place) > tuple_(*last))
    order = [column.desc() if newest_first else column.asc() for column in place]
    query = query.order_by(*order).limit(limit + 1)
    if size is None:
        found = session.scalars(query).all()
        return found[:limit], len(found) > limit
    rows: list[Any] = []
    room = MOST_CHARACTERS
    for row in session.scalars(query.execution_options(yield_per=1)):
        room -= size(row)
        if len(rows) == limit or (rows and room < 0):
            return rows, True
        rows.append(row)
    return rows, False


def listed(rows: Sequence[Any], shown: Callable[[Any], dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """The list object. first_id and last_id are there for the lists whose client pages by them."""
    data = [shown(row) for row in rows]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, "has_more": has_more, **ends}


@dataclass(frozen=True)
class Cursor:
    """Which page of a list is asked for."""

    after: str | None
    limit: int
    newest_first: bool


def cursor(
    query: QueryParams,
    *,
    default: int,
    most: int,
    others: Sequence[str] = (),
    orders: tuple[str, str] = ("asc", "desc"),
    newest_first: bool = True,
) -> Cursor:
    """`after`, `limit` and `order` of a query. others: parameters that the list knows beside them. orders: what this
    list calls oldest and newest first. newest_first: what it does where nothing is said. Raises ApiError.
    """
    for name in query:
        if name not in ("after", "limit", "order", *others):
            raise ApiError(
                400, f"Unknown parameter: '{name[:80]}'. Leave it out.", param=name[:80], code="unknown_parameter"
            )
    given = query.get("limit", str(default))
    limit = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0
    if not 1 <= limit <= most:
        message = f"Invalid 'limit': a whole number from 1 to {most} is needed."
        raise ApiError(400, message, param="limit", code="invalid_value")
    order = query.get("order", orders[newest_first])
    if order not in orders:
        message = f"Invalid 'order': it must be '{orders[0]}' or '{orders[1]}'."
        raise ApiError(400, message, param="order", code="invalid_value")
    return Cursor(query.get("after"), limit, order == orders[1])
