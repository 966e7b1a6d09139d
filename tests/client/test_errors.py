"""Errors say what happened, survive a process pool, and make up the tree that their module draws."""

from __future__ import annotations

import inspect
import pickle
import re
from datetime import date

import pytest
import signet_client
from signet_client import errors
from signet_client.errors import FieldError, SignetError

EXAMPLES: list[SignetError] = [
    errors.LicenseFileInvalid("expires_at", "is not a time"),
    errors.UntrustedIssuer("key-7"),
    errors.NoTrustAnchor("none"),
    errors.InsecureServer("plain"),
    errors.SessionUnproved(),
    errors.NotLicensed(),
    errors.InvalidInput("images[2]", "is truncated", [FieldError("images[2]", "is truncated")]),
    errors.GatewayUnavailable("gone", status=503, retry_after=2.0),
    errors.Refused("NEW_VERDICT", "No.", 3.0),
    errors.LicenseExpired(on=date(2027, 1, 31)),
    errors.LicenseNotYetValid(on=date(2026, 3, 1)),
    errors.CheckInOverdue(on=date(2026, 4, 1)),
    errors.LicenseRevoked(on=date(2026, 5, 1)),
    errors.LicenseSuspended(on=date(2026, 6, 1)),
    errors.ScopeMismatch("VERSION_SCOPE_MISMATCH", "Another version."),
    errors.TooManyImages(limit=8),
    errors.QuotaExceeded(limit=1000, retry_after=60.0),
    errors.ConcurrencyExceeded(),
    errors.RateLimited(retry_after=1.5),
]


def public_errors() -> set[type[SignetError]]:
    classes = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, SignetError)}
    return {kind for kind in classes if not kind.__name__.startswith("_")}


class TestTheTree:
    def test_every_error_is_drawn_exported_and_shown_below(self) -> None:
        names = {kind.__name__ for kind in public_errors()}
        drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) | {"SignetError"}
        assert names == drawn
        assert names <= set(signet_client.__all__)
        assert {type(error) for error in EXAMPLES} == public_errors() - {SignetError}

    def test_refusals_are_those_drawn_under_refused(self) -> None:
        below = (errors.__doc__ or "").split("Refused ")[1]
        drawn = set(re.findall(r"[├└]── (\w+)", below))
        assert {kind.__name__ for kind in public_errors() if issubclass(kind, errors.Refused)} == drawn | {"Refused"}


class TestEachError:
    @pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
    def test_survives_a_process_pool(self, error: SignetError) -> None:
        error.request_id = "req_7"
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)

    @pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
    def test_says_something(self, error: SignetError) -> None:
        assert len(str(error)) >= 3

    def test_a_date_or_a_limit_is_in_the_text(self) -> None:
        assert "2027-01-31" in str(errors.LicenseExpired(on=date(2027, 1, 31)))
        assert "2026-06-01" in str(errors.LicenseSuspended(on=date(2026, 6, 1)))
        assert "1000" in str(errors.QuotaExceeded(limit=1000))
