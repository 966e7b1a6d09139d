"""A license after it is issued, as its issuer sees it: listed, suspended, checked in, revoked."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from models import data
from tests.service.asking import Caller, on_sqlite, sample
from tests.service.conftest import Issue, SetClock

LICENSES = "/v1/licenses"
UNKNOWN = "lic_" + "0" * 32


class TestList:
    async def test_by_customer_model_and_status_page_by_page(
        self, admin: httpx.AsyncClient, issue: Issue, clock: SetClock
    ) -> None:
        issued = []
        for _ in range(5):
            issued.append((await issue("key")).id)
            clock.advance(seconds=1)
        await admin.post(f"{LICENSES}/{issued[2]}/suspend")
        first = (await admin.get(LICENSES, params={"limit": 2})).json()
        second = (await admin.get(LICENSES, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        third = (await admin.get(LICENSES, params={"limit": 2, "cursor": second["next_cursor"]})).json()
        assert [one["id"] for page in (first, second, third) for one in page["items"]] == issued
        assert third["next_cursor"] is None
        for wanted, expected in (
            ({"status": "suspended"}, [issued[2]]),
            ({"status": "revoked"}, []),
            ({"model": "digits", "limit": 200}, issued),
            ({"model": "letters"}, []),
            ({"customer_id": first["items"][1]["customer_id"]}, [issued[1]]),
        ):
            assert [one["id"] for one in (await admin.get(LICENSES, params=wanted)).json()["items"]] == expected

    async def test_licenses_of_one_moment_are_listed_once_each(self, admin: httpx.AsyncClient, issue: Issue) -> None:
        issued = {(await issue("key")).id for _ in range(5)}
        listed, cursor = [], None
        while True:
            page = (await admin.get(LICENSES, params={"limit": 1, **({"cursor": cursor} if cursor else {})})).json()
            listed += [one["id"] for one in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert (len(listed), set(listed)) == (5, issued)


STORY = ("suspend", "reinstate", "revoke", "check-in")
#  verbs one after another -> status of the last answer, status of the license
STATES = [
    ([], 200, "active"),
    (["suspend"], 200, "suspended"),
    (["suspend", "suspend"], 200, "suspended"),
    (["reinstate"], 200, "active"),
    (["suspend", "reinstate"], 200, "active"),
    (["suspend", "check-in"], 200, "suspended"),
    (["check-in"], 200, "active"),
    (["revoke"], 200, "revoked"),
    (["revoke", "revoke"], 200, "revoked"),
    (["suspend", "revoke"], 200, "revoked"),
    (["revoke", "suspend"], 409, "revoked"),
    (["revoke", "reinstate"], 409, "revoked"),
    (["revoke", "check-in"], 409, "revoked"),
]


class TestStates:
    @pytest.mark.parametrize(
        ("verbs", "status", "state"), STATES, ids=["-then-".join(row[0]) or "new" for row in STATES]
    )
    @on_sqlite
    async def test_table(
        self, verbs: list[str], status: int, state: str, admin: httpx.AsyncClient, issue: Issue
    ) -> None:
        issued = await issue("key")
        answers = [await admin.post(f"{LICENSES}/{issued.id}/{verb}") for verb in verbs]
        assert [answer.status_code for answer in answers] == [200] * (len(verbs) - 1) + [status] * bool(verbs)
        if status == 409:
            assert answers[-1].json()["errors"][0]["field"] == "license_id"
        assert (await admin.get(f"{LICENSES}/{issued.id}")).json()["status"] == state

    async def test_every_act_is_in_the_audit_log_once_and_doing_it_twice_is_no_act(
        self, admin: httpx.AsyncClient, issue: Issue
    ) -> None:
        issued = await issue("key")
        for verb in ("suspend", "suspend", "reinstate", "check-in", "revoke", "revoke", "reinstate"):
            await admin.post(f"{LICENSES}/{issued.id}/{verb}")
        rows = (await admin.get("/v1/audit")).json()["items"]
        assert [row["action"] for row in rows if row["subject"] == issued.id] == [
            "license.issued",
            "license.suspended",
            "license.reinstated",
            "license.checked_in",
            "license.revoked",
        ]

    async def test_it_takes_effect_with_the_next_request_sessions_included(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
    ) -> None:
        issued, caller = await issue("fingerprint"), Caller(app)
        token = (await caller.show_fingerprint(issued.png)).json()["token"]
        told = []
        for verb in ("suspend", "reinstate", "revoke"):
            assert (await admin.post(f"{LICENSES}/{issued.id}/{verb}")).status_code == 200
            told.append((await caller.predict([sample(digits)], token)).json().get("code"))
        assert told == ["SUSPENDED", None, "REVOKED"]

    async def test_a_check_in_starts_the_period_anew(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, clock: SetClock, digits: data.Dataset
    ) -> None:
        issued = await issue("key", check_in_days=7)
        told = []
        for days in (7, 0.01, 0, 7, 0.01):
            clock.advance(days=days)
            if days == 0:
                await admin.post(f"{LICENSES}/{issued.id}/check-in")
            told.append((await Caller(app).predict([sample(digits)], issued.secret)).json().get("code"))
        assert told == [None, "CHECK_IN_OVERDUE", None, None, "CHECK_IN_OVERDUE"]

    async def test_two_who_act_at_once_agree(self, admin: httpx.AsyncClient, issue: Issue) -> None:
        issued = await issue("fingerprint")
        verbs = ("revoke", "suspend", "reinstate", "check-in", "suspend") * 2
        answers = await asyncio.gather(*(admin.post(f"{LICENSES}/{issued.id}/{verb}") for verb in verbs))
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert (await admin.get(f"{LICENSES}/{issued.id}")).json()["status"] == "revoked"

    @pytest.mark.parametrize("verb", ["", "/verdict", *(f"/{verb}" for verb in STORY)])
    @on_sqlite
    async def test_an_unknown_license(self, verb: str, admin: httpx.AsyncClient, model: str) -> None:
        ask = admin.get if verb in ("", "/verdict") else admin.post
        answer = await ask(f"{LICENSES}/{UNKNOWN}{verb}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (404, "license_id")
        malformed = await ask(f"{LICENSES}/lic_1{verb}")
        assert malformed.status_code == 422
