"""`/v1/licenses`."""

from datetime import timedelta
from functools import partial
from typing import IO, Annotated

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import IPvAnyAddress
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.background import BackgroundTask

from service.admin_keys.auth import AsAuditor, AsIssuer
from service.control.verdict import Ask
from service.database import Reading, Transaction
from service.gateway import gateway_of
from service.ids import CustomerId, LicenseId, ModelName
from service.licenses import issuing, repository, service
from service.licenses.schemas import LicenseCreate, LicenseIssued, LicenseRead, LicenseReissue, VerdictRead
from service.licenses.tables import License, LicenseStatus
from service.licenses.terms import Operation
from service.openapi import ADMIN, PROBLEMS
from service.pages import CursorText, Limit, Page, page
from service.predictions.service import version_asked
from service.students.bundle import bundle

router = APIRouter(prefix="/v1/licenses", tags=["issuing"], responses={**ADMIN, 404: PROBLEMS[404], 409: PROBLEMS[409]})


@router.post("", status_code=201)
async def issue_a_license(body: LicenseCreate, request: Request, act: AsIssuer) -> LicenseIssued:
    """Issue a license. Its file is in this answer and nowhere else: hand it to the customer."""
    return await issuing.issue(gateway_of(request), act, body)


@router.post("/{license_id}/reissue", status_code=201)
async def reissue_a_license(
    license_id: LicenseId,
    request: Request,
    act: AsIssuer,
    body: Annotated[LicenseReissue, Body(default_factory=LicenseReissue)],
) -> LicenseIssued:
    """Replace a license's credential and receipt key: a fresh file, in this answer and nowhere else."""
    return await issuing.reissue(gateway_of(request), act, license_id, timedelta(hours=body.overlap_hours))


@router.get("")
async def list_licenses(
    act: AsAuditor,
    session: Reading,
    customer_id: CustomerId | None = None,
    model: ModelName | None = None,
    status: LicenseStatus | None = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[LicenseRead]:
    """Licenses, oldest first."""
    statement = repository.licenses(customer_id, model, status)
    rows = await page(session, statement, License, lambda row: row, limit, cursor)
    return Page(items=await repository.read(session, rows.items), next_cursor=rows.next_cursor)


@router.get("/{license_id}")
async def show_a_license(license_id: LicenseId, act: AsAuditor, session: Reading) -> LicenseRead:
    """One license, and how much of it is used."""
    return await _read(session, await repository.get_license_or_raise(session, license_id))


@router.get("/{license_id}/file", response_class=PlainTextResponse)
async def fetch_a_license_file(license_id: LicenseId, request: Request, act: AsIssuer) -> PlainTextResponse:
    """The license file of a serial number, as often as it is wanted; those of other credentials are not kept."""
    return PlainTextResponse(await issuing.fetch_file(gateway_of(request), act, license_id))


@router.get(
    "/{license_id}/bundle",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def fetch_a_bundle(license_id: LicenseId, request: Request, act: AsIssuer) -> StreamingResponse:
    """A zip for a customer who runs the license's own student without the gateway: weights, stamp, signed manifest,
    license file, README, and a loader that needs only torch.
    """
    file = await bundle(gateway_of(request), act, license_id)
    disposition = {"Content-Disposition": f'attachment; filename="{license_id}.zip"'}
    chunks = iter(partial(file.read, 2**16), b"")
    return StreamingResponse(chunks, media_type="application/zip", headers=disposition, background=_closing(file))


@router.get("/{license_id}/verdict")
async def try_a_license(
    license_id: LicenseId,
    request: Request,
    act: AsAuditor,
    session: Reading,
    operation: Operation = Operation.PREDICT,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="default: the version being served")] = None,
    images: Annotated[int, Query(ge=0, le=10**6)] = 1,
    address: IPvAnyAddress | None = None,
) -> VerdictRead:
    """What the gateway would tell this licensee now, without concurrency and rate. Nothing is consumed."""
    gateway = gateway_of(request)
    row = await repository.get_license_or_raise(session, license_id)
    model = service.model_of(gateway, row)
    number = version_asked(model, version).number
    ask = Ask(operation, model.id, number, images, str(address or "127.0.0.1"), gateway.clock())
    verdict = await service.dry_run(gateway, session, row, model, ask)
    return VerdictRead(
        code=verdict.code,
        in_grace=verdict.in_grace,
        on=verdict.on,
        limit=verdict.limit,
        retry_after=verdict.retry_after,
    )


@router.post("/{license_id}/suspend")
async def suspend_a_license(license_id: LicenseId, act: AsIssuer, session: Transaction) -> LicenseRead:
    """Refuse it in plain words until it is reinstated; at once, sessions included."""
    return await _read(session, await service.change_status(session, act, license_id, LicenseStatus.SUSPENDED))


@router.post("/{license_id}/reinstate")
async def reinstate_a_license(license_id: LicenseId, act: AsIssuer, session: Transaction) -> LicenseRead:
    """End a suspension."""
    return await _read(session, await service.change_status(session, act, license_id, LicenseStatus.ACTIVE))


@router.post("/{license_id}/revoke")
async def revoke_a_license(license_id: LicenseId, act: AsIssuer, session: Transaction) -> LicenseRead:
    """End a license for good, at once, sessions included."""
    return await _read(session, await service.change_status(session, act, license_id, LicenseStatus.REVOKED))


@router.post("/{license_id}/check-in")
async def check_a_license_in(license_id: LicenseId, act: AsIssuer, session: Transaction) -> LicenseRead:
    """Vouch for a license with a check-in period: it starts anew."""
    return await _read(session, await service.check_in(session, act, license_id))


def _closing(file: IO[bytes]) -> BackgroundTask:
    return BackgroundTask(file.close)


async def _read(session: AsyncSession, license: License) -> LicenseRead:
    return (await repository.read(session, [license]))[0]
