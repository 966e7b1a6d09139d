"""Opening a session, in the design's five steps."""

import base64
import contextlib
import secrets
from datetime import datetime, timedelta

import numpy as np
import structlog
from numpy.typing import NDArray
from signet_client import receipts

from service.clock import rfc3339
from service.control.book import CredentialRecord, LicenseRecord, ModelRecord, VersionRecord
from service.control.decision import Decision, decide
from service.control.verdict import Ask
from service.errors import Conflict, InvalidInput
from service.gateway import Gateway
from service.ids import id_bytes
from service.inference.engine import Loaded
from service.inputs.body import decode_fingerprint
from service.licenses.credentials import find_fingerprint
from service.licenses.terms import Operation
from service.sessions.schemas import SessionRead
from service.sessions.tokens import LICENSE_BYTES

log = structlog.get_logger(__name__)
Floats = NDArray[np.float32]


def serving_version(model: ModelRecord) -> VersionRecord:
    """The version that answers when none is named.

    Raises:
        Conflict: the model has none.
    """
    if model.serving is None:
        raise Conflict("model", "no version of this model is being served")
    return model.serving


async def recognise(gateway: Gateway, model: ModelRecord, sent: bytes | list[object]) -> LicenseRecord | None:
    """Whose fingerprint was sent; None for nobody's."""
    served = await gateway.engine.load(serving_version(model))
    # (1) canonicalize to the declared 8-bit grid
    reader, grid = await _canonical(gateway, model, served, sent)
    # (2) keyed digest: at most one credential
    credential = find_fingerprint(gateway.ring, gateway.book, model, grid[0])
    async with gateway.admission.turn(proved=credential is not None):
        # (3) run its gatekeeper; for a miss the version being served: the same work
        gatekeeper = reader
        if credential is not None and credential.version_id != reader.version.id:
            gatekeeper = await gateway.engine.load(gateway.book.versions[str(credential.version_id)])
        lane = credential.license_id if credential else model.id
        exact = gatekeeper.input_spec.from_grid(grid)
        scores = await gateway.batcher.submit(gatekeeper, exact, authorized=True, lane=lane)
    # (4) compare what the network says with the allotted output
    _compare(gateway, model, credential, scores[0], gatekeeper.allotment.epsilon)
    return gateway.book.license(id_bytes(credential.license_id)) if credential else None


async def _canonical(
    gateway: Gateway, model: ModelRecord, served: Loaded, sent: bytes | list[object]
) -> tuple[Loaded, NDArray[np.uint8]]:
    """Grey levels as the version being served takes them; else as an older gatekeeper does: it may want another shape.

    Raises:
        InvalidInput: no version takes it; in the words of the one being served.
    """
    try:
        return served, served.input_spec.to_grid(decode_fingerprint(gateway.decoder, sent, served.input_spec))
    except InvalidInput as error:
        refused = error
    for version_id in sorted(gateway.book.gatekeepers.get(model.id, set()) - {served.version.id}):
        older = await gateway.engine.load(gateway.book.versions[version_id])
        with contextlib.suppress(InvalidInput):
            return older, older.input_spec.to_grid(decode_fingerprint(gateway.decoder, sent, older.input_spec))
    raise refused


def _compare(
    gateway: Gateway, model: ModelRecord, credential: CredentialRecord | None, scores: Floats, epsilon: float
) -> None:
    if credential is None or credential.label is None or credential.confidence is None:
        return
    error = abs(float(scores.max()) - credential.confidence)
    if int(scores.argmax()) != credential.label or error >= epsilon:
        gateway.metrics.drift.labels(model.name).inc()
        log.error("session.fingerprint.drift", license=credential.license_id, error=round(error, 6))


async def open_session(
    gateway: Gateway, model: ModelRecord, license: LicenseRecord | None, nonce: bytes, address: str
) -> SessionRead:
    """(5) The license's verdict, then token and receipt: a stranger's of the same form.

    Raises:
        Refused, Unlicensed: as `control.decision` says.
    """
    now = gateway.clock()
    version = serving_version(model)
    ask = Ask(Operation.SESSION, model.id, version.number, 0, address, now)
    async with decide(gateway, model, license, ask) as decision:
        expires_at = (now + timedelta(seconds=gateway.settings.session_ttl_s)).replace(microsecond=0)
        proved = license is not None and decision.authorized
        holder = id_bytes(license.id) if license and proved else secrets.token_bytes(LICENSE_BYTES)
        token = gateway.tokens.seal(holder, model.id, expires_at)
        receipt = _receipt(
            gateway, model, version, license if proved else None, decision, nonce, token, now, expires_at
        )
        return SessionRead(token=token, expires_at=rfc3339(expires_at), model=model.name, receipt=receipt)


def _receipt(
    gateway: Gateway,
    model: ModelRecord,
    version: VersionRecord,
    license: LicenseRecord | None,
    decision: Decision,
    nonce: bytes,
    token: str,
    now: datetime,
    expires_at: datetime,
) -> str:
    if license is None:
        return base64.urlsafe_b64encode(secrets.token_bytes(receipts.RECEIPT_BYTES)).rstrip(b"=").decode()
    claims = {
        "license": license.id,
        "model": model.name,
        "version": version.number,
        "issued_at": rfc3339(now),
        "expires_at": rfc3339(expires_at),
        "in_grace": decision.verdict.in_grace,
    }
    key = receipt_key(gateway, license.id, license.generation, license.ring_root)
    return receipts.seal(key, nonce, model.name, token, claims, secrets.token_bytes(receipts.IV_BYTES))


def receipt_key(gateway: Gateway, license_id: str, generation: int, root: str) -> bytes:
    """HKDF(root, "receipt", license id, generation): never stored, carried in the license file."""
    return gateway.ring.derive("receipt", license_id.encode(), str(generation).encode(), root=root)
