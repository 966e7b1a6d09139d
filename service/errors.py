"""What can go wrong, as states. `problems.py` renders the tree as RFC 9457 problem documents.

ServiceError
├── InvalidInput            422  malformed input; `errors` names each field
│   ├── BodyTooLarge        413
│   ├── BodyTooSlow         408
│   └── UnsupportedMedia    415
├── Unsupported             501  a part of a protocol that we do not speak
├── NotFound                404  `what` names the kind of thing
├── Conflict                409  the state of things does not allow it
│   └── CapacityExhausted   409  all fingerprint outputs are allotted; names the setting
├── AdminKeyInvalid         401  an admin route without a live admin key
├── RoleMissing             403  a live admin key of another role
├── SessionInvalid          401  a token that does not open or is past its time
├── Unlicensed              403  the `deny` policy's answer to an unproved caller
├── Refused             403/429  proved, but the license does not allow this now
├── TooManyRequests         429  the address limit, before identity is known
├── ModelUnloaded           503  an administrator took the model out of memory
└── Overloaded              503  the queue is full; try again
    └── DeadlinePassed      503  the answer would come later than the caller wants it
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class FieldError(NamedTuple):
    """One thing wrong with one field of the input."""

    field: str
    message: str


class ServiceError(Exception):
    """Base of everything the gateway says no with."""

    status = 500
    title = "Internal error"
    slug = "internal-error"
    code = "INTERNAL"

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = {name: value for name, value in extensions.items() if value is not None}


class InvalidInput(ServiceError):
    """The input is malformed; nothing was changed."""

    status, title, slug, code = 422, "Invalid input", "invalid-input", "INVALID_INPUT"

    def __init__(self, field: str, message: str, *more: FieldError) -> None:
        errors = [FieldError(field, message), *more]
        super().__init__(f"{field}: {message}", errors=[error._asdict() for error in errors])

    @classmethod
    def all_of(cls, errors: Sequence[FieldError]) -> "InvalidInput":
        """One document for several wrong fields."""
        first, *more = errors
        return cls(first.field, first.message, *more)


class BodyTooLarge(InvalidInput):
    """The body is longer than the limit."""

    status, title, slug, code = 413, "Body too large", "body-too-large", "BODY_TOO_LARGE"


class BodyTooSlow(InvalidInput):
    """The body did not arrive in time."""

    status, title, slug, code = 408, "Body too slow", "body-too-slow", "BODY_TOO_SLOW"


class UnsupportedMedia(InvalidInput):
    """The media type of the body, or of one part, is not one we read."""

    status, title, slug, code = 415, "Unsupported media type", "unsupported-media-type", "UNSUPPORTED_MEDIA_TYPE"


class Unsupported(ServiceError):
    """A protocol has it; this server has not."""

    status, title, slug, code = 501, "Not supported", "not-supported", "NOT_SUPPORTED"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message, errors=[{"field": field, "message": message}])


class NotFound(ServiceError):
    """No such thing."""

    status, title, slug, code = 404, "Not found", "not-found", "UNKNOWN_RESOURCE"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message, errors=[{"field": field, "message": message}])


class Conflict(ServiceError):
    """The present state does not allow it."""

    status, title, slug, code = 409, "Conflict", "conflict", "CONFLICT"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message, errors=[{"field": field, "message": message}])


class CapacityExhausted(Conflict):
    """Every fingerprint output of the model version is allotted."""

    title, slug, code = "Capacity exhausted", "capacity-exhausted", "CAPACITY_EXHAUSTED"


class AdminKeyInvalid(ServiceError):
    """No admin key, a wrong one, or a revoked one: all alike."""

    status, title, slug, code = 401, "Admin key required", "admin-key-required", "ADMIN_KEY_REQUIRED"

    def __init__(self) -> None:
        message = "missing, unknown or revoked admin key; send `Authorization: Bearer sga_...`"
        errors = [{"field": "headers.authorization", "message": message}]
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"}, errors=errors)


class RoleMissing(ServiceError):
    """The admin key is live, but its role does not allow this."""

    status, title, slug, code = 403, "Role missing", "role-missing", "ROLE_MISSING"


class SessionInvalid(ServiceError):
    """A session token that does not open, is past its time, or was bought for another model: all alike."""

    status, title, slug, code = 401, "Session invalid", "session-invalid", "SESSION_INVALID"

    def __init__(self) -> None:
        super().__init__(
            "the session token does not open or is past its time; open a new session",
            headers={"WWW-Authenticate": "Bearer"},
            errors=[{"field": "headers.authorization", "message": "not a live session token for this model"}],
        )


class Unlicensed(ServiceError):
    """The model's owner chose to deny unproved callers."""

    status, title, slug, code = 403, "Not licensed", "not-licensed", "NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(
            "this model answers licensees only; show a license credential",
            errors=[{"field": "headers.authorization", "message": "no credential of a license was recognised"}],
        )


class Refused(ServiceError):
    """Proved, but the license does not allow this now. Made by `control.verdict`, which knows status and wording."""

    def __init__(self, status: int, title: str, slug: str, code: str, detail: str, **extensions: Any) -> None:
        retry_after = extensions.get("retry_after")
        headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
        super().__init__(detail, headers=headers, **extensions)
        self.status, self.title, self.slug, self.code = status, title, slug, code


class TooManyRequests(ServiceError):
    """The address sends more than the operator allows; said before anybody is identified."""

    status, title, slug, code = 429, "Too many requests", "too-many-requests", "ADDRESS_LIMITED"

    def __init__(self, retry_after: int, detail: str = "too many requests from this address") -> None:
        super().__init__(
            detail,
            headers={"Retry-After": str(retry_after)},
            retry_after=retry_after,
            errors=[{"field": "client.address", "message": f"try again in {retry_after} s"}],
        )


class ModelUnloaded(ServiceError):
    """The model answers nobody until it is loaded again."""

    status, title, slug, code = 503, "Model unloaded", "model-unloaded", "MODEL_UNLOADED"

    def __init__(self) -> None:
        message = "an administrator has unloaded this model; it answers when it is loaded again"
        super().__init__(message, errors=[{"field": "model", "message": message}])


class Overloaded(ServiceError):
    """The queue is full, or the answer could not be counted; nothing was charged."""

    status, title, slug, code = 503, "Overloaded", "overloaded", "OVERLOADED"

    def __init__(self, detail: str = "more requests are waiting than the gateway takes; try again") -> None:
        super().__init__(detail, headers={"Retry-After": "1"}, retry_after=1)


class DeadlinePassed(Overloaded):
    """The caller's own time limit; nothing was charged."""

    title, slug, code = "Deadline passed", "deadline-passed", "DEADLINE_PASSED"

    def __init__(self) -> None:
        super().__init__("the request waited longer than its timeout; nothing was charged")
