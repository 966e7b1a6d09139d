"""What a Signet licensee installs: opens a license file, proves the session, returns labels."""

from signet_client.client import AsyncClient, Client
from signet_client.conversation import Prediction
from signet_client.errors import (
    CheckInOverdue,
    ConcurrencyExceeded,
    FieldError,
    GatewayUnavailable,
    InsecureServer,
    InvalidInput,
    LicenseExpired,
    LicenseFileInvalid,
    LicenseNotYetValid,
    LicenseRevoked,
    LicenseSuspended,
    NotLicensed,
    NoTrustAnchor,
    QuotaExceeded,
    RateLimited,
    Refused,
    ScopeMismatch,
    SessionUnproved,
    SignetError,
    TooManyImages,
    UntrustedIssuer,
)
from signet_client.license_file import LicenseSummary
from signet_client.stamping import stamp
from signet_client.trust import pin

__all__ = [
    "AsyncClient",
    "CheckInOverdue",
    "Client",
    "ConcurrencyExceeded",
    "FieldError",
    "GatewayUnavailable",
    "InsecureServer",
    "InvalidInput",
    "LicenseExpired",
    "LicenseFileInvalid",
    "LicenseNotYetValid",
    "LicenseRevoked",
    "LicenseSummary",
    "LicenseSuspended",
    "NoTrustAnchor",
    "NotLicensed",
    "Prediction",
    "QuotaExceeded",
    "RateLimited",
    "Refused",
    "ScopeMismatch",
    "SessionUnproved",
    "SignetError",
    "TooManyImages",
    "UntrustedIssuer",
    "pin",
    "stamp",
]
