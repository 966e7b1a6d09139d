"""A gateway with one marked version, whose commitment is registered."""

from dataclasses import dataclass

import httpx
import pytest

from service.catalogue.artefacts import Artefact
from tests.service.catalogue.uploads import upload
from tests.service.ownership.owner import Committed, committed, marked


@pytest.fixture(scope="session")
def version(artefact: Artefact) -> Committed:
    """The digits model with marks, as its first version."""
    return committed(artefact, "digits/1")


@pytest.fixture
async def served_version(admin: httpx.AsyncClient, artefact: Artefact, version: Committed) -> Committed:
    """That version, added; nothing is registered yet."""
    assert (await upload(admin, marked(artefact, version))).status_code == 201
    return version


@dataclass(frozen=True)
class Registered:
    """A commitment and its id in the registry."""

    id: str
    version: Committed


@pytest.fixture
async def commitment(admin: httpx.AsyncClient, served_version: Committed) -> Registered:
    """Its commitment, registered."""
    answer = await admin.post("/v1/ownership/commitments", json=served_version.body())
    assert answer.status_code == 201, answer.text
    return Registered(answer.json()["id"], served_version)
