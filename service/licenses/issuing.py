"""Issuing a license: make a credential, enrol its digest, write the license file."""

import io
import secrets
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray
from PIL import Image
from signet_client import license_file as files
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from models.fingerprints.activeguard.allotment import FingerprintOutput
from models.fingerprints.activeguard.generate import generate
from service.audit.service import Act, record
from service.control.book import ModelRecord, VersionRecord
from service.customers.service import get_customer_or_raise
from service.errors import CapacityExhausted, Conflict, NotFound, ServiceError
from service.gateway import Gateway
from service.ids import new_id
from service.inference.engine import Loaded
from service.keys import Key
from service.licenses.credentials import fingerprint_digest, key_digest
from service.licenses.repository import slots_taken
from service.licenses.schemas import LicenseCreate
from service.licenses.tables import Credential, CredentialKind, License, LicenseStatus
from service.licenses.terms import Terms
from service.sessions.service import receipt_key, serving_version
from service.usage.tables import Account

log = structlog.get_logger(__name__)
_TRIES = 3  # when another issuer takes the same output first


@dataclass(frozen=True, slots=True)
class _Minted:
    """A credential before it is enrolled: for the license file, and for the table."""

    carried: files.Credential = field(repr=False)
    digest: bytes = field(repr=False)
    version_id: str | None = None
    slot: int | None = None
    output: FingerprintOutput | None = None


async def issue(
    gateway: Gateway, reading: AsyncSession, session: AsyncSession, act: Act, wanted: LicenseCreate
) -> tuple[License, str]:
    """A new license and its file. The slow part, making a fingerprint, runs before `session` holds any lock.

    Raises:
        NotFound: customer or model. Conflict: nothing is served. CapacityExhausted: no fingerprint output is free.
    """
    customer = await get_customer_or_raise(reading, wanted.customer_id)
    model = gateway.book.models.get(wanted.model)
    if model is None:
        raise NotFound("model", "no model of this name")
    version = serving_version(model)
    for _ in range(_TRIES):
        minted = await _mint(gateway, reading, version, wanted.credential)
        license = _row(gateway, act, model, wanted)
        try:
            async with session.begin_nested():
                await _enrol(gateway, session, act, license, minted, wanted)
        except IntegrityError:  # the output was taken meanwhile
            reading = session  # which sees it; the other one may still look at the time before
            continue
        carried = _file(gateway, license, customer.name, model, version, minted, wanted.terms)
        return license, files.encode(carried, gateway.ring.active_issuer, gateway.ring.issuer)
    raise Conflict("credential", "other licenses are being issued at the same time; try again")


async def _mint(gateway: Gateway, reading: AsyncSession, version: VersionRecord, kind: CredentialKind) -> _Minted:
    if kind == CredentialKind.KEY:
        key = Key.mint("sgn")
        digest = key_digest(gateway.ring, gateway.ring.active_root, key)
        return _Minted(files.KeyCredential(key.text), digest)
    served = await gateway.engine.load(version)
    slot = _free_slot(served, await slots_taken(reading, version.id))
    output = served.allotment.output(slot)
    grid = await gateway.engine.run(lambda: make_fingerprint(served, output))
    digest = fingerprint_digest(gateway.ring, gateway.ring.active_root, version, grid)
    return _Minted(files.FingerprintCredential(to_png(grid)), digest, version.id, slot, output)


def make_fingerprint(served: Loaded, output: FingerprintOutput) -> NDArray[np.uint8]:
    """A fingerprint with this output, grey levels (C, H, W), from a random calibration image and 128 random bits.

    Raises:
        ServiceError: none was found from several start images.
    """
    for _ in range(_TRIES):
        source = served.calibration[secrets.randbelow(len(served.calibration))][None]
        made = generate(served.predictor, source, [output])
        if bool(made.solved[0]):
            grid: NDArray[np.uint8] = np.asarray(made.grid[0], dtype=np.uint8)
            return grid
    log.error("license.fingerprint.unsolved", label=output.label, confidence=output.confidence)
    raise ServiceError("no fingerprint with the allotted output could be made for this network")


def _free_slot(served: Loaded, taken: set[int]) -> int:
    free = [user for user in range(served.allotment.capacity) if user not in taken]
    if not free:
        raise CapacityExhausted(
            "fingerprints.confidences",
            f"all {served.allotment.capacity} fingerprint outputs of this version are allotted; revoke a license, "
            "issue a key, or add a version whose manifest allots more confidences",
        )
    return secrets.choice(free)  # not the first: others who issue at the same time would want it too


def to_png(grid: NDArray[np.uint8]) -> bytes:
    """Grey levels (C, H, W) as a PNG; NPY for what has no picture (other channel counts)."""
    file = io.BytesIO()
    channels = grid.shape[0]
    if channels not in (1, 3):
        np.save(file, grid, allow_pickle=False)
    else:
        Image.fromarray(grid[0] if channels == 1 else grid.transpose(1, 2, 0)).save(file, "PNG")
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
