"""What happens to a license after it is issued."""

from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.service import Act, record
from service.control.book import ModelRecord
from service.control.counting import over_quota
from service.control.verdict import Ask, Code, Verdict, judge
from service.errors import Conflict
from service.gateway import Gateway
from service.ids import id_bytes
from service.licenses.repository import credentials_of, get_license_or_raise
from service.licenses.stored import read_stored
from service.licenses.tables import License, LicenseStatus
from service.students.service import no_longer_wanted
from service.usage.tables import Account

_ACTS = {
    LicenseStatus.SUSPENDED: "license.suspended",
    LicenseStatus.ACTIVE: "license.reinstated",
    LicenseStatus.REVOKED: "license.revoked",
}


async def change_status(session: AsyncSession, act: Act, license_id: str, status: LicenseStatus) -> License:
    """Suspend, reinstate or revoke; doing it twice changes nothing. Revoking is final and frees the outputs.

    Raises:
        NotFound. Conflict: a revoked license stays revoked, and what a newer release wrote is not guessed at.
    """
    license = await get_license_or_raise(session, license_id, lock=True)
    if license.status == LicenseStatus.REVOKED and status != LicenseStatus.REVOKED:
        raise Conflict("license_id", "the license is revoked; that is final, issue a new one")
    if status != LicenseStatus.REVOKED and "status" in read_stored(license).unreadable:
        raise Conflict("license_id", "this release does not know the license's status; revoke it, or upgrade")
    if license.status == LicenseStatus.PENDING and status != LicenseStatus.REVOKED:
        raise Conflict("license_id", "the license is pending: wait until its student is ready, or revoke it")
    if license.status == status:
        return license
    license.status = status
    license.suspended_at = act.clock() if status == LicenseStatus.SUSPENDED else None
    license.revision = await record(session, act, _ACTS[status], license.id)
    if status == LicenseStatus.REVOKED:
        license.revoked_at = act.clock()
        for credential in await credentials_of(session, license.id):
            credential.ends_at = min(credential.ends_at or license.revoked_at, license.revoked_at)
        await session.flush()
        await no_longer_wanted(session, act, license)
    return license


async def check_in(session: AsyncSession, act: Act, license_id: str) -> License:
    """Note that the issuer vouches for the license now; starts its check-in period anew.

    Raises:
        NotFound. Conflict: a revoked license.
    """
    license = await get_license_or_raise(session, license_id, lock=True)
    if license.status == LicenseStatus.REVOKED:
        raise Conflict("license_id", "the license is revoked")
    license.checked_in_at = act.clock()
    license.revision = await record(session, act, "license.checked_in", license.id)
    return license


def model_of(gateway: Gateway, license: License) -> ModelRecord:
    """The model that a license is for.

    Raises:
        Conflict: it was added a moment ago, by another process.
    """
    model = next((model for model in gateway.book.models.values() if model.id == license.model_id), None)
    if model is None:
        raise Conflict("license_id", "the license's model is not known here yet; try again")
    return model


async def dry_run(gateway: Gateway, session: AsyncSession, row: License, model: ModelRecord, ask: Ask) -> Verdict:
    """The verdict on a request like `ask`, its quota looked up, concurrency and rate left out."""
    license = gateway.book.license(id_bytes(row.id))
    verdict = judge(license, ask, model.strangers)
    account = await session.get(Account, row.id)
    if license is None or verdict.code != Code.VALID or account is None or account.quota is None:
        return verdict
    return verdict if account.used + max(ask.images, 1) <= account.quota else over_quota(license)
