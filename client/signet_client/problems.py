"""From a gateway's problem document (RFC 9457) to an error of this package, by its `code`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

from signet_client import errors
from signet_client.canonical import from_json
from signet_client.license_payload import LicenseFile

INPUT_REFUSED = (400, 404, 413, 415, 422)  # the statuses that are about what was sent
TEXT_LIMIT = 500  # characters of a gateway's text that go into an error

ON = {
    kind.verdict: kind
    for kind in (
        errors.LicenseRevoked,
        errors.LicenseSuspended,
        errors.LicenseNotYetValid,
        errors.LicenseExpired,
        errors.CheckInOverdue,
    )
}
TO = {kind.verdict: kind for kind in (errors.TooManyImages, errors.QuotaExceeded)}
PLAINLY = {kind.verdict: kind for kind in (errors.ConcurrencyExceeded, errors.RateLimited)}


class SessionLapsed(errors.GatewayUnavailable):
    """The token does not open or is past its time (401); the caller sees this only if renewing did not help."""


def error_from(status: int, headers: Mapping[str, str], body: bytes, license_file: LicenseFile) -> errors.SignetError:
    """The error that a gateway's refusal stands for.

    Args:
        headers: looked up in lower case.
        license_file: gives the date where the gateway does not; the gateway alone decides that it is past.
    """
    problem = _document(body)
    retry_after = _number(problem.get("retry_after", headers.get("retry-after")))
    error = _from_code(status, problem, retry_after, license_file)
    error.request_id = _text(problem, "request_id") or headers.get("x-request-id")
    return error


def _from_code(
    status: int, problem: Mapping[str, object], retry_after: float | None, license_file: LicenseFile
) -> errors.SignetError:
    code = _text(problem, "code") or ("RATE_LIMITED" if status == 429 else "")
    detail = _text(problem, "detail") or _text(problem, "title")
    if code in ON:
        return ON[code](_day(problem, code, license_file), detail, retry_after)
    if code in TO:
        limit = problem.get("limit")
        return TO[code](limit if isinstance(limit, int) else None, detail, retry_after)
    if code == "ADDRESS_LIMITED":  # the gateway's limit, not the license's: waiting helps just the same
        return errors.RateLimited(detail, retry_after)
    if code in PLAINLY:
        return PLAINLY[code](detail, retry_after)
    if code.endswith("_SCOPE_MISMATCH"):
        return errors.ScopeMismatch(code, detail, retry_after)
    if code == "NOT_FOUND":
        return errors.NotLicensed(detail) if detail else errors.NotLicensed()
    if code == "SESSION_INVALID" or status == 401:
        return SessionLapsed(detail or "the gateway refused the session", status=status, retry_after=retry_after)
    if status in INPUT_REFUSED and (complaints := _complaints(problem)):
        return errors.InvalidInput(complaints[0].field, complaints[0].message, complaints)
    if status in (413, 415, 422):
        return errors.InvalidInput("request", detail or f"was refused with HTTP {status}")
    if code and status in (403, 429):
        return errors.Refused(code, detail, retry_after)  # a verdict younger than this client
    said = detail or "no gateway answers there in a way that this client understands"
    return errors.GatewayUnavailable(f"HTTP {status}: {said}", status=status, retry_after=retry_after)


def _document(body: bytes) -> Mapping[str, object]:
    try:
        document = from_json(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _text(document: Mapping[str, object], name: str) -> str:
    """Printable and bounded: a text from the net may end in a terminal."""
    value = document.get(name)
    if not isinstance(value, str):
        return ""
    return "".join(character if character.isprintable() else " " for character in value[:TEXT_LIMIT])


def _number(value: object) -> float | None:
    try:
        seconds = float(value) if isinstance(value, str | int | float) else -1.0
    except (ValueError, OverflowError):
        return None  # Retry-After as a date: the gateway writes seconds
    return seconds if 0 <= seconds < float("inf") else None


def _day(problem: Mapping[str, object], code: str, license_file: LicenseFile) -> date | None:
    try:
        moment = datetime.fromisoformat(_text(problem, "on"))
    except ValueError:
        own = {"EXPIRED": license_file.expires_at, "NOT_YET_VALID": license_file.not_before}.get(code)
        return own and own.date()
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def _complaints(problem: Mapping[str, object]) -> list[errors.FieldError]:
    listed = problem.get("errors")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return [errors.FieldError(_text(entry, "field") or "request", _text(entry, "message")) for entry in entries]
