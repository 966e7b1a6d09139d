"""A license issued anew: another credential and receipt key, the same answers; the old one ends when it was told to."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from signet_client import license_file

from models import data
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.licenses import fingerprints
from tests.service import expect
from tests.service.asking import Caller, claims, labels, new_nonce, on_sqlite, sample
from tests.service.conftest import Issue, Issued, SetClock, artefact_files
from tests.service.standing import rows_of


async def reissue(admin: httpx.AsyncClient, gateway: Gateway, issued: Issued, **body: int) -> Issued:
    answer = await admin.post(f"/v1/licenses/{issued.id}/reissue", json=body)
    assert answer.status_code == 201, answer.text
    text = answer.json()["license_file"]
    return Issued(issued.id, text, license_file.decode(text, gateway.ring.public_keys()))


async def told(app: FastAPI, held: Issued) -> str:
    """`proved`, or the code of the refusal, for whoever shows this license file's fingerprint."""
    nonce = new_nonce()
    answer = await Caller(app).show_fingerprint(*held.images, nonce=nonce)
    if answer.status_code != 201:
        return str(answer.json()["code"])
    return "proved" if claims(held, nonce, answer.json()) else "stranger"


class TestFingerprint:
    async def test_other_images_for_the_same_answers_and_the_old_ones_end(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue
    ) -> None:
        old = await issue("fingerprint", quota=5)
        new = await reissue(admin, gateway, old)
        assert new.file.credential != old.file.credential
        assert new.file.receipt_key != old.file.receipt_key
        assert (new.file.generation, new.file.entitlements) == (2, old.file.entitlements)
        assert (await told(app, new), await told(app, old)) == ("proved", "REVOKED")
        slots = {credential.slots for credential in gateway.book._credentials.values()}
        assert len(slots) == 1
        assert not drifted(gateway)
        shown = (await admin.get(f"/v1/licenses/{old.id}")).json()
        assert [one["ends_at"] is None for one in shown["credentials"]] == [False, True]

    @on_sqlite
    async def test_sessions_end_with_the_credential_that_bought_them(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, digits: data.Dataset
    ) -> None:
        old = await issue("fingerprint")
        before = (await Caller(app).show_fingerprint(old.png)).json()["token"]
        new = await reissue(admin, gateway, old)
        expect.problem(await Caller(app).predict([sample(digits)], before), 403, "REVOKED")
        after = (await Caller(app).show_fingerprint(new.png)).json()["token"]
        assert labels(await Caller(app).predict([sample(digits)], after)) == [str(digits.test.labels[0])]

    @on_sqlite
    async def test_both_go_on_for_the_overlap(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, clock: SetClock
    ) -> None:
        old = await issue("fingerprint")
        new = await reissue(admin, gateway, old, overlap_hours=24)
        clock.advance(seconds=24 * 3600 - 1)
        assert (await told(app, new), await told(app, old)) == ("proved", "proved")
        clock.advance(seconds=1)
        assert (await told(app, new), await told(app, old)) == ("proved", "REVOKED")

    @on_sqlite
    async def test_one_at_once_ends_all_before_it(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue
    ) -> None:
        first = await issue("fingerprint")
        second = await reissue(admin, gateway, first, overlap_hours=24)
        third = await reissue(admin, gateway, second)
        assert [await told(app, one) for one in (first, second, third)] == ["REVOKED", "REVOKED", "proved"]

    @on_sqlite
    async def test_it_moves_to_the_version_being_served(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, artefact: Artefact
    ) -> None:
        old = await issue("fingerprint")
        second = replace(artefact, manifest=replace(artefact.manifest, metrics={"test_accuracy": 0.5}))
        assert (await admin.post("/v1/models", files=artefact_files(second))).status_code == 201
        new = await reissue(admin, gateway, old)
        assert (new.file.version, await told(app, new)) == (2, "proved")
        shown = (await admin.get(f"/v1/licenses/{old.id}")).json()
        assert [one["gatekeeper_version"] for one in shown["credentials"]] == [1, 2]

    @on_sqlite
    async def test_two_at_once_replace_it_once(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue
    ) -> None:
        old = await issue("fingerprint")
        path = f"/v1/licenses/{old.id}/reissue"
        answers = await asyncio.gather(*(admin.post(path, json={}) for _ in range(2)))
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        (good,) = (answer for answer in answers if answer.status_code == 201)
        text = good.json()["license_file"]
        new = Issued(old.id, text, license_file.decode(text, gateway.ring.public_keys()))
        assert await told(app, new) == "proved"

    @on_sqlite
    async def test_one_that_cannot_be_made_leaves_the_old_one(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = await issue("fingerprint")
        before = await rows_of(gateway)
        monkeypatch.setattr(fingerprints, "make_one", lambda *_: None)
        expect.problem(await admin.post(f"/v1/licenses/{old.id}/reissue"), 409, "CONFLICT", "model")
        assert await rows_of(gateway) == before
        assert await told(app, old) == "proved"


@on_sqlite
class TestKey:
    async def test_the_old_key_is_refused_plainly(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, digits: data.Dataset
    ) -> None:
        old = await issue("key")
        new = await reissue(admin, gateway, old)
        assert labels(await Caller(app).predict([sample(digits)], new.secret)) == [str(digits.test.labels[0])]
        refused = await Caller(app).predict([sample(digits)], old.secret)
        expect.problem(refused, 403, "REVOKED")
        assert "this license file was replaced on 2027-01-15" in refused.json()["detail"]

    async def test_a_replaced_one_is_told_plainly_even_where_revoked_ones_get_decoys(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, artefact: Artefact, issue: Issue
    ) -> None:
        form = {"revoked_policy": "decoy"}
        assert (await admin.post("/v1/models", files=artefact_files(artefact), data=form)).status_code == 201
        old = await issue("key")
        new = await reissue(admin, gateway, old)
        expect.problem(await Caller(app).show_key(old.secret), 403, "REVOKED")
        await admin.post(f"/v1/licenses/{old.id}/revoke")
        assert [(await Caller(app).show_key(one.secret)).status_code for one in (old, new)] == [201, 201]

    async def test_revoking_leaves_when_the_old_one_ended(
        self, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, clock: SetClock
    ) -> None:
        issued = await issue("key")
        await reissue(admin, gateway, issued)
        clock.advance(days=30)
        await admin.post(f"/v1/licenses/{issued.id}/revoke")
        ends = [one["ends_at"] for one in (await admin.get(f"/v1/licenses/{issued.id}")).json()["credentials"]]
        assert [end[:10] for end in ends] == ["2027-01-15", "2027-02-14"]

    async def test_the_receipt_opens_with_the_key_of_its_own_file(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue
    ) -> None:
        old = await issue("key")
        new = await reissue(admin, gateway, old, overlap_hours=1)
        for held, other in ((old, new), (new, old)):
            nonce = new_nonce()
            session = (await Caller(app).show_key(held.secret, nonce=nonce)).json()
            assert claims(held, nonce, session) is not None
            assert claims(other, nonce, session) is None


REFUSED: list[tuple[Any, int, str, str]] = [
    ({"overlap_hours": -1}, 422, "INVALID_INPUT", "overlap_hours"),
    ({"overlap_hours": 10**9}, 422, "INVALID_INPUT", "overlap_hours"),
    ({"days": 3}, 422, "INVALID_INPUT", "days"),
]


@on_sqlite
class TestRefused:
    @pytest.mark.parametrize(("body", "status", "code", "field"), REFUSED)
    async def test_bad_input_is_named(
        self, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, body: Any, status: int, code: str, field: str
    ) -> None:
        issued = await issue("key")
        before = await rows_of(gateway)
        expect.problem(await admin.post(f"/v1/licenses/{issued.id}/reissue", json=body), status, code, field)
        assert await rows_of(gateway) == before

    async def test_a_revoked_license_stays_revoked(self, admin: httpx.AsyncClient, issue: Issue) -> None:
        issued = await issue("key")
        await admin.post(f"/v1/licenses/{issued.id}/revoke")
        expect.problem(await admin.post(f"/v1/licenses/{issued.id}/reissue"), 409, "CONFLICT", "license_id")
        unknown = "lic_" + "0" * 32
        expect.problem(await admin.post(f"/v1/licenses/{unknown}/reissue"), 404, "UNKNOWN_RESOURCE", "license_id")

    async def test_a_suspended_one_is_issued_anew_and_stays_suspended(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue("key")
        await admin.post(f"/v1/licenses/{issued.id}/suspend")
        new = await reissue(admin, gateway, issued)
        expect.problem(await Caller(app).predict([sample(digits)], new.secret), 403, "SUSPENDED")


def drifted(gateway: Gateway) -> float:
    return gateway.metrics.registry.get_sample_value("signet_fingerprint_drift_total", {"model": "digits"}) or 0
