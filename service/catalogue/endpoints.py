"""`/v1/models`: the catalogue."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Path, Request, UploadFile
from sqlalchemy import select

from models.checkpoints import Manifest
from service.admin_keys.auth import AsAuditor, AsOwner
from service.catalogue import service
from service.catalogue.artefacts import Artefact
from service.catalogue.schemas import ModelRead
from service.catalogue.tables import Model, UnauthorizedPolicy
from service.database import Reading, Transaction
from service.gateway import gateway_of
from service.ids import ModelName
from service.openapi import ADMIN, PROBLEMS
from service.pages import CursorText, Limit, Page, page

router = APIRouter(prefix="/v1/models", tags=["catalogue"], responses={**ADMIN, 413: PROBLEMS[413]})
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.post("", status_code=201)
async def add_a_model_version(
    request: Request,
    act: AsOwner,
    session: Transaction,
    manifest: Annotated[
        UploadFile, File(description="manifest.json: network, specs, digests; signed by us or unsigned")
    ],
    weights: Annotated[UploadFile, File(description="safetensors")],
    calibration: Annotated[UploadFile, File(description="safetensors with one tensor `inputs`, 200 rows or more")],
    distillation: Annotated[
        UploadFile | None,
        File(description="safetensors with one uint8 tensor `inputs`: what students of serial numbers learn from"),
    ] = None,
    unauthorized_policy: Annotated[
        UnauthorizedPolicy | None, Form(description="what strangers get; default decoy")
    ] = None,
    revoked_policy: Annotated[
        UnauthorizedPolicy | None, Form(description="what revoked licensees get; default deny")
    ] = None,
    serve: Annotated[bool, Form(description="let it answer requests that name no version")] = True,
) -> ModelRead:
    """Add a version of a model. The network comes from the registry; no code and no pickle is taken.

    It is tried out on its own calibration set first: a version that does not work is refused and changes nothing.
    """
    gateway = gateway_of(request)
    inputs = None if distillation is None else await distillation.read()
    parsed = Manifest.from_bytes(await manifest.read())
    sent = Artefact(parsed, await weights.read(), await calibration.read(), inputs)
    artefact = await service.checked(gateway, sent)
    async with gateway.store.staged(artefact) as folder:
        model = await service.add(
            gateway,
            session,
            act,
            artefact,
            folder,
            unauthorized_policy=unauthorized_policy,
            revoked_policy=revoked_policy,
            serve=serve,
        )
        return (await service.read(session, [model]))[0]


@router.get("")
async def list_models(
    act: AsAuditor, session: Reading, limit: Limit = 50, cursor: CursorText = None
) -> Page[ModelRead]:
    """Models, oldest first, with their versions."""
    rows = await page(session, select(Model), Model, lambda row: row, limit, cursor)
    return Page(items=await service.read(session, rows.items), next_cursor=rows.next_cursor)


@router.get("/{model}", responses={404: PROBLEMS[404]})
async def show_a_model(model: ModelName, act: AsAuditor, session: Reading) -> ModelRead:
    """One model with its versions."""
    return (await service.read(session, [await service.get_model_or_raise(session, model)]))[0]


@router.post("/{model}/versions/{version}/serve", responses={404: PROBLEMS[404], 409: PROBLEMS[409]})
async def serve_a_version(
    model: ModelName, version: Number, request: Request, act: AsOwner, session: Transaction
) -> ModelRead:
    """Let a version answer requests that name none, in place of the one that does, once it is warm.

    One that is retired or does not load cannot, and the one that answers goes on.
    """
    return (await service.read(session, [await service.serve(gateway_of(request), session, act, model, version)]))[0]


@router.post("/{model}/versions/{version}/retire", responses={404: PROBLEMS[404]})
async def retire_a_version(model: ModelName, version: Number, act: AsOwner, session: Transaction) -> ModelRead:
    """Take a version out of use. Fingerprints that were enrolled on it still authenticate."""
    return (await service.read(session, [await service.retire(session, act, model, version)]))[0]
