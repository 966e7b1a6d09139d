"""Issuing a license, and issuing it anew: make a credential, enrol its digest, write the license file."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from signet_client import license_file as files
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.service import Act, record
from service.control.book import ModelRecord, VersionRecord
from service.customers.service import get_customer_or_raise
from service.database import reading
from service.errors import Conflict, NotFound
from service.gateway import Gateway
from service.ids import new_id
from service.keys import Key
from service.licenses import fingerprints, numbered
from service.licenses.allotted import Slots
from service.licenses.credentials import key_digest
from service.licenses.files import license_text, written
from service.licenses.repository import credentials_of, get_license_or_raise, live_credential, read
from service.licenses.schemas import LicenseCreate, LicenseIssued, LicenseRead
from service.licenses.service import model_of
from service.licenses.stored import read_stored
from service.licenses.tables import Credential, CredentialKind, License, LicenseStatus
from service.licenses.terms import Terms
from service.sessions.service import serving_version
from service.students.tables import StudentKind, StudentState
from service.usage.tables import Account

_HOUR = timedelta(hours=1)
_TRIES = 3  # when another issuer takes the same answers first


@dataclass(frozen=True, slots=True)
class _Minted:
    """A credential before it is enrolled: for the license file, and for the table."""

    kind: CredentialKind
    carried: files.Credential = field(repr=False)
    digest: bytes = field(repr=False)
    version_id: str | None = None
    slots: Slots = ()


async def issue(gateway: Gateway, act: Act, wanted: LicenseCreate) -> LicenseIssued:
    """A new license and its file. While fingerprints are made no connection and no lock is held.

    Raises:
        NotFound: customer or model. Conflict: nothing is served. CapacityExhausted: too few answers are free.
        InvalidInput: a license file cannot say these terms.
    """
    async with reading(gateway.sessions) as session:
        customer = await get_customer_or_raise(session, wanted.customer_id)
    model = gateway.book.models.get(wanted.model)
    if model is None:
        raise NotFound("model", "no model of this name")
    version = serving_version(model)
    if wanted.credential == CredentialKind.SERIAL_NUMBER:
        return await _issue_numbered(gateway, act, _row(gateway, act, model, wanted), version, wanted)
    for _ in range(_TRIES):
        license = _row(gateway, act, model, wanted)
        minted = await _mint(gateway, version, license, wanted.credential)
        text = written(gateway, license, license.created_at, customer.name, version, minted.carried, wanted.terms)
        try:
            async with gateway.sessions.begin() as session:
                license.revision = await record(session, act, "license.issued", license.id, credential=minted.kind)
                session.add(license)
                session.add(Account(id=license.id, quota=wanted.terms.quota, used=0))
                await session.flush()
                await _enrol(gateway, session, license, license.created_at, minted)
                (shown,) = await read(session, [license])
        except IntegrityError:
            if not minted.slots:
                raise
            continue  # the answers were taken meanwhile
        await gateway.sync.try_refresh()  # the next request of this process already sees it
        return LicenseIssued(**shown.model_dump(), license_file=text)
    raise Conflict("credential", "other licenses are being issued at the same time; try again")


async def reissue(gateway: Gateway, act: Act, license_id: str, overlap: timedelta) -> LicenseIssued:
    """A fresh credential and file for a license; those before it go on for `overlap`, if they do so long.

    Fingerprints keep their answers and become other images; where another version is served by now they move to it.
    While they are made no connection and no lock is held.

    Raises:
        NotFound. Conflict: revoked, unreadable, reissued meanwhile, or nothing is served. CapacityExhausted.
    """
    async with reading(gateway.sessions) as session:
        license = await get_license_or_raise(session, license_id)
        terms = _reissuable(license)
        if license.student_id is not None:
            return await _reissue_numbered(gateway, act, license, overlap)
        current = await live_credential(session, license_id)
        customer = await get_customer_or_raise(session, license.customer_id)
    model = model_of(gateway, license)
    version = serving_version(model)
    license.generation += 1  # of this copy: its receipt key goes with the new credential
    kept = current.output_slots if current.model_version_id == version.id else ()
    minted = await _mint(gateway, version, license, CredentialKind(current.kind), kept)
    text = written(gateway, license, act.clock(), customer.name, version, minted.carried, terms)
    try:
        async with gateway.sessions.begin() as session:
            row = await get_license_or_raise(session, license_id, lock=True)
            _reissuable(row)
            if row.generation != license.generation - 1:
                raise _reissued_meanwhile()
            now = act.clock()
            details = {"credential": minted.kind, "overlap_hours": overlap // _HOUR}
            row.generation = license.generation
            row.revision = await record(session, act, "license.reissued", row.id, **details)
            for earlier in await credentials_of(session, license_id):  # none outlives the one before this
                earlier.ends_at = min(earlier.ends_at or now + overlap, now + overlap)
            await session.flush()
            await _enrol(gateway, session, row, now, minted)
            (shown,) = await read(session, [row])
    except IntegrityError:  # on the new version another license took the same answers first
        raise _reissued_meanwhile() from None
    await gateway.sync.try_refresh()
    return LicenseIssued(**shown.model_dump(), license_file=text)


async def fetch_file(gateway: Gateway, act: Act, license_id: str) -> str:
    """The file of a license that a serial number proves; noted in the audit log.

    Raises:
        NotFound. Conflict: it has none, or none yet.
    """
    async with reading(gateway.sessions) as session:
        text = await license_text(gateway, session, await get_license_or_raise(session, license_id))
    async with gateway.sessions.begin() as session:
        await record(session, act, "license.file.fetched", license_id)
    return text


async def _issue_numbered(
    gateway: Gateway, act: Act, license: License, version: VersionRecord, wanted: LicenseCreate
) -> LicenseIssued:
    """A license that is pending until its student is ready, or active at once on a shared one."""
    kind = wanted.student or StudentKind.OWN
    teacher = await numbered.teacher_of(gateway, version)
    prepared = await numbered.prepare(gateway, act, license.id, teacher, kind)
    license.status = LicenseStatus.PENDING
    try:
        async with gateway.sessions.begin() as session:
            details = {"credential": wanted.credential, "student": kind}
            license.revision = await record(session, act, "license.issued", license.id, **details)
            session.add(license)
            session.add(Account(id=license.id, quota=wanted.terms.quota, used=0))
            await session.flush()
            await numbered.place(gateway, session, act, license, teacher, prepared)
            (shown,) = await read(session, [license])
    except IntegrityError:
        raise Conflict("credential", "other licenses are being issued at the same time; try again") from None
    await gateway.sync.try_refresh()
    return await _with_file(gateway, shown)


async def _reissue_numbered(gateway: Gateway, act: Act, license: License, overlap: timedelta) -> LicenseIssued:
    version = serving_version(model_of(gateway, license))
    return await _with_file(gateway, await numbered.reissue(gateway, act, license, version, overlap))


async def _with_file(gateway: Gateway, shown: LicenseRead) -> LicenseIssued:
    """With its file, where a ready student has its number already."""
    text = None
    if shown.student is not None and shown.student.state == StudentState.READY:
        async with reading(gateway.sessions) as session:
            text = await license_text(gateway, session, await get_license_or_raise(session, shown.id))
    return LicenseIssued(**shown.model_dump(), license_file=text)


def _reissuable(license: License) -> Terms:
    stored = read_stored(license)
    if stored.status == LicenseStatus.REVOKED:
        raise Conflict("license_id", "the license is revoked; that is final, issue a new one")
    if stored.terms is None or stored.unreadable:
        raise Conflict("license_id", "this release cannot read the license; revoke it, or upgrade")
    return stored.terms


def _reissued_meanwhile() -> Conflict:
    return Conflict("license_id", "the license, or another one, was issued anew at the same time; try again")


async def _mint(
    gateway: Gateway, version: VersionRecord, license: License, kind: CredentialKind, kept: Slots = ()
) -> _Minted:
    if kind == CredentialKind.KEY:
        key = Key.mint("sgn")
        digest = key_digest(gateway.ring, gateway.ring.active_root, key.text)
        return _Minted(kind, files.KeyCredential(key.text), digest)
    made = await fingerprints.make(gateway, version, license.id, license.ring_root, kept)
    return _Minted(kind, files.FingerprintCredential(made.code, made.images), made.digest, version.id, made.slots)


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


async def _enrol(gateway: Gateway, session: AsyncSession, license: License, now: datetime, minted: _Minted) -> None:
    session.add(
        Credential(
            id=new_id("crd"),
            license_id=license.id,
            kind=minted.kind,
            digest=minted.digest,
            pepper_root=gateway.ring.active_root,
            model_version_id=minted.version_id,
            output_slots=minted.slots,
            generation=license.generation,
            created_at=now,
        )
    )
    await session.flush()
