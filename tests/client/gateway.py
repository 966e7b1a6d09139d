"""A small gateway for the client to talk to: an ASGI application that speaks the wire format and answers by rule."""

from __future__ import annotations

import email
import email.policy
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from signet_client.canonical import from_base64url, to_base64url, to_time
from signet_client.license_file import FingerprintCredential, LicenseFile, SerialNumberCredential
from signet_client.receipts import RECEIPT_BYTES, seal
from signet_client.stamping import Stamper

Answer = tuple[int, dict[str, Any]]
SERVED = 4  # the version that answers when none is asked for


@dataclass(frozen=True)
class Part:
    name: str
    filename: str | None
    media_type: str
    data: bytes


@dataclass(frozen=True)
class Seen:
    path: str
    headers: dict[str, str]
    body: bytes
    query: str = ""

    def parts(self) -> list[Part]:
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + self.body, policy=email.policy.HTTP)
        return [
            Part(
                str(part.get_param("name", header="content-disposition")),
                part.get_filename(),
                part.get_content_type(),
                part.get_payload(decode=True),  # type: ignore[arg-type]
            )
            for part in message.iter_parts()  # type: ignore[attr-defined]
        ]


@dataclass
class Gateway:
    """Answers class 3, "three", to every image of whoever holds a session, proved or not."""

    license_file: LicenseFile
    lifetime: float = 300.0  # seconds
    tamper: Callable[[dict[str, Any]], object] = lambda answer: None  # what somebody else does to a session's answer
    next_answers: dict[str, list[Answer]] = field(default_factory=lambda: {"sessions": [], "predict": []})
    seen: list[Seen] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def refuse_next(self, route: str, status: int, code: str, **extensions: object) -> None:
        problem = {"type": f"/problems/{code.lower()}", "title": code, "status": status, "code": code, **extensions}
        self.next_answers[route].append((status, problem))

    def seen_at(self, route: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path.endswith(f"/{route}")]

    def knows(self, seen: Seen) -> bool:
        credential = self.license_file.credential
        if isinstance(credential, FingerprintCredential):
            return tuple(part.data for part in seen.parts() if part.name == "fingerprint") == credential.images
        if isinstance(credential, SerialNumberCredential):
            return [part.data for part in seen.parts() if part.name == "stamped"] == [Stamper(credential).probe()]
        return seen.headers.get("authorization") == f"Bearer {credential.key}"

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append(Seen(scope["path"], headers, body, scope["query_string"].decode()))
        status, document = self.answer(self.seen[-1])
        kind = b"application/problem+json" if status >= 400 else b"application/json"
        start = {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]}
        start["headers"].append((b"x-request-id", b"req_7"))  # type: ignore[attr-defined]
        await send(start)
        await send({"type": "http.response.body", "body": json.dumps(document).encode()})

    def answer(self, seen: Seen) -> Answer:
        base, _, route = seen.path.rpartition("/")
        if base != f"/v1/models/{self.license_file.model}" or route not in self.next_answers:
            return 404, {"detail": "Not Found"}
        if self.next_answers[route]:
            return self.next_answers[route].pop(0)
        return self.session(seen) if route == "sessions" else self.predictions(seen)

    def session(self, seen: Seen) -> Answer:
        now = datetime.now(UTC).replace(microsecond=0)
        ends = to_time(now + timedelta(seconds=self.lifetime))
        token, model = to_base64url(secrets.token_bytes(48)), self.license_file.model
        self.tokens.add(token)
        receipt = to_base64url(secrets.token_bytes(RECEIPT_BYTES))
        if self.knows(seen):
            claims = {"license": self.license_file.license, "model": model, "version": SERVED}
            claims |= {"issued_at": to_time(now), "expires_at": ends}
            key = self.license_file.receipt_key
            receipt = seal(key, self.nonce(seen), model, token, claims, secrets.token_bytes(12))
        answer = {"token": token, "expires_at": ends, "model": model, "receipt": receipt}
        self.tamper(answer)
        return 201, answer

    def nonce(self, seen: Seen) -> bytes:
        if seen.headers["content-type"] == "application/json":
            return from_base64url(json.loads(seen.body)["nonce"])
        return from_base64url(next(part.data.decode() for part in seen.parts() if part.name == "nonce"))

    def predictions(self, seen: Seen) -> Answer:
        if seen.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 401, {"title": "Session invalid", "status": 401, "code": "SESSION_INVALID"}
        scores = [0.0, 0.125, 0.25, 0.625]
        prediction = {"index": 3, "label": "three", "scores": scores}
        images = [part for part in seen.parts() if part.name == "images"]
        version = int(seen.query.removeprefix("version=") or SERVED)
        return 200, {"model": self.license_file.model, "version": version, "predictions": [prediction] * len(images)}
