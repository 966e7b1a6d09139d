"""A gateway with three customers, a student each, and a worker in the test's own process."""

from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import torch
from safetensors.torch import load, save
from sqlalchemy import select

from models import checkpoints, data
from models.checkpoints import Manifest
from service.catalogue.artefacts import Artefact
from service.catalogue.tables import ModelVersion
from service.gateway import Gateway
from service.ids import new_id
from service.keyring import KeyRing, write_private
from service.licenses.tables import License
from service.settings import Settings
from service.students import distilling, numbers
from service.students.store import StudentFiles
from service.students.tables import Student, StudentState
from service.students.teaching import Lesson
from tests.service.conftest import NOW, artefact_files
from tests.service.students.conftest import work_off, workshop
from tests.service.students.teachers import with_students

PATH = "/v1/ownership/traces"
__all__ = ["work_off", "workshop"]


@pytest.fixture(scope="session")
def small_teacher(artefact: Artefact, digits: data.Dataset) -> Artefact:
    """The digits model, whose students are tiny."""
    schedule = {"epochs": 8, "batch_size": 50, "learning_rate": 6e-3}
    return with_students(artefact, digits, network_config={"width": 0.125}, **schedule)


@dataclass(frozen=True)
class Customer:
    """A customer with a student."""

    license_id: str
    student_id: str
    name: str
    statement: bytes
    weights: bytes
    manifest: Manifest


@pytest.fixture(scope="session")
def ring() -> KeyRing:
    """One for all tests here: the students hang on it."""
    return KeyRing.generate()


@pytest.fixture
def settings(settings: Settings, ring: KeyRing) -> Settings:
    write_private(settings.home / "keys" / "ring.json", ring.to_json())
    return settings


@pytest.fixture(scope="session")
def made(small_teacher: Artefact, ring: KeyRing, tmp_path_factory: pytest.TempPathFactory) -> list[Customer]:
    """Acme, Bolt and Cog have a student each, made once as the worker makes them."""
    return [_made(small_teacher, ring, name, tmp_path_factory.mktemp(name)) for name in ("Acme", "Bolt", "Cog")]


def _made(teacher: Artefact, ring: KeyRing, name: str, folder: Path) -> Customer:
    license_id, student_id, spec = new_id("lic"), new_id("stu"), teacher.manifest.input_spec
    stamp = numbers.policy_of(teacher.manifest).stamp(spec)
    calibration = checkpoints.decode_calibration(teacher.calibration, spec)
    number = numbers.make(ring, license_id, "digits/1", NOW, stamp, calibration)
    key = numbers.mark_key(ring, student_id)
    lesson = Lesson.of(teacher, torch.from_numpy(number.bits), (), key)
    weights = checkpoints.encode_weights(lesson.teach(folder / "checkpoint", lambda done, total: None))
    student = Student(id=student_id, created_at=NOW)
    manifest = distilling.manifest_of(lesson, student, weights, {})
    signed = checkpoints.sign_manifest(manifest, ring.active_issuer, ring.issuer)
    return Customer(license_id, student_id, name, number.statement, weights, signed)


@pytest.fixture
async def served(admin: httpx.AsyncClient, small_teacher: Artefact) -> str:
    """The version that makes students."""
    files = artefact_files(small_teacher) | {"distillation": ("d.safetensors", small_teacher.distillation or b"")}
    response = await admin.post("/v1/models", files=files)
    assert response.status_code == 201, response.text
    return "digits"


@pytest.fixture
async def three(admin: httpx.AsyncClient, served: str, gateway: Gateway, made: list[Customer]) -> list[Customer]:
    """These customers and students, registered: rows as the worker leaves them."""
    for each in made:
        customer = (await admin.post("/v1/customers", json={"name": each.name})).json()
        body = {"customer_id": customer["id"], "model": served, "credential": "key"}
        like = (await admin.post("/v1/licenses", json=body)).json()["id"]
        files = StudentFiles(each.manifest, each.weights)
        gateway.students.write(each.student_id, files)
        async with gateway.sessions.begin() as session:
            license = await session.get_one(License, like)
            columns = {each.key: getattr(license, each.key) for each in License.__mapper__.column_attrs}
            session.add(License(**columns | {"id": each.license_id, "student_id": each.student_id}))
            await session.flush()
            version = (await session.scalars(select(ModelVersion))).one()
            session.add(
                Student(
                    id=each.student_id,
                    version_id=version.id,
                    license_id=each.license_id,
                    statement=each.statement,
                    issuer_key_id=gateway.ring.active_issuer,
                    state=StudentState.READY,
                    digest=files.digest,
                    job_id=new_id("job"),
                    overlap_hours=0,
                    created_at=NOW,
                )
            )
    return made


async def ask(admin: httpx.AsyncClient, suspect: bytes, probe: bytes | None = None, **form: str) -> httpx.Response:
    """A trace of these weights, against few random numbers."""
    files = {"suspect": ("suspect.safetensors", suspect)}
    if probe is not None:
        files["probe"] = ("probe.safetensors", probe)
    return await admin.post(PATH, data={"model": "digits", "draws": "800"} | form, files=files)


def averaged(first: bytes, second: bytes) -> bytes:
    """What two colluders make of their students."""
    other = load(second)
    return save({name: (tensor + other[name]) / 2 for name, tensor in load(first).items()})
