"""What is issued: the terms that were asked for, secrets that are shown once, and a file that holds them."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from signet_client import LicenseFileInvalid, UntrustedIssuer, license_file
from sqlalchemy import text

from models import data
from service.gateway import Gateway
from service.keyring import KeyRing
from tests.service.asking import Caller, claims, labels, new_nonce, on_sqlite, sample
from tests.service.conftest import BASE, Issue

LICENSES = "/v1/licenses"


async def customer(admin: httpx.AsyncClient, name: str = "Acme Optics") -> str:
    answer = await admin.post("/v1/customers", json={"name": name})
    identifier: str = answer.json()["id"]
    return identifier


class TestIssue:
    async def test_what_is_asked_for_is_what_is_issued(
        self, admin: httpx.AsyncClient, gateway: Gateway, model: str
    ) -> None:
        terms: dict[str, Any] = {
            "not_before": "2027-01-01T00:00:00Z",
            "expires_at": "2027-12-31T23:59:59Z",
            "grace_days": 14,
            "check_in_days": 30,
            "versions": [1, 2],
            "operations": ["session", "predict"],
            "networks": ["10.0.0.0/8", "2001:db8::/32"],
            "max_images_per_request": 64,
            "quota": 100_000,
            "max_concurrency": 8,
            "rate_per_minute": 600,
        }
        body = {"customer_id": await customer(admin, "Acme Optics Ltd. & Söhne"), "model": model, "terms": terms}
        answer = await admin.post(LICENSES, json=body)
        assert answer.status_code == 201, answer.text
        issued = answer.json()
        carried = license_file.decode(issued.pop("license_file"), gateway.ring.public_keys())

        assert (await admin.get(f"{LICENSES}/{issued['id']}")).json() == issued
        assert issued["terms"] == terms
        assert (issued["status"], issued["used"], issued["generation"]) == ("active", 0, 1)
        assert [one["kind"] for one in issued["credentials"]] == ["fingerprint"]

        assert carried.license == issued["id"]
        assert carried.customer == license_file.Customer(body["customer_id"], "Acme Optics Ltd. & Söhne")
        assert (carried.model, carried.version, carried.server) == (model, 1, BASE)
        assert carried.not_before.isoformat() == "2027-01-01T00:00:00+00:00"
        assert carried.expires_at.isoformat() == "2027-12-31T23:59:59+00:00"
        dates = ("not_before", "expires_at")
        assert carried.entitlements == {name: value for name, value in terms.items() if name not in dates}
        assert isinstance(carried.credential, license_file.FingerprintCredential)
        assert len(carried.receipt_key) == 32

    async def test_no_secret_is_shown_again_or_stored(
        self, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue
    ) -> None:
        issued = [await issue("key"), await issue("fingerprint")]
        paths = [LICENSES, *(f"{LICENSES}/{one.id}" for one in issued), "/v1/audit", "/v1/customers"]
        shown = " ".join([(await admin.get(path)).text for path in paths])
        for secret in (issued[0].secret, issued[0].secret.partition(".")[2], issued[1].png.hex(), issued[0].text):
            assert secret not in shown
        async with gateway.database.connect() as connection:
            for table in ("credentials", "licenses", "audit_events"):
                rows = (await connection.execute(text(f"SELECT * FROM {table}"))).all()  # noqa: S608 - our own names
                assert issued[0].secret not in repr(rows)
                assert issued[0].file.receipt_key.hex() not in repr(rows)

    async def test_several_issued_at_once_get_outputs_of_their_own(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue
    ) -> None:
        issued = await asyncio.gather(*(issue("fingerprint") for _ in range(5)))
        outputs = {one.slots for one in gateway.book._credentials.values() if one.kind == "fingerprint"}
        assert len(outputs) == 5
        for one in issued:
            nonce = new_nonce()
            session = await Caller(app).show_fingerprint(one.png, nonce=nonce)
            assert claims(one, nonce, session.json()) is not None

    @pytest.mark.parametrize(
        ("change", "status", "field"),
        [
            pytest.param({"customer_id": "cus_" + "0" * 32}, 404, "customer_id", id="unknown customer"),
            pytest.param({"customer_id": "acme"}, 422, "customer_id", id="no customer id"),
            pytest.param({"model": "letters"}, 404, "model", id="unknown model"),
            pytest.param({"credential": "password"}, 422, "credential", id="unknown credential"),
            pytest.param({"terms": {"quota": 0}}, 422, "terms.quota", id="quota of nothing"),
            pytest.param({"terms": {"quota": True}}, 422, "terms.quota", id="quota that is a truth value"),
            pytest.param({"terms": {"grace_days": -1}}, 422, "terms.grace_days", id="negative grace"),
            pytest.param({"terms": {"expires_at": "2027-01-01"}}, 422, "terms.expires_at", id="date without zone"),
            pytest.param({"terms": {"networks": ["10.0.0.1/8"]}}, 422, "terms.networks.0", id="network with host bits"),
            pytest.param({"terms": {"networks": ["acme"]}}, 422, "terms.networks.0", id="no network"),
            pytest.param({"terms": {"operations": ["train"]}}, 422, "terms.operations.0", id="unknown operation"),
            pytest.param({"terms": {"forever": True}}, 422, "terms.forever", id="unknown term"),
            pytest.param(
                {"terms": {"not_before": "2027-02-01T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z"}},
                422,
                "terms",
                id="ends before it begins",
            ),
            pytest.param(
                {"terms": {"not_before": "0001-01-01T00:00:00+12:00"}}, 422, "terms.not_before", id="no such day"
            ),
            pytest.param({"terms": {"quota": "5"}}, 422, "terms.quota", id="quota that is text"),
            pytest.param({"secret": "x"}, 422, "secret", id="unknown field"),
        ],
    )
    @on_sqlite
    async def test_what_cannot_be_is_refused_and_changes_nothing(
        self, change: dict[str, Any], status: int, field: str, admin: httpx.AsyncClient, model: str
    ) -> None:
        body = {"customer_id": await customer(admin), "model": model, "credential": "key", **change}
        answer = await admin.post(LICENSES, json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (status, field), answer.text
        assert (await admin.get(LICENSES)).json()["items"] == []

    @on_sqlite
    async def test_a_model_without_a_version_in_use_cannot_be_licensed(
        self, admin: httpx.AsyncClient, model: str
    ) -> None:
        await admin.post(f"/v1/models/{model}/versions/1/retire")
        answer = await admin.post(LICENSES, json={"customer_id": await customer(admin), "model": model})
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")

    @pytest.mark.parametrize("end", ["8999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00"])
    @on_sqlite
    async def test_the_last_day_there_is(
        self, end: str, app: FastAPI, admin: httpx.AsyncClient, model: str, digits: data.Dataset, gateway: Gateway
    ) -> None:
        """A date is taken or refused; it never breaks the gateway for others."""
        body = {
            "customer_id": await customer(admin),
            "model": model,
            "credential": "key",
            "terms": {"expires_at": end, "grace_days": 366},
        }
        answer = await admin.post(LICENSES, json=body)
        assert answer.status_code in (201, 422), answer.text
        await gateway.sync.refresh()
        if answer.status_code == 201:
            file = license_file.decode(answer.json()["license_file"], gateway.ring.public_keys())
            assert isinstance(file.credential, license_file.KeyCredential)
            assert (await Caller(app).predict([sample(digits)], file.credential.key)).status_code == 200


@on_sqlite
class TestLicenseFile:
    async def test_one_changed_character_is_refused_by_the_client(self, gateway: Gateway, issue: Issue) -> None:
        issued, trusted = await issue("key"), gateway.ring.public_keys()
        lines = issued.text.splitlines(keepends=True)
        start = sum(map(len, lines[:4]))
        for place in range(start, len(issued.text), 37):
            if issued.text[place] == "\n":
                continue
            swapped = "A" if issued.text[place] != "A" else "B"
            with pytest.raises(LicenseFileInvalid):
                license_file.decode(issued.text[:place] + swapped + issued.text[place + 1 :], trusted)
        for altered in (issued.text + "\n", " " + issued.text, issued.text.replace("\n", "\r\n")):
            with pytest.raises(LicenseFileInvalid):
                license_file.decode(altered, trusted)

    async def test_another_issuers_is_not_trusted(self, issue: Issue) -> None:
        issued = await issue("key")
        with pytest.raises(UntrustedIssuer):
            license_file.decode(issued.text, KeyRing.generate().public_keys())

    async def test_one_license_says_nothing_of_anothers_keys(self, issue: Issue) -> None:
        issued = [await issue("key") for _ in range(5)]
        assert len({one.file.receipt_key for one in issued}) == 5
        assert len({one.secret for one in issued}) == 5

    async def test_what_it_carries_works(self, app: FastAPI, issue: Issue, digits: data.Dataset) -> None:
        by_key, by_fingerprint = await issue("key"), await issue("fingerprint")
        token = (await Caller(app).show_fingerprint(by_fingerprint.png)).json()["token"]
        for secret in (by_key.secret, token):
            assert labels(await Caller(app).predict([sample(digits)], secret)) == [str(digits.test.labels[0])]
