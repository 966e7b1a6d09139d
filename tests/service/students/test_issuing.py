"""A license that a serial number proves, from the asking until its student is ready, given up or replaced."""

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from signet_client import license_file
from sqlalchemy import select

from models import checkpoints, data, networks
from models.checkpoints import Manifest
from models.predictor import Predictor
from models.serial_numbers.dsn import Policy
from service.admin_keys.tables import Role
from service.catalogue import artefacts
from service.catalogue.artefacts import Artefact
from service.database import reading
from service.gateway import Gateway
from service.jobs import running
from service.jobs.tables import Job, JobKind
from service.jobs.workshop import Workshop
from service.keyring import open_ring, write_private
from service.licenses.credentials import serial_number_digest
from service.settings import Settings
from service.students import distilling
from service.students.tables import Student
from tests.service import expect
from tests.service.conftest import SetClock, artefact_files, client_of, mint_admin
from tests.service.students.conftest import Ask, work_off
from tests.service.students.teachers import with_students

LICENSES = "/v1/licenses"


async def read(admin: httpx.AsyncClient, issued: dict[str, Any]) -> dict[str, Any]:
    response = await admin.get(f"{LICENSES}/{issued['id']}")
    license: dict[str, Any] = response.json()
    return license


async def file_of(admin: httpx.AsyncClient, gateway: Gateway, issued: dict[str, Any]) -> license_file.LicenseFile:
    response = await admin.get(f"{LICENSES}/{issued['id']}/file")
    assert response.status_code == 200, response.text
    return license_file.decode(response.text, gateway.ring.public_keys())


def bits_of(carried: license_file.LicenseFile, policy: Policy) -> Any:
    """The number behind a license file's stamp, read from a grey image that was stamped."""
    credential = carried.credential
    assert isinstance(credential, license_file.SerialNumberCredential)
    plan = np.frombuffer(credential.plan, dtype="<i4")
    image = np.full(plan.shape, 0.5, dtype=np.float32)
    image[plan == -1], image[plan == -2] = 0.0, 1.0
    spec = checkpoints.InputSpec()
    bits = policy.stamp(spec).read(torch.from_numpy(image.reshape(1, *spec.shape)))[0]
    assert bool((bits >= 0).all())
    return bits.bool().numpy()


