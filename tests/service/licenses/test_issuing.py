"""Issuing: many at once, each with an output of its own, in the form that the model takes; bad terms are told."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from models.specs import InputSpec
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.licenses import fingerprints
from service.licenses.tables import Credential
from tests.service import expect
from tests.service.asking import Caller, on_sqlite
from tests.service.catalogue import uploads as made
from tests.service.conftest import Issue, Issued
from tests.service.standing import rows_of


async def test_twelve_fingerprints_at_once_get_twelve_outputs(
    app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, artefact: Artefact, issue: Issue
) -> None:
    quick = {**artefact.manifest.fingerprints, "code": "confidence"}  # found in a fraction of a codeword's time
    await made.upload(admin, replace(artefact, manifest=replace(artefact.manifest, fingerprints=quick)))
    async with asyncio.timeout(25):  # a pool that all of them wait for gives up after 30
        issued = await asyncio.gather(*(issue("fingerprint") for _ in range(12)))
    async with gateway.sessions() as session:
        outputs = (await session.scalars(select(Credential.output_slots))).all()
    assert len(outputs) == len(set(outputs)) == 12
    assert (await Caller(app).show_fingerprint(issued[-1].png)).status_code == 201


@on_sqlite
async def test_while_one_is_made_no_connection_is_held(
    gateway: Gateway, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    make = fingerprints.make_one

    def look(*asked: Any) -> Any:
        held.append(gateway.database.pool.checkedout())  # type: ignore[attr-defined]
        return make(*asked)

    monkeypatch.setattr(fingerprints, "make_one", look)
    await issue("fingerprint")
    assert set(held) == {0}


@on_sqlite
async def test_an_output_that_another_issuer_took_first_is_tried_anew(
    issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    draw = fingerprints.draw

    def remember(*asked: Any) -> Any:
        drawn.append(draw(*asked))
        return drawn[-1]

    monkeypatch.setattr(fingerprints, "draw", remember)
    await issue("fingerprint")
    taken = iter([drawn[-1]])
    monkeypatch.setattr(fingerprints, "draw", lambda *asked: next(taken, None) or draw(*asked))
    await issue("fingerprint")
    assert next(taken, None) is None, "the taken one was drawn first"


@on_sqlite
class TestTheFormOfAFingerprint:
    async def test_a_model_that_takes_no_pictures_gets_an_array(
        self, app: FastAPI, admin: httpx.AsyncClient, artefact: Artefact, issue: Issue
    ) -> None:
        spec = replace(artefact.manifest.input_spec, mode="tensor")
        tensors = replace(artefact, manifest=replace(artefact.manifest, input_spec=spec))
        issued = await issue("fingerprint")
        assert issued.png.startswith(b"\x89PNG")
        assert (await made.upload(admin, tensors)).status_code == 201
        issued = await issue("fingerprint")
        assert issued.png.startswith(b"\x93NUMPY")
        assert (await Caller(app).show_fingerprint(issued.png)).status_code == 201

    async def test_one_that_would_not_be_recognised_is_not_issued(
        self, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encode = fingerprints.encode
        before = await rows_of(gateway)

        def damaged(grid: Any, spec: InputSpec) -> bytes:
            return encode(grid ^ 1, spec)

        customer = (await admin.post("/v1/customers", json={"name": "Acme"})).json()["id"]
        before = await rows_of(gateway)
        for wrong in (damaged, lambda *_: b"\x89PNG"):
            monkeypatch.setattr(fingerprints, "encode", wrong)
            answer = await admin.post("/v1/licenses", json={"customer_id": customer, "model": "digits"})
            expect.problem(answer, 500, "INTERNAL")
        assert await rows_of(gateway) == before


BAD_TERMS = [
    ({"quota": 2**53}, "terms.quota"),
    ({"versions": [2**60]}, "terms.versions.0"),
    ({"not_before": "0001-01-01T00:00:00+14:00"}, "terms.not_before"),
    ({"not_before": "1969-12-31T23:59:59Z"}, "terms.not_before"),
    ({"expires_at": "9999-12-31T23:59:59-14:00"}, "terms.expires_at"),
    ({"expires_at": "9999-12-31T00:00:00Z", "grace_days": 366}, "terms.expires_at"),
    ({"networks": [f"10.0.{i // 256}.{i % 256}/32" for i in range(257)]}, "terms.networks"),
]


@on_sqlite
async def test_terms_that_no_license_can_have_are_named(admin: httpx.AsyncClient, gateway: Gateway, model: str) -> None:
    customer = (await admin.post("/v1/customers", json={"name": "Acme"})).json()["id"]
    before = await rows_of(gateway)
    for terms, field in BAD_TERMS:
        body = {"customer_id": customer, "model": model, "credential": "key", "terms": terms}
        expect.problem(await admin.post("/v1/licenses", json=body), 422, "INVALID_INPUT", field)
    assert await rows_of(gateway) == before


@on_sqlite
async def test_the_widest_terms_can_be_issued_and_judged(app: FastAPI, admin: httpx.AsyncClient, issue: Issue) -> None:
    issued = await issue(
        quota=2**53 - 1,
        not_before="1970-01-01T00:00:00Z",
        expires_at="2099-12-31T23:59:59Z",
        grace_days=366,
        check_in_days=3660,
        networks=[f"2001:db8:{i:x}::/48" for i in range(256)],
    )
    verdict = (await admin.get(f"/v1/licenses/{issued.id}/verdict", params={"address": "2001:db8:7::1"})).json()
    assert verdict["code"] == "VALID"


@on_sqlite
async def test_what_a_license_file_cannot_hold_is_told_and_nothing_is_issued(
    admin: httpx.AsyncClient, gateway: Gateway, model: str
) -> None:
    customer = (await admin.post("/v1/customers", json={"name": "Acme"})).json()["id"]
    before = await rows_of(gateway)
    gateway.settings.server_url = "no url"
    body = {"customer_id": customer, "model": model, "credential": "key"}
    expect.problem(await admin.post("/v1/licenses", json=body), 422, "INVALID_INPUT", "server")
    assert await rows_of(gateway) == before


@on_sqlite
class TestDryRun:
    async def test_a_version_can_be_named(self, admin: httpx.AsyncClient, issue: Issue, artefact: Artefact) -> None:
        issued = await issue(versions=[1])
        await made.upload(admin, artefact)
        assert await self.code(admin, issued) == "VERSION_SCOPE_MISMATCH"
        assert await self.code(admin, issued, version=1) == "VALID"
        answer = await admin.get(f"/v1/licenses/{issued.id}/verdict", params={"version": 9})
        expect.problem(answer, 404, "UNKNOWN_RESOURCE", "version")

    @staticmethod
    async def code(admin: httpx.AsyncClient, issued: Issued, **query: int) -> str:
        answer = await admin.get(f"/v1/licenses/{issued.id}/verdict", params=query)
        code: str = answer.json()["code"]
        return code

    async def test_a_suspension_has_a_date(self, admin: httpx.AsyncClient, issue: Issue) -> None:
        issued = await issue()
        assert (await admin.post(f"/v1/licenses/{issued.id}/suspend")).json()["suspended_at"] == "2027-01-15T12:00:00Z"
        verdict = (await admin.get(f"/v1/licenses/{issued.id}/verdict")).json()
        assert (verdict["code"], verdict["on"]) == ("SUSPENDED", "2027-01-15T12:00:00Z")
        assert (await admin.post(f"/v1/licenses/{issued.id}/reinstate")).json()["suspended_at"] is None
