"""`/v1/health`, `/metrics`, the audit log and the public keys: what operators and examiners look at."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select, text

from service.admin_keys.auth import AsAuditor
from service.audit.service import first_broken_link
from service.audit.tables import AuditEvent
from service.database import Reading, reading
from service.errors import Overloaded
from service.gateway import gateway_of
from service.keyring import public_key_document
from service.middleware import metrics_response
from service.openapi import ADMIN, PROBLEMS
from service.pages import Limit, Page

router = APIRouter(tags=["operation"])


class AuditRead(BaseModel):
    """One row of the audit log."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    request_id: str
    digest: str


@router.get("/v1/health/live")
@router.head("/v1/health/live", include_in_schema=False)
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/v1/health/ready", responses={503: PROBLEMS[503]})
@router.head("/v1/health/ready", include_in_schema=False)
async def ready(request: Request) -> dict[str, str]:
    """Networks are warm, the database answers, and changes to licenses are seen."""
    gateway = gateway_of(request)
    if (reason := gateway.ailing()) is not None:
        raise Overloaded(reason)
    async with reading(gateway.sessions) as session:  # a database that does not answer is a 503 of the middleware's
        await session.execute(text("SELECT 1"))
    return {"status": "ready"}


@router.get("/.well-known/signet-keys.json")
async def issuer_keys(request: Request) -> dict[str, list[dict[str, str]]]:
    """The public halves of the issuer keys, for pinning. A license file is checked against a pinned copy, not this."""
    return public_key_document(gateway_of(request).ring.public_keys())


@router.get("/metrics", responses=ADMIN)
async def metrics(request: Request, act: AsAuditor) -> Response:
    """Prometheus' text format."""
    return metrics_response(gateway_of(request))


class AuditCheck(BaseModel):
    """Whether the audit log is whole."""

    first_broken: int | None = Field(description="number of the first row that was changed or is missing")


@router.get("/v1/audit/check", responses=ADMIN)
async def check_the_audit_log(act: AsAuditor, session: Reading) -> AuditCheck:
    """Follow the chain of digests from the first row to the last."""
    return AuditCheck(first_broken=await first_broken_link(session))


@router.get("/v1/audit", responses=ADMIN)
async def audit_log(
    act: AsAuditor, session: Reading, after: Annotated[int, Query(ge=0, le=2**53)] = 0, limit: Limit = 50
) -> Page[AuditRead]:
    """Admin acts in order; `after` is the number of the last row you have."""
    rows = await session.scalars(
        select(AuditEvent).where(AuditEvent.number > after).order_by(AuditEvent.number).limit(limit)
    )
    return Page(items=[AuditRead.model_validate(row) for row in rows])
