"""The error tree as RFC 9457 problem documents, and nothing internal for what was not foreseen."""

import re
from typing import Any

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from models.errors import ModelError
from service.errors import Conflict, FieldError, InvalidInput, NotFound, ServiceError, Unsupported
from service.oip.unsupported import extension_of
from service.redaction import blank, blank_all, shown_path

log = structlog.get_logger(__name__)
_UNKNOWN = "extra_forbidden"
_A_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
MEDIA_TYPE = "application/problem+json"
_OIP_STATUS = {InvalidInput.status: 400, Conflict.status: 503}  # malformed; not ready


def render(error: ServiceError, path: str, request_id: str | None) -> Response:
    """The problem document of `error`; `instance` is the path without its query."""
    document: dict[str, Any] = {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": blank(error.detail, slashes=True),
        "instance": shown_path(path),
        "code": error.code,
        "request_id": request_id,
        **blank_all(error.extensions, slashes=True),  # field names may be a caller's own
    }
    if not f"{path}/".startswith("/v2/"):
        return Response(orjson.dumps(document), error.status, error.headers, MEDIA_TYPE)
    # The Open Inference Protocol has words of its own, and its clients show what `error` says.
    status = _OIP_STATUS.get(error.status, error.status)
    document |= {"status": status, "error": document["detail"]}
    return Response(orjson.dumps(document), status, error.headers, "application/json")


def problem(request: Request, error: ServiceError) -> Response:
    """`render` with what the request knows."""
    return render(error, request.url.path, request.scope.get("signet.request_id"))


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)  # noqa: S101 - registered for this class only
    return problem(request, error)


async def _model_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ModelError)  # noqa: S101 - registered for this class only
    return problem(request, InvalidInput(error.field, error.message))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    errors = [_complaint(item) for item in error.errors()]
    if any(item["type"] == "json_invalid" for item in error.errors()):
        errors = [FieldError("body", "not valid JSON")]
    return problem(request, InvalidInput.all_of(errors))


def _complaint(item: dict[str, Any]) -> FieldError:
    if item["type"] == _UNKNOWN and not _A_NAME.fullmatch(str(item["loc"][-1])):
        # Somebody's secret in the wrong place is no name, and is not echoed.
        return FieldError(_field(item["loc"][:-1]), "an unknown field")
    return FieldError(_field(item["loc"]), _message(item))


def _field(location: tuple[int | str, ...]) -> str:
    where, *path = location
    named = ".".join(str(part) for part in path)
    return named if named and where == "body" else ".".join(filter(None, [str(where), named]))


def _message(item: dict[str, Any]) -> str:
    # Pydantic's message never quotes the input, which could be a secret put into the wrong field.
    return str(item["msg"]).removeprefix("Value error, ")


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    if error.status_code == 404 and (extension := extension_of(request.url.path)) is not None:
        return problem(request, Unsupported("path", f"{extension}: not here; GET /v2 lists the extensions that are"))
    if error.status_code == 404:
        return problem(request, NotFound("path", "no such route; see /docs for those there are"))
    if error.status_code == 400:  # FastAPI's word for a body that it cannot parse
        return problem(request, InvalidInput("body", "cannot be parsed as what its Content-Type says"))
    refusal = ServiceError(str(error.detail), headers=error.headers)
    refusal.status, refusal.title = error.status_code, str(error.detail)
    refusal.slug, refusal.code = f"http-{error.status_code}", f"HTTP_{error.status_code}"
    if error.status_code == 405:
        refusal.extensions["errors"] = [{"field": "method", "message": "this route does not take the method"}]
    return problem(request, refusal)


def unforeseen(path: str, request_id: str | None) -> Response:
    """What a caller sees of a bug: that it happened, and the id under which the log has it."""
    return render(ServiceError("something went wrong on our side; the log has it"), path, request_id)


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(ModelError, _model_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
