"""Everything that this package raises on purpose.

SignetError
├── LicenseFileInvalid          the file is broken, altered or not written canonically      .field
├── UntrustedIssuer             signed by a key that is not in the trust anchor              .key_id
├── NoTrustAnchor               no trust anchor was given or pinned, or it cannot be read
├── InsecureServer              the server is not https (plain http is for loopback only)
├── SessionUnproved             the receipt did not open: decoys, or somebody else answers
├── NotLicensed                 the gateway says (policy `deny`) that it does not know this credential
├── InvalidInput                an image or a field was refused                              .field .errors
├── GatewayUnavailable          no answer, or none that can be understood                    .status .retry_after
└── Refused                     the credential is good, the license does not allow this now  .code .detail .retry_after
    ├── LicenseExpired          .on
    ├── LicenseNotYetValid      .on
    ├── CheckInOverdue          .on
    ├── LicenseRevoked          .on
    ├── LicenseSuspended        .on
    ├── ScopeMismatch           another model, version, operation or network than licensed
    ├── TooManyImages           .limit (images in one request)
    ├── QuotaExceeded           .limit (images in the period)
    ├── ConcurrencyExceeded
    └── RateLimited

No error carries a credential, a token or the receipt key. Errors can be pickled, so they survive a process pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, NamedTuple


class FieldError(NamedTuple):
    """One complaint of the gateway: where, as in `images[2]`, and what."""

    field: str
    message: str


class SignetError(Exception):
    """Base of all errors of this package.

    Attributes:
        request_id: the gateway's name for the request, for a question to the issuer; None when there was no answer.
    """

    request_id: str | None = None

    def __reduce__(self) -> tuple[Callable[..., SignetError], tuple[Any, ...]]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[SignetError], args: tuple[Any, ...], state: dict[str, Any]) -> SignetError:
    error = kind.__new__(kind, *args)  # not __init__: its parameters differ from class to class, `args` is the message
    error.args = args
    error.__dict__.update(state)
    return error


class LicenseFileInvalid(SignetError):
    """The license file cannot be used; `field` names the part that is wrong."""

    def __init__(self, field: str, reason: str = "is not valid") -> None:
        super().__init__(f"license file: {field} {reason}")
        self.field = field


class UntrustedIssuer(SignetError):
    """The license file names an issuer key that the trust anchor does not hold."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"license file: issuer key {key_id!r} is not trusted here; if the issuer told you of a new key, pin its "
            ".pub file with signet_client.pin(path)"
        )
        self.key_id = key_id


class NoTrustAnchor(SignetError):
    """There is no public key to check license files with."""


class InsecureServer(SignetError):
    """The server's URL would send credentials unencrypted, or is none at all."""


class SessionUnproved(SignetError):
    """The gateway did not prove that it knows this license, so its labels may be decoys; none is returned."""

    def __init__(self, reason: str = "its receipt does not open") -> None:
        super().__init__(
            f"session unproved: {reason}. Either the gateway does not recognise this license (revoked, reissued or "
            "rotated: ask the issuer for a new license file), or somebody else answers in its place"
        )


class NotLicensed(SignetError):
    """The gateway denies the request of a caller it does not know."""

    def __init__(self, detail: str = "The gateway does not know this credential.") -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidInput(SignetError):
    """Something handed in was refused, here or by the gateway; no image of the request was answered."""

    def __init__(self, field: str, detail: str = "is not valid", errors: Sequence[FieldError] = ()) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.errors = tuple(errors) or (FieldError(field, detail),)


class GatewayUnavailable(SignetError):
    """No answer came, or one that cannot be understood; trying again later may help."""

    def __init__(self, detail: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after = retry_after


class Refused(SignetError):
    """The gateway recognised the license and refuses; `code` is its verdict.

    Attributes:
        code: the verdict, as in `QUOTA_EXCEEDED`.
        detail: the gateway's sentence.
        retry_after: seconds, None when waiting does not help.
    """

    def __init__(self, code: str, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(detail or code)
        self.code = code
        self.detail = detail
        self.retry_after = retry_after


class _RefusedOn(Refused):
    """A refusal with a day to it; None where the gateway tells none."""

    verdict: str
    phrase: str

    def __init__(self, on: date | None = None, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(self.verdict, detail or f"{self.phrase}{f' ({on})' if on else ''}.", retry_after)
        self.on = on


class LicenseExpired(_RefusedOn):
    """The license ended; `on` is the day, in UTC."""

    verdict, phrase = "EXPIRED", "The license has expired"


class LicenseNotYetValid(_RefusedOn):
    """The license has not begun; `on` is its first day, in UTC."""

    verdict, phrase = "NOT_YET_VALID", "The license is not valid yet"


class CheckInOverdue(_RefusedOn):
    """The license should have been checked in by the day `on`, in UTC."""

    verdict, phrase = "CHECK_IN_OVERDUE", "The license is overdue for its check-in"


class LicenseRevoked(_RefusedOn):
    """The issuer revoked the license on the day `on`, in UTC."""

    verdict, phrase = "REVOKED", "The license was revoked"


class LicenseSuspended(_RefusedOn):
    """The issuer suspended the license on the day `on`, in UTC, and can reinstate it."""

    verdict, phrase = "SUSPENDED", "The license is suspended"


class _RefusedTo(Refused):
    """A refusal with a limit to it."""

    verdict: str
    phrase: str

    def __init__(self, limit: int | None = None, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(
            self.verdict, detail or f"{self.phrase}{'' if limit is None else f' (limit {limit})'}.", retry_after
        )
        self.limit = limit


class TooManyImages(_RefusedTo):
    """One request held more images than the license allows; `limit` is how many it does."""

    verdict, phrase = "TOO_MANY_IMAGES", "Too many images in one request"


class QuotaExceeded(_RefusedTo):
    """The images do not fit in what is left of the quota `limit`; none was counted."""

    verdict, phrase = "QUOTA_EXCEEDED", "The quota is used up"


class _RefusedPlainly(Refused):
    """A refusal that needs no more than its name."""

    verdict: str
    phrase: str

    def __init__(self, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(self.verdict, detail or f"{self.phrase}.", retry_after)


class ConcurrencyExceeded(_RefusedPlainly):
    """More requests at once than the license allows."""

    verdict, phrase = "CONCURRENCY_EXCEEDED", "Too many requests at once"


class RateLimited(_RefusedPlainly):
    """More requests in a while than the license, or the gateway, allows."""

    verdict, phrase = "RATE_LIMITED", "Too many requests"


class ScopeMismatch(Refused):
    """The license is for another model, version, operation or network; `code` says which."""
