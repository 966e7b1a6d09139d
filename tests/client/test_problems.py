"""Each verdict of the gateway becomes the error that says so; any bytes at all become some error."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signet_client import errors
from signet_client.license_file import LicenseFile
from signet_client.problems import SessionLapsed, error_from

VERDICTS: list[tuple[int, dict[str, Any], type[errors.SignetError], dict[str, Any]]] = [
    (404, {"code": "NOT_FOUND"}, errors.NotLicensed, {}),
    (403, {"code": "REVOKED"}, errors.LicenseRevoked, {"code": "REVOKED", "on": None}),
    (403, {"code": "REVOKED", "on": "2026-05-01T00:00:00Z"}, errors.LicenseRevoked, {"on": date(2026, 5, 1)}),
    (403, {"code": "SUSPENDED"}, errors.LicenseSuspended, {"code": "SUSPENDED", "on": None}),
    (403, {"code": "SUSPENDED", "on": "2026-06-01T12:00:00Z"}, errors.LicenseSuspended, {"on": date(2026, 6, 1)}),
    (403, {"code": "SUSPENDED", "on": "lately"}, errors.LicenseSuspended, {"on": None}),
    (403, {"code": "NOT_YET_VALID", "on": "2026-03-01T00:00:00Z"}, errors.LicenseNotYetValid, {"on": date(2026, 3, 1)}),
    (403, {"code": "EXPIRED", "on": "2027-01-31T00:00:00Z"}, errors.LicenseExpired, {"on": date(2027, 1, 31)}),
    (403, {"code": "EXPIRED", "on": "2027-01-31T23:30:00-02:00"}, errors.LicenseExpired, {"on": date(2027, 2, 1)}),
    (403, {"code": "EXPIRED", "on": "2027-01-31"}, errors.LicenseExpired, {"on": date(2027, 1, 31)}),
    (403, {"code": "CHECK_IN_OVERDUE", "on": "2026-04-01T00:00:00Z"}, errors.CheckInOverdue, {"on": date(2026, 4, 1)}),
    (403, {"code": "MODEL_SCOPE_MISMATCH"}, errors.ScopeMismatch, {"code": "MODEL_SCOPE_MISMATCH"}),
    (403, {"code": "VERSION_SCOPE_MISMATCH"}, errors.ScopeMismatch, {"code": "VERSION_SCOPE_MISMATCH"}),
    (403, {"code": "OPERATION_SCOPE_MISMATCH"}, errors.ScopeMismatch, {"code": "OPERATION_SCOPE_MISMATCH"}),
    (403, {"code": "NETWORK_SCOPE_MISMATCH"}, errors.ScopeMismatch, {"code": "NETWORK_SCOPE_MISMATCH"}),
    (403, {"code": "TOO_MANY_IMAGES", "limit": 8}, errors.TooManyImages, {"limit": 8}),
    (
        429,
        {"code": "QUOTA_EXCEEDED", "limit": 9, "retry_after": 60},
        errors.QuotaExceeded,
        {"limit": 9, "retry_after": 60},
    ),
    (429, {"code": "CONCURRENCY_EXCEEDED"}, errors.ConcurrencyExceeded, {"retry_after": None}),
    (429, {"code": "RATE_LIMITED", "retry_after": 1.5}, errors.RateLimited, {"retry_after": 1.5}),
    (
        429,
        {"code": "ADDRESS_LIMITED", "retry_after": 2, "errors": [{"field": "client.address", "message": "try again"}]},
        errors.RateLimited,
        {"retry_after": 2},
    ),
    (403, {"code": "MOON_PHASE"}, errors.Refused, {"code": "MOON_PHASE"}),
    (401, {"code": "SESSION_INVALID"}, SessionLapsed, {"status": 401}),
    (503, {}, errors.GatewayUnavailable, {"status": 503}),
    (
        503,
        {"code": "OVERLOADED", "retry_after": 1, "errors": [{"field": "queue", "message": "is full"}]},
        errors.GatewayUnavailable,
        {"status": 503, "retry_after": 1},
    ),
    (
        409,
        {"code": "CONFLICT", "retry_after": 3, "errors": [{"field": "model", "message": "is being replaced"}]},
        errors.GatewayUnavailable,
        {"status": 409, "retry_after": 3},
    ),
    (405, {"errors": [{"field": "method", "message": "is not taken"}]}, errors.GatewayUnavailable, {"status": 405}),
    (404, {"errors": [{"field": "model", "message": "is unknown"}]}, errors.InvalidInput, {"field": "model"}),
    (500, {"code": "INTERNAL"}, errors.GatewayUnavailable, {"status": 500}),
    (404, {"detail": "Not Found"}, errors.GatewayUnavailable, {"status": 404}),
]


class TestErrorFrom:
    @pytest.mark.parametrize(("status", "problem", "kind", "attributes"), VERDICTS)
    def test_a_verdict(
        self,
        license_file: LicenseFile,
        status: int,
        problem: dict[str, Any],
        kind: type[errors.SignetError],
        attributes: dict[str, Any],
    ) -> None:
        body = json.dumps({"detail": "In plain words.", "request_id": "req_7"} | problem).encode()
        error = error_from(status, {}, body, license_file)
        assert type(error) is kind
        assert {name: getattr(error, name) for name in attributes} == attributes
        said = problem.get("detail", "In plain words.")
        assert (problem["errors"][0]["message"] if kind is errors.InvalidInput else said) in str(error)
        assert error.request_id == "req_7"

    def test_a_refusal_without_a_date_takes_it_from_the_license_file(self, license_file: LicenseFile) -> None:
        expired = error_from(403, {}, b'{"code": "EXPIRED"}', license_file)
        assert isinstance(expired, errors.LicenseExpired)
        assert expired.on == date(2027, 1, 31)
        early = error_from(403, {}, b'{"code": "NOT_YET_VALID", "on": "soon"}', license_file)
        assert isinstance(early, errors.LicenseNotYetValid)
        assert early.on == date(2026, 3, 1)

    def test_invalid_input_lists_every_complaint(self, license_file: LicenseFile) -> None:
        complaints = [{"field": "images[2]", "message": "is truncated"}, {"field": "images[4]", "message": "is 16-bit"}]
        error = error_from(422, {}, json.dumps({"code": "INVALID_INPUT", "errors": complaints}).encode(), license_file)
        assert isinstance(error, errors.InvalidInput)
        assert error.field == "images[2]"
        assert [complaint._asdict() for complaint in error.errors] == complaints

    @pytest.mark.parametrize("status", [413, 415, 422])
    def test_a_proxys_bare_refusal_of_a_body_is_invalid_input(self, license_file: LicenseFile, status: int) -> None:
        assert isinstance(error_from(status, {}, b"<html>", license_file), errors.InvalidInput)

    def test_retry_after_may_stand_in_the_header(self, license_file: LicenseFile) -> None:
        error = error_from(429, {"retry-after": "7"}, b"", license_file)
        assert isinstance(error, errors.RateLimited)
        assert error.retry_after == 7.0

    @pytest.mark.parametrize("value", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "nan", "inf", ""])
    def test_a_retry_after_that_is_no_number_of_seconds_is_left_out(
        self, license_file: LicenseFile, value: str
    ) -> None:
        error = error_from(429, {"retry-after": value}, b"", license_file)
        assert isinstance(error, errors.RateLimited)
        assert error.retry_after is None

    def test_text_from_the_net_is_printable_and_bounded(self, license_file: LicenseFile) -> None:
        body = json.dumps({"code": "SUSPENDED", "detail": "\x1b[2J\nfine " + "x" * 10_000}).encode()
        error = error_from(403, {}, body, license_file)
        assert str(error).isprintable()
        assert len(str(error)) <= 500

    @given(
        status=st.integers(300, 599),
        body=st.binary(max_size=100)
        | st.fixed_dictionaries(
            {},
            optional={
                name: st.none()
                | st.text()
                | st.integers()
                | st.floats()
                | st.lists(st.dictionaries(st.text(), st.text()))
                for name in ("detail", "title", "on", "limit", "retry_after", "errors", "request_id")
            }
            | {"code": st.sampled_from([problem["code"] for _, problem, _, _ in VERDICTS if "code" in problem])},
        ).map(lambda problem: json.dumps(problem).encode()),
    )
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_answer_becomes_an_error(self, license_file: LicenseFile, status: int, body: bytes) -> None:
        assert isinstance(error_from(status, {}, body, license_file), errors.SignetError)
