"""Verifications: who is caught and who is not, what is kept and what refused; others are answered meanwhile."""

import asyncio
import hashlib
import json
import math
import threading

import httpx
import pytest
import torch
from fastapi import FastAPI
from safetensors.torch import load, save
from signet_client.evidence import check
from signet_client.suspect import check as read

from models import networks
from models.evaluation.ownership import LOG10_TRIES
from models.watermarks.registered import mark_key
from service.admin_keys.tables import Role
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.keyring import public_key_document
from service.settings import Settings
from tests.service import expect
from tests.service.asking import on_sqlite
from tests.service.conftest import SetClock, client_of, mint_admin
from tests.service.inputs import builders
from tests.service.ownership.conftest import Registered
from tests.service.ownership.owner import DIGITS, MARKS, SECRET, open_mark, renewed
from tests.service.plants import search
from tests.service.standing import rows_of

PATH = "/v1/ownership/verifications"


def noisy(weights: bytes) -> bytes:
    """A thief's copy."""
    generator = torch.Generator().manual_seed(1)
    tensors = {
        name: tensor + 0.005 * torch.randn(tensor.shape, generator=generator) for name, tensor in load(weights).items()
    }
    return save(tensors)


class TestVerdicts:
    async def test_a_stolen_copy_is_verified_and_the_evidence_holds(
        self, admin: httpx.AsyncClient, commitment: Registered, gateway: Gateway, clock: SetClock
    ) -> None:
        clock.advance(days=1)
        suspect = noisy(commitment.version.weights)
        answer = await open_mark(admin, commitment.id, commitment.version.key(1), suspect, mark=1)
        assert answer.status_code == 201, answer.text
        said = answer.json()
        assert (said["verdict"], said["mark"], said["commitment_id"]) == ("verified", 1, commitment.id)
        assert said["log10_adjusted_p"] < -20
        assert said["suspect_sha256"] == hashlib.sha256(suspect).hexdigest()
        evidence = await admin.get(f"{PATH}/{said['id']}/evidence")
        assert evidence.content == said.pop("evidence").encode()
        assert evidence.headers["content-type"] == "application/json"
        issuer = json.dumps(public_key_document(gateway.ring.public_keys())).encode()
        assert all(holds for holds, _ in check(evidence.content, issuer))
        assert all(holds for holds, _ in read(evidence.content, suspect))
        assert (await admin.get(f"{PATH}/{said['id']}")).json() == said
        assert (await admin.get(PATH, params={"commitment_id": commitment.id})).json()["items"] == [said]
        assert (await admin.get(f"/v1/ownership/commitments/{commitment.id}")).json()["opened_marks"] == [1]

    async def test_an_unmarked_network_is_not_and_opens_no_mark(
        self, admin: httpx.AsyncClient, commitment: Registered, artefact: Artefact
    ) -> None:
        said = (await open_mark(admin, commitment.id, commitment.version.key(), artefact.weights)).json()
        assert said["verdict"] == "not verified"
        assert said["matches"] < DIGITS / 3
        assert (await admin.get(f"/v1/ownership/commitments/{commitment.id}")).json()["opened_marks"] == []

    async def test_every_registered_commitment_is_paid_for_whoever_signed_it(
        self, admin: httpx.AsyncClient, commitment: Registered
    ) -> None:
        one = (await open_mark(admin, commitment.id, commitment.version.key(), commitment.version.weights)).json()
        other = await admin.post("/v1/ownership/commitments", json=renewed(commitment.version).body())
        assert other.status_code == 201
        two = (await open_mark(admin, commitment.id, commitment.version.key(), commitment.version.weights)).json()
        paid = [json.loads(found["evidence"])["adjustments"] for found in (one, two)]
        assert [each["commitments"] for each in paid] == [1, 2]
        assert [each["marks"] for each in paid] == [MARKS, MARKS]
        assert two["log10_adjusted_p"] == pytest.approx(one["log10_adjusted_p"] + 0.30103, abs=1e-4)

    async def test_how_often_others_were_shown_the_mark_is_counted(
        self, admin: httpx.AsyncClient, commitment: Registered, artefact: Artefact
    ) -> None:
        version, counts = commitment.version, []
        for suspect, mark in ((artefact.weights, 0), (version.weights, 0), (version.weights, 0), (version.weights, 1)):
            done = await open_mark(admin, commitment.id, version.key(mark), suspect, mark=mark)
            counts.append(json.loads(done.json()["evidence"])["mark_opened_before"])
        assert counts == [0, 1, 1, 0]

    async def test_a_suspect_that_may_be_older_pays_for_what_could_be_tried(
        self, admin: httpx.AsyncClient, commitment: Registered, clock: SetClock
    ) -> None:
        clock.advance(days=2)
        key, weights = commitment.version.key(), commitment.version.weights
        times = [None, "2027-01-15T12:00:00Z", "2027-01-15T12:00:01Z", "2027-01-16T12:00:00+02:00"]
        said = [(await open_mark(admin, commitment.id, key, weights, suspect_known_since=time)) for time in times]
        assert [answer.status_code for answer in said] == [201] * 4, said[0].text
        adjusted = [answer.json()["log10_adjusted_p"] for answer in said]
        assert adjusted[0] == adjusted[1] == pytest.approx(adjusted[2] + LOG10_TRIES)
        assert adjusted[2] == adjusted[3]
        shown = [answer.json()["suspect_known_since"] for answer in said]
        assert shown == [None, *times[1:3], "2027-01-16T10:00:00Z"]
        assert json.loads(said[3].json()["evidence"])["suspect_known_since"] == shown[3]

    @pytest.mark.parametrize("time", ["2027-01-15T12:00:01Z", "2027-01-15T12:00:00", "yesterday", "2101-01-01T00:00Z"])
    async def test_a_time_that_is_none_or_still_to_come_is_refused(
        self, time: str, admin: httpx.AsyncClient, commitment: Registered, gateway: Gateway
    ) -> None:
        before = await rows_of(gateway)
        answer = await open_mark(admin, commitment.id, commitment.version.key(), b"", suspect_known_since=time)
        expect.problem(answer, 422, "INVALID_INPUT", "suspect_known_since")
        assert await rows_of(gateway) == before

    async def test_it_works_after_the_version_was_retired(
        self, admin: httpx.AsyncClient, commitment: Registered
    ) -> None:
        assert (await admin.post("/v1/models/digits/versions/1/retire")).status_code == 200
        said = await open_mark(admin, commitment.id, commitment.version.key(), commitment.version.weights)
        assert said.json()["verdict"] == "verified"


