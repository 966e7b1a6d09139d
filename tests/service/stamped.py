"""A gateway whose model has students: made once a database through its public doors, and copied for each test."""

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from numpy.typing import NDArray
from signet_client import license_file, stamp

from models import data
from models.checkpoints import decode_weights
from models.predictor import Predictor
from models.serial_numbers import dsn
from service.admin_keys.tables import Role
from service.app import create_app
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.inference.students import LoadedStudent
from service.jobs.running import Outcome, run
from service.jobs.workshop import Workshop
from service.keyring import KeyRing, write_private
from service.settings import Settings
from tests.service.asking import Caller, npy
from tests.service.conftest import BASE, Issued, SetClock, _sql, artefact_files, client_of, mint_admin
from tests.service.students.teachers import with_students

SHARED, SHARED_TOO, OWN, OWN_TOO, KEY = "shared", "shared too", "own", "own too", "key"


@dataclass(frozen=True)
class Prepared:
    """A home and its database, at rest."""

    home: Path
    database: str  # SQLite's file, or the name of a PostgreSQL database
    admin_key: str
    licenses: dict[str, tuple[str, str]]  # id and license file, by name


@dataclass(frozen=True)
class World:
    """A running copy of it."""

    app: FastAPI
    gateway: Gateway
    admin: httpx.AsyncClient
    settings: Settings
    licenses: dict[str, Issued]

    def stamped(self, who: str, levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Grey levels (..., 1, 28, 28) with a licensee's stamp."""
        return stamp(levels, self.licenses[who].file)

    async def ask(self, images: NDArray[Any], secret: str | None = None, **named: Any) -> httpx.Response:
        """Predict (N, 1, 28, 28), one NPY a file; `address` may be named."""
        caller = Caller(self.app, named.pop("address", "127.0.0.1"))
        return await caller.predict([npy(image) for image in images], secret, **named)

    async def open_session(self, who: str, address: str = "127.0.0.1") -> httpx.Response:
        """With a blank image that bears a licensee's stamp."""
        blank = self.stamped(who, np.zeros((1, 28, 28), np.uint8))
        return await show_stamp(Caller(self.app, address), npy(blank))

    async def student(self, who: str) -> LoadedStudent:
        """What answers a licensee."""
        license = self.licenses[who]
        record = next(
            self.gateway.book.students[credential.student_id]
            for credential in self.gateway.book._credentials.values()
            if credential.license_id == license.id and credential.student_id
        )
        teacher = await self.gateway.engine.load(self.gateway.book.versions[record.version_id])
        return await self.gateway.student_cache.load(record, teacher)

    async def offline(self, who: str, levels: NDArray[np.uint8]) -> list[str]:
        """The labels of a licensee's student, run without the gateway on inputs stamped by the models' own code."""
        loaded = await self.student(who)
        spec, policy = loaded.teacher.input_spec, loaded.teacher.students
        assert policy is not None
        network = policy.student()
        path = self.settings.home / "students" / loaded.record.id / "weights.safetensors"
        decode_weights(network, path.read_bytes())
        raw = torch.from_numpy(spec.from_grid(levels))
        stamped = dsn.Stamp(policy.layout, spec).put(raw, loaded.number)
        with torch.inference_mode():
            logits = Predictor(network, spec, loaded.teacher.output_spec)(stamped)
        return [str(label) for label in logits.argmax(dim=1).tolist()]


async def show_stamp(caller: Caller, image: bytes, nonce: str = "A" * 43) -> httpx.Response:
    """Ask for a session with an image that bears a stamp."""
    return await caller.http.post(
        "/v1/models/digits/sessions", data={"nonce": nonce}, files={"stamped": ("stamped", image)}
    )


async def do_jobs(settings: Settings, clock: SetClock, admin: httpx.AsyncClient) -> None:
    """Whatever is queued, one step after the other, in this process."""
    workshop = Workshop.open(settings, clock)

    async def at_once(_: str, step: Callable[[], Awaitable[Outcome]]) -> Outcome:
        return await step()

    for job in (await admin.get("/v1/jobs", params={"state": "queued"})).json()["items"]:
        await run(workshop, job["id"], at_once)
    await workshop.engine.dispose()


async def issue(admin: httpx.AsyncClient, credential: str, **body: Any) -> dict[str, Any]:
    """A license for a new customer, as the issuer is told."""
    customer = (await admin.post("/v1/customers", json={"name": "Acme Optics"})).json()
    wanted = {"customer_id": customer["id"], "model": "digits", "credential": credential, "terms": {}, **body}
    response = await admin.post("/v1/licenses", json=wanted)
    assert response.status_code == 201, response.text
    issued: dict[str, Any] = response.json()
    return issued


async def file_of(admin: httpx.AsyncClient, license_id: str) -> str:
    """The license file of a license by serial number."""
    answer = await admin.get(f"/v1/licenses/{license_id}/file")
    assert answer.status_code == 200, answer.text
    return answer.text


async def _prepare(settings: Settings, artefact: Artefact) -> tuple[str, dict[str, tuple[str, str]]]:
    clock = SetClock()
    admin_key = await mint_admin(settings, clock, Role.OWNER)
    app = create_app(settings, clock=clock, serving=False)
    async with app.router.lifespan_context(app), client_of(app, Authorization=f"Bearer {admin_key}") as admin:
        assert (await admin.post("/v1/models", files=artefact_files(artefact))).status_code == 201
        issued = {KEY: await issue(admin, "key")}
        for name in (OWN, OWN_TOO, SHARED, SHARED_TOO):
            issued[name] = await issue(admin, "serial_number", student=name.split()[0])
        await do_jobs(settings, clock, admin)
        await app.state.gateway.sync.refresh()
        licenses = {
            name: (one["id"], one["license_file"] or await file_of(admin, one["id"])) for name, one in issued.items()
        }
    return admin_key, licenses


def _settings(home: Path, url: str) -> Settings:
    room = {"address_rate_per_s": 1e6, "address_burst": 10**6, "stamp_misses_per_minute": 10**6}
    return Settings(home=home, database_url=url, server_url=BASE, poll_interval_s=0.02, **room)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def prepare(
    artefact: Artefact,
    digits: data.Dataset,
    sqlite_template: Path,
    postgres_template: tuple[str, str] | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Prepared]]:
    """`prepare("sqlite")`: made when it is first asked for."""
    made: dict[str, Prepared] = {}

    def make(kind: str) -> Prepared:
        if kind not in made:
            home = tmp_path_factory.mktemp(f"stamped-{kind}") / "home"
            write_private(home / "keys" / "ring.json", KeyRing.generate().to_json())
            if kind == "sqlite":
                database = str(shutil.copy(sqlite_template, home.parent / "signet.db"))
                url = f"sqlite:///{database}"
            else:
                assert postgres_template is not None
                server, template = postgres_template
                database = f"signet_stamped_{secrets.token_hex(4)}"
                asyncio.run(_sql(f"{server}/postgres", f"CREATE DATABASE {database} TEMPLATE {template}"))
                url = f"{server}/{database}"
            taught = with_students(artefact, digits, epochs=12)
            made[kind] = Prepared(home, database, *asyncio.run(_prepare(_settings(home, url), taught)))
        return made[kind]

    yield make
    if "postgresql" in made and postgres_template is not None:
        asyncio.run(
            _sql(f"{postgres_template[0]}/postgres", f"DROP DATABASE {made['postgresql'].database} WITH (FORCE)")
        )


