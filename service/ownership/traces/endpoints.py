"""`/v1/ownership/traces`: the owner's alone. Who may ask whether he is found out can try until he is not."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from models.evaluation.tracing import DRAWS
from service.admin_keys.auth import AsOwner
from service.database import Reading, reading
from service.gateway import gateway_of
from service.ids import ModelName, TraceId
from service.openapi import ADMIN, PROBLEMS
from service.ownership.report import EVIDENCE_ANSWER, HEADERS, REPORT_ANSWER
from service.ownership.traces import report, repository, service
from service.ownership.traces.schemas import TraceRead
from service.ownership.traces.tables import OwnershipTrace
from service.pages import CursorText, Limit, Page, page

router = APIRouter(
    prefix="/v1/ownership/traces", tags=["ownership"], responses={**ADMIN, 404: PROBLEMS[404], 409: PROBLEMS[409]}
)


@router.post("", status_code=202, responses={413: PROBLEMS[413]})
async def trace_a_suspect(
    request: Request,
    act: AsOwner,
    model: Annotated[ModelName, Form(description="whose student it may be")],
    suspect: Annotated[UploadFile, File(description="safetensors; kept until the job has ended, then its digest")],
    version: Annotated[int | None, Form(ge=1, le=2**31 - 1, description="default: the one that is served")] = None,
    probe: Annotated[
        UploadFile | None,
        File(description="safetensors with `inputs`, and `labels` or the teacher's; default: the calibration inputs"),
    ] = None,
    draws: Annotated[
        int, Form(ge=100, le=200_000, description="random numbers to hold the registered ones against")
    ] = DRAWS,
) -> TraceRead:
    """Find out whose student a weights file is, in a job: `job_id` says how far it is, `found` then who it was.

    Evidence about a student that is named gives its number away: reissue that license afterwards.
    """
    gateway = gateway_of(request)
    wanted = service.Wanted(model, version, draws)
    row = await service.ask(gateway, act, wanted, suspect.file, probe.file if probe else None)
    async with reading(gateway.sessions) as session:
        return (await repository.read_traces(session, [row]))[0]


@router.get("")
async def list_traces(
    act: AsOwner, session: Reading, model: ModelName | None = None, limit: Limit = 50, cursor: CursorText = None
) -> Page[TraceRead]:
    """Traces, oldest first."""
    rows = await page(session, repository.traces(model), OwnershipTrace, lambda row: row, limit, cursor)
    return Page(items=await repository.read_traces(session, rows.items), next_cursor=rows.next_cursor)


@router.get("/{trace_id}")
async def show_a_trace(trace_id: TraceId, act: AsOwner, session: Reading) -> TraceRead:
    """One trace."""
    return (await repository.read_traces(session, [await repository.get_trace_or_raise(session, trace_id)]))[0]


@router.get("/{trace_id}/evidence", response_class=Response, responses={200: EVIDENCE_ANSWER})
async def show_the_evidence_of_a_trace(trace_id: TraceId, request: Request, act: AsOwner) -> Response:
    """The signed document, byte for byte: for an examiner, who checks it with `signet evidence check`."""
    document = await service.evidence_of(gateway_of(request), trace_id)
    return Response(document, media_type="application/json")


@router.get("/{trace_id}/report", response_class=Response, responses={200: REPORT_ANSWER})
async def show_the_report_of_a_trace(trace_id: TraceId, request: Request, act: AsOwner) -> Response:
    """The same for reading: one HTML page that loads nothing."""
    document = await service.evidence_of(gateway_of(request), trace_id)
    return Response(report.render(document), media_type="text/html", headers=HEADERS)
