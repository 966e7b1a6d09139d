"""`/v2`: what the Open Inference Protocol asks of a server."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from service.admin_keys.auth import AsAuditor
from service.control.book import ModelRecord, VersionRecord
from service.control.caller import model_named
from service.errors import NotFound, Overloaded
from service.gateway import Gateway, gateway_of
from service.ids import ModelName
from service.inference.loaded import Loaded
from service.oip import describing
from service.oip.infer import infer, number_of
from service.oip.schemas import (
    Health,
    ModelConfig,
    ModelMetadata,
    ModelStatistics,
    ServerMetadata,
    VersionStatistics,
)
from service.openapi import INFER_BODY, OIP_ADMIN, OIP_PROBLEMS
from service.predictions.service import version_asked

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
Version = Annotated[str, Path(pattern="^[0-9]{1,18}$")]
Responses = dict[int | str, dict[str, Any]]
_OF_A_MODEL: Responses = {status: OIP_PROBLEMS[status] for status in (400, 404, 503)}
_OF_INFERENCE: Responses = {status: OIP_PROBLEMS[status] for status in (400, 401, 403, 404, 413, 415, 429, 501, 503)}


@router.get("")
@router.get("/", include_in_schema=False)
async def server() -> ServerMetadata:
    """Name, version, extensions."""
    return describing.server()


@router.get("/health/live")
@router.head("/health/live", include_in_schema=False)
async def live(request: Request) -> Health:
    """The process answers."""
    return Health(live=True, ready=gateway_of(request).ailing() is None)


@router.get("/health/ready", responses={503: OIP_PROBLEMS[503]})
@router.head("/health/ready", include_in_schema=False)
async def ready(request: Request, response: Response) -> Health:
    """Networks are warm, and changes to licenses are seen."""
    ready = gateway_of(request).ailing() is None
    response.status_code = 200 if ready else 503
    return Health(live=True, ready=ready)


@router.get("/models/stats", responses=OIP_ADMIN)
async def statistics_of_all(request: Request, act: AsAuditor) -> ModelStatistics:
    """What every version has answered, and where the time went."""
    gateway = gateway_of(request)
    every = [version for model in gateway.book.models.values() for version in model.versions.values()]
    return _statistics(gateway, every)


@router.get("/models/{model}", responses=_OF_A_MODEL)
@router.get("/models/{model}/versions/{version}", responses=_OF_A_MODEL)
async def describe_a_model(model: ModelName, request: Request, version: Version | None = None) -> ModelMetadata:
    """Versions, inputs, outputs."""
    record, loaded = await _loaded(gateway_of(request), model, version)
    return describing.model(record, loaded.input_spec, loaded.output_spec)


@router.get("/models/{model}/ready", responses=_OF_A_MODEL)
@router.get("/models/{model}/versions/{version}/ready", responses=_OF_A_MODEL)
async def is_a_model_ready(model: ModelName, request: Request, version: Version | None = None) -> dict[str, object]:
    """200 once it is warm, or 503 where it would not answer now."""
    gateway = gateway_of(request)
    if (reason := gateway.ailing()) is not None:
        raise Overloaded(reason)
    await _loaded(gateway, model, version)
    return {"name": model, "ready": True}


@router.get("/models/{model}/config", responses=OIP_ADMIN | _OF_A_MODEL)
@router.get("/models/{model}/versions/{version}/config", responses=OIP_ADMIN | _OF_A_MODEL)
async def configuration(
    model: ModelName, request: Request, act: AsAuditor, version: Version | None = None
) -> ModelConfig:
    """The model configuration extension."""
    gateway = gateway_of(request)
    _, loaded = await _loaded(gateway, model, version)
    return describing.config(model, loaded.input_spec, loaded.output_spec, gateway.settings.max_images_per_request)


@router.post("/models/{model}/infer", openapi_extra=INFER_BODY, responses=_OF_INFERENCE, response_model=None)
@router.post(
    "/models/{model}/versions/{version}/infer",
    openapi_extra=INFER_BODY,
    responses=_OF_INFERENCE,
    response_model=None,
)
async def infer_images(model: ModelName, request: Request, version: Version | None = None) -> Response:
    """Scores and label of one image or many, as JSON or raw tensors (`Inference-Header-Content-Length`).

    The input is FP32, FP64, FP16 or BF16 in the model's value range, UINT8 grey levels, or BYTES with a PNG or JPEG
    each. Show a session token or a license key as `Authorization: Bearer`, as the password of Basic, as `X-API-Key`,
    or as the request's parameter `signet_credential`. `infer.HotPath` answers these before they come here.
    """
    encoded = await infer(gateway_of(request), model, version, request)
    return Response(encoded.body, headers=encoded.headers)


@router.get("/models/{model}/stats", responses=OIP_ADMIN | {404: OIP_PROBLEMS[404]})
@router.get("/models/{model}/versions/{version}/stats", responses=OIP_ADMIN | {404: OIP_PROBLEMS[404]})
async def statistics(
    model: ModelName, request: Request, act: AsAuditor, version: Version | None = None
) -> ModelStatistics:
    """The same of one model's versions, or of one version."""
    gateway = gateway_of(request)
    record = model_named(gateway, model)
    number = number_of(version)
    found = [each for each in record.versions.values() if number in (None, each.number)]
    if not found:
        raise NotFound("version", "no such version of this model")
    return _statistics(gateway, found)


async def _loaded(gateway: Gateway, name: str, version: str | None) -> tuple[ModelRecord, Loaded]:
    model = model_named(gateway, name)
    asked = version_asked(model, number_of(version))
    loaded = gateway.engine.in_memory(asked)
    if loaded is None:  # whoever asks may be anybody, and loading is work
        async with gateway.admission.turn(proved=False):
            loaded = await gateway.engine.load(asked)
    return model, loaded


def _statistics(gateway: Gateway, versions: list[VersionRecord]) -> ModelStatistics:
    found = [
        VersionStatistics(name=each.model_name, version=str(each.number), **gateway.statistics.of(each.id).to_dict())
        for each in versions
    ]
    return ModelStatistics(model_stats=found)
