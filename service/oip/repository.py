"""`/v2/repository`: which versions there are, and models taken out of memory and brought back."""

from typing import TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError

from service.admin_keys.auth import AsAuditor, AsOwner
from service.catalogue.service import set_unloaded
from service.database import Transaction
from service.errors import InvalidInput, Unsupported
from service.gateway import gateway_of
from service.ids import ModelName
from service.oip import describing
from service.oip.schemas import IndexEntry, IndexRequest, RepositoryRequest
from service.openapi import INDEX_BODY, OIP_ADMIN, OIP_PROBLEMS, REPOSITORY_BODY

router = APIRouter(prefix="/v2/repository", tags=["Open Inference Protocol"])
_OF_A_MODEL = OIP_ADMIN | {status: OIP_PROBLEMS[status] for status in (404, 501, 503)}
_DEPENDENTS = "unload_dependents"  # a model has none here, so there is nothing to do for it
Document = TypeVar("Document", bound=BaseModel)


@router.post("/index", openapi_extra=INDEX_BODY, responses=OIP_ADMIN)
async def index(request: Request, act: AsAuditor) -> list[IndexEntry]:
    """All versions of all models."""
    asked = await _document(request, IndexRequest, 'an object is wanted, such as {"ready": true}')
    gateway = gateway_of(request)
    found = [
        describing.indexed(model, version, gateway.engine.failure(version))
        for model in gateway.book.models.values()
        for version in model.versions.values()
    ]
    return [each for each in found if each.state == "READY" or not asked.ready]


@router.post("/models/{model}/load", openapi_extra=REPOSITORY_BODY, responses=_OF_A_MODEL)
async def load(model: ModelName, request: Request, act: AsOwner, session: Transaction) -> dict[str, object]:
    """Let a model answer again, once the version that it serves is warm; it is read again if it did not load."""
    await _check(request, ())
    await set_unloaded(gateway_of(request), session, act, model, unloaded=False)
    return {"name": model, "load": True}


@router.post("/models/{model}/unload", openapi_extra=REPOSITORY_BODY, responses=_OF_A_MODEL)
async def unload(model: ModelName, request: Request, act: AsOwner, session: Transaction) -> dict[str, object]:
    """Take a model out of memory on every gateway: it answers nobody until it is loaded again."""
    await _check(request, (_DEPENDENTS,))
    await set_unloaded(gateway_of(request), session, act, model, unloaded=True)
    return {"name": model, "unload": True}


async def _check(request: Request, known: tuple[str, ...]) -> None:
    asked = await _document(request, RepositoryRequest, 'an object is wanted, such as {"parameters": {}}')
    for name in asked.parameters:
        if name not in known:
            raise Unsupported("parameters", "a version's files are signed: no parameter of a request changes them")


async def _document(request: Request, kind: type[Document], otherwise: str) -> Document:
    sent = await request.body()  # clients send none, and no Content-Type with it
    try:
        return kind.model_validate_json(sent or b"{}")
    except ValidationError:
        raise InvalidInput("body", otherwise) from None
