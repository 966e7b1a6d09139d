"""Lists by cursor: stable while rows are added, and a bad cursor is said."""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Protocol, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from service.errors import InvalidInput

Limit = Annotated[int, Query(ge=1, le=200, description="at most this many")]
CursorText = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before")]
Item = TypeVar("Item")


class Listed(Protocol):
    """A table whose rows are listed in the order they were made."""

    id: Any
    created_at: Any


Row = TypeVar("Row", bound=Listed)


class Page(BaseModel, Generic[Item]):
    """Some items, and where to go on."""

    items: list[Item]
    next_cursor: str | None = Field(None, description="null on the last page")


async def page(
    session: AsyncSession,
    statement: Select[Row],
    table: type[Row],
    read: Callable[[Row], Item],
    limit: int,
    cursor: str | None,
) -> Page[Item]:
    """`limit` rows of `statement` from the one after the cursor on, ordered by (created_at, id).

    Raises:
        InvalidInput: not one of our cursors.
    """
    ordered = statement.order_by(table.created_at, table.id).limit(limit + 1)
    if cursor is not None:
        ordered = ordered.where(tuple_(table.created_at, table.id) > tuple_(*_position(cursor)))
    rows = (await session.scalars(ordered)).all()
    more = _cursor(rows[limit - 1]) if len(rows) > limit else None
    return Page(items=[read(row) for row in rows[:limit]], next_cursor=more)


def _cursor(row: Listed) -> str:
    moment = row.created_at.astimezone(UTC).isoformat()
    return base64.urlsafe_b64encode(f"{moment}|{row.id}".encode()).decode()


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        raw = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
        moment, _, identifier = raw.partition("|")
        created_at = datetime.fromisoformat(moment)
        if created_at.tzinfo is None or not identifier.isprintable() or not identifier:
            raise ValueError
        created_at = created_at.astimezone(UTC)  # SQLite compares what the clock says, whatever the zone
    except (ValueError, OverflowError, binascii.Error):
        raise InvalidInput("cursor", "not a cursor of this list; leave it out to start over") from None
    return created_at, identifier
