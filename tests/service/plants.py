"""Secrets, the places where a caller can put them, and the places where they must not turn up."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from PIL import Image

from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from tests.service import standing
from tests.service.catalogue import uploads
from tests.service.conftest import Issued
from tests.service.inputs import builders

SESSIONS, PREDICT = "/v1/models/digits/sessions", "/v1/models/digits/predict"
OWNERSHIP = "/v1/ownership/verifications"
NONCE = "A" * 43
_FORM = {"commitment_id": f"com_{'0' * 32}", "mark": "0"}


def spellings(secret: bytes) -> Iterator[bytes]:
    """A secret as it might be written: as it is, in base64 of any alignment, in hex."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # The characters that depend on neighbours are left out, so that a secret inside other bytes is found.
            whole = encode(bytes(shift) + secret)
            yield whole[(0, 2, 3)[shift] : len(whole) // 4 * 4 - 4]


def search(haystack: bytes, secrets: dict[str, bytes], where: str) -> None:
    """Fails when any secret is in there."""
    for name, secret in secrets.items():
        for spelled in spellings(secret):
            assert spelled not in haystack, f"{name} in {where}"


WHOLE_FILES = ("the fingerprint's file", "the fingerprint's pixels")  # too long for a header


def as_text(secret: bytes) -> set[str]:
    """How a caller would write it."""
    plain = secret.decode() if secret.isascii() and secret.decode().isprintable() else base64.b64encode(secret).decode()
    return {plain, secret.hex()}


async def secrets_of(
    stranger: httpx.AsyncClient, gateway: Gateway, admin_key: str, key: Issued, fingerprint: Issued
) -> dict[str, bytes]:
    """Everything that must never be seen again after it was handed out."""
    form = {"nonce": (None, NONCE), "fingerprint": ("f.png", fingerprint.png)}
    token = (await stranger.post(SESSIONS, files=form)).json()["token"]
    grid = _grid(fingerprint.png)
    secrets = {
        "the license key": key.secret.encode(),
        "the license key's secret part": key.secret.partition(".")[2].encode(),
        "the admin key's secret part": admin_key.partition(".")[2].encode(),
        "the session token": token.encode(),
        "the session token's bytes": base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)),
        "the fingerprint's file": fingerprint.png,
        "the fingerprint's pixels": grid,
        "the fingerprint's middle rows": grid[28 * 10 : 28 * 14],
        "a receipt key": fingerprint.file.receipt_key,
        "another receipt key": key.file.receipt_key,
        "the issuer's private key": gateway.ring.issuer.private_bytes_raw(),
    }
    return secrets | {f"the root {kid}": root for kid, root in gateway.ring.roots.items()}


