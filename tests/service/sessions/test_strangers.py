"""A stranger's session looks like a licensee's, and only a licensee can tell."""

import base64
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI

from models import data
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.keys import Key
from service.sessions.tokens import TokenSealer
from tests.service.asking import Caller, claims, labels, new_nonce, on_sqlite, sample
from tests.service.conftest import NOW, Issue, SetClock, artefact_files

pytestmark = on_sqlite


async def sessions_of_everybody(app: FastAPI, issue: Issue, digits: data.Dataset) -> dict[str, httpx.Response]:
    """One session each, by whatever is shown."""
    by_key, by_fingerprint = await issue("key"), await issue("fingerprint")
    caller = Caller(app)
    return {
        "licensee by key": await caller.show_key(by_key.secret),
        "licensee by fingerprint": await caller.show_fingerprint(by_fingerprint.png),
        "somebody's digit": await caller.show_fingerprint(sample(digits)),
        "an unknown key": await caller.show_key(Key.mint("sgn").text),
        "a mistyped key": await caller.show_key(by_key.secret[:-1] + "-"),
        "an administrator's key": await caller.show_key(Key.mint("sga").text),
        "nothing": await caller.http.post("/v1/models/digits/sessions", json={"nonce": new_nonce()}),
    }


async def test_all_sessions_look_alike(app: FastAPI, issue: Issue, digits: data.Dataset) -> None:
    answers = await sessions_of_everybody(app, issue, digits)
    forms = {
        who: (
            answer.status_code,
            sorted(name for name in answer.headers),
            len(answer.content),
            [(name, len(value)) for name, value in answer.json().items()],
            answer.json()["expires_at"],
        )
        for who, answer in answers.items()
    }
    assert {who: form for who, form in forms.items() if form != forms["licensee by key"]} == {}
    assert forms["licensee by key"][4] == "2027-01-15T13:00:00Z"


async def test_no_two_sessions_share_anything_secret(app: FastAPI, issue: Issue, digits: data.Dataset) -> None:
    issued, caller = await issue("key"), Caller(app)
    answers = [(await caller.show_key(issued.secret, nonce=new_nonce())).json() for _ in range(5)]
    answers += [(await caller.show_fingerprint(sample(digits))).json() for _ in range(5)]
    assert len({answer["token"] for answer in answers}) == 10
    assert len({answer["receipt"] for answer in answers}) == 10
    prefixes = {base64.urlsafe_b64decode(answer["token"] + "=")[4:16] for answer in answers}
    assert len(prefixes) == 10, "initialisation vectors are never used twice"


async def test_a_strangers_token_buys_decoys_and_a_licensees_the_truth(
    app: FastAPI, issue: Issue, digits: data.Dataset
) -> None:
    pictures = [sample(digits, i) for i in range(20)]
    answers = await sessions_of_everybody(app, issue, digits)
    truths, decoys = [], []
    for who, session in answers.items():
        answer = await Caller(app).predict(pictures, session.json()["token"])
        (truths if who.startswith("licensee") else decoys).append(labels(answer))
    right = [str(label) for label in digits.test.labels[:20]]
    assert all(sum(a == b for a, b in zip(one, right, strict=True)) >= 18 for one in truths)
    assert sum(a == b for a, b in zip(decoys[0], right, strict=True)) <= 8
    assert all(one == decoys[0] for one in decoys)


class TestReceipt:
    """Opens with the license's own key, for the caller's nonce, the model and the token; for nothing else."""

    async def test_it_opens_for_its_licensee_and_says_what_was_bought(self, app: FastAPI, issue: Issue) -> None:
        for kind in ("key", "fingerprint"):
            issued, nonce = await issue(kind), new_nonce()
            caller = Caller(app)
            if kind == "key":
                session = (await caller.show_key(issued.secret, nonce=nonce)).json()
            else:
                session = (await caller.show_fingerprint(issued.png, nonce=nonce)).json()
            assert claims(issued, nonce, session) == {
                "license": issued.id,
                "model": "digits",
                "version": 1,
                "issued_at": "2027-01-15T12:00:00Z",
                "expires_at": session["expires_at"],
                "in_grace": False,
            }

    async def test_it_opens_for_nothing_else(self, app: FastAPI, issue: Issue) -> None:
        issued, other, nonce = await issue("key"), await issue("key"), new_nonce()
        mine = (await Caller(app).show_key(issued.secret, nonce=nonce)).json()
        again = (await Caller(app).show_key(issued.secret, nonce=nonce)).json()
        flipped = mine["receipt"][:50] + ("A" if mine["receipt"][50] != "A" else "B") + mine["receipt"][51:]
        table = {
            "another license's key": claims(other, nonce, mine),
            "another nonce": claims(issued, new_nonce(), mine),
            "another token": claims(issued, nonce, {**mine, "token": again["token"]}),
            "another model": claims(issued, nonce, {**mine, "model": "letters"}),
            "one bit off": claims(issued, nonce, {**mine, "receipt": flipped}),
        }
        assert {what: opened for what, opened in table.items() if opened is not None} == {}
        assert claims(issued, nonce, mine) is not None

    async def test_a_strangers_opens_for_nobody(self, app: FastAPI, issue: Issue, digits: data.Dataset) -> None:
        issued, nonce = await issue("fingerprint"), new_nonce()
        session = (await Caller(app).show_fingerprint(sample(digits), nonce=nonce)).json()
        assert claims(issued, nonce, session) is None


