"""Plain HTTP to a gateway: sessions, and labels and scores for many images."""

import base64
import io
import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray
from signet_client.errors import SessionUnproved
from signet_client.receipts import open_receipt

from benchmarks.gateway import Issued, checked

Bytes = NDArray[np.uint8]
CHUNK = 100  # images a request


@dataclass(frozen=True, slots=True)
class Answers:
    """Labels (N,), scores (N, K) as they were written, and what else of a response an eavesdropper sees."""

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    lengths: NDArray[np.int64]  # of the response, bytes
    headers: tuple[str, ...]  # names, in order, one entry a response


def http(url: str, source: str | None = None) -> httpx.Client:
    """A caller, who may come from another loopback address."""
    transport = httpx.HTTPTransport(local_address=source)
    return httpx.Client(base_url=url, transport=transport, timeout=120)


def npy(images: Bytes) -> bytes:
    """An array as NPY bytes."""
    file = io.BytesIO()
    np.save(file, images, allow_pickle=False)
    return file.getvalue()


def ask(
    caller: httpx.Client, model: str, images: Bytes, *, version: int | None = None, bearer: str | None = None,
    chunk: int = CHUNK,
) -> Answers:  # fmt: skip
    """What the gateway says to grey levels (N, C, H, W), `chunk` of them a request."""
    headers = {"Content-Type": "application/x-npy"} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
    params = {} if version is None else {"version": version}
    documents, lengths, names = [], [], []
    for start in range(0, len(images), chunk):
        body = npy(images[start : start + chunk])
        path = f"/v1/models/{model}/predict"
        response = checked(caller.post(path, content=body, headers=headers, params=params))
        documents += orjson.loads(response.content)["predictions"]
        lengths.append(len(response.content))
        names.append(",".join(response.headers))
    labels = np.array([document["index"] for document in documents], dtype=np.int64)
    scores = np.array([document["scores"] for document in documents], dtype=np.float64)
    return Answers(labels, scores, np.array(lengths), tuple(names))


@dataclass(frozen=True, slots=True)
class Session:
    """An answer to `POST .../sessions`, with the nonce it was asked for with."""

    status: int
    nonce: bytes = field(repr=False)
    document: dict[str, Any] = field(repr=False)

    def proves(self, license: Issued) -> bool:
        """Whether the receipt opens with this license's key."""
        if self.status != 201:
            return False
        token, receipt = self.document["token"], self.document["receipt"]
        try:
            claims = open_receipt(license.file.receipt_key, self.nonce, license.file.model, token, receipt)
        except SessionUnproved:
            return False
        return claims["license"] == license.id


def session_parts(sent: bytes | list[Any]) -> tuple[bytes, dict[str, Any]]:
    """A fresh nonce, and what to hand to httpx for a fingerprint as a file's bytes or as JSON numbers."""
    nonce = secrets.token_bytes(32)
    text = base64.urlsafe_b64encode(nonce).rstrip(b"=").decode()
    if isinstance(sent, bytes):
        return nonce, {"data": {"nonce": text}, "files": {"fingerprint": ("fingerprint", sent)}}
    return nonce, {"json": {"nonce": text, "fingerprint": sent}}


def open_session(caller: httpx.Client, model: str, sent: bytes | list[Any]) -> Session:
    """Show a fingerprint."""
    nonce, parts = session_parts(sent)
    response = caller.post(f"/v1/models/{model}/sessions", **parts)
    return Session(response.status_code, nonce, response.json())


def strangers_token(caller: httpx.Client, model: str, shape: tuple[int, ...], rng: np.random.Generator) -> str:
    """The token that a picture of nobody's buys."""
    picture = rng.integers(256, size=shape, dtype=np.uint8)
    session = open_session(caller, model, npy(picture))
    assert session.status == 201, session.document
    return str(session.document["token"])


def licensees_token(caller: httpx.Client, model: str, license: Issued) -> str:
    """The token that a genuine fingerprint buys."""
    session = open_session(caller, model, license.png)
    assert session.proves(license), session.document
    return str(session.document["token"])
