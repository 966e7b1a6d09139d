"""The body of a prediction or a session, whatever its media type, to one array of raw-range values."""

import asyncio
import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from models.specs import InputSpec
from service.errors import InvalidInput, UnsupportedMedia
from service.inputs.pictures import decode_picture
from service.inputs.tensors import NPY_SIGNATURE, decode_json_tensor, decode_npy

Floats = NDArray[np.float32]
_INLINE_BYTES = 256 * 1024  # a body this small decodes faster than a thread starts
_MAX_IMAGES = 4096
_NONCE = re.compile(r"[A-Za-z0-9_-]{43}=?")  # 32 bytes


class Part(NamedTuple):
    """One encoded instance, or several in one NPY."""

    field: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Decoder:
    """How far decoding may go."""

    max_pixels: int

    async def instances(self, request: Request, spec: InputSpec) -> Floats:
        """The images of a prediction, (N, C, H, W).

        Raises:
            InvalidInput: one bad image refuses the whole request and names its index.
        """
        media_type = _media_type(request)
        if media_type == "multipart/form-data":
            form = await _form(request, {"images"})
            parts = [Part(f"images[{i}]", _file(value, f"images[{i}]")) for i, (_, value) in enumerate(form)]
            if not parts:
                raise InvalidInput("images", "send at least one file in the form field `images`")
        elif media_type == "application/json":
            body = await request.body()
            document = _json_object(body)
            _only(set(document), {"inputs"}, "body")
            if b"true" in body or b"false" in body:  # beside numbers numpy takes them for 1 and 0
                raise InvalidInput("inputs", "only numbers are taken")
            return await _threaded(len(body), decode_json_tensor, document.get("inputs"), spec, "inputs")
        elif media_type in ("image/png", "image/jpeg", "application/x-npy", "application/octet-stream"):
            parts = [Part("images[0]", await request.body())]
        else:
            raise UnsupportedMedia("headers.content-type", "send multipart/form-data, JSON, PNG, JPEG or NPY")
        # A picture that will be made to fit may be far larger than its file.
        size = self.max_pixels if spec.resize == "fit" else sum(len(part.data) for part in parts)
        return await _threaded(size, self._decode_all, parts, spec)

    def fingerprint(self, data: bytes, spec: InputSpec) -> Floats:
        """One fingerprint as PNG or NPY, (1, C, H, W)."""
        if data.startswith(NPY_SIGNATURE):
            return _single(decode_npy(data, spec, "fingerprint"))
        return decode_picture(data, spec, "fingerprint", self.max_pixels, formats=("PNG",))

    def _decode_all(self, parts: Sequence[Part], spec: InputSpec) -> Floats:
        return np.concatenate([self._decode(part, spec) for part in parts])

    def _decode(self, part: Part, spec: InputSpec) -> Floats:
        if part.data.startswith(NPY_SIGNATURE):
            return decode_npy(part.data, spec, part.field)
        return decode_picture(part.data, spec, part.field, self.max_pixels)


class SessionBody(NamedTuple):
    """A session's nonce and, if one was sent, its fingerprint: encoded bytes or JSON numbers."""

    nonce: bytes
    fingerprint: bytes | list[Any] | None


async def read_session(request: Request) -> SessionBody:
    """The body of `POST /v1/models/{m}/sessions`.

    Raises:
        InvalidInput: no nonce, or one that is not base64url of 32 bytes; unknown fields.
    """
    media_type = _media_type(request)
    if media_type == "multipart/form-data":
        form = dict(await _form(request, {"nonce", "fingerprint"}))
        sent = form.get("fingerprint")
        return SessionBody(_nonce(form.get("nonce")), None if sent is None else _file(sent, "fingerprint"))
    if media_type != "application/json":
        raise UnsupportedMedia("headers.content-type", "send multipart/form-data or JSON")
    document = _json_object(await request.body())
    _only(set(document), {"nonce", "fingerprint"}, "body")
    fingerprint = document.get("fingerprint")
    if fingerprint is not None and not isinstance(fingerprint, list):
        raise InvalidInput("fingerprint", "a nested list of numbers is wanted")
    return SessionBody(_nonce(document.get("nonce")), fingerprint)


def decode_fingerprint(decoder: Decoder, sent: bytes | list[Any], spec: InputSpec) -> Floats:
    """A fingerprint on the model's 8-bit grid, (1, C, H, W).

    Raises:
        InvalidInput: undecodable, several at once, or between two levels of the grid.
    """
    if isinstance(sent, bytes):
        values = decoder.fingerprint(sent, spec)
    else:
        if any(word in orjson.dumps(sent) for word in (b"true", b"false")):
            raise InvalidInput("fingerprint", "only numbers are taken")
        values = _single(decode_json_tensor(sent, spec, "fingerprint"))
    if not bool(np.all(spec.is_on_grid(values))):
        raise InvalidInput("fingerprint", "values lie between two levels of the model's 8-bit grid")
    return values


def _single(values: Floats) -> Floats:
    if len(values) != 1:
        raise InvalidInput("fingerprint", f"{len(values)} pictures; a fingerprint is one")
    return values


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _only(sent: set[str], known: set[str], where: str) -> None:
    unknown = sorted(sent - known)
    if unknown:
        # The name itself is not echoed: somebody's secret may stand in the wrong place.
        raise InvalidInput(where, f"{len(unknown)} unknown field(s); known: {', '.join(sorted(known))}")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("body", f"not valid JSON: {error.msg}") from None
    if not isinstance(document, dict):
        raise InvalidInput("body", "a JSON object is wanted")
    return document


class _InMemoryParser(MultiPartParser):
    """Pictures are never stored, not even in a temporary file; the body's size is bounded before this."""

    spool_max_size = 2**62
    ended = False

    def on_end(self) -> None:
        self.ended = True

    def check_ended(self) -> None:
        """Refuse a body that stops before its last boundary: the part under way would be left out in silence."""
        if not self.ended:
            for file in self._files_to_close_on_error:
                file.close()
            raise MultiPartException("no closing boundary")


async def _form(request: Request, known: set[str]) -> list[tuple[str, str | bytes]]:
    """Names and values in the order sent; files as bytes."""
    parser = _InMemoryParser(request.headers, request.stream(), max_files=_MAX_IMAGES, max_fields=16)
    try:
        form = await parser.parse()
        parser.check_ended()
    except (MultiPartException, FormParserError, KeyError, ValueError, AssertionError) as error:
        raise InvalidInput("body", "not a well-formed multipart body") from error
    try:
        _only(set(form), known, "form")
        sent = form.multi_items()
        return [(name, await value.read() if isinstance(value, UploadFile) else value) for name, value in sent]
    finally:
        await form.close()


def _file(value: str | bytes, field: str) -> bytes:
    if isinstance(value, str):
        raise InvalidInput(field, "send a file, not text")
    return value


def _nonce(value: object) -> bytes:
    if not isinstance(value, str) or _NONCE.fullmatch(value) is None:
        raise InvalidInput("nonce", "base64url of 32 fresh random bytes is wanted")
    return base64.urlsafe_b64decode(value.rstrip("=") + "=")


async def _threaded(size: int, work: Callable[..., Floats], *args: Any) -> Floats:
    return work(*args) if size <= _INLINE_BYTES else await asyncio.to_thread(work, *args)