class TestTokens:
    """One that does not open is 401, for whatever reason and for everybody alike."""

    async def test_all_that_do_not_open_are_told_the_same(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        gateway: Gateway,
        issue: Issue,
        clock: SetClock,
        artefact: Artefact,
        digits: data.Dataset,
    ) -> None:
        issued, caller = await issue("key"), Caller(app)
        await admin.post(
            "/v1/models", files=artefact_files(replace(artefact, manifest=replace(artefact.manifest, name="letters")))
        )
        licensee = (await caller.show_key(issued.secret)).json()["token"]
        stranger = (await caller.show_fingerprint(sample(digits))).json()["token"]
        elsewhere = (await caller.show_key(Key.mint("sgn").text, model="letters")).json()["token"]
        soon = gateway.tokens.seal(b"0" * 16, 1, gateway.book.models["digits"].id, NOW)
        foreign = TokenSealer(type(gateway.ring).generate()).seal(b"0" * 16, 1, gateway.book.models["digits"].id, NOW)
        bad = {
            "another model's": elsewhere,
            "past its time": soon,
            "another ring's": foreign,
            "cut short": licensee[:-4],
            "made longer": licensee + "AAAA",
            "padded": licensee + "=",
            "in the other alphabet": licensee.replace("-", "+").replace("_", "/") + "+",
            "not base64": "t" * 74 + "!",
            "empty base64": "====",
            "one character": "x",
            "an administrator's key": Key.mint("sga").text,
        }
        for name, token in (("licensee's", licensee), ("stranger's", stranger)):
            for place in (0, 5, 6, 30, 60, 74):
                swapped = "A" if token[place] != "A" else "B"
                bad[f"a {name} with character {place} changed"] = token[:place] + swapped + token[place + 1 :]
        told = {}
        for name, token in bad.items():
            answer = await caller.predict([sample(digits)], token)
            problem = answer.json()
            problem.pop("request_id", None)
            told[name] = (answer.status_code, problem, answer.headers.get("WWW-Authenticate"))
        assert {name: said for name, said in told.items() if said != told["past its time"]} == {}
        assert told["past its time"][0] == 401
        assert told["past its time"][1]["code"] == "SESSION_INVALID"

    async def test_they_end_for_licensee_and_stranger_in_the_same_second(
        self, app: FastAPI, issue: Issue, clock: SetClock, digits: data.Dataset
    ) -> None:
        issued, caller = await issue("key"), Caller(app)
        tokens = [
            (await caller.show_key(issued.secret)).json()["token"],
            (await caller.show_key(Key.mint("sgn").text)).json()["token"],
        ]
        for later, status in ((timedelta(seconds=3599), 200), (timedelta(seconds=3600), 401)):
            clock.now = NOW + later
            assert [(await caller.predict([sample(digits)], token)).status_code for token in tokens] == [status] * 2

    async def test_nothing_is_learnt_from_a_token_without_the_ring(self, app: FastAPI, issue: Issue) -> None:
        issued = await issue("key")
        raw = base64.urlsafe_b64decode((await Caller(app).show_key(issued.secret)).json()["token"] + "=")
        assert bytes.fromhex(issued.id.removeprefix("lic_")) not in raw

    async def test_it_may_be_shown_as_an_api_key_too(self, app: FastAPI, issue: Issue, digits: data.Dataset) -> None:
        issued = await issue("key")
        answer = await Caller(app).http.post(
            "/v1/models/digits/predict",
            content=sample(digits),
            headers={"X-API-Key": issued.secret, "Content-Type": "image/png"},
        )
        assert labels(answer) == [str(digits.test.labels[0])]

    @pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "sgn_0"])
    async def test_what_is_no_bearer_is_nothing_shown(
        self, header: str, app: FastAPI, model: str, digits: data.Dataset
    ) -> None:
        answer = await Caller(app).http.post(
            "/v1/models/digits/predict",
            content=sample(digits),
            headers={"Authorization": header, "Content-Type": "image/png"},
        )
        assert answer.status_code == 200
        assert answer.content == (await Caller(app).predict([sample(digits)])).content