class TestKept:
    async def test_neither_the_suspect_nor_an_unopened_key_is_kept_or_logged(
        self,
        admin: httpx.AsyncClient,
        commitment: Registered,
        gateway: Gateway,
        logged: object,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        version = commitment.version
        said = await open_mark(admin, commitment.id, version.key(), noisy(version.weights))
        wrong = await open_mark(admin, commitment.id, version.key(1), version.weights, mark=0)
        expect.problem(wrong, 422, "INVALID_INPUT", "mark_key")
        rows = await rows_of(gateway)
        kept = "\n".join(
            cell.hex() if isinstance(cell, bytes) else str(cell)
            for table in rows.values()
            for row in table
            for cell in row
        ).encode()
        opened, unopened = (mark_key(SECRET, commitment.version.commitment.parameters, mark) for mark in (0, 1))
        search(kept + wrong.content, {"an unopened key": unopened, "the secret": SECRET}, "tables or answers")
        search(logged.getvalue().encode(), {"the opened key": opened, "another": unopened}, "the log")  # type: ignore[attr-defined]
        assert load(noisy(version.weights))["conv2.weight"].numpy().tobytes()[:64].hex().encode() not in kept
        assert said.json()["mark"] == 0

    async def test_it_is_in_the_audit_log(self, admin: httpx.AsyncClient, commitment: Registered) -> None:
        said = (await open_mark(admin, commitment.id, commitment.version.key(), commitment.version.weights)).json()
        rows = (await admin.get("/v1/audit", params={"limit": 200})).json()["items"]
        (row,) = [row for row in rows if row["action"] == "ownership.verified"]
        assert (row["subject"], row["details"]["verdict"]) == (said["id"], "verified")
        assert commitment.version.key() not in str(rows)


@on_sqlite
class TestRefusals:
    async def test_each_names_its_field_and_changes_nothing(
        self, admin: httpx.AsyncClient, commitment: Registered, gateway: Gateway
    ) -> None:
        weights, key = commitment.version.weights, commitment.version.key()
        tensors = load(weights)
        without = save({name: tensor for name, tensor in tensors.items() if name != "conv2.weight"})
        cases = {
            "suspect.conv2.weight": [
                without,
                *(
                    save({**tensors, "conv2.weight": torch.zeros(shape)})
                    for shape in ((3,), (0, 6, 5, 5), (16, 0, 5, 5), (16, 6, 3, 3), (1, 1))
                ),
                save({**tensors, "conv2.weight": torch.zeros(16, 6, 5, 5, dtype=torch.int64)}),
            ],
            "suspect": [b"", b"x", b"PK\x03\x04", weights[:-1], b"\xff" * 100],
        }
        before = await rows_of(gateway)
        for field, suspects in cases.items():
            for suspect in suspects:
                answer = await open_mark(admin, commitment.id, key, suspect)
                expect.problem(answer, 422, "INVALID_INPUT", field)
        for mark, given, field in (
            (MARKS, key, "mark"),
            (-1, key, "mark"),
            (1, key, "mark_key"),
            (0, key[:-1], "mark_key"),
            (0, "?", "mark_key"),
            (0, "", "mark_key"),
        ):
            expect.problem(await open_mark(admin, commitment.id, given, weights, mark), 422, "INVALID_INPUT", field)
        unknown = await open_mark(admin, f"com_{'0' * 32}", key, weights)
        expect.problem(unknown, 404, "UNKNOWN_RESOURCE", "commitment_id")
        assert await rows_of(gateway) == before

    async def test_odd_suspects_get_an_answer_of_ours(self, admin: httpx.AsyncClient, commitment: Registered) -> None:
        tensors = load(commitment.version.weights)
        odd = [
            {**tensors, "conv1.weight": torch.zeros(0)},
            {**tensors, "fc1.weight": torch.zeros(120, 399)},
            {name: tensor.half() for name, tensor in tensors.items()},
            {name: torch.full_like(tensor, float("nan")) for name, tensor in tensors.items()},
            {name: torch.zeros_like(tensor) for name, tensor in tensors.items()},
            {"conv2.weight": tensors["conv2.weight"]},
            {**tensors, "conv1.bias": torch.zeros(())},
            {**tensors, "fc2.bias": tensors["fc2.bias"].to(torch.complex64)},
        ]
        for index, suspect in enumerate(odd):
            answer = await open_mark(admin, commitment.id, commitment.version.key(), save(suspect))
            assert answer.status_code in (201, 422), (index, answer.text)

    async def test_a_layer_that_cannot_be_read_is_named(self, admin: httpx.AsyncClient, commitment: Registered) -> None:
        tensors = load(commitment.version.weights)
        own = tensors["conv2.weight"]
        odd = [own.to(torch.complex64), own.to(torch.int8), own * math.nan, own[:0], torch.zeros(80, 30, 5, 5)]
        for layer in odd:
            suspect = save({**tensors, "conv2.weight": layer})
            answer = await open_mark(admin, commitment.id, commitment.version.key(), suspect)
            expect.problem(answer, 422, "INVALID_INPUT", "suspect.conv2.weight")

    async def test_a_reference_that_was_tampered_with_is_not_the_suspects_fault(
        self, admin: httpx.AsyncClient, commitment: Registered, gateway: Gateway
    ) -> None:
        file = gateway.settings.home / "models" / "digits" / "1" / "weights.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\x00")
        answer = await open_mark(admin, commitment.id, commitment.version.key(), commitment.version.weights)
        problem = expect.problem(answer, 409, "CONFLICT", "weights_sha256")
        assert "version 1 of digits" in problem["detail"]

    async def test_an_architecture_that_was_taken_away_is_not_the_suspects_fault(
        self, admin: httpx.AsyncClient, commitment: Registered, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(networks._registry, "lenet5")
        answer = await open_mark(admin, commitment.id, commitment.version.key(), commitment.version.weights)
        problem = expect.problem(answer, 409, "CONFLICT", "commitment_id")
        assert "digits/1" in problem["detail"]
        assert "lenet5" in problem["detail"]

    async def test_one_that_is_not_there(self, admin: httpx.AsyncClient) -> None:
        for rest in ("", "/evidence", "/report"):
            unknown = await admin.get(f"{PATH}/vfy_{'0' * 32}{rest}")
            expect.problem(unknown, 404, "UNKNOWN_RESOURCE", "verification_id")


@on_sqlite
async def test_others_are_answered_while_a_suspect_is_read(
    admin: httpx.AsyncClient, stranger: httpx.AsyncClient, commitment: Registered, gateway: Gateway
) -> None:
    gate = threading.Event()
    reading = asyncio.create_task(gateway.verifier.run(gate.wait))
    verifying = asyncio.create_task(
        open_mark(admin, commitment.id, commitment.version.key(), commitment.version.weights)
    )
    try:
        picture = {"images": ("a.png", builders.saved())}
        assert (await stranger.post("/v1/models/digits/predict", files=picture)).status_code == 200
        assert (await admin.post("/v1/customers", json={"name": "Acme"})).status_code == 201, "no lock is held"
        assert not verifying.done(), "one at a time"
    finally:
        gate.set()
    await reading
    assert (await verifying).status_code == 201


@on_sqlite
async def test_only_an_owner_may_send_weights(
    admin: httpx.AsyncClient, commitment: Registered, app: FastAPI, settings: Settings, clock: SetClock
) -> None:
    large = bytes(settings.max_body_bytes + 1)
    answer = await open_mark(admin, commitment.id, commitment.version.key(), large)
    expect.problem(answer, 422, "INVALID_INPUT", "suspect")
    issuer = await mint_admin(settings, clock, Role.ISSUER)
    async with client_of(app, Authorization=f"Bearer {issuer}") as other:
        answer = await open_mark(other, commitment.id, commitment.version.key(), large)
        expect.problem(answer, 413, "BODY_TOO_LARGE", "body")
        answer = await open_mark(other, commitment.id, commitment.version.key(), b"")
        expect.problem(answer, 403, "ROLE_MISSING")
