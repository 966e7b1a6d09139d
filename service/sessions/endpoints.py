"""`POST /v1/models/{model}/sessions`: show a credential, get a token."""

from typing import Any

from fastapi import APIRouter, Request

from service.addresses import address_of
from service.control.caller import model_named
from service.gateway import gateway_of
from service.ids import ModelName
from service.inputs.body import receive, session_limit
from service.openapi import PROBLEMS, SESSION_BODY
from service.sessions.schemas import SessionRead
from service.sessions.service import largest_shown, open_session, serving_version

router = APIRouter(prefix="/v1/models/{model}/sessions", tags=["licensee"])
responses: dict[int | str, dict[str, Any]] = {
    code: PROBLEMS[code] for code in (401, 403, 404, 409, 413, 415, 422, 429, 503)
}


@router.post("", status_code=201, openapi_extra=SESSION_BODY, responses=responses)
async def open_a_session(model: ModelName, request: Request) -> SessionRead:
    """Buy a session with a fingerprint (PNG or NPY in a form, or numbers in JSON), with any image that bears the
    license's serial number (`stamped` in a form), or with a license key (`Authorization: Bearer sgn_...`).

    `nonce` is base64url of 32 fresh random bytes. A license that does not allow this now is refused in plain words.
    Whoever is not recognised gets a session too, unless the model's policy is `deny`: its receipt opens for nobody.
    """
    gateway = gateway_of(request)
    record = model_named(gateway, model)
    await gateway.engine.load(serving_version(record))  # what cannot be served buys no session
    limit = session_limit(largest_shown(gateway, record))
    received = await receive(request, limit, gateway.settings.body_timeout_s)
    record = model_named(gateway, model)  # as it is now: a body may take its time
    return await open_session(gateway, record, request.headers, received, address_of(request.scope))
