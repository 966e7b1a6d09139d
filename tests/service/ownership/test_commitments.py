"""Commitments: what is registered, what the receipt says, and what is refused."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from signet_client.canonical import from_base64url
from signet_client.evidence import REGISTRATION, signed_bytes

from service.gateway import Gateway
from tests.service import expect
from tests.service.asking import on_sqlite
from tests.service.conftest import SetClock
from tests.service.ownership.conftest import Registered
from tests.service.ownership.owner import Committed, renewed
from tests.service.standing import rows_of

PATH = "/v1/ownership/commitments"
Change = Callable[[dict[str, Any]], object]


class TestRegistering:
    async def test_the_receipt_is_signed_by_the_issuer_and_says_what_and_when(
        self, admin: httpx.AsyncClient, served_version: Committed, gateway: Gateway
    ) -> None:
        answer = await admin.post(PATH, json=served_version.body())
        assert answer.status_code == 201, answer.text
        said, receipt = answer.json(), answer.json()["receipt"]
        assert (said["model"], said["version"], said["opened_marks"]) == ("digits", 1, [])
        assert said["statement"].encode() == served_version.commitment.to_bytes()
        assert receipt["statement_sha256"] == hashlib.sha256(served_version.commitment.to_bytes()).hexdigest()
        assert receipt["registered_at"] == "2027-01-15T12:00:00Z"
        assert (receipt["commitment"], receipt["public_key"]) == (said["id"], served_version.public_key)
        key = gateway.ring.public_keys()[receipt["kid"]]
        key.verify(from_base64url(receipt["signature"]), signed_bytes(REGISTRATION, receipt["kid"], receipt))

    async def test_the_same_statement_is_registered_once_even_when_two_come_at_a_time(
        self, admin: httpx.AsyncClient, served_version: Committed
    ) -> None:
        body = served_version.body()
        both = await asyncio.gather(admin.post(PATH, json=body), admin.post(PATH, json=body))
        assert sorted(answer.status_code for answer in both) == [201, 409]
        expect.problem(await admin.post(PATH, json=body), 409, "CONFLICT", "statement")
        assert len((await admin.get(PATH)).json()["items"]) == 1

    async def test_it_is_in_the_audit_log(self, admin: httpx.AsyncClient, commitment: Registered) -> None:
        rows = (await admin.get("/v1/audit", params={"limit": 200})).json()["items"]
        (row,) = [row for row in rows if row["action"] == "ownership.committed"]
        assert row["subject"] == commitment.id
        assert (await admin.get("/v1/audit/check")).json()["first_broken"] is None


class TestListing:
    async def test_page_by_page_and_by_model(
        self, admin: httpx.AsyncClient, commitment: Registered, clock: SetClock
    ) -> None:
        clock.advance(minutes=1)
        second = (await admin.post(PATH, json=renewed(commitment.version).body())).json()
        first = (await admin.get(PATH, params={"limit": 1})).json()
        rest = (await admin.get(PATH, params={"cursor": first["next_cursor"]})).json()
        assert [item["id"] for item in first["items"] + rest["items"]] == [commitment.id, second["id"]]
        assert (await admin.get(PATH, params={"model": "digits"})).json()["items"] == first["items"] + rest["items"]
        assert (await admin.get(PATH, params={"model": "other"})).json()["items"] == []
        assert (await admin.get(f"{PATH}/{second['id']}")).json() == second

    async def test_one_that_is_not_there(self, admin: httpx.AsyncClient) -> None:
        unknown = await admin.get(f"{PATH}/com_{'0' * 32}")
        expect.problem(unknown, 404, "UNKNOWN_RESOURCE", "commitment_id")


def _set(name: str, value: object) -> Change:
    return lambda content: content.update({name: value})


def _in_parameters(name: str, value: object) -> Change:
    return lambda content: content["parameters"].update({name: value})


STATEMENTS: dict[str, tuple[Change, str]] = {
    "of a model that is not here": (_in_parameters("model", "other/1"), "statement.parameters.model"),
    "of a version that is not here": (_in_parameters("model", "digits/2"), "statement.parameters.model"),
    "of no version": (_in_parameters("model", "digits"), "statement.parameters.model"),
    "of other weights": (_set("reference_sha256", "0" * 64), "statement.reference_sha256"),
    "of another network": (_in_parameters("network", "resnet"), "statement.parameters.network"),
    "of another configuration": (_in_parameters("network_config", {}), "statement.parameters.network"),
    "of another owner": (_in_parameters("owner", "A" * 43), "statement.parameters.owner"),
    "of no owner": (_in_parameters("owner", ""), "statement.parameters.owner"),
    "of an owner that is no key": (_in_parameters("owner", "A" * 42), "statement.parameters.owner"),
    "of a layer that is not there": (_in_parameters("layer", "conv9.weight"), "statement.parameters.layer"),
    "of another shape": (_in_parameters("shape", [16, 6, 5, 6]), "statement.parameters.shape"),
    "of a huge shape": (_in_parameters("shape", [10**9, 10**9]), "statement.parameters.shape"),
    "with few digits": (_in_parameters("digits", 63), "statement.parameters.digits"),
    "with too many digits": (_in_parameters("digits", 801), "statement.parameters.digits"),
    "with a mark more": (_in_parameters("marks", 4), "statement.mark_hashes"),
    "with a map that is none": (_in_parameters("digit_map", {"a": 0, "b": 0}), "statement.parameters.digit_map"),
    "with a number beyond a float": (
        _in_parameters("digit_map", {"a": 10**400, "b": 0}),
        "statement.parameters.digit_map",
    ),
    "with shares that are none": (_in_parameters("null_frequencies", [0.1]), "statement.parameters.null_frequencies"),
    "with hashes that are none": (_set("mark_hashes", ["x", "y", "z"]), "statement.mark_hashes"),
    "of another format": (_set("format", 2), "statement.format"),
    "with a field more": (_set("note", "mine"), "statement"),
    "with a field less": (lambda content: content.pop("format"), "statement.format"),
}
TEXTS = ["", "x", "[]", "null", "1e999", '{"a":NaN}', "[" * 100_000, '{"format":1,"format":1}', '"\\ud800"']


class TestRefusals:
    async def test_each_names_its_field_and_changes_nothing(
        self, admin: httpx.AsyncClient, served_version: Committed, gateway: Gateway
    ) -> None:
        before = await rows_of(gateway)
        for what, (change, field) in STATEMENTS.items():
            content = json.loads(served_version.commitment.to_bytes())
            change(content)
            answer = await admin.post(PATH, json=served_version.body(statement=content))
            problem = expect.problem(answer, 422, "INVALID_INPUT")
            assert field in [error["field"] for error in problem["errors"]], (what, answer.text)
        assert await rows_of(gateway) == before

    @on_sqlite
    @pytest.mark.parametrize("place", ["", "parameters", "digit_map"])
    async def test_a_field_that_is_not_known_is_not_echoed_and_the_known_ones_are_said(
        self, place: str, admin: httpx.AsyncClient, served_version: Committed
    ) -> None:
        content = json.loads(served_version.commitment.to_bytes())
        inner = {"": content, "parameters": content["parameters"], "digit_map": content["parameters"]["digit_map"]}
        known = sorted(inner[place])
        inner[place]["hunter2"] = "x"
        answer = await admin.post(PATH, json=served_version.body(statement=content))
        field = {"": "statement", "digit_map": "statement.parameters.digit_map"}.get(place, f"statement.{place}")
        problem = expect.problem(answer, 422, "INVALID_INPUT", field)
        assert ", ".join(known) in problem["detail"]
        assert "hunter2" not in answer.text

    @on_sqlite
    async def test_what_is_no_statement(self, admin: httpx.AsyncClient, served_version: Committed) -> None:
        for text in TEXTS:
            body = served_version.body(statement=text)
            problem = expect.problem(await admin.post(PATH, json=body), 422, "INVALID_INPUT")
            assert problem["errors"][0]["field"].startswith("statement"), text
        pretty = json.dumps(served_version.commitment.to_dict(), indent=1)
        expect.problem(
            await admin.post(PATH, json=served_version.body(statement=pretty)), 422, "INVALID_INPUT", "statement"
        )
        hidden = json.loads(served_version.commitment.to_bytes())
        hidden["parameters"]["network_config"] = {"a": "HALF"}
        text = json.dumps(hidden, sort_keys=True, separators=(",", ":")).replace("HALF", "\\ud800")
        answer = await admin.post(PATH, json=served_version.body(statement=text))
        expect.problem(answer, 422, "INVALID_INPUT", "statement")

    @on_sqlite
    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"signature": "A" * 86}, "signature"),
            ({"signature": "*"}, "signature"),
            ({"signature": ""}, "signature"),
            ({"public_key": "A" * 42}, "public_key"),
            ({"public_key": "?" * 43}, "public_key"),
            ({"surplus": "x"}, "surplus"),
        ],
    )
    async def test_what_is_not_signed(
        self, change: dict[str, str], field: str, admin: httpx.AsyncClient, served_version: Committed
    ) -> None:
        answer = await admin.post(PATH, json=served_version.body(**change))
        expect.problem(answer, 422, "INVALID_INPUT", field)

    @on_sqlite
    async def test_another_owners_signature(self, admin: httpx.AsyncClient, served_version: Committed) -> None:
        other = Committed(served_version.weights, served_version.commitment, Ed25519PrivateKey.generate())
        body = {**served_version.body(), "signature": other.body()["signature"]}
        expect.problem(await admin.post(PATH, json=body), 422, "INVALID_INPUT", "signature")
        # Who saw a mark opened has its key, and could commit to it again, were the terms not their owner's.
        expect.problem(await admin.post(PATH, json=other.body()), 422, "INVALID_INPUT", "statement.parameters.owner")
