"""Recording an admin act, in the transaction of the act itself."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.tables import AuditEvent, Counter
from service.clock import Clock, rfc3339
from service.database import CHANGED

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Act:
    """Who acts, under which request, at what time."""

    actor: str
    request_id: str
    clock: Clock


async def next_revision(session: AsyncSession) -> int:
    """A number higher than any committed one. Holds the counter's row until the commit, so numbers commit in order."""
    statement = update(Counter).where(Counter.name == "store").values(value=Counter.value + 1).returning(Counter.value)
    session.info[CHANGED] = True
    return (await session.execute(statement)).scalar_one()


async def take_turn(session: AsyncSession) -> None:
    """Wait for those that change the store now; what is read from here on holds until the commit."""
    await session.execute(select(Counter.value).where(Counter.name == "store").with_for_update())


async def record(session: AsyncSession, act: Act, action: str, subject: str, /, **details: Any) -> int:
    """Append one row to the audit chain and return the change's revision."""
    revision = await next_revision(session)  # also what keeps two appends from reading the same last digest
    last = await session.scalar(select(AuditEvent.digest).order_by(AuditEvent.number.desc()).limit(1))
    row = AuditEvent(
        number=revision,
        at=act.clock().replace(microsecond=0),
        actor=act.actor,
        action=action,
        subject=subject,
        details=details,
        request_id=act.request_id,
        digest="",
    )
    row.digest = chain_digest(last or GENESIS, row)
    session.add(row)
    return revision


def chain_digest(previous: str, row: AuditEvent) -> str:
    """SHA-256 over the previous digest and the row's canonical JSON."""
    facts = [row.number, rfc3339(row.at), row.actor, row.action, row.subject, row.details, row.request_id]
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous}{canonical}".encode()).hexdigest()


async def first_broken_link(session: AsyncSession) -> int | None:
    """The number of the first row that does not follow from the one before it, or is missing; None: all hold.

    Every revision has its row, so the counter says how many there must be.
    """
    previous, last = GENESIS, 0
    for row in await session.scalars(select(AuditEvent).order_by(AuditEvent.number)):
        if row.digest != chain_digest(previous, row):
            return row.number
        previous, last = row.digest, row.number
    issued = await session.scalar(select(Counter.value).where(Counter.name == "store")) or 0
    return None if last >= issued else last + 1
