"""The verdict: one code out of a closed set, by fixed precedence, from memory alone.

RULES reads top to bottom; the first that refuses decides. Quota, concurrency and rate come after them because they are
counted, not looked up: `control.counting` takes them in the same order.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address

from service.clock import rfc3339
from service.control.book import LicenseRecord
from service.errors import Refused
from service.licenses.tables import LicenseStatus
from service.licenses.terms import Operation


class Code(StrEnum):
    """In order of precedence."""

    NOT_FOUND = "NOT_FOUND"
    REVOKED = "REVOKED"
    SUSPENDED = "SUSPENDED"
    NOT_YET_VALID = "NOT_YET_VALID"
    EXPIRED = "EXPIRED"
    CHECK_IN_OVERDUE = "CHECK_IN_OVERDUE"
    MODEL_SCOPE_MISMATCH = "MODEL_SCOPE_MISMATCH"
    VERSION_SCOPE_MISMATCH = "VERSION_SCOPE_MISMATCH"
    OPERATION_SCOPE_MISMATCH = "OPERATION_SCOPE_MISMATCH"
    NETWORK_SCOPE_MISMATCH = "NETWORK_SCOPE_MISMATCH"
    TOO_MANY_IMAGES = "TOO_MANY_IMAGES"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    CONCURRENCY_EXCEEDED = "CONCURRENCY_EXCEEDED"
    RATE_LIMITED = "RATE_LIMITED"
    VALID = "VALID"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a caller wants. `images` is 0 for a session."""

    operation: Operation
    model_id: str
    version: int
    images: int
    address: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """A code, and what the caller needs in order to act on it."""

    code: Code
    in_grace: bool = False
    on: datetime | None = None
    limit: int | None = None
    retry_after: int | None = None
    replaced: bool = False  # REVOKED: not the license, the file that was shown


VALID = Verdict(Code.VALID)
NOT_FOUND = Verdict(Code.NOT_FOUND)
Rule = Callable[[LicenseRecord, Ask], Verdict | None]


def judge(license: LicenseRecord | None, ask: Ask, stand_in: LicenseRecord) -> Verdict:
    """The verdict before counting. For an unknown caller the rules run over `stand_in`: the same work."""
    verdict, subject = None, license or stand_in
    for rule in RULES:
        verdict = rule(subject, ask)
        if verdict is not None:
            break
    if license is None:
        return NOT_FOUND
    if verdict is not None:
        return verdict
    expires_at = license.terms.expires_at
    return (
        Verdict(Code.VALID, in_grace=True, on=license.terms.ends_at()) if expires_at and ask.now > expires_at else VALID
    )


def _revoked(license: LicenseRecord, _: Ask) -> Verdict | None:
    if license.replaced_at is not None:
        return Verdict(Code.REVOKED, on=license.replaced_at, replaced=True)
    return Verdict(Code.REVOKED, on=license.revoked_at) if license.status == LicenseStatus.REVOKED else None


def _suspended(license: LicenseRecord, _: Ask) -> Verdict | None:
    return Verdict(Code.SUSPENDED, on=license.suspended_at) if license.status == LicenseStatus.SUSPENDED else None


def _not_yet_valid(license: LicenseRecord, ask: Ask) -> Verdict | None:
    if license.status == LicenseStatus.PENDING:
        return Verdict(Code.NOT_YET_VALID)
    start = license.terms.not_before
    if start is None or ask.now >= start:
        return None
    return Verdict(Code.NOT_YET_VALID, on=start, retry_after=math.ceil((start - ask.now).total_seconds()))


def _expired(license: LicenseRecord, ask: Ask) -> Verdict | None:
    end = license.terms.ends_at()
    return Verdict(Code.EXPIRED, on=end) if end is not None and ask.now > end else None


def _check_in_overdue(license: LicenseRecord, ask: Ask) -> Verdict | None:
    if license.terms.check_in_days is None:
        return None
    due = license.checked_in_at + timedelta(days=license.terms.check_in_days)
    return Verdict(Code.CHECK_IN_OVERDUE, on=due) if ask.now > due else None


def _model_scope(license: LicenseRecord, ask: Ask) -> Verdict | None:
    return None if ask.model_id == license.model_id else Verdict(Code.MODEL_SCOPE_MISMATCH)


