"""`/v1/admin-keys`: who may administer."""

from fastapi import APIRouter, Request
from sqlalchemy import select

from service.admin_keys import service
from service.admin_keys.auth import AsOwner
from service.admin_keys.schemas import AdminKeyCreate, AdminKeyMinted, AdminKeyRead
from service.admin_keys.tables import AdminKey
from service.database import Reading, Transaction
from service.gateway import gateway_of
from service.ids import AdminKeyId
from service.openapi import ADMIN, PROBLEMS
from service.pages import Page

router = APIRouter(prefix="/v1/admin-keys", tags=["administration"], responses=ADMIN)


@router.post("", status_code=201)
async def mint_an_admin_key(
    body: AdminKeyCreate, request: Request, act: AsOwner, session: Transaction
) -> AdminKeyMinted:
    """Mint a key. Its text is in this answer and nowhere else."""
    row, key = await service.mint(session, gateway_of(request).ring, act, body.name, body.role)
    return AdminKeyMinted(**AdminKeyRead.model_validate(row).model_dump(), key=key.text)


@router.get("")
async def list_admin_keys(act: AsOwner, session: Reading) -> Page[AdminKeyRead]:
    """Every key, oldest first, without secrets."""
    rows = await session.scalars(select(AdminKey).order_by(AdminKey.created_at, AdminKey.id))
    return Page(items=[AdminKeyRead.model_validate(row) for row in rows])


@router.post("/{admin_key_id}/revoke", responses={404: PROBLEMS[404], 409: PROBLEMS[409]})
async def revoke_an_admin_key(admin_key_id: AdminKeyId, act: AsOwner, session: Transaction) -> AdminKeyRead:
    """End a key at once. The last owner's key cannot be revoked."""
    return AdminKeyRead.model_validate(await service.revoke(session, act, admin_key_id))
