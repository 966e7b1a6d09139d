"""`POST /v1/models/{model}/predict`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.control.caller import model_named
from service.gateway import gateway_of
from service.ids import ModelName
from service.openapi import PREDICT_BODY, PROBLEMS
from service.predictions.schemas import PredictionsRead
from service.predictions.service import predict

router = APIRouter(prefix="/v1/models/{model}/predict", tags=["licensee"])
responses: dict[int | str, dict[str, Any]] = {
    code: PROBLEMS[code] for code in (401, 403, 404, 409, 413, 415, 422, 429, 503)
}
Version = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="default: the version being served")]


@router.post("", response_model=PredictionsRead, openapi_extra=PREDICT_BODY, responses=responses)
async def predict_images(model: ModelName, request: Request, version: Version = None) -> Response:
    """Label one image or many: files in the form field `images`, numbers in JSON as `inputs`, or one bare file.

    Show a session token or a license key as `Authorization: Bearer`. A license by serial number is shown by its stamp,
    the same in every image, with its session beside it or not. One bad image refuses the whole request and names
    its index; nothing is then charged.
    """
    gateway = gateway_of(request)
    answer = await predict(gateway, model_named(gateway, model), version, request)
    return Response(answer, media_type="application/json")
