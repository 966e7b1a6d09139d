"""Opening a session, in the design's five steps."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Set
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray
from signet_client import receipts
from starlette.datastructures import Headers

from service.clock import rfc3339
from service.control.book import CredentialRecord, LicenseRecord, ModelRecord, VersionRecord
from service.control.caller import STRANGERS, proof_of_key, shown_secret
from service.control.decision import Decision, stands
from service.control.stamps import read_stamps
from service.control.verdict import Ask, judge
from service.errors import Conflict, InvalidInput, ModelUnloaded
from service.gateway import Gateway
from service.ids import id_bytes, new_id
from service.inference.loaded import Loaded
from service.inputs.body import Part, Received, decode_fingerprints, decode_stamped, read_session
from service.licenses.credentials import find_fingerprint, holder
from service.licenses.terms import Operation
from service.sessions.schemas import SessionRead

log = structlog.get_logger(__name__)
Floats = NDArray[np.float32]
Decoded = TypeVar("Decoded")
Shown = tuple[Part, ...] | list[Any]  # files in a form, or numbers in JSON


def serving_version(model: ModelRecord) -> VersionRecord:
    """The version that answers when none is named.

    Raises:
        Conflict: the model has none. ModelUnloaded.
    """
    if model.unloaded:
        raise ModelUnloaded
    if model.serving is None:
        raise Conflict("model", "no version of this model is being served")
    return model.serving


def largest_shown(gateway: Gateway, model: ModelRecord) -> int:
    """Numbers in the largest credential there may be: for the version served, a gatekeeper, or one with students."""
    in_use = gateway.book.gatekeepers.get(model.id, set()) | gateway.book.stamped.get(model.id, set())
    in_use |= {serving_version(model).id}
    return max(version.input_size * version.longest for version in model.versions.values() if version.id in in_use)


async def open_session(
    gateway: Gateway, model: ModelRecord, headers: Headers, received: Received, address: str
) -> SessionRead:
    """A token for whatever credential is shown.

    Raises:
        InvalidInput, Refused, Unlicensed, Overloaded: no session was opened.
    """
    body = await read_session(received)
    if body.fingerprint is not None:
        license = await _recognise(gateway, model, body.fingerprint, address)
    elif body.stamped is not None:
        license = await _recognise_stamp(gateway, model, body.stamped)
    else:
        license = proof_of_key(gateway, shown_secret(headers) or "").license(gateway)
    async with gateway.admission.turn(proved=_stands(gateway, model, license, address)):
        return await _grant(gateway, model, license, body.nonce, address)


async def _recognise(gateway: Gateway, model: ModelRecord, sent: Shown, address: str) -> LicenseRecord | None:
    """Whose fingerprints were sent; None for nobody's."""
    served = await gateway.engine.load(serving_version(model))
    # (1) canonicalize to the declared 8-bit grid
    async with gateway.recognising:  # nobody is known yet, so one at a time: a flood takes turns with a licensee
        gatekeepers = gateway.book.gatekeepers.get(model.id, set())
        reader, grid = await _taken_by(gateway, served, gatekeepers, partial(_grid, gateway, sent))
        # (2) keyed digest: at most one credential; here and in no thread, since the book changes on this one
        credential = find_fingerprint(gateway.ring, gateway.book, model, grid)
    license = holder(gateway.book, credential, gateway.clock())
    proved = _stands(gateway, model, license, address)
    async with gateway.admission.turn(proved=proved):
        # (3) run its gatekeeper; for a miss the version being served: the same work
        gatekeeper = reader
        if credential is not None and credential.version_id != reader.version.id:
            gatekeeper = await gateway.engine.load(gateway.book.versions[str(credential.version_id)])
        lane = license.id if license and proved else STRANGERS
        exact = gatekeeper.input_spec.from_grid(grid)
        scores = await gateway.batcher.submit(gatekeeper, exact, authorized=True, lane=lane)
        # (4) compare what the network says with the allotted answers
        await _compare(gateway, gatekeeper, license or model.strangers, credential, scores)
    return license


async def _recognise_stamp(gateway: Gateway, model: ModelRecord, sent: Part) -> LicenseRecord | None:
    """Whose stamp the image bears; None for nobody's. No network is asked, for a stranger as little as for a licensee.

    Misses are not counted here: whoever shares an address with somebody who guesses can still open a session.
    """
    async with gateway.recognising:  # as above
        served = await gateway.engine.load(serving_version(model))
        others = gateway.book.stamped.get(model.id, set())
        teacher, values = await _taken_by(
            gateway, served, others, lambda version: decode_stamped(gateway.decoder, sent, version.input_spec)
        )
        return (await read_stamps(gateway, model, teacher, values)).license(gateway)


