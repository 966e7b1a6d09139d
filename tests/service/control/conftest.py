"""A world in which every verdict can come about, and what can happen in it."""

from dataclasses import dataclass, replace

import httpx
import pytest
from fastapi import FastAPI
from signet_client import license_file
from sqlalchemy import func, select

from models import data
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.ids import id_bytes
from service.usage.tables import RefusalCount
from tests.service.asking import Caller, sample
from tests.service.conftest import Issued, SetClock, artefact_files


@dataclass
class World:
    """A gateway that serves `digits`, and the hands of its owner."""

    app: FastAPI
    admin: httpx.AsyncClient
    clock: SetClock
    gateway: Gateway
    artefact: Artefact
    picture: bytes

    async def act(self, issued: Issued, verb: str) -> None:
        """Suspend, reinstate, revoke or check in."""
        answer = await self.admin.post(f"/v1/licenses/{issued.id}/{verb}")
        assert answer.status_code == 200, answer.text

    async def add_version(self, model: str = "digits", **form: str) -> None:
        """A model, or a new version of one, with its policies."""
        artefact = replace(self.artefact, manifest=replace(self.artefact.manifest, name=model))
        answer = await self.admin.post("/v1/models", files=artefact_files(artefact), data=form)
        assert answer.status_code == 201, answer.text

    async def predict(self, issued: Issued, images: int = 1) -> httpx.Response:
        """A prediction as the licensee asks for it: with its key, or in a session."""
        return await Caller(self.app).predict([self.picture] * images, await self.secret(issued))

    async def secret(self, issued: Issued) -> str:
        """The key of a license, or a token that its fingerprint buys."""
        if isinstance(issued.file.credential, license_file.KeyCredential):
            return issued.secret
        session = await Caller(self.app).show_fingerprint(issued.png)
        token: str = session.json()["token"]
        return token

    def one_under_way(self, issued: Issued) -> None:
        """Take a place, as a prediction does that is not answered yet."""
        license = self.gateway.book.license(id_bytes(issued.id))
        assert license is not None
        assert self.gateway.limits.acquire(license, self.clock().timestamp()) is None

    async def refusals(self) -> dict[str, int]:
        """Refusals by code, as they are written down."""
        await self.gateway.refusals.flush()
        async with self.gateway.sessions() as session:
            rows = await session.execute(
                select(RefusalCount.code, func.sum(RefusalCount.count)).group_by(RefusalCount.code)
            )
        return {code: int(count) for code, count in rows}

    def verdicts(self, operation: str) -> dict[str, float]:
        """Verdicts by code, as the metrics tell them."""
        return {
            sample.labels["code"]: sample.value
            for metric in self.gateway.metrics.verdicts.collect()
            for sample in metric.samples
            if sample.name.endswith("_total") and sample.labels["operation"] == operation
        }


@pytest.fixture
async def world(
    app: FastAPI,
    admin: httpx.AsyncClient,
    clock: SetClock,
    gateway: Gateway,
    artefact: Artefact,
    digits: data.Dataset,
    model: str,
) -> World:
    """All is well."""
    return World(app, admin, clock, gateway, artefact, sample(digits))
