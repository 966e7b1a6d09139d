"""`POST /v2/models/{model}[/versions/{version}]/infer`, as ASGI ahead of the framework's router.

A route of the framework's would cost more than reading, deciding and answering together.
"""

import math
import re
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from models.specs import InputSpec
from service.control.caller import model_named
from service.errors import NotFound
from service.gateway import Gateway
from service.ids import MODEL_NAME_BODY
from service.inputs.body import receive, threaded
from service.oip import response
from service.oip.body import Body, inflated, split
from service.oip.request import ALL_AS_JSON, Asked, holds_pictures, inputs_of, read
from service.predictions.service import Answer, Decoded, answer, call_of, version_asked

ROUTE: Final = "/v2/models/{model}/infer"
PATH: Final = re.compile(rf"/v2/models/({MODEL_NAME_BODY})(?:/versions/([0-9]{{1,18}}))?/infer")


class HotPath:
    """Answers infer requests; whatever else goes on to the application behind it."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if asked is None:
            await self._app(scope, receive, send)
            return
        scope["signet.route"] = ROUTE
        body, headers = await infer(self._gateway, asked[1], asked[2], Request(scope, receive))
        length = (b"content-length", str(len(body)).encode())
        raw = [length, *((name.lower().encode(), value.encode()) for name, value in headers.items())]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": body})


async def infer(gateway: Gateway, name: str, version: str | None, request: Request) -> response.Encoded:
    """The answer to one request.

    Raises:
        As `predictions.service.answer`; Unsupported, BodyTooLarge, BodyTooSlow, UnsupportedMedia.
    """
    model, number = model_named(gateway, name), number_of(version)
    version_asked(model, number)
    settings = gateway.settings
    received = await receive(request, settings.max_body_bytes, settings.body_timeout_s)
    model = model_named(gateway, name)  # as it is now: a body may take its time
    one = _Inference(gateway, model.name, request.headers, received.body)
    return await answer(gateway, call_of(model, number, request), one.decode, one.encode)


def number_of(version: str | None) -> int | None:
    """A version as it stands in a path.

    Raises:
        NotFound: there can be none of that number.
    """
    if version is None:
        return None
    if not 1 <= int(version) < 2**31:
        raise NotFound("version", "no such version of this model is available")
    return int(version)


class _Inference:
    """What is asked for is known when the body is decoded, and wanted again when the answer is encoded."""

    def __init__(self, gateway: Gateway, model: str, headers: Headers, body: bytes) -> None:
        self._gateway, self._model, self._headers, self._body = gateway, model, headers, body
        self._asked = Asked(ALL_AS_JSON)

    async def decode(self, spec: InputSpec) -> Decoded:
        """In its turn: what strangers send is not looked at before."""
        most, decoder = self._gateway.settings.max_body_bytes, self._gateway.decoder
        # What is deflated, and pictures, are more work than their length says.
        deflated = "content-encoding" in self._headers
        body = await threaded(most if deflated else len(self._body), self._opened, spec)
        self._asked = read(body)
        much = deflated or holds_pictures(body)
        inputs = await threaded(most if much else len(self._body), inputs_of, body, spec, decoder)
        return Decoded(inputs, self._asked.credential, self._asked.timeout_us)

    def _opened(self, spec: InputSpec) -> Body:
        encoding, limit = self._headers.get("content-encoding", ""), self._gateway.settings.max_body_bytes
        whole = inflated(self._body, encoding, limit)
        return split(whole, self._headers, self._gateway.decoder.max_images * math.prod(spec.shape))

    def encode(self, answered: Answer) -> response.Encoded:
        """As it was asked for."""
        return response.deflated(response.encode(self._model, self._asked, answered), self._headers)