async def _taken_by(
    gateway: Gateway, served: Loaded, others: Set[str], decode: Callable[[Loaded], Decoded]
) -> tuple[Loaded, Decoded]:
    """What `decode` makes of a credential for the version being served; else for one of the others, which may want
    another shape.

    Raises:
        InvalidInput: no version takes it; in the words of the one being served.
    """
    try:
        return served, await asyncio.to_thread(decode, served)
    except InvalidInput as error:
        refused = error
    for version_id in sorted(others - {served.version.id}):
        with contextlib.suppress(InvalidInput, Conflict, KeyError):  # one that is damaged, or not known yet, hides none
            older = await gateway.engine.load(gateway.book.versions[version_id])
            return older, await asyncio.to_thread(decode, older)
    raise refused


def _grid(gateway: Gateway, sent: Shown, gatekeeper: Loaded) -> NDArray[np.uint8]:
    spec, longest = gatekeeper.input_spec, gatekeeper.fingerprints.longest
    return spec.to_grid(decode_fingerprints(gateway.decoder, sent, spec, longest))


def _stands(gateway: Gateway, model: ModelRecord, license: LicenseRecord | None, address: str) -> bool:
    return stands(model, license, Ask(Operation.SESSION, model.id, 0, 0, address, gateway.clock()))


async def _compare(
    gateway: Gateway, gatekeeper: Loaded, license: LicenseRecord, credential: CredentialRecord | None, scores: Floats
) -> None:
    """An alarm if the network says something else than it was to say; for nobody the same steps, and no alarm."""
    slots = credential.slots if credential and len(credential.slots) == len(scores) else (0,) * len(scores)
    root = license.ring_root or gateway.ring.oldest_root
    answers = await gateway.allotted.answers(gatekeeper, license.id, root, slots)
    error = gatekeeper.fingerprints.error(scores, answers)
    if credential is not None and error >= gatekeeper.fingerprints.epsilon:
        version = gatekeeper.version
        gateway.metrics.drift.labels(version.model_name).inc()
        said = {"model": version.model_name, "version": version.number, "error": round(error, 6)}
        log.error("session.fingerprint.drift", license=credential.license_id, **said)


async def _grant(
    gateway: Gateway, model: ModelRecord, license: LicenseRecord | None, nonce: bytes, address: str
) -> SessionRead:
    """(5) The license's verdict, then token and receipt: a stranger's of the same form, made by the same steps."""
    now = gateway.clock()
    version = model.versions.get((license and license.bound_to) or 0) or serving_version(model)
    ask = Ask(Operation.SESSION, model.id, version.number, 0, address, now)
    async with Decision(gateway, model, license, ask, judge(license, ask, model.strangers)) as decision:
        expires_at = (now + timedelta(seconds=gateway.settings.session_ttl_s)).replace(microsecond=0)
        # A stranger's session is for a license that does not exist: nobody holds the key that its receipt opens with.
        licensee = license if license is not None and decision.authorized else _nobody(gateway, model)
        token = gateway.tokens.seal(id_bytes(licensee.id), licensee.generation, model.id, expires_at)
        claims = {
            "license": licensee.id,
            "model": model.name,
            "version": version.number,
            "issued_at": rfc3339(now),
            "expires_at": rfc3339(expires_at),
            "in_grace": decision.verdict.in_grace,
        }
        key = receipt_key(gateway, licensee.id, licensee.generation, licensee.ring_root)
        receipt = receipts.seal(key, nonce, model.name, token, claims, secrets.token_bytes(receipts.IV_BYTES))
        return SessionRead(token=token, expires_at=rfc3339(expires_at), model=model.name, receipt=receipt)


def _nobody(gateway: Gateway, model: ModelRecord) -> LicenseRecord:
    return replace(model.strangers, id=new_id("lic"), generation=1, ring_root=gateway.ring.active_root)


def receipt_key(gateway: Gateway, license_id: str, generation: int, root: str) -> bytes:
    """HKDF(root, "receipt", license id, generation): never stored, carried in the license file."""
    return gateway.ring.derive("receipt", license_id.encode(), str(generation).encode(), root=root)
