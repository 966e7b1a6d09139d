"""License files: written when a license is issued and, for serial numbers, again whenever the issuer asks."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from signet_client import LicenseFileInvalid
from signet_client import license_file as files
from signet_client.credentials import SerialNumberCredential
from sqlalchemy.ext.asyncio import AsyncSession

from models.checkpoints import Manifest
from models.errors import ManifestError
from service.control.book import VersionRecord
from service.customers.service import get_customer_or_raise
from service.errors import Conflict, InvalidInput
from service.gateway import Gateway
from service.licenses.repository import live_credential
from service.licenses.stored import read_stored
from service.licenses.tables import Credential, License, LicenseStatus
from service.licenses.terms import Terms
from service.sessions.service import receipt_key
from service.students import numbers
from service.students.repository import get_student_or_raise


def written(
    gateway: Gateway,
    license: License,
    issued_at: datetime,
    customer_name: str,
    version: VersionRecord,
    credential: files.Credential,
    terms: Terms,
) -> str:
    """A license's file, signed.

    Raises:
        InvalidInput: a license file cannot say this.
    """
    entitlements = terms.model_dump(mode="json", exclude_none=True, exclude={"not_before", "expires_at"})
    content = files.LicenseFile(
        license=license.id,
        issued_at=issued_at.replace(microsecond=0),
        customer=files.Customer(license.customer_id, customer_name),
        model=version.model_name,
        version=version.number,
        not_before=terms.not_before.replace(microsecond=0) if terms.not_before else None,
        expires_at=terms.expires_at.replace(microsecond=0) if terms.expires_at else None,
        entitlements=entitlements,
        receipt_key=receipt_key(gateway, license.id, license.generation, license.ring_root),
        generation=license.generation,
        credential=credential,
        server=gateway.settings.server_url.rstrip("/"),
    )
    try:
        return files.encode(content, gateway.ring.active_issuer, gateway.ring.issuer)
    except LicenseFileInvalid as error:
        raise InvalidInput(error.field, "a license file cannot hold this") from error


@dataclass(frozen=True, slots=True)
class Numbered:
    """A license's serial number, made again, and the version that its student was made of."""

    version: VersionRecord
    manifest: Manifest
    row: Credential
    credential: SerialNumberCredential = field(repr=False)


async def license_text(gateway: Gateway, session: AsyncSession, license: License) -> str:
    """The file of a license that a serial number proves.

    Raises:
        Conflict: it has none, or none yet.
    """
    proof = await numbered_by(gateway, session, license)
    customer = await get_customer_or_raise(session, license.customer_id)
    terms = read_stored(license).terms
    if terms is None:
        raise Conflict("license_id", "this release cannot read the license; revoke it, or upgrade")
    return written(gateway, license, proof.row.created_at, customer.name, proof.version, proof.credential, terms)


async def numbered_by(gateway: Gateway, session: AsyncSession, license: License) -> Numbered:
    """What proves a license that has a serial number.

    Raises:
        Conflict: it has none, or none yet.
    """
    await _check_has_number(session, license)
    row = await live_credential(session, license.id)
    version = gateway.book.versions.get(row.model_version_id or "")
    if version is None:
        raise Conflict("license_id", "the license's version is not known here yet; try again")
    manifest = await manifest_of(gateway, version)
    policy, spec = numbers.policy_of(manifest), manifest.input_spec
    number = numbers.again(gateway.ring, row.statement or b"", row.issuer_key_id or "", policy.layout.bits)
    plan = numbers.plan(policy, spec, number.bits).tobytes()
    return Numbered(version, manifest, row, SerialNumberCredential(spec.shape, spec.mode, spec.value_range, plan))


async def manifest_of(gateway: Gateway, version: VersionRecord) -> Manifest:
    """A version's manifest.

    Raises:
        Conflict: it fails its check.
    """
    try:
        return await asyncio.to_thread(gateway.store.manifest, version.model_name, version.number, version.digest)
    except ManifestError as error:
        raise Conflict(error.field, "this version cannot be used: its files fail their check") from error


async def _check_has_number(session: AsyncSession, license: License) -> None:
    if license.student_id is None:
        raise Conflict("license_id", "this license has no serial number; its file was handed out when it was issued")
    if license.status == LicenseStatus.REVOKED:
        raise Conflict("license_id", "the license is revoked")
    if license.status == LicenseStatus.PENDING:
        student = await get_student_or_raise(session, license.student_id)
        raise Conflict("license_id", f"the license is pending: its student is {student.state}; see {student.job_id}")
