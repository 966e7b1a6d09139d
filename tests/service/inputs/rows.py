"""One bad input: how it is sent, and what must come back."""

from dataclasses import dataclass, field
from typing import Any

from tests.service.inputs import builders as made

PREDICT = "/v1/models/digits/predict"
SESSIONS = "/v1/models/digits/sessions"
BOUNDARY = "multipart/form-data; boundary=b"
NONCE = "A" * 43
GOOD = made.saved()
UNIT = made.unit()
UNREAD: dict[str, Any] = {"status": 415, "code": "UNSUPPORTED_MEDIA_TYPE"}


@dataclass(frozen=True)
class Row:
    """One bad input: how it is sent, and what must come back."""

    name: str
    sent: dict[str, Any] = field(repr=False)
    field: str = "images[0]"
    status: int = 422
    code: str = "INVALID_INPUT"
    path: str = "/v1/models/digits/predict"


def bare(name: str, data: bytes, media: str = "application/octet-stream", **expected: Any) -> Row:
    """One file as the whole body."""
    return Row(name, {"content": data, "headers": {"Content-Type": media}}, **expected)


def form(name: str, *files: bytes, **expected: Any) -> Row:
    """Files in the form field `images`."""
    return Row(name, {"files": [("images", ("a.png", data)) for data in files]}, **expected)


def text(name: str, document: bytes, **expected: Any) -> Row:
    """A JSON body."""
    return bare(name, document, "application/json", **{"field": "inputs", **expected})


def numbers(name: str, value: Any, **expected: Any) -> Row:
    """A JSON tensor."""
    return text(name, made.json_inputs(value), **expected)
