"""One gateway for a whole table of rows: rows that change nothing can share it, and two hundred starts are saved."""

import io
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import select

from service import logs
from service.admin_keys.tables import Role
from service.app import create_app
from service.catalogue.artefacts import Artefact
from service.database import Base
from service.gateway import Gateway
from service.keyring import KeyRing, write_private
from service.settings import Settings
from tests.service import conftest

_OWN_BUSINESS = {"workers", "refusal_counts"}  # leases and statistics move by themselves
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass
class Standing:
    """A running gateway that serves the digits model, with a client for each kind of caller."""

    app: FastAPI
    clock: conftest.SetClock
    key: str
    keys: dict[Role, str]
    owner: httpx.AsyncClient
    stranger: httpx.AsyncClient
    licensee: httpx.AsyncClient

    @property
    def gateway(self) -> Gateway:
        running: Gateway = self.app.state.gateway
        return running

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Another caller."""
        return conftest.client_of(self.app, **headers)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def standing(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, artefact: Artefact
) -> AsyncIterator[Standing]:
    """For `pytestmark = pytest.mark.asyncio(loop_scope="module")`."""
    home = tmp_path_factory.mktemp("standing") / "home"
    write_private(home / "keys" / "ring.json", KeyRing.generate().to_json())
    shutil.copy(sqlite_template, home / "signet.db")
    settings = Settings(
        home=home,
        server_url=conftest.BASE,
        address_rate_per_s=1e6,
        address_burst=10**6,
        max_body_bytes=2**20,
        max_artefact_bytes=8 * 2**20,
    )
    clock = conftest.SetClock()
    keys = {role: await conftest.mint_admin(settings, clock, role) for role in Role}
    app = create_app(settings, clock=clock)
    async with app.router.lifespan_context(app), conftest.client_of(app, **_bearer(keys[Role.OWNER])) as owner:
        assert (await owner.post("/v1/models", files=conftest.artefact_files(artefact))).status_code == 201
        customer = (await owner.post("/v1/customers", json={"name": "Acme Optics"})).json()["id"]
        body = {"customer_id": customer, "model": "digits", "credential": "key", "terms": {"quota": 10**6}}
        text = (await owner.post("/v1/licenses", json=body)).json()["license_file"]
        key = conftest.license_file.decode(text, app.state.gateway.ring.public_keys()).credential.key
        async with conftest.client_of(app) as stranger, conftest.client_of(app, **_bearer(key)) as licensee:
            yield Standing(app, clock, key, keys, owner, stranger, licensee)


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the gateway logs, as it is written."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure("production")
    yield written
    monkeypatch.undo()
    logs.configure("production")


async def rows_of(gateway: Gateway) -> Rows:
    """Everything the database holds but leases and refusal counts: equal before and after means nothing changed."""
    rows: Rows = {}
    async with gateway.database.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name not in _OWN_BUSINESS:
                found = await connection.execute(select(table))
                # A reservation that was given back leaves its row with no units.
                kept = [tuple(row) for row in found if table.name != "usage_reservations" or row.units]
                rows[table.name] = sorted(kept, key=repr)
    return rows


def dump(path: Path) -> bytes:
    """Every byte of a SQLite database's files, its log included, and its tables as text."""
    files = b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))
    connection = sqlite3.connect(path)
    text = "\n".join(connection.iterdump())
    connection.close()
    return files + text.encode()
