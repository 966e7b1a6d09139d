"""A gateway is killed at work and started again: nothing that was answered is missing, nothing else is charged."""

import asyncio
import hashlib
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from safetensors.torch import load, save
from signet_client import license_file
from sqlalchemy import func, select

from models import data
from service.admin_keys.tables import Role
from service.catalogue.artefacts import Artefact
from service.database import create_engine
from service.keyring import open_ring
from service.settings import Settings
from service.usage.tables import Account, Reservation
from tests.service.asking import bearer, sample, until
from tests.service.conftest import SetClock, artefact_files, mint_admin
from tests.service.serving import Served

LEASE_S = 2
NETWORK = "tests.service.usage.slow_network:Slow"


@pytest.fixture
def served(settings: Settings, database_url: str, tmp_path: Path) -> Iterator[Served]:
    """A gateway in a process, whose network works as slowly as the test wants."""
    gateway = Served(
        settings.home,
        SIGNET_DATABASE_URL=database_url,
        SIGNET_NETWORKS=f'{{"slow": "{NETWORK}"}}',
        SIGNET_WORKER_LEASE_S=str(LEASE_S),
        SIGNET_ENVIRONMENT="production",
        SLOW_WHILE=str(tmp_path / "slow"),
    )
    yield gateway
    if gateway.process is not None and gateway.process.poll() is None:
        gateway.process.kill()
        gateway.process.communicate()


async def license_slow_network(admin: httpx.AsyncClient, artefact: Artefact, home: Path) -> tuple[str, str]:
    """Serve the slow network and license it: the license's id and key."""
    weights = save({f"inner.{name}": tensor for name, tensor in load(artefact.weights).items()})
    digest = hashlib.sha256(weights).hexdigest()
    slow = replace(
        artefact, weights=weights, manifest=replace(artefact.manifest, network="slow", weights_sha256=digest)
    )
    assert (await admin.post("/v1/models", files=artefact_files(slow))).status_code == 201
    customer = (await admin.post("/v1/customers", json={"name": "Acme Optics"})).json()
    body = {"customer_id": customer["id"], "model": "digits", "credential": "key"}
    issued = (await admin.post("/v1/licenses", json=body)).json()
    trusted = open_ring(home / "keys" / "ring.json", create=False).public_keys()
    credential = license_file.decode(issued["license_file"], trusted).credential
    assert isinstance(credential, license_file.KeyCredential)
    return issued["id"], credential.key


async def test_killed_in_the_middle_of_requests(
    served: Served,
    settings: Settings,
    clock: SetClock,
    artefact: Artefact,
    digits: data.Dataset,
    tmp_path: Path,
) -> None:
    owner = await mint_admin(settings, clock, Role.OWNER)
    database = create_engine(settings.resolved_database_url())

    async def account() -> tuple[int, int]:
        """Units used, and how many of them are reserved only."""
        async with database.connect() as connection:
            used = await connection.scalar(select(Account.used).where(Account.id == license_id))
            reserved = await connection.scalar(select(func.coalesce(func.sum(Reservation.units), 0)))
            return used or 0, reserved or 0

    await asyncio.to_thread(served.start)
    async with httpx.AsyncClient(base_url=served.url, headers=bearer(owner), trust_env=False, timeout=30) as admin:
        license_id, key = await license_slow_network(admin, artefact, settings.home)

    answered = 0

    async def ask(http: httpx.AsyncClient, times: int) -> None:
        nonlocal answered
        for _ in range(times):
            try:
                answer = await http.post(
                    "/v1/models/digits/predict", files=[("images", ("x", sample(digits)))] * 3, headers=bearer(key)
                )
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            answered += len(answer.json()["predictions"])

    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=30) as http:
        await ask(http, 5)
        assert (await account()) == (15, 0)
        (tmp_path / "slow").touch()
        asking = [asyncio.create_task(ask(http, 100)) for _ in range(10)]

        async def all_under_way() -> bool:
            return (await account())[1] == 30

        await until(all_under_way)
        assert served.process is not None
        served.process.send_signal(signal.SIGKILL)
        await asyncio.gather(*asking)
    await asyncio.to_thread(served.process.communicate)
    used, reserved = await account()
    assert (used - reserved, reserved) == (answered, 30), "what was answered stands, the rest is known to be reserved"

    (tmp_path / "slow").unlink()
    await asyncio.to_thread(served.start)

    async def released() -> bool:
        return await account() == (answered, 0)

    await until(released, 3 * LEASE_S)
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=30) as http:
        metrics = (await http.get("/metrics", headers=bearer(owner))).text
        assert "signet_released_units_total 30.0" in metrics
        assert '"units": 30' in served.logged
        await ask(http, 1)
        assert (await account()) == (answered, 0)
    code, _ = await asyncio.to_thread(served.stop)
    assert code == 0
    await database.dispose()