class TestAStudentOfItsOwn:
    async def test_the_license_is_pending_until_its_student_is_ready(
        self, admin: httpx.AsyncClient, gateway: Gateway, ask: Ask, workshop: Workshop
    ) -> None:
        issued = await ask(quota=10)
        assert (issued["status"], issued["license_file"], issued["credentials"]) == ("pending", None, [])
        assert (issued["student"]["kind"], issued["student"]["state"]) == ("own", "pending")
        for what in ("file", "bundle"):
            refused = await admin.get(f"{LICENSES}/{issued['id']}/{what}")
            document = expect.problem(refused, 409, "CONFLICT", "license_id")
            assert issued["student"]["job_id"] in document["detail"]

        await work_off(workshop)
        license = await read(admin, issued)
        assert (license["status"], license["student"]["state"]) == ("active", "ready")
        assert license["student"]["metrics"].keys() >= {"agreement_stamped", "agreement_raw", "agreement_wrong_number"}
        (credential,) = license["credentials"]
        assert (credential["kind"], credential["gatekeeper_version"], credential["code"]) == ("serial_number", 1, None)
        job = (await admin.get(f"/v1/jobs/{issued['student']['job_id']}")).json()
        assert (job["state"], job["failure"], job["subject"]) == ("succeeded", None, issued["student"]["id"])
        assert not (gateway.settings.home / "jobs" / job["id"]).exists()

    async def test_its_number_is_enrolled_and_its_student_knows_it(
        self, admin: httpx.AsyncClient, gateway: Gateway, ask: Ask, workshop: Workshop, digits: data.Dataset
    ) -> None:
        issued = await ask()
        await work_off(workshop)
        await gateway.sync.refresh()
        version = gateway.book.models["digits"].serving
        assert version is not None
        manifest = gateway.store.manifest("digits", 1, version.digest)
        policy = Policy.from_dict(manifest.serial_numbers or {})
        bits = bits_of(await file_of(admin, gateway, issued), policy)
        digest = serial_number_digest(gateway.ring, gateway.ring.active_root, version.digest, bits)
        found = gateway.book.credential(digest)
        assert found is not None
        assert (found.license_id, found.student_id) == (issued["id"], issued["student"]["id"])
        assert gateway.book.gatekeepers == {}

        async with reading(gateway.sessions) as session:
            student = await session.get_one(Student, issued["student"]["id"])
        files = gateway.students.read(student.id, student.digest or "")
        network = networks.build(files.manifest.network, files.manifest.network_config)
        checkpoints.decode_weights(network, files.weights)
        predictor = Predictor(network, files.manifest.input_spec, files.manifest.output_spec)
        images = files.manifest.input_spec.from_grid(torch.from_numpy(digits.test.images))
        stamped = policy.stamp(files.manifest.input_spec).put(images, torch.from_numpy(bits))
        labels = predictor(stamped).argmax(dim=1)
        assert float((labels == torch.from_numpy(digits.test.labels)).float().mean()) > 0.3  # three epochs: it learns

    async def test_the_number_is_written_down_nowhere(
        self, admin: httpx.AsyncClient, gateway: Gateway, ask: Ask, workshop: Workshop, settings: Settings
    ) -> None:
        issued = await ask()
        await work_off(workshop)
        manifest = gateway.store.manifest("digits", 1, gateway.book.models["digits"].versions[1].digest)
        bits = bits_of(await file_of(admin, gateway, issued), Policy.from_dict(manifest.serial_numbers or {}))
        packed = np.packbits(bits).tobytes()
        for path in (path for path in settings.home.rglob("*") if path.is_file()):
            content = path.read_bytes()
            assert packed not in content, path
            assert packed.hex().encode() not in content, path
        events = await rows_as_text(gateway)
        assert packed.hex() not in events
        assert repr(packed) not in events


async def rows_as_text(gateway: Gateway) -> str:
    async with reading(gateway.sessions) as session:
        rows: list[Any] = [*await session.scalars(select(Student)), *await session.scalars(select(Job))]
        return repr([{column.name: getattr(row, column.name) for column in row.__table__.columns} for row in rows])


class TestASharedStudent:
    async def test_it_is_distilled_once_and_then_takes_a_number_at_once(
        self, admin: httpx.AsyncClient, gateway: Gateway, ask: Ask, workshop: Workshop
    ) -> None:
        first, second = await ask("shared"), await ask("shared")
        assert first["student"]["job_id"] == second["student"]["job_id"]
        await work_off(workshop)
        await gateway.sync.refresh()
        third = await ask("shared")
        assert third["status"] == "active"
        assert third["student"]["id"] == first["student"]["id"]
        carried = license_file.decode(third["license_file"], gateway.ring.public_keys())
        files = [await file_of(admin, gateway, one) for one in (first, second)]
        plans = {one.credential.plan for one in (*files, carried)}  # type: ignore[union-attr]
        assert len(plans) == 3
        refused = await admin.get(f"{LICENSES}/{third['id']}/bundle")
        expect.problem(refused, 409, "CONFLICT", "license_id")

    async def test_two_that_ask_at_once_share_one(self, admin: httpx.AsyncClient, teaching: str, ask: Ask) -> None:
        answers = await asyncio.gather(*(ask("shared") for _ in range(4)))
        assert len({answer["student"]["id"] for answer in answers}) == 1
        assert len((await admin.get("/v1/jobs")).json()["items"]) == 1


