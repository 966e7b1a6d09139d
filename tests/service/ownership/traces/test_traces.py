"""Traces over HTTP: whom they name, what is kept, what the evidence says and gives away, and what is refused."""

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI
from safetensors.torch import load, save
from signet_client import trace as checker

from models import networks
from models.checkpoints import Manifest, encode_weights
from models.training import initialise
from models.watermarks.signs import key_digest
from service.admin_keys.tables import Role
from service.gateway import Gateway
from service.jobs.workshop import Workshop
from service.keyring import public_key_document
from service.settings import Settings
from service.students.numbers import mark_key
from tests.service import expect
from tests.service.conftest import SetClock, client_of, mint_admin
from tests.service.ownership.traces.conftest import PATH, Customer, ask, averaged, work_off


def issuer_of(gateway: Gateway) -> bytes:
    return json.dumps(public_key_document(gateway.ring.public_keys())).encode()


async def done(admin: httpx.AsyncClient, workshop: Workshop, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    await work_off(workshop)
    trace: dict[str, Any] = (await admin.get(f"{PATH}/{answer.json()['id']}")).json()
    assert trace["state"] == "succeeded", trace
    return trace


class TestAStolenStudent:
    async def test_is_traced_to_its_customer_and_the_evidence_holds_without_us(
        self,
        admin: httpx.AsyncClient,
        three: list[Customer],
        workshop: Workshop,
        gateway: Gateway,
        settings: Settings,
        tmp_path: Path,
    ) -> None:
        bolt = three[1]
        answer = await ask(admin, bolt.weights)
        asked = answer.json()
        assert (asked["state"], asked["found"], asked["students"]) == ("queued", None, None)
        expect.problem(await admin.get(f"{PATH}/{asked['id']}/evidence"), 409, "CONFLICT", "trace_id")
        kept = settings.home / "jobs" / asked["job_id"]
        assert (kept / "suspect.safetensors").read_bytes() == bolt.weights
        trace = await done(admin, workshop, answer)
        assert not kept.exists()

        (found,) = trace["found"]
        assert (found["license_id"], found["student_id"]) == (bolt.license_id, bolt.student_id)
        assert (found["customer_name"], found["finding"], found["disclosed"]) == ("Bolt", "named", True)
        assert f"/v1/licenses/{bolt.license_id}/reissue" in found["advice"]
        assert found["log10_p_mark"] < -20
        assert found["accuracy"] > 0.5
        assert trace["suspect_sha256"] == hashlib.sha256(bolt.weights).hexdigest()
        assert (await admin.get(PATH, params={"model": "digits"})).json()["items"] == [trace]
        assert (await admin.get(PATH, params={"model": "other"})).json()["items"] == []
        license = (await admin.get(f"/v1/licenses/{bolt.license_id}")).json()
        assert license["status"] == "active"  # nothing happens to it by itself

        evidence = (await admin.get(f"{PATH}/{trace['id']}/evidence")).content
        steps = list(checker.check(evidence, issuer_of(gateway), bolt.weights))
        assert all(holds for holds, _ in steps), steps
        files = {"e.json": evidence, "issuer.pub": issuer_of(gateway), "s.safetensors": bolt.weights}
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        command = [sys.executable, "-I", checker.__file__, *(str(tmp_path / name) for name in files)]
        run = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert f"the verdict is: {bolt.license_id} named" in run.stdout
        for other in (three[0], three[2]):
            assert other.license_id.encode() not in evidence
            assert other.student_id.encode() not in evidence

        page = await admin.get(f"{PATH}/{trace['id']}/report")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "gives a serial number away" in page.text
        assert "<strong>Bolt</strong>" in page.text
        assert page.text.count('<circle class="own"') == 1
        assert page.text.count('<circle class="other"') == 2

    async def test_is_traced_by_inputs_that_the_owner_gives(
        self, admin: httpx.AsyncClient, three: list[Customer], workshop: Workshop, digits: Any
    ) -> None:
        probe = {
            "inputs": torch.from_numpy(digits.test.images[:40]),
            "labels": torch.from_numpy(digits.test.labels[:40]),
        }
        trace = await done(admin, workshop, await ask(admin, three[0].weights, save(probe), version="1"))
        assert trace["probe"] == "uploaded"
        assert [each["license_id"] for each in trace["found"]] == [three[0].license_id]

    async def test_two_that_were_averaged_are_traced_to_both(
        self, admin: httpx.AsyncClient, three: list[Customer], workshop: Workshop, gateway: Gateway
    ) -> None:
        trace = await done(admin, workshop, await ask(admin, averaged(three[0].weights, three[2].weights)))
        named = {each["license_id"] for each in trace["found"] if each["finding"] == "named"}
        assert named == {three[0].license_id, three[2].license_id}
        evidence = (await admin.get(f"{PATH}/{trace['id']}/evidence")).content
        assert all(holds for holds, _ in checker.check(evidence, issuer_of(gateway)))


class TestAStudentThatTheWorkerMade:
    async def test_bears_the_mark_that_its_manifest_fixes(
        self, admin: httpx.AsyncClient, served: str, workshop: Workshop, settings: Settings
    ) -> None:
        customer = (await admin.post("/v1/customers", json={"name": "Acme"})).json()
        body = {"customer_id": customer["id"], "model": served, "credential": "serial_number", "student": "own"}
        issued = (await admin.post("/v1/licenses", json=body)).json()
        await work_off(workshop)
        folder = settings.home / "students" / issued["student"]["id"]
        trace = await done(admin, workshop, await ask(admin, (folder / "weights.safetensors").read_bytes()))
        assert [each["license_id"] for each in trace["found"]] == [issued["id"]]
        assert trace["found"][0]["log10_p_mark"] < -20
        manifest = Manifest.from_bytes((folder / "manifest.json").read_bytes())
        assert manifest.mark_sha256 == key_digest(mark_key(workshop.ring, issued["student"]["id"]))


class TestAnInnocentNetwork:
    async def test_names_nobody_and_gives_nothing_away(
        self, admin: httpx.AsyncClient, three: list[Customer], workshop: Workshop, gateway: Gateway
    ) -> None:
        network = networks.build("dsn_mnist", {"width": 0.125})
        initialise(network, 77)
        trace = await done(admin, workshop, await ask(admin, encode_weights(network)))
        assert trace["found"] == []
        evidence = (await admin.get(f"{PATH}/{trace['id']}/evidence")).content
        steps = list(checker.check(evidence, issuer_of(gateway)))
        assert all(holds for holds, _ in steps)
        assert steps[-1][1] == "the verdict is: nobody named"
        assert json.loads(evidence)["discloses"] == []
        assert "Nobody is named" in (await admin.get(f"{PATH}/{trace['id']}/report")).text


class TestTamperedEvidence:
    async def test_does_not_pass(
        self, admin: httpx.AsyncClient, three: list[Customer], workshop: Workshop, gateway: Gateway
    ) -> None:
        trace = await done(admin, workshop, await ask(admin, three[0].weights))
        evidence = json.loads((await admin.get(f"{PATH}/{trace['id']}/evidence")).content)

        def resigned(**changes: Any) -> bytes:
            """As an issuer who lies would sign it."""
            from signet_client.canonical import to_json

            from service.ownership.evidence import signed

            facts = {name: value for name, value in (evidence | changes).items() if name not in ("kid", "signature")}
            return to_json(signed(gateway.ring, checker.TRACE, facts))

        def holds(document: bytes) -> bool:
            return all(good for good, _ in checker.check(document, issuer_of(gateway)))

        assert holds(resigned())
        (found,) = evidence["found"]
        mark, opened, null = found["mark"], found["opened"], evidence["null"]
        lies: list[dict[str, Any]] = [
            {"null": null | {"seed": "00" * 32}},
            {"null": null | {"draws": null["draws"] + 1}},
            {"adjustments": evidence["adjustments"] | {"students": 1}},
            {"found": [found | {"at_least": 0, "log10_p_stamp": -9.0}]},
            {"found": [found | {"mark": mark | {"agreeing": mark["compared"]}}]},
            {"found": [found | {"license": three[1].license_id}]},
            {"found": [found | {"opened": opened | {"number": "00" * 8}}]},
            {"found": [found | {"opened": opened | {"mark_key": "A" * 43}}]},
            {"discloses": []},
            {"verdict": "nobody named"},
        ]
        for lie in lies:
            assert not holds(resigned(**lie)), lie
        unsigned = json.dumps(evidence | {"model": "other/1"}, sort_keys=True, separators=(",", ":")).encode()
        assert not holds(unsigned)


class TestBadInput:
    async def test_names_the_part_and_asks_for_no_job(
        self, admin: httpx.AsyncClient, three: list[Customer], settings: Settings
    ) -> None:
        weights = three[0].weights
        nan = save(
            {name: tensor * (torch.nan if name == "head.0.bias" else 1) for name, tensor in load(weights).items()}
        )
        one_class = save({"inputs": torch.zeros(4, 1, 28, 28), "labels": torch.zeros(4).long()})
        refused = [
            (await ask(admin, weights[:-50]), "suspect"),
            (await ask(admin, b"not weights"), "suspect"),
            (await ask(admin, encode_weights(networks.build("lenet5", {}))), "suspect.conv1.bias"),
            (await ask(admin, nan), "suspect.head.0.bias"),
            (await ask(admin, weights, b"no probe"), "probe"),
            (await ask(admin, weights, one_class), "probe"),
            (await ask(admin, weights, save({"inputs": torch.zeros(4, 1, 8, 8)})), "probe.inputs"),
            (await ask(admin, weights, version="9"), "version"),
            (await ask(admin, weights, model="other"), "model"),
            (await ask(admin, weights, draws="1"), "draws"),
        ]
        for answer, field in refused:
            expect.problem(answer, 422, "INVALID_INPUT", field)
        assert (await admin.get(PATH)).json()["items"] == []
        assert not any((settings.home / "jobs").glob("*")) if (settings.home / "jobs").exists() else True

    @pytest.mark.usefixtures("model")
    async def test_a_version_without_students_is_a_conflict(self, admin: httpx.AsyncClient) -> None:
        expect.problem(await ask(admin, b""), 409, "CONFLICT", "credential")

    async def test_is_the_owners_alone(
        self, app: FastAPI, settings: Settings, clock: SetClock, admin: httpx.AsyncClient
    ) -> None:
        key = await mint_admin(settings, clock, Role.ISSUER)
        async with client_of(app, Authorization=f"Bearer {key}") as issuer:
            assert (await ask(issuer, b"")).status_code == 403
            assert (await issuer.get(PATH)).status_code == 403


class TestACancelledTrace:
    async def test_leaves_nothing_of_the_suspect(
        self, admin: httpx.AsyncClient, three: list[Customer], workshop: Workshop, settings: Settings
    ) -> None:
        asked = (await ask(admin, three[0].weights)).json()
        assert (await admin.post(f"/v1/jobs/{asked['job_id']}/cancel")).status_code == 200
        from service.jobs import running

        await running.clear(workshop, asked["job_id"])
        assert not (settings.home / "jobs" / asked["job_id"]).exists()
        assert (await admin.get(f"{PATH}/{asked['id']}")).json()["state"] == "cancelled"
