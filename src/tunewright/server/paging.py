"""Pages of lists, as the API has them: `after` names the last row of the page before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session
from starlette.datastructures import QueryParams

from tunewright.server.protocol import ApiError


def page(
    session: Session,
    table: Any,
    *where: ColumnElement[bool],
    after: str | None = None,
    limit: int,
    newest_first: bool = True,
) -> tuple[Sequence[Any], bool]:
    """Rows of a table with `id` and `number`, and whether more follow. Raises ApiError 400 for an unknown `after`."""
    query = select(table).where(*where)
    if after is not None:
        known = select(table.number).where(*where, table.id == after)
        number = session.scalar(known) if after.isprintable() else None  # what a database may refuse to compare
        if number is None:
            message = (
                f"There is nothing called '{after[:80]}' in this list. Give the id of the last row of the page before."
            )
            raise ApiError(400, message, param="after", code="invalid_value")
        query = query.where(table.number < number if newest_first else table.number > number)
    order = table.number.desc() if newest_first else table.number.asc()
    rows = session.scalars(query.order_by(order).limit(limit + 1)).all()
    return rows[:limit], len(rows) > limit


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
) -> Cursor:
    """`after`, `limit` and `order` of a query. others: parameters that the list knows beside them. orders: what this
    list calls oldest and newest first. Raises ApiError.
    """
    for name in query:
        if name not in ("after", "limit", "order", *others):
            raise ApiError(400, f"Unknown parameter: '{name[:80]}'.", param=name[:80], code="unknown_parameter")
    limit = query.get("limit", str(default))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= most:
        message = f"Invalid 'limit': a whole number from 1 to {most} is needed."
        raise ApiError(400, message, param="limit", code="invalid_value")
    order = query.get("order", orders[1])
    if order not in orders:
        message = f"Invalid 'order': it must be '{orders[0]}' or '{orders[1]}'."
        raise ApiError(400, message, param="order", code="invalid_value")
    return Cursor(query.get("after"), int(limit), order == orders[1])
