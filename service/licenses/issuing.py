"""Issuing a license: make a credential, enrol its digest, write the license file."""

import asyncio
import io
import secrets
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import structlog
from numpy.typing import NDArray
from PIL import Image
from signet_client import LicenseFileInvalid
from signet_client import license_file as files
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from models.fingerprints.activeguard.allotment import FingerprintOutput
from models.fingerprints.activeguard.generate import GenerationSettings, generate
from models.specs import InputSpec
from service.audit.service import Act, record
from service.control.book import ModelRecord, VersionRecord
from service.customers.service import get_customer_or_raise
from service.database import reading
from service.errors import CapacityExhausted, Conflict, InvalidInput, NotFound, ServiceError
from service.gateway import Gateway
from service.ids import new_id
from service.inference.engine import Loaded
from service.inputs.body import decode_fingerprint
from service.keys import Key
from service.licenses.credentials import fingerprint_digest, key_digest
from service.licenses.repository import read, slots_taken
from service.licenses.schemas import LicenseCreate, LicenseIssued
from service.licenses.tables import Credential, CredentialKind, License, LicenseStatus
from service.licenses.terms import Terms
from service.sessions.service import receipt_key, serving_version
from service.usage.tables import Account

log = structlog.get_logger(__name__)
_TRIES = 3  # when another issuer takes the same output first, or none of the start images reaches it
_STARTS = 8
_FEW_ATTEMPTS = GenerationSettings(attempts=2)  # another image gets there sooner than more noise on this one


@dataclass(frozen=True, slots=True)
class _Minted:
    """A credential before it is enrolled: for the license file, and for the table."""

    carried: files.Credential = field(repr=False)
    digest: bytes = field(repr=False)
    version_id: str | None = None
    slot: int | None = None
    output: FingerprintOutput | None = None


async def issue(gateway: Gateway, act: Act, wanted: LicenseCreate) -> LicenseIssued:
    """A new license and its file. While a fingerprint is made no connection and no lock is held.

    Raises:
        NotFound: customer or model. Conflict: nothing is served. CapacityExhausted: no fingerprint output is free.
        InvalidInput: a license file cannot say these terms.
    """
    async with reading(gateway.sessions) as session:
        customer = await get_customer_or_raise(session, wanted.customer_id)
    model = gateway.book.models.get(wanted.model)
    if model is None:
        raise NotFound("model", "no model of this name")
    version = serving_version(model)
    for _ in range(_TRIES):
        minted = await _mint(gateway, version, wanted.credential)
        license = _row(gateway, act, model, wanted)
        carried = _file(gateway, license, customer.name, model, version, minted, wanted.terms)
        text = _encoded(gateway, carried)
        try:
            async with gateway.sessions.begin() as session:
                await _enrol(gateway, session, act, license, minted, wanted)
                (shown,) = await read(session, [license])
        except IntegrityError:
            continue  # the output was taken meanwhile
        await gateway.sync.try_refresh()  # the next request of this process already sees it
        return LicenseIssued(**shown.model_dump(), license_file=text)
    raise Conflict("credential", "other licenses are being issued at the same time; try again")


async def _mint(gateway: Gateway, version: VersionRecord, kind: CredentialKind) -> _Minted:
    if kind == CredentialKind.KEY:
        key = Key.mint("sgn")
        digest = key_digest(gateway.ring, gateway.ring.active_root, key)
        return _Minted(files.KeyCredential(key.text), digest)
    served = await gateway.engine.load(version)
    slot, output, grid = await _fingerprint(gateway, served)
    carried = encode_fingerprint(grid, served.input_spec)
    digest = fingerprint_digest(gateway.ring, gateway.ring.active_root, version, grid)
    if await asyncio.to_thread(_digest_as_shown, gateway, served, carried) != digest:
        log.error("license.fingerprint.unreadable", model=version.model_name, version=version.number)
        raise ServiceError("the fingerprint that was made does not read back as itself")
    return _Minted(files.FingerprintCredential(carried), digest, version.id, slot, output)


async def _fingerprint(gateway: Gateway, served: Loaded) -> tuple[int, FingerprintOutput, NDArray[np.uint8]]:
    """A fingerprint for a free output; some outputs cannot be reached, then another is taken.

    Raises:
        CapacityExhausted. ServiceError: the network answers none of several outputs.
    """
    for _ in range(_TRIES):
        async with reading(gateway.sessions) as session:
            slot = _free_slot(served, await slots_taken(session, served.version.id))
        output = served.allotment.output(slot)
        for _ in range(_STARTS):  # each by itself: licensees' answers come between
            grid = await gateway.engine.run(partial(make_fingerprint, served, output))
            if grid is not None:
                return slot, output, grid
        log.warning("license.fingerprint.unsolved", label=output.label, confidence=output.confidence)
    raise ServiceError("no fingerprint with an allotted output could be made for this network")


