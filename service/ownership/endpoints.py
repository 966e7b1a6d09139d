"""`/v1/ownership`: the owner's alone, since who may ask whether a mark is found can try until it is not."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from service.admin_keys.auth import AsOwner
from service.database import Reading, reading
from service.gateway import gateway_of
from service.ids import CommitmentId, ModelName, VerificationId
from service.licenses.terms import Moment
from service.openapi import ADMIN, PROBLEMS
from service.ownership import report, repository, service
from service.ownership.schemas import CommitmentCreate, CommitmentRead, VerificationDone, VerificationRead
from service.ownership.tables import OwnershipCommitment, OwnershipVerification
from service.pages import CursorText, Limit, Page, page

router = APIRouter(prefix="/v1/ownership", tags=["ownership"], responses={**ADMIN, 404: PROBLEMS[404]})


@router.post("/commitments", status_code=201, responses={409: PROBLEMS[409]})
async def register_a_commitment(body: CommitmentCreate, request: Request, act: AsOwner) -> CommitmentRead:
    """Register what an owner stated and signed about the marks in a version. The answer holds our receipt."""
    gateway = gateway_of(request)
    row = await service.register(gateway, act, body)
    async with reading(gateway.sessions) as session:
        return (await repository.read_commitments(session, [row]))[0]


@router.get("/commitments")
async def list_commitments(
    act: AsOwner, session: Reading, model: ModelName | None = None, limit: Limit = 50, cursor: CursorText = None
) -> Page[CommitmentRead]:
    """Commitments, oldest first."""
    statement = repository.commitments(model)
    rows = await page(session, statement, OwnershipCommitment, lambda row: row, limit, cursor)
    return Page(items=await repository.read_commitments(session, rows.items), next_cursor=rows.next_cursor)


@router.get("/commitments/{commitment_id}")
async def show_a_commitment(commitment_id: CommitmentId, act: AsOwner, session: Reading) -> CommitmentRead:
    """One commitment."""
    row = await repository.get_commitment_or_raise(session, commitment_id)
    return (await repository.read_commitments(session, [row]))[0]


@router.post("/verifications", status_code=201, responses={409: PROBLEMS[409], 413: PROBLEMS[413]})
async def verify_a_suspect(
    request: Request,
    act: AsOwner,
    commitment_id: Annotated[CommitmentId, Form()],
    mark: Annotated[int, Form(ge=0, le=2**31 - 1, description="which mark is opened")],
    mark_key: Annotated[str, Form(max_length=100, description="its key, 32 bytes in base64url; in the evidence")],
    suspect: Annotated[UploadFile, File(description="safetensors; its digest is kept, its weights are not")],
    suspect_known_since: Annotated[
        Moment | None,
        Form(description="when it first appeared, as far as is known; without, it may be older than the commitment"),
    ] = None,
) -> VerificationDone:
    """Look for a mark in a suspect's weights, and sign the evidence. It is an answer either way: see `verdict`."""
    opened = service.Opened(commitment_id, mark, mark_key)
    row = await service.verify(gateway_of(request), act, opened, suspect.file, suspect_known_since)
    found = VerificationRead.model_validate(row)
    return VerificationDone(**found.model_dump(), evidence=row.evidence.decode())


@router.get("/verifications")
async def list_verifications(
    act: AsOwner,
    session: Reading,
    commitment_id: CommitmentId | None = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[VerificationRead]:
    """Verifications, oldest first."""
    statement = repository.verifications(commitment_id)
    return await page(session, statement, OwnershipVerification, VerificationRead.model_validate, limit, cursor)


@router.get("/verifications/{verification_id}")
async def show_a_verification(verification_id: VerificationId, act: AsOwner, session: Reading) -> VerificationRead:
    """One verification."""
    return VerificationRead.model_validate(await repository.get_verification_or_raise(session, verification_id))


@router.get(
    "/verifications/{verification_id}/evidence", response_class=Response, responses={200: report.EVIDENCE_ANSWER}
)
async def show_the_evidence(verification_id: VerificationId, act: AsOwner, session: Reading) -> Response:
    """The signed document, byte for byte: for an examiner, who checks it with `signet evidence check`."""
    row = await repository.get_verification_or_raise(session, verification_id)
    return Response(row.evidence, media_type="application/json")


@router.get("/verifications/{verification_id}/report", response_class=Response, responses={200: report.REPORT_ANSWER})
async def show_the_report(verification_id: VerificationId, act: AsOwner, session: Reading) -> Response:
    """The same for reading: one HTML page that loads nothing."""
    row = await repository.get_verification_or_raise(session, verification_id)
    return Response(report.render(row.evidence), media_type="text/html", headers=report.HEADERS)
