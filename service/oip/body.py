"""An infer request's body: inflated with a bound, split into its JSON and what follows it."""

import zlib
from typing import Any, NamedTuple

from starlette.datastructures import Headers

from service.errors import BodyTooLarge, InvalidInput, UnsupportedMedia
from service.inputs.body import json_object

HEADER_LENGTH = "Inference-Header-Content-Length"
_FIELD = f"headers.{HEADER_LENGTH.lower()}"
_GZIP, _ZLIB, _BARE = 31, 15, -15  # window bits that say which wrapping zlib expects
_FREE, _RATIO = (
    2**20,
    64,
)  # bytes that may come of any body, and of each of its bytes besides: images are not deflated more
_WORDS = 10_000  # commas and brackets of a request beside its numbers


class Body(NamedTuple):
    """The JSON document, None where the whole body is one input's bytes, and the raw tensors behind it."""

    document: dict[str, Any] | None
    raw: memoryview


def inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its content encoding.

    Raises:
        UnsupportedMedia: another encoding than gzip or deflate. BodyTooLarge: more than `limit` bytes come out, or far
        more than went in.
        InvalidInput: not what the encoding says, or more behind its end.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise UnsupportedMedia("headers.content-encoding", "gzip and deflate are taken")
    limit = min(limit, _FREE + _RATIO * len(body))
    window = _GZIP if encoding != "deflate" else _ZLIB if _wrapped(body) else _BARE
    inflate = zlib.decompressobj(window)
    try:
        whole = inflate.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidInput("body", f"is not {encoding}, which Content-Encoding says") from None
    if len(whole) > limit:
        raise BodyTooLarge("body", f"at most {limit} bytes are taken here, inflated")
    if not inflate.eof or inflate.unused_data:
        raise InvalidInput("body", f"is cut off, or goes on behind its end, as {encoding}")
    return whole


def split(body: bytes, headers: Headers, numbers: int) -> Body:
    """JSON and raw tensors, as the header that gives the JSON's length says; `numbers` is how many may stand in JSON.

    Raises:
        InvalidInput: a length that is none, or beyond the body; what is no JSON object, or one of too many parts.
    """
    length = headers.get(HEADER_LENGTH)
    if length is None:
        return Body(_object(body, numbers), memoryview(b""))
    if not length.isascii() or not length.isdecimal() or len(length) > 18:
        raise InvalidInput(_FIELD, "a number of bytes is wanted")
    if int(length) > len(body):
        raise InvalidInput(_FIELD, f"{int(length)} bytes of JSON are more than the body's {len(body)}")
    if int(length) == 0:
        return Body(None, memoryview(body))
    view = memoryview(body)
    return Body(_object(body[: int(length)], numbers), view[int(length) :])


def _wrapped(body: bytes) -> bool:
    """Whether deflated data stand in zlib's wrapping, as the standard has it and not every client does."""
    return len(body) > 1 and body[0] & 15 == zlib.DEFLATED and (body[0] << 8 | body[1]) % 31 == 0


def _object(data: bytes, numbers: int) -> dict[str, Any]:
    # A parser makes an object of each; nothing else can be done meanwhile, in whatever thread it runs.
    if data.count(b",") > numbers + _WORDS or data.count(b"[") + data.count(b"{") > numbers // 4 + _WORDS:
        raise InvalidInput("body", "has more parts than any request of this model")
    return json_object(data)