def _version_scope(license: LicenseRecord, ask: Ask) -> Verdict | None:
    versions = license.terms.versions
    if ask.operation == Operation.SESSION:
        return None  # a session is for a model; each prediction says which version it wants
    if (versions is None or ask.version in versions) and license.bound_to in (None, ask.version):
        return None
    return Verdict(Code.VERSION_SCOPE_MISMATCH)


def _operation_scope(license: LicenseRecord, ask: Ask) -> Verdict | None:
    return None if ask.operation in license.terms.operations else Verdict(Code.OPERATION_SCOPE_MISMATCH)


def _network_scope(license: LicenseRecord, ask: Ask) -> Verdict | None:
    networks = license.terms.networks
    if networks is None:
        return None
    try:
        address = ip_address(ask.address)
        address = getattr(address, "ipv4_mapped", None) or address  # as a dual-stack socket writes IPv4
    except ValueError:  # what a proxy wrote is no address, and so in no network
        return Verdict(Code.NETWORK_SCOPE_MISMATCH)
    return None if any(address in network for network in networks) else Verdict(Code.NETWORK_SCOPE_MISMATCH)


def _too_many_images(license: LicenseRecord, ask: Ask) -> Verdict | None:
    limit = license.terms.max_images_per_request
    return Verdict(Code.TOO_MANY_IMAGES, limit=limit) if limit is not None and ask.images > limit else None


RULES: tuple[Rule, ...] = (
    _revoked,
    _suspended,
    _not_yet_valid,
    _expired,
    _check_in_overdue,
    _model_scope,
    _version_scope,
    _operation_scope,
    _network_scope,
    _too_many_images,
)

_WORDING = {
    Code.REVOKED: (403, "License revoked", "this license was revoked; ask its issuer"),
    Code.SUSPENDED: (403, "License suspended", "this license is suspended; its issuer can reinstate it"),
    Code.NOT_YET_VALID: (403, "License not yet valid", "this license is valid from {on}"),
    Code.EXPIRED: (403, "License expired", "this license ended on {on}; ask its issuer to renew it"),
    Code.CHECK_IN_OVERDUE: (403, "Check-in overdue", "this license was to be checked in by {on}; ask its issuer"),
    Code.MODEL_SCOPE_MISMATCH: (403, "Model not licensed", "this license is for another model"),
    Code.VERSION_SCOPE_MISMATCH: (403, "Version not licensed", "this license does not cover this version of the model"),
    Code.OPERATION_SCOPE_MISMATCH: (403, "Operation not licensed", "this license does not cover this operation"),
    Code.NETWORK_SCOPE_MISMATCH: (403, "Network not licensed", "this license may not be used from this address"),
    Code.TOO_MANY_IMAGES: (403, "Too many images", "this license allows {limit} images in one request"),
    Code.QUOTA_EXCEEDED: (
        429,
        "Quota exceeded",
        "this request does not fit into the license's quota of {limit} images",
    ),
    Code.CONCURRENCY_EXCEEDED: (429, "Concurrency exceeded", "this license allows {limit} requests at once"),
    Code.RATE_LIMITED: (429, "Rate limited", "this license allows {limit} requests a minute"),
}
_REPLACED = (403, "License file replaced", "this license file was replaced on {on}; use the one issued then")
_PENDING = (403, "License pending", "this license is valid as soon as its student is ready")
_SLUGS = {Code.REVOKED: "license-revoked", Code.SUSPENDED: "license-suspended", Code.EXPIRED: "license-expired"}


def refusal(verdict: Verdict) -> Refused:
    """What a proved caller is told: code, wording, date, and when to come back."""
    status, title, wording = _REPLACED if verdict.replaced else _WORDING[verdict.code]
    if verdict.code == Code.NOT_YET_VALID and verdict.on is None:
        status, title, wording = _PENDING
    on = rfc3339(verdict.on) if verdict.on else None
    return Refused(
        status,
        title,
        _SLUGS.get(verdict.code, verdict.code.lower().replace("_", "-")),
        verdict.code.value,
        wording.format(on=on, limit=verdict.limit),
        on=on,
        limit=verdict.limit,
        retry_after=verdict.retry_after,
    )