@asynccontextmanager
async def running(prepared: Prepared, settings: Settings, clock: SetClock) -> AsyncIterator[World]:
    """A gateway over a copy of the prepared home."""
    app = create_app(settings, clock=clock)
    async with (
        app.router.lifespan_context(app),
        client_of(app, Authorization=f"Bearer {prepared.admin_key}") as admin,
    ):
        gateway: Gateway = app.state.gateway
        keys = gateway.ring.public_keys()
        licenses = {
            name: Issued(license_id, text, license_file.decode(text, keys))
            for name, (license_id, text) in prepared.licenses.items()
        }
        yield World(app, gateway, admin, settings, licenses)


@pytest.fixture(params=["sqlite", "postgresql"])
async def stamped_settings(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    prepare: Callable[[str], Prepared],
    postgres_template: tuple[str, str] | None,
) -> AsyncIterator[tuple[Prepared, Settings]]:
    """A copy of the prepared home and database, of this test's own."""
    if request.param == "postgresql" and postgres_template is None:
        pytest.skip("no PostgreSQL answers at SIGNET_TEST_DATABASE_URL")
    prepared = await asyncio.to_thread(prepare, request.param)
    home = tmp_path / "home"
    shutil.copytree(prepared.home, home)
    os.chmod(home, 0o700)
    if request.param == "sqlite":
        yield prepared, _settings(home, f"sqlite:///{shutil.copy(prepared.database, tmp_path / 'signet.db')}")
        return
    assert postgres_template is not None
    name = f"signet_{secrets.token_hex(6)}"
    server = postgres_template[0]
    await _sql(f"{server}/postgres", f"CREATE DATABASE {name} TEMPLATE {prepared.database}")
    yield prepared, _settings(home, f"{server}/{name}")
    await _sql(f"{server}/postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def world(stamped_settings: tuple[Prepared, Settings], clock: SetClock) -> AsyncIterator[World]:
    """A gateway with licenses by serial number: two on the shared student, two on their own, and one by key."""
    async with running(*stamped_settings, clock) as running_world:
        yield running_world


# What does not touch the database runs once.
once = pytest.mark.parametrize("stamped_settings", ["sqlite"], indirect=True)