def _digest_as_shown(gateway: Gateway, served: Loaded, carried: bytes) -> bytes | None:
    """The digest that the licensee's file will have at a session; None when it would be refused there."""
    try:
        values = decode_fingerprint(gateway.decoder, carried, served.input_spec)
    except InvalidInput as error:
        log.error("license.fingerprint.refused", reason=error.detail)
        return None
    grid = served.input_spec.to_grid(values)[0]
    return fingerprint_digest(gateway.ring, gateway.ring.active_root, served.version, grid)


def make_fingerprint(served: Loaded, output: FingerprintOutput) -> NDArray[np.uint8] | None:
    """A fingerprint with this output, grey levels (C, H, W), from a random calibration image and 128 random bits.

    None: this image does not get there.
    """
    source = served.calibration[secrets.randbelow(len(served.calibration))][None]
    made = generate(served.predictor, source, [output], settings=_FEW_ATTEMPTS)
    return np.asarray(made.grid[0], dtype=np.uint8) if bool(made.solved[0]) else None


def _free_slot(served: Loaded, taken: set[int]) -> int:
    free = [user for user in range(served.allotment.capacity) if user not in taken]
    if not free:
        raise CapacityExhausted(
            "fingerprints.confidences",
            f"all {served.allotment.capacity} fingerprint outputs of this version are allotted; revoke a license, "
            "issue a key, or add a version whose manifest allots more confidences",
        )
    return secrets.choice(free)  # not the lowest: whoever issues at the same time would take that too


def encode_fingerprint(grid: NDArray[np.uint8], spec: InputSpec) -> bytes:
    """Grey levels (C, H, W) in the form that the model takes: PNG, or NPY where it takes no pictures."""
    file = io.BytesIO()
    if spec.mode == "tensor":
        np.save(file, grid, allow_pickle=False)
    else:
        Image.fromarray(grid[0] if spec.mode == "L" else grid.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()


def _row(gateway: Gateway, act: Act, model: ModelRecord, wanted: LicenseCreate) -> License:
    now = act.clock()
    return License(
        id=new_id("lic"),
        customer_id=wanted.customer_id,
        model_id=model.id,
        status=LicenseStatus.ACTIVE,
        terms=wanted.terms.model_dump(mode="json", exclude_none=True),
        generation=1,
        ring_root=gateway.ring.active_root,
        created_at=now,
        checked_in_at=now,
    )


async def _enrol(
    gateway: Gateway, session: AsyncSession, act: Act, license: License, minted: _Minted, wanted: LicenseCreate
) -> None:
    license.revision = await record(session, act, "license.issued", license.id, credential=wanted.credential)
    session.add(license)
    session.add(Account(id=license.id, quota=wanted.terms.quota, used=0))
    await session.flush()
    session.add(
        Credential(
            id=new_id("crd"),
            license_id=license.id,
            kind=wanted.credential,
            digest=minted.digest,
            pepper_root=gateway.ring.active_root,
            model_version_id=minted.version_id,
            output_slot=minted.slot,
            output_label=minted.output.label if minted.output else None,
            output_confidence=minted.output.confidence if minted.output else None,
            created_at=license.created_at,
        )
    )
    await session.flush()


def _encoded(gateway: Gateway, carried: files.LicenseFile) -> str:
    try:
        return files.encode(carried, gateway.ring.active_issuer, gateway.ring.issuer)
    except LicenseFileInvalid as error:
        raise InvalidInput(error.field, "a license file cannot hold this") from error


def _file(
    gateway: Gateway,
    license: License,
    customer_name: str,
    model: ModelRecord,
    version: VersionRecord,
    minted: _Minted,
    terms: Terms,
) -> files.LicenseFile:
    entitlements = terms.model_dump(mode="json", exclude_none=True, exclude={"not_before", "expires_at"})
    return files.LicenseFile(
        license=license.id,
        issued_at=license.created_at.replace(microsecond=0),
        customer=files.Customer(license.customer_id, customer_name),
        model=model.name,
        version=version.number,
        not_before=terms.not_before.replace(microsecond=0) if terms.not_before else None,
        expires_at=terms.expires_at.replace(microsecond=0) if terms.expires_at else None,
        entitlements=entitlements,
        receipt_key=receipt_key(gateway, license.id, license.generation, license.ring_root),
        generation=license.generation,
        credential=minted.carried,
        server=gateway.settings.server_url.rstrip("/"),
    )
