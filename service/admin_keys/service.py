"""Minting, revoking and recognising administrators' keys."""

import hmac
from dataclasses import dataclass

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.admin_keys.tables import AdminKey, Role
from service.audit.service import Act, record
from service.clock import Clock
from service.errors import Conflict, NotFound
from service.ids import new_id
from service.keyring import KeyRing
from service.keys import Key, keyed_digest

log = structlog.get_logger(__name__)
_KIND = "admin"


@dataclass(frozen=True, slots=True)
class Admin:
    """Who is administering."""

    id: str
    name: str
    role: Role


async def mint(session: AsyncSession, ring: KeyRing, act: Act, name: str, role: Role) -> tuple[AdminKey, Key]:
    """A new key: its row, and the key in the clear, this once."""
    key = Key.mint("sga")
    row = AdminKey(
        id=new_id("adm"),
        public_id=key.public_id,
        name=name,
        role=role,
        digest=_digest(ring, ring.active_root, key),
        pepper_root=ring.active_root,
        created_at=act.clock(),
    )
    session.add(row)
    await record(session, act, "admin_key.minted", row.id, role=role)
    return row, key


async def revoke(session: AsyncSession, act: Act, admin_key_id: str) -> AdminKey:
    """End a key. The last owner's stays: nobody could let anyone in again.

    Raises:
        NotFound, Conflict
    """
    # All owners' rows are locked, in one order: two owners who revoke each other at once must not both succeed.
    owners = select(AdminKey.id).where(AdminKey.role == Role.OWNER, AdminKey.revoked_at.is_(None))
    living = (await session.scalars(owners.order_by(AdminKey.id).with_for_update())).all()
    row = await session.get(AdminKey, admin_key_id, with_for_update=True)
    if row is None:
        raise NotFound("admin_key_id", "no admin key of this id")
    if row.revoked_at is None and living == [row.id]:
        raise Conflict("admin_key_id", "this is the last owner's key; mint another owner first")
    if row.revoked_at is None:
        row.revoked_at = act.clock()
        await record(session, act, "admin_key.revoked", row.id)
    return row


async def recognise(session: AsyncSession, ring: KeyRing, text: str, clock: Clock) -> Admin | None:
    """Whose live key `text` is."""
    key = Key.parse(text)
    if key is None or key.kind != "sga":
        return None
    row = await session.scalar(select(AdminKey).where(AdminKey.public_id == key.public_id))
    if row is None or row.revoked_at is not None or row.pepper_root not in ring.roots:
        return None
    if not hmac.compare_digest(_digest(ring, row.pepper_root, key), row.digest):
        return None
    return Admin(row.id, row.name, Role(row.role))


def _digest(ring: KeyRing, root: str, key: Key) -> bytes:
    return keyed_digest(ring, root, _KIND, key.text.encode())
