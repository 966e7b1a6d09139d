"""A license's row as this release understands it: a newer one may have written more, and a disk may have damaged it."""

from typing import NamedTuple

from pydantic import ValidationError

from service.licenses.tables import License, LicenseStatus
from service.licenses.terms import Terms


class Stored(NamedTuple):
    """`unreadable` names the fields that make no sense here. While there are any, nothing may be granted."""

    status: LicenseStatus
    terms: Terms | None
    unreadable: list[str]


def read_stored(row: License) -> Stored:
    """Status and terms of a row, whatever stands there; a status that we do not know counts as suspended."""
    status, terms, unreadable = LicenseStatus.SUSPENDED, None, set[str]()
    try:
        status = LicenseStatus(row.status)
    except ValueError:
        unreadable.add("status")
    try:
        terms = Terms.model_validate(row.terms)
    except ValidationError as error:
        unreadable |= {".".join(map(str, ("terms", *item["loc"]))) for item in error.errors()}
    return Stored(status, terms, sorted(unreadable))
