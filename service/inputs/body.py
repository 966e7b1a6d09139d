"""The body of a prediction or a session, whatever its media type, to one array of raw-range values."""

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from models.specs import InputSpec
from service.errors import BodyTooLarge, BodyTooSlow, InvalidInput, UnsupportedMedia
from service.inputs.pictures import decode_picture, pixels_of
from service.inputs.tensors import NPY_SIGNATURE, decode_json_tensor, decode_npy

Floats = NDArray[np.float32]
Result = TypeVar("Result")
_INLINE_BYTES = 256 * 1024  # a body this small decodes faster than a thread starts
_PIECE_BYTES = 64 * 1024
_MAX_FILES = 4096
_PICTURES_IN_FULL = 16
_NONCE = re.compile(r"[A-Za-z0-9_-]{43}=?")  # 32 bytes


class Received(NamedTuple):
    """A request's body, whole, and the header that says how to read it."""

    content_type: str
    body: bytes

    @property
    def media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()


async def receive(request: Request, limit: int, seconds: float) -> Received:
    """The body, before anybody takes a turn for it: a slow sender keeps nobody waiting but himself.

    Raises:
        BodyTooLarge: longer than `limit` bytes. BodyTooSlow: not here within `seconds`.
    """
    chunks, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise BodyTooLarge("body", f"at most {limit} bytes are taken here")
                chunks.append(chunk)
    except TimeoutError:
        raise BodyTooSlow("body", f"the body was not here after {seconds:g} s") from None
    return Received(request.headers.get("content-type", ""), b"".join(chunks))


class Part(NamedTuple):
    """One encoded instance, or several in one NPY."""

    field: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Decoder:
    """How far decoding may go."""

    max_pixels: int  # of one picture; of all in a request, sixteen times that
    max_images: int = 1024  # of a request

    async def instances(self, received: Received, spec: InputSpec) -> Floats:
        """The images of a prediction, (N, C, H, W).

        Raises:
            InvalidInput: one bad image refuses the whole request and names its index.
        """
        field, media_type = "images", received.media_type
        if media_type == "application/json":
            field = "inputs"
            values = await threaded(len(received.body), _json_instances, received.body, spec)
        elif media_type == "multipart/form-data":
            form = await _form(received, {"images"})
            parts = [Part(f"images[{i}]", _file(value, f"images[{i}]")) for i, (_, value) in enumerate(form)]
            if not parts:
                raise InvalidInput("images", "send at least one file in the form field `images`")
            values = await self._decoded(parts, spec)
        elif media_type in ("image/png", "image/jpeg", "application/x-npy", "application/octet-stream"):
            values = await self._decoded([Part("images[0]", received.body)], spec)
        else:
            raise UnsupportedMedia("headers.content-type", "send multipart/form-data, JSON, PNG, JPEG or NPY")
        if len(values) > self.max_images:
            raise InvalidInput(field, f"{len(values)} images; at most {self.max_images} are taken in one request")
        return values

    def fingerprint(self, part: Part, spec: InputSpec) -> Floats:
        """One fingerprint as PNG, or one or more as NPY, (m, C, H, W)."""
        if part.data.startswith(NPY_SIGNATURE):
            return decode_npy(part.data, spec, part.field)
        return decode_picture(part.data, spec, part.field, self.max_pixels, formats=("PNG",))

    async def _decoded(self, parts: Sequence[Part], spec: InputSpec) -> Floats:
        if len(parts) > self.max_images:
            raise InvalidInput("images", f"{len(parts)} images; at most {self.max_images} are taken in one request")
        # A picture that will be made to fit may be far larger than its file.
        size = self.max_pixels if spec.resize == "fit" else sum(len(part.data) for part in parts)
        return await threaded(size, self._decode_all, parts, spec)

    def pictures(self, parts: Sequence[Part], spec: InputSpec) -> Floats:
        """One image of each part, PNG or JPEG, (N, C, H, W), in this thread."""
        self._check_pixels(parts, spec)
        return np.concatenate([decode_picture(part.data, spec, part.field, self.max_pixels) for part in parts])

    def _decode_all(self, parts: Sequence[Part], spec: InputSpec) -> Floats:
        self._check_pixels(parts, spec)
        return np.concatenate([self._decode(part, spec) for part in parts])

    def _check_pixels(self, parts: Sequence[Part], spec: InputSpec) -> None:
        allowed = _PICTURES_IN_FULL * self.max_pixels
        if spec.resize == "fit" and sum(pixels_of(part.data) for part in parts) > allowed:
            raise InvalidInput("images", f"more than {allowed} pixels in one request")

    def _decode(self, part: Part, spec: InputSpec) -> Floats:
        if part.data.startswith(NPY_SIGNATURE):
            return decode_npy(part.data, spec, part.field)
        return decode_picture(part.data, spec, part.field, self.max_pixels)


class SessionBody(NamedTuple):
    """A session's nonce and, if any were sent, a license's fingerprints: encoded files or JSON numbers; or an image
    with its stamp.
    """

    nonce: bytes
    fingerprint: tuple[Part, ...] | list[Any] | None
    stamped: Part | None = None


