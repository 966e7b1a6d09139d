"""Bodies, addresses and sessions that are refused."""

from typing import Any

import numpy as np

from tests.service.inputs import builders as made
from tests.service.inputs.rows import BOUNDARY, GOOD, NONCE, PREDICT, SESSIONS, UNIT, UNREAD, Row, bare


def part(data: bytes) -> bytes:
    """One file of a form."""
    return b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + data + b"\r\n"


NAMELESS = b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"
ODDLY_NAMED = b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--\r\n'
TOO_LARGE: dict[str, Any] = {"field": "body", "status": 413, "code": "BODY_TOO_LARGE"}
UNKNOWN: dict[str, Any] = {"status": 404, "code": "UNKNOWN_RESOURCE"}
BODIES = [
    bare("no media type", GOOD, "", field="headers.content-type", **UNREAD),
    bare("a text", b"hello", "text/plain", field="headers.content-type", **UNREAD),
    bare("a GIF's media type", GOOD, "image/gif", field="headers.content-type", **UNREAD),
    bare("a form without a boundary", b"--b\r\n", "multipart/form-data", field="body"),
    bare("a form that is none", b"\x00\x01\x02", BOUNDARY, field="body"),
    bare("an empty form", b"--b--\r\n", BOUNDARY, field="images"),
    bare("a form cut short in its second picture", part(GOOD) + part(GOOD)[:-9], BOUNDARY, field="body"),
    bare("a form without its closing boundary", part(GOOD), BOUNDARY, field="body"),
    bare("a form without a name", NAMELESS, BOUNDARY, field="body"),
    bare(
        "a form in no known character set",
        ODDLY_NAMED,
        BOUNDARY + "; charset=undefined",
        field="body",
    ),
    bare(
        "a form in a code that is no character set",
        ODDLY_NAMED,
        BOUNDARY + "; charset=hex",
        field="form",
    ),
    Row("a text instead of a file", {"files": {"images": (None, "hello")}}),
    Row("a file under another name", {"files": {"image": ("a.png", GOOD)}}, field="form"),
    Row(
        "a text of two megabytes",
        {"files": {"images": (None, b"a" * 1_100_000)}},
        **TOO_LARGE,
    ),
    Row("too many texts", {"files": [("images", (None, b"a"))] * 20}, field="body"),
    Row("more files than are taken", {"files": [("images", ("a", b""))] * 4097}, field="body"),
    bare("a body over the limit", bytes(2**20 + 1), **TOO_LARGE),
]

PLACES = [
    bare("an unknown model", GOOD, field="model", **UNKNOWN, path="/v1/models/nobody/predict"),
    bare("an unknown version", GOOD, field="version", **UNKNOWN, path=f"{PREDICT}?version=7"),
    bare("version zero", GOOD, field="query.version", path=f"{PREDICT}?version=0"),
    bare("a version that is no number", GOOD, field="query.version", path=f"{PREDICT}?version=latest"),
    bare("a version beyond counting", GOOD, field="query.version", path=f"{PREDICT}?version={10**40}"),
]


def fingerprint(name: str, data: bytes, **expected: Any) -> Row:
    """A session asked for with a file as its fingerprint."""
    sent = {"files": {"nonce": (None, NONCE), "fingerprint": ("f.png", data)}}
    return Row(name, sent, path=SESSIONS, **{"field": "fingerprint", **expected})


def asked(name: str, document: Any, **expected: Any) -> Row:
    """A session asked for with JSON."""
    return Row(name, {"json": document}, path=SESSIONS, **{"field": "nonce", **expected})


OPENINGS = [
    asked("no nonce", {}),
    asked("a nonce that is no text", {"nonce": 5}),
    asked("a nonce too short", {"nonce": "A" * 42}),
    asked("a nonce too long", {"nonce": "A" * 46}),
    asked("a nonce in another alphabet", {"nonce": "A" * 42 + "+"}),
    asked("a nonce with white space", {"nonce": "A" * 43 + "\n"}),
    asked("a nonce beyond ASCII", {"nonce": "Ä" * 43}),
    asked("an unknown field", {"nonce": NONCE, "key": "x"}, field="body"),
    asked("a fingerprint as text", {"nonce": NONCE, "fingerprint": "iVBOR"}, field="fingerprint"),
    asked("a value between two levels", {"nonce": NONCE, "fingerprint": [[0.501] * 28] * 28}, field="fingerprint"),
    asked("five fingerprints", {"nonce": NONCE, "fingerprint": [[[[0.0] * 28] * 28]] * 5}, field="fingerprint"),
    asked("a fingerprint of truth values", {"nonce": NONCE, "fingerprint": [[True, 0] * 14] * 28}, field="fingerprint"),
    asked("a fingerprint out of range", {"nonce": NONCE, "fingerprint": [[2] * 28] * 28}, field="fingerprint[0]"),
    asked("a document that is no object", [], field="body"),
    Row("a form without a nonce", {"files": {"fingerprint": ("f.png", GOOD)}}, "nonce", path=SESSIONS),
    Row(
        "a nonce as a file", {"files": {"nonce": ("n", NONCE), "fingerprint": ("f.png", GOOD)}}, "nonce", path=SESSIONS
    ),
    Row(
        "a fingerprint as text in a form",
        {"files": {"nonce": (None, NONCE), "fingerprint": (None, "x")}},
        "fingerprint",
        path=SESSIONS,
    ),
    Row(
        "a bare picture",
        {"content": GOOD, "headers": {"Content-Type": "image/png"}},
        "headers.content-type",
        path=SESSIONS,
        **UNREAD,
    ),
    fingerprint("a JPEG as a fingerprint", made.saved(kind="JPEG"), **UNREAD),
    fingerprint("an empty fingerprint", b"", **UNREAD),
    fingerprint("a fingerprint of another size", made.saved(made.GREY[1:])),
    fingerprint("a fingerprint with alpha", made.saved(mode="LA")),
    fingerprint("a fingerprint of 16 bits", made.saved(made.GREY.astype(np.uint16) * 257)),
    fingerprint("a fingerprint rotated by EXIF", made.rotated("PNG")),
    fingerprint("an animated fingerprint", made.animated("PNG")),
    fingerprint("a truncated fingerprint", GOOD[:60]),
    fingerprint("a fingerprint in column-major order", made.npy_saying(order="True")),
    fingerprint("a big-endian fingerprint", made.npy(UNIT.astype(">f4"))),
    fingerprint("half a grey level off", made.npy(UNIT * np.float32(0.99) + np.float32(0.5 / 255))),
    Row("an unknown model", {"json": {"nonce": NONCE}}, "model", 404, "UNKNOWN_RESOURCE", "/v1/models/nobody/sessions"),
]