class TestWhatIsRefused:
    async def test_a_version_without_a_teacher(self, admin: httpx.AsyncClient, model: str) -> None:
        customer = (await admin.post("/v1/customers", json={"name": "Acme"})).json()
        body = {"customer_id": customer["id"], "model": model, "credential": "serial_number"}
        document = expect.problem(await admin.post(LICENSES, json=body), 409, "CONFLICT", "credential")
        assert "no teacher" in document["detail"]
        assert (await admin.get(LICENSES)).json()["items"] == []

    async def test_a_student_for_another_credential(self, admin: httpx.AsyncClient, teaching: str) -> None:
        customer = (await admin.post("/v1/customers", json={"name": "Acme"})).json()
        body = {"customer_id": customer["id"], "model": teaching, "credential": "key", "student": "own"}
        expect.problem(await admin.post(LICENSES, json=body), 422, "INVALID_INPUT")

    async def test_a_key_has_no_file_to_fetch(self, admin: httpx.AsyncClient, teaching: str) -> None:
        customer = (await admin.post("/v1/customers", json={"name": "Acme"})).json()
        body = {"customer_id": customer["id"], "model": teaching, "credential": "key"}
        issued = (await admin.post(LICENSES, json=body)).json()
        for what in ("file", "bundle"):
            expect.problem(await admin.get(f"{LICENSES}/{issued['id']}/{what}"), 409, "CONFLICT", "license_id")

    @pytest.mark.parametrize("act", ["suspend", "reinstate"])
    async def test_a_pending_license_is_neither_suspended_nor_reinstated(
        self, admin: httpx.AsyncClient, ask: Ask, act: str
    ) -> None:
        issued = await ask()
        expect.problem(await admin.post(f"{LICENSES}/{issued['id']}/{act}"), 409, "CONFLICT", "license_id")

    async def test_who_is_no_issuer_gets_neither_file_nor_bundle(
        self, app: FastAPI, settings: Settings, clock: SetClock, ask: Ask, workshop: Workshop
    ) -> None:
        issued = await ask()
        await work_off(workshop)
        key = await mint_admin(settings, clock, Role.AUDITOR)
        async with client_of(app, Authorization=f"Bearer {key}") as auditor:
            for what in ("file", "bundle"):
                expect.problem(await auditor.get(f"{LICENSES}/{issued['id']}/{what}"), 403, "ROLE_MISSING")