async def read_session(received: Received) -> SessionBody:
    """The body of `POST /v1/models/{m}/sessions`.

    Raises:
        InvalidInput: no nonce, or one that is not base64url of 32 bytes; unknown fields; two kinds of credential.
    """
    if received.media_type == "multipart/form-data":
        form = await _form(received, {"nonce", "fingerprint", "stamped"})
        files = [value for name, value in form if name == "fingerprint"]
        names = ["fingerprint"] if len(files) == 1 else [f"fingerprint[{index}]" for index in range(len(files))]
        parts = tuple(Part(name, _file(value, name)) for name, value in zip(names, files, strict=True))
        stamped = [Part("stamped", _file(value, "stamped")) for name, value in form if name == "stamped"]
        if len(stamped) > 1 or (stamped and parts):
            raise InvalidInput("stamped", "send one image with the stamp, and no fingerprint beside it")
        return SessionBody(_nonce(dict(form).get("nonce")), parts or None, stamped[0] if stamped else None)
    if received.media_type != "application/json":
        raise UnsupportedMedia("headers.content-type", "send multipart/form-data or JSON")
    document = await threaded(len(received.body), _json_object, received.body, {"nonce", "fingerprint"})
    fingerprint = document.get("fingerprint")
    if fingerprint is not None and not isinstance(fingerprint, list):
        raise InvalidInput("fingerprint", "a nested list of numbers is wanted")
    return SessionBody(_nonce(document.get("nonce")), fingerprint)


def session_limit(input_size: int) -> int:
    """Bytes that a session's body may have: fingerprints of so many JSON numbers with room to spare."""
    return 2**16 + 32 * input_size


def decode_fingerprints(decoder: Decoder, sent: Sequence[Part] | list[Any], spec: InputSpec, longest: int) -> Floats:
    """A license's fingerprints on the model's 8-bit grid, in the order sent, (m, C, H, W) with m up to `longest`.

    Raises:
        InvalidInput: undecodable, too many, or between two levels of the grid.
    """
    spec = replace(spec, resize="refuse")  # a fingerprint of another size is none
    files = [part for part in sent if isinstance(part, Part)]
    if len(files) > longest:  # before any is decoded
        raise _too_many(len(files), longest)
    if files:
        values = np.concatenate([decoder.fingerprint(part, spec) for part in files])
    else:
        values = decode_json_tensor(sent, spec, "fingerprint")
    if not 1 <= len(values) <= longest:
        raise _too_many(len(values), longest)
    on_grid = spec.is_on_grid(values)
    if not on_grid.all():
        field = "fingerprint" if len(values) == 1 else f"fingerprint[{int(np.argmin(on_grid))}]"
        raise InvalidInput(field, "values lie between two levels of the model's 8-bit grid")
    return values


def decode_stamped(decoder: Decoder, part: Part, spec: InputSpec) -> Floats:
    """One image with a license's stamp, PNG or NPY of the model's own size, (1, C, H, W).

    Raises:
        InvalidInput: undecodable, or several.
    """
    values = decoder.fingerprint(part, replace(spec, resize="refuse"))
    if len(values) != 1:
        raise InvalidInput(part.field, f"{len(values)} images; send one")
    return values


def _too_many(count: int, longest: int) -> InvalidInput:
    return InvalidInput("fingerprint", f"{count} pictures; a license of this model has 1 to {longest}")


def _only(sent: set[str], known: set[str], where: str) -> None:
    unknown = sorted(sent - known)
    if unknown:
        # The name itself is not echoed: somebody's secret may stand in the wrong place.
        raise InvalidInput(where, f"{len(unknown)} unknown field(s); known: {', '.join(sorted(known))}")


def json_object(body: bytes) -> dict[str, Any]:
    """A body that is a JSON object.

    Raises:
        InvalidInput: it is none.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("body", f"not valid JSON: {error.msg}") from None
    if not isinstance(document, dict):
        raise InvalidInput("body", "a JSON object is wanted")
    return document


def _json_object(body: bytes, known: set[str]) -> dict[str, Any]:
    document = json_object(body)
    _only(set(document), known, "body")
    return document


def _json_instances(body: bytes, spec: InputSpec) -> Floats:
    return decode_json_tensor(_json_object(body, {"inputs"}).get("inputs"), spec, "inputs")


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


async def _form(received: Received, known: set[str]) -> list[tuple[str, str | bytes]]:
    """Names and values in the order sent; files as bytes."""
    headers = Headers({"content-type": received.content_type})
    parser = _InMemoryParser(headers, _pieces(received.body), max_files=_MAX_FILES, max_fields=16)
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


async def _pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]
        await asyncio.sleep(0)  # parsing a large form lets others in between


def _file(value: str | bytes, field: str) -> bytes:
    if isinstance(value, str):
        raise InvalidInput(field, "send a file, not text")
    return value


def _nonce(value: object) -> bytes:
    if not isinstance(value, str) or _NONCE.fullmatch(value) is None:
        raise InvalidInput("nonce", "base64url of 32 fresh random bytes is wanted")
    return base64.urlsafe_b64decode(value.rstrip("=") + "=")


async def threaded(size: int, work: Callable[..., Result], *args: Any) -> Result:
    """`work(*args)` over so many bytes: here, or, where that takes long, in a thread."""
    return work(*args) if size <= _INLINE_BYTES else await asyncio.to_thread(work, *args)
