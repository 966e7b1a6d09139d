"""The outermost ASGI layer: request ids, address limit, default deny, bounded bodies, no bug told to a caller.

Whatever is not on the PUBLIC list needs a live admin key, whether a route exists there or not: a forgotten route is
closed, not open.
"""

import re
import time
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import generate_latest
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.addresses import address_of, throttled_as
from service.admin_keys.service import recognise
from service.admin_keys.tables import Role
from service.control.caller import shown_secret
from service.database import is_away, reading
from service.errors import AdminKeyInvalid, BodyTooLarge, Overloaded, ServiceError, TooManyRequests
from service.gateway import Gateway
from service.ids import MODEL_NAME_BODY, new_id
from service.logs import access
from service.problems import render, unforeseen
from service.redaction import shown_path
from service.tracing import Traced

log = structlog.get_logger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,36}")  # ours and UUIDs; too short for a key to end up in the audit log
_VERSION = rf"{MODEL_NAME_BODY}(/versions/[0-9]{{1,18}})?"
PUBLIC: Final = (
    rf"POST /v2/models/{_VERSION}/infer",
    rf"POST /v1/models/{MODEL_NAME_BODY}/(sessions|predict)",
    r"(GET|HEAD) /v1/health/(live|ready)",
    r"GET /\.well-known/signet-keys\.json",
    r"GET /v2/?",
    r"(GET|HEAD) /v2/health/(live|ready)",
    rf"GET /v2/models/(?!stats$){_VERSION}(/ready)?",
)
_PUBLIC = re.compile("|".join(f"({pattern})" for pattern in PUBLIC))
DOCS_ASSETS: Final = "/docs/assets"
DOCS: Final = re.compile(
    rf"GET (/docs|/openapi\.json|{DOCS_ASSETS}/(swagger-ui-bundle\.js|swagger-ui\.css|favicon\.png))"
)
_ARTEFACTS = ("/v1/models", "/v1/ownership/verifications", "/v1/ownership/traces")
_FRESH = ("/v1/", "/v2/")  # tokens, keys, license files, and what is true only now
_CLIENT_LEFT = 499  # nginx's word for it, in log and metrics only


class Guard:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is no WebSocket here, and none gets past the checks below
            await send({"type": "websocket.close", "code": 1008})
            return
        request_id = _request_id(scope)
        scope["signet.request_id"] = request_id
        traced = self._gateway.tracing.begin(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if traced.trace_id is not None:
            structlog.contextvars.bind_contextvars(trace_id=traced.trace_id)
        began = time.perf_counter()
        exchange = _Exchange(scope, receive, send, self._gateway.settings.max_body_bytes)
        try:
            await self._admit(scope)
            exchange.limit = self._limit_of(scope)
            exchange.check_declared_length()
            await self._app(scope, exchange.receive, exchange.send)
        except ServiceError as error:
            await render(error, scope["path"], request_id)(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.status = exchange.status or _CLIENT_LEFT
            log.info("http.request.abandoned")
        except Exception as error:
            if exchange.status:
                log.exception("http.request.unforeseen")
                raise  # half an answer is out; the server can only close the connection
            await self._unforeseen(error, scope["path"], request_id)(scope, receive, exchange.send)
        finally:
            self._note(scope, exchange.status, time.perf_counter() - began, traced)

    def _unforeseen(self, error: Exception, path: str, request_id: str) -> Response:
        if is_away(error):
            log.error("http.request.database_away", error=type(error).__name__)
            return render(Overloaded("the database does not answer; try again"), path, request_id)
        log.exception("http.request.unforeseen")
        return unforeseen(path, request_id)

    async def _admit(self, scope: Scope) -> None:
        gateway = self._gateway
        rate, burst = gateway.settings.address_rate_per_s, gateway.settings.address_burst
        wait = gateway.address_throttle.take(throttled_as(address_of(scope)), rate, burst, gateway.clock().timestamp())
        if wait:
            raise TooManyRequests(wait)
        if self._is_public(scope):
            return
        shown = shown_secret(Headers(scope=scope))
        if shown is not None:
            async with reading(gateway.sessions) as session:
                scope["signet.admin"] = await recognise(session, gateway.ring, shown, gateway.clock)
        if scope.get("signet.admin") is None:
            log.warning("admin.refused", path=shown_path(scope["path"]))
            raise AdminKeyInvalid

    def _is_public(self, scope: Scope) -> bool:
        asked = f"{scope['method']} {scope['path']}"
        if _PUBLIC.fullmatch(asked):
            return True
        return self._gateway.settings.environment != "production" and DOCS.fullmatch(asked) is not None

    def _limit_of(self, scope: Scope) -> int:
        settings, admin = self._gateway.settings, scope.get("signet.admin")
        # The framework reads a body before it looks at roles: who may not add a model may not send one either.
        sends_model = scope["path"] in _ARTEFACTS and admin is not None and admin.role == Role.OWNER
        return settings.max_artefact_bytes if sends_model else settings.max_body_bytes

    def _note(self, scope: Scope, status: int, seconds: float, traced: Traced) -> None:
        # The template: ids and names are not for labels.
        route = str(scope.get("signet.route") or getattr(scope.get("route"), "path", "none"))
        self._gateway.metrics.request(route, status, seconds)
        path, request_id = shown_path(scope["path"]), scope["signet.request_id"]
        access.note(scope["method"], path, status, round(seconds * 1e3, 2), request_id, traced.trace_id)
        traced.end(scope["method"], route, status, request_id)


@dataclass(slots=True)
class _Exchange:
    """One request's channels: counts the body, adds the request id, remembers the status."""

    scope: Scope
    _receive: Receive
    _send: Send
    limit: int
    received: int = 0
    status: int = 0
    too_large: bool = False

    def check_declared_length(self) -> None:
        declared = header(self.scope, b"content-length")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > self.limit):
            raise self._complaint()

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        if self.received > self.limit:
            self.too_large = True
            raise self._complaint()
        return message

    async def send(self, message: Message) -> None:
        if self.too_large and not self.status:
            # A framework layer may have turned the complaint into something vaguer on its way up.
            request_id = self.scope["signet.request_id"]
            await render(self._complaint(), self.scope["path"], request_id)(self.scope, self._receive, self._forward)
        elif not self.too_large:
            await self._forward(message)

    async def _forward(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.scope["signet.request_id"].encode())]
            if self.scope["path"].startswith(_FRESH):
                headers.append((b"cache-control", b"no-store"))
            message["headers"] = headers
        await self._send(message)

    def _complaint(self) -> BodyTooLarge:
        return BodyTooLarge("body", f"at most {self.limit} bytes are taken here")


def metrics_response(gateway: Gateway) -> Response:
    """The registry in Prometheus' text format."""
    return Response(generate_latest(gateway.metrics.registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def _request_id(scope: Scope) -> str:
    given = header(scope, b"x-request-id").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else new_id("req")


def header(scope: Scope, name: bytes) -> bytes:
    """The first of this name, which is in lower case; empty where there is none."""
    return next((value for key, value in scope["headers"] if key == name), b"")