def _grid(png: bytes) -> bytes:
    """The grey levels of a picture."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image).tobytes()


def places(secret: str, artefact: Artefact) -> list[dict[str, Any]]:
    """Requests with a secret where none belongs; all of them are refused."""
    path, text = quote(secret, safe=""), {"Content-Type": "application/json"}
    half = secret[: len(secret) // 2]
    posts = [
        {"url": f"/v1/models/{path}/predict"},
        {"url": f"/v1/models/digits/{path}"},
        {"url": f"{PREDICT}?version={path}", "content": b""},
        {"url": f"{PREDICT}?key={path}", "content": b"", "headers": {"Content-Type": secret}},
        {"url": PREDICT, "json": {secret: 1}},
        {"url": PREDICT, "json": {"inputs": secret}},
        {"url": PREDICT, "json": {"inputs": [[secret]]}},
        {"url": PREDICT, "content": f'{{"inputs": "{secret}'.encode(), "headers": text},
        {"url": PREDICT, "files": {secret: ("a.png", b"x")}},
        {"url": PREDICT, "files": {"images": (secret, b"x", secret)}},
        {"url": PREDICT, "files": {"images": (None, secret)}},
        {"url": PREDICT, "content": secret.encode(), "headers": {"Content-Type": "application/x-npy"}},
        {"url": PREDICT, "content": builders.npy_saying(descr=f"'{secret}'")},
        {"url": PREDICT, "content": b"x", "headers": {"Content-Type": f"multipart/form-data; boundary={half}"}},
        {"url": PREDICT, "content": b"", "headers": {"X-Request-Id": secret, "User-Agent": secret, "Referer": secret}},
        {"url": PREDICT, "content": b"", "headers": {"Cookie": f"key={secret}", "X-Forwarded-For": secret}},
        {"url": PREDICT, "content": b"", "headers": {"Authorization": f"Basic {secret}", "Host": half}},
        {"url": PREDICT, "content": b"", "headers": {"Authorization": f"Bearer x{secret}"}},
        {"url": SESSIONS, "json": {"nonce": secret + "!"}},
        {"url": SESSIONS, "json": {"nonce": NONCE, "fingerprint": secret, secret: 1}},
        {"url": SESSIONS, "json": {"nonce": NONCE, "fingerprint": [secret]}},
        {"url": "/v1/customers", "json": {"name": "x", secret: secret}},
        {"url": "/v1/customers", "json": {"name": secret + "\n", "email": secret}},
        {"url": "/v1/customers", "content": secret.encode(), "headers": text},
        {"url": "/v1/licenses", "json": {"customer_id": secret, "model": secret, "terms": {secret: 1}}},
        {"url": "/v1/licenses", "json": {"credential": secret, "terms": {"networks": [secret], "expires_at": secret}}},
        {"url": "/v1/admin-keys", "json": {"name": "", "role": secret, "key": secret}},
        {"url": f"/v1/admin-keys/{path}/revoke"},
        {"url": f"/v1/licenses/{path}/suspend", "headers": {"X-Request-Id": secret}},
        {"url": "/v1/ownership/commitments", "json": {"statement": secret, "public_key": secret, "signature": secret}},
        {"url": "/v1/ownership/commitments", "json": {"statement": json.dumps({secret: 1}), secret: 1}},
        {"url": OWNERSHIP, "data": {"mark_key": secret}, "files": {"suspect": (secret, b"x")}},
        {"url": OWNERSHIP, "data": {**_FORM, "mark_key": secret}, "files": {"suspect": (secret, secret.encode())}},
        {"url": OWNERSHIP, "data": {"commitment_id": secret, "mark": secret}, "files": {secret: b"x"}},
        {"url": "/v1/models", "files": uploads.files(artefact) | {"weights": (secret, secret.encode())}},
        {"url": "/v1/models", "files": uploads.files(artefact), "data": {"unauthorized_policy": secret}},
    ]  # fmt: skip
    said = ("name", "network", "created_at", "key_id", "signature", "weights_sha256", secret)
    posts += [{"url": "/v1/models", "files": uploads.with_manifest(artefact, **{name: secret})} for name in said]
    named = [{"network_config": {secret: 1}}, {"input_spec": {secret: 1}}, {"metrics": {secret: secret}}]
    posts += [{"url": "/v1/models", "files": uploads.with_manifest(artefact, **changes)} for changes in named]
    extra = uploads.with_weights(artefact, lambda tensors: tensors.update({secret: tensors["fc3.bias"].clone()}))
    posts.append({"url": "/v1/models", "files": uploads.files(extra)})
    gets = ["customers/{}", "customers?cursor={}", "licenses?customer_id={}", "audit?after={}", "{}"]
    gets += ["ownership/commitments/{}", "ownership/verifications/{}", "ownership/verifications?commitment_id={}"]
    gets += ["licenses/{0}/verdict?address={0}", "../{}", "../docs/{}", "../metrics/{}"]
    return [{"method": "POST", **post} for post in posts] + [
        {"method": "GET", "url": f"/v1/{place.format(path)}".replace("/v1/..", "")} for place in gets
    ]


async def everything_kept(gateway: Gateway, admin: httpx.AsyncClient) -> dict[str, bytes]:
    """Whatever the gateway has written down or tells about itself."""
    await gateway.refusals.flush()
    rows = await standing.rows_of(gateway)
    kept = {
        "the tables": "\n".join(cell_text(cell) for table in rows.values() for row in table for cell in row).encode(),
        "the metrics": (await admin.get("/metrics")).content,
    }
    for name in ("audit", "customers", "licenses", "models", "admin-keys"):
        kept[f"the list of {name}"] = (await admin.get(f"/v1/{name}", params={"limit": 200})).content
    if gateway.database.dialect.name == "sqlite":
        kept["the database's files"] = standing.dump(Path(str(gateway.database.url.database)))
    return kept


def cell_text(cell: Any) -> str:
    """A column's value, bytes in hex."""
    return cell.hex() if isinstance(cell, bytes) else str(cell)