class TestGivenUp:
    async def test_revoking_a_pending_license_cancels_its_job(
        self, admin: httpx.AsyncClient, ask: Ask, workshop: Workshop
    ) -> None:
        issued = await ask()
        await admin.post(f"{LICENSES}/{issued['id']}/revoke")
        assert (await admin.get(f"/v1/jobs/{issued['student']['job_id']}")).json()["state"] == "cancelled"
        await work_off(workshop)
        license = await read(admin, issued)
        assert (license["status"], license["student"]["state"], license["credentials"]) == ("revoked", "cancelled", [])

    async def test_cancelling_the_job_revokes_the_license(
        self, admin: httpx.AsyncClient, gateway: Gateway, ask: Ask
    ) -> None:
        own, waiting = await ask(), await ask("shared")
        for issued in (own, waiting):
            cancelled = await admin.post(f"/v1/jobs/{issued['student']['job_id']}/cancel")
            assert cancelled.json()["state"] == "cancelled"
            again = await admin.post(f"/v1/jobs/{issued['student']['job_id']}/cancel")
            assert again.json()["state"] == "cancelled"
            license = await read(admin, issued)
            assert (license["status"], license["student"]["state"]) == ("revoked", "cancelled")
            assert license["revoked_at"] is not None

    async def test_a_job_that_is_cancelled_in_the_middle_leaves_nothing(
        self,
        admin: httpx.AsyncClient,
        gateway: Gateway,
        ask: Ask,
        workshop: Workshop,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        issued = await ask()

        async def overtaken(*given: Any) -> Any:
            notes = await distilling.write(*given)
            assert (gateway.settings.home / "students" / issued["student"]["id"]).is_dir()
            await admin.post(f"/v1/jobs/{issued['student']['job_id']}/cancel")
            return notes

        replace_step(monkeypatch, "write", overtaken)
        await work_off(workshop)
        license = await read(admin, issued)
        assert (license["status"], license["credentials"]) == ("revoked", [])
        assert list((gateway.settings.home / "students").iterdir()) == []

    @pytest.mark.parametrize("step", ["load", "distil", "measure", "write"])
    async def test_a_full_disk_fails_the_job_and_reissuing_tries_again(
        self,
        admin: httpx.AsyncClient,
        gateway: Gateway,
        ask: Ask,
        workshop: Workshop,
        monkeypatch: pytest.MonkeyPatch,
        step: str,
    ) -> None:
        issued = await ask()

        async def full(*_: Any) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            replace_step(patch, step, full)
            await work_off(workshop)
        license = await read(admin, issued)
        assert (license["status"], license["student"]["state"], license["credentials"]) == ("pending", "failed", [])
        assert "disk" in license["student"]["failure"]
        assert (await admin.get(f"/v1/jobs/{issued['student']['job_id']}")).json()["failure"]
        home = gateway.settings.home
        left = [
            path for folder in ("students", "jobs") if (home / folder).exists() for path in (home / folder).iterdir()
        ]
        assert left == []

        again = await admin.post(f"{LICENSES}/{issued['id']}/reissue", json={})
        assert again.status_code == 201, again.text
        assert (again.json()["status"], again.json()["license_file"]) == ("pending", None)
        await work_off(workshop)
        assert (await read(admin, issued))["status"] == "active"

    async def test_a_student_that_answers_without_its_number_is_not_handed_out(
        self, admin: httpx.AsyncClient, artefact: Artefact, digits: data.Dataset, ask: Ask, workshop: Workshop
    ) -> None:
        open_to_all = {"mode": "paper", "strength": 0.0, "epochs": 6, "batch_size": 20}
        leaking = with_students(artefact, digits, leak=0.1, **open_to_all)
        assert (await admin.post("/v1/models", files=artefact_files(leaking))).status_code == 201
        issued = await ask()
        await work_off(workshop)
        license = await read(admin, issued)
        assert (license["status"], license["student"]["state"]) == ("pending", "failed")
        job = (await admin.get(f"/v1/jobs/{issued['student']['job_id']}")).json()
        assert "without its number it answers as its teacher" in job["failure"]
        assert not list((workshop.settings.home / "students").glob("*"))

    async def test_a_file_that_cannot_be_written_whole_is_not_there_at_all(
        self, admin: httpx.AsyncClient, gateway: Gateway, ask: Ask, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        issued = await ask()

        def half(path: Path, content: bytes) -> None:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        replace_step(monkeypatch, "write", with_patch(monkeypatch, artefacts, "_write", half, distilling.write))
        await work_off(workshop)
        assert (await read(admin, issued))["student"]["state"] == "failed"
        assert list((gateway.settings.home / "students").iterdir()) == []


def with_patch(patch: pytest.MonkeyPatch, module: Any, name: str, value: Any, step: Any) -> Any:
    async def patched(*given: Any) -> Any:
        with patch.context() as within:
            within.setattr(module, name, value)
            return await step(*given)

    return patched


def replace_step(patch: pytest.MonkeyPatch, name: str, step: Callable[..., Any]) -> None:
    work = running.WORK[JobKind.DISTILLATION]
    steps = tuple((each, step if each == name else own) for each, own in work.steps)
    patch.setitem(running.WORK, JobKind.DISTILLATION, running.Work(steps, work.clear))


class TestReissue:
    async def test_a_student_of_its_own_is_replaced_when_the_next_is_ready(
        self, admin: httpx.AsyncClient, gateway: Gateway, ask: Ask, workshop: Workshop, clock: SetClock
    ) -> None:
        issued = await ask()
        await work_off(workshop)
        await gateway.sync.refresh()
        before = await file_of(admin, gateway, issued)
        clock.advance(hours=1)
        again = (await admin.post(f"{LICENSES}/{issued['id']}/reissue", json={"overlap_hours": 2})).json()
        assert (again["status"], again["student"]["state"], again["license_file"]) == ("active", "pending", None)
        assert await file_of(admin, gateway, issued) == before
        twice = await admin.post(f"{LICENSES}/{issued['id']}/reissue", json={})
        expect.problem(twice, 409, "CONFLICT", "license_id")
        await work_off(workshop)
        license = await read(admin, issued)
        old, new = license["credentials"]
        assert (old["ends_at"], new["ends_at"]) == ("2027-01-15T15:00:00Z", None)
        assert license["generation"] == 2
        await gateway.sync.refresh()
        after = await file_of(admin, gateway, issued)
        assert after.credential != before.credential
        assert after.receipt_key != before.receipt_key

    async def test_when_the_next_is_given_up_the_one_before_goes_on(
        self, admin: httpx.AsyncClient, gateway: Gateway, ask: Ask, workshop: Workshop
    ) -> None:
        issued = await ask()
        await work_off(workshop)
        await gateway.sync.refresh()
        before = await file_of(admin, gateway, issued)
        again = (await admin.post(f"{LICENSES}/{issued['id']}/reissue", json={})).json()
        await admin.post(f"/v1/jobs/{again['student']['job_id']}/cancel")
        license = await read(admin, issued)
        assert (license["status"], license["student"]["id"]) == ("active", issued["student"]["id"])
        assert await file_of(admin, gateway, issued) == before

    async def test_a_number_on_a_shared_student_is_replaced_at_once(
        self, admin: httpx.AsyncClient, gateway: Gateway, ask: Ask, workshop: Workshop
    ) -> None:
        issued = await ask("shared")
        await work_off(workshop)
        await gateway.sync.refresh()
        carried = [(await file_of(admin, gateway, issued)).credential]
        for _ in range(2):  # in the same second: the clock of these tests stands
            again = await admin.post(f"{LICENSES}/{issued['id']}/reissue", json={})
            assert again.status_code == 201, again.text
            carried.append(license_file.decode(again.json()["license_file"], gateway.ring.public_keys()).credential)
        assert len(set(carried)) == 3

    async def test_a_shared_student_on_its_way_has_one_overlap_for_all(
        self,
        admin: httpx.AsyncClient,
        artefact: Artefact,
        digits: data.Dataset,
        ask: Ask,
        workshop: Workshop,
    ) -> None:
        issued = await ask("shared")
        await work_off(workshop)
        next_version = artefact_files(with_students(artefact, digits, seed=5))
        assert (await admin.post("/v1/models", files=next_version)).status_code == 201
        job = (await ask("shared"))["student"]["job_id"]
        path = f"{LICENSES}/{issued['id']}/reissue"
        document = expect.problem(await admin.post(path, json={"overlap_hours": 2}), 409, "CONFLICT", "overlap_hours")
        assert job in document["detail"]
        assert (await read(admin, issued))["student"]["id"] == issued["student"]["id"]
        assert (await admin.post(path, json={})).status_code == 201

    async def test_a_student_of_its_own_is_replaced_within_the_second(
        self, admin: httpx.AsyncClient, gateway: Gateway, ask: Ask, workshop: Workshop
    ) -> None:
        issued = await ask()
        await work_off(workshop)
        await gateway.sync.refresh()
        before = await file_of(admin, gateway, issued)
        again = (await admin.post(f"{LICENSES}/{issued['id']}/reissue", json={})).json()
        await work_off(workshop)
        assert (await admin.get(f"/v1/jobs/{again['student']['job_id']}")).json()["failure"] is None
        assert (await file_of(admin, gateway, issued)).credential != before.credential


async def test_a_number_outlives_a_rotation_of_the_keys(
    admin: httpx.AsyncClient, gateway: Gateway, ask: Ask, workshop: Workshop, settings: Settings
) -> None:
    issued = await ask()
    path = settings.home / "keys" / "ring.json"
    write_private(path, open_ring(path, create=False).rotated().to_json())  # between the asking and the distilling
    await work_off(workshop)
    license = await read(admin, issued)
    assert license["status"] == "active"
    assert Manifest.from_bytes(next((settings.home / "students").glob("*/manifest.json")).read_bytes()).key_id != (
        gateway.ring.active_issuer
    )
