"""A running gateway for every test: on SQLite and on PostgreSQL, over a home of its own, with a clock tests set."""

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import torch
from fastapi import FastAPI
from signet_client import license_file

from models import checkpoints, data, networks
from models.training import presets, train
from service import logs
from service.admin_keys.service import mint
from service.admin_keys.tables import Role
from service.app import create_app
from service.audit.service import Act
from service.catalogue.artefacts import Artefact
from service.database import create_engine, sessions_of
from service.gateway import Gateway
from service.keyring import KeyRing, open_ring, write_private
from service.migrating import migrate
from service.settings import Settings

NOW = datetime(2027, 1, 15, 12, 0, tzinfo=UTC)
BASE = "http://gateway.test"


torch.set_num_threads(1)
logs.configure("production")
os.environ["SIGNET_ENGINES"] = "eager"  # looking for a faster one takes seconds, and is tested where it is


@dataclass
class SetClock:
    """The time a test says it is."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture(scope="session")
def artefact() -> Artefact:
    """LeNet-5, briefly trained on the bundled digits: good enough to tell right answers from decoys."""
    dataset = data.load("digits")
    config: dict[str, object] = {"channels": 1, "size": 28, "classes": 10}
    network = networks.build("lenet5", config)
    train(network, dataset, replace(presets("digits"), epochs=12))
    return Artefact.pack(
        "digits",
        "lenet5",
        config,
        dataset.input_spec,
        dataset.output_spec,
        checkpoints.encode_weights(network),
        checkpoints.encode_calibration(dataset.calibration.images),
        created_at=NOW,
    )


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[tuple[str, str] | None]:
    """Server URL and the name of a migrated database to copy; None where no PostgreSQL answers."""
    url = os.environ.get("SIGNET_TEST_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/test")
    server = url.rpartition("/")[0]
    name = f"signet_template_{secrets.token_hex(4)}"
    try:
        asyncio.run(_sql(url, f"CREATE DATABASE {name}"))
    except (OSError, asyncpg.PostgresError):
        if os.environ.get("SIGNET_REQUIRE_SERVICES"):
            raise
        yield None
        return
    migrate(f"{server.replace('postgresql', 'postgresql+asyncpg', 1)}/{name}")
    yield server, name
    asyncio.run(_sql(url, f"DROP DATABASE {name}"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(
    request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path, postgres_template: tuple[str, str] | None
) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'signet.db')}"
        return
    if postgres_template is None:
        pytest.skip("no PostgreSQL answers at SIGNET_TEST_DATABASE_URL")
    server, template = postgres_template
    name = f"signet_{secrets.token_hex(6)}"
    await _sql(f"{server}/postgres", f"CREATE DATABASE {name} TEMPLATE {template}")
    yield f"{server}/{name}"
    await _sql(f"{server}/postgres", f"DROP DATABASE {name} WITH (FORCE)")


async def _sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Room for a test to flood the gateway; what limits is tested where it is set."""
    home = tmp_path / "home"
    write_private(home / "keys" / "ring.json", KeyRing.generate().to_json())
    return Settings(
        home=home,
        database_url=database_url,
        server_url=BASE,
        address_rate_per_s=1e6,
        address_burst=10**6,
        poll_interval_s=0.02,
    )


@pytest.fixture
async def admin_key(settings: Settings, clock: SetClock) -> str:
    """An owner's key."""
    return await mint_admin(settings, clock, Role.OWNER)


async def mint_admin(settings: Settings, clock: SetClock, role: Role) -> str:
    """A key of any role, made as the CLI makes the first one."""
    engine = create_engine(settings.resolved_database_url())
    ring = open_ring(settings.home / "keys" / "ring.json", create=False)
    async with sessions_of(engine).begin() as session:
        _, key = await mint(session, ring, Act("test", "test", clock), f"the {role}", role)
    await engine.dispose()
    return key.text


@pytest.fixture
async def app(settings: Settings, clock: SetClock, admin_key: str) -> AsyncIterator[FastAPI]:
    """A gateway that has started; it serves nothing yet."""
    application = create_app(settings, clock=clock)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
def gateway(app: FastAPI) -> Gateway:
    running: Gateway = app.state.gateway
    return running


def client_of(app: FastAPI, **headers: str) -> httpx.AsyncClient:
    """Plain HTTP to the gateway in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE, headers=headers)


@pytest.fixture
async def stranger(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Shows nothing."""
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def admin(app: FastAPI, admin_key: str) -> AsyncIterator[httpx.AsyncClient]:
    """Shows an owner's key."""
    async with client_of(app, Authorization=f"Bearer {admin_key}") as client:
        yield client


def artefact_files(artefact: Artefact) -> dict[str, tuple[str, bytes]]:
    """An artefact as the parts of `POST /v1/models`."""
    files = {
        "manifest": ("manifest.json", artefact.manifest.to_bytes()),
        "weights": ("weights.safetensors", artefact.weights),
        "calibration": ("calibration.safetensors", artefact.calibration),
    }
    if artefact.distillation is not None:
        files["distillation"] = ("distillation.safetensors", artefact.distillation)
    return files


@pytest.fixture
async def model(admin: httpx.AsyncClient, artefact: Artefact) -> str:
    """The digits model, served; its name."""
    response = await admin.post("/v1/models", files=artefact_files(artefact))
    assert response.status_code == 201, response.text
    return "digits"


@dataclass(frozen=True)
class Issued:
    """A license as its customer holds it."""

    id: str
    text: str = field(repr=False)
    file: license_file.LicenseFile = field(repr=False)

    @property
    def secret(self) -> str:
        credential = self.file.credential
        assert isinstance(credential, license_file.KeyCredential)
        return credential.key

    @property
    def images(self) -> tuple[bytes, ...]:
        credential = self.file.credential
        assert isinstance(credential, license_file.FingerprintCredential)
        return credential.images

    @property
    def png(self) -> bytes:
        (image,) = self.images
        return image

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


Issue = Callable[..., Awaitable[Issued]]


@pytest.fixture
def issue(admin: httpx.AsyncClient, gateway: Gateway, model: str) -> Issue:
    """`await issue("key", quota=10)`: a license for a new customer, under these terms."""

    async def issue_one(credential: str = "key", **terms: Any) -> Issued:
        customer = (await admin.post("/v1/customers", json={"name": "Acme Optics"})).json()
        body = {"customer_id": customer["id"], "model": model, "credential": credential, "terms": terms}
        response = await admin.post("/v1/licenses", json=body)
        assert response.status_code == 201, response.text
        text = response.json()["license_file"]
        return Issued(response.json()["id"], text, license_file.decode(text, gateway.ring.public_keys()))

    return issue_one


@pytest.fixture(scope="session")
def digits() -> data.Dataset:
    """The bundled digits, for pictures to ask about."""
    return data.load("digits")


from tests.service.installed import (  # noqa: E402, F401
    database,
    folder,
    local,
    new_database,
    pictures,
    served,
)
from tests.service.stamped import prepare, stamped_settings, world  # noqa: E402, F401
from tests.service.standing import logged, standing  # noqa: E402, F401 - fixtures, which need the helpers above
