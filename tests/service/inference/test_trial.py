"""A version's trial over its calibration set takes turns with the answers of the version being served."""

import asyncio
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from models import data, networks
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.settings import Settings
from tests.service.asking import Caller, labels, on_sqlite, sample, until
from tests.service.catalogue.uploads import with_inputs
from tests.service.conftest import Issue, artefact_files
from tests.service.inference import patient_network

pytestmark = on_sqlite
INPUTS = 600


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(networks, "_registry", dict(networks._registry))
    monkeypatch.setattr(patient_network, "given", [])
    return settings.model_copy(update={"networks": {"patient": "tests.service.inference.patient_network:patient"}})


@pytest.fixture
def patient(artefact: Artefact) -> Artefact:
    """The digits model's network, slowly, with more calibration inputs."""
    many = with_inputs(artefact, lambda inputs: inputs.repeat(2, 1, 1, 1))
    return replace(many, manifest=replace(many.manifest, network="patient"))


async def under_way() -> bool:
    return bool(patient_network.given)


async def test_an_upload_does_not_keep_licensees_waiting_to_its_end(
    app: FastAPI, admin: httpx.AsyncClient, issue: Issue, patient: Artefact, digits: data.Dataset
) -> None:
    issued = await issue("key")
    await Caller(app).predict([sample(digits)], issued.secret)

    unserved = {"serve": "false"}  # else it would then be warmed too
    uploading = asyncio.create_task(admin.post("/v1/models", files=artefact_files(patient), data=unserved))
    await until(under_way)
    answered = [labels(await Caller(app).predict([sample(digits)], issued.secret)) for _ in range(3)]

    assert sum(patient_network.given) < INPUTS, "it is still being tried out"
    assert answered == [[str(digits.test.labels[0])]] * 3
    assert (await uploading).status_code == 201
    assert patient_network.given == [64] * 9 + [24]


async def test_nor_does_a_load(
    app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, patient: Artefact, digits: data.Dataset
) -> None:
    issued = await issue("key")
    await Caller(app).predict([sample(digits)], issued.secret)
    uploaded = await admin.post("/v1/models", files=artefact_files(patient), data={"serve": "false"})
    assert uploaded.status_code == 201
    patient_network.given.clear()

    loading = asyncio.create_task(Caller(app).predict([sample(digits)], issued.secret, version=2))
    await until(under_way)
    answered = labels(await Caller(app).predict([sample(digits)], issued.secret))

    assert sum(patient_network.given) < INPUTS
    assert answered == labels(await loading) == [str(digits.test.labels[0])]


async def test_a_load_that_nobody_waits_for_ends_with_the_gateway(
    app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, patient: Artefact, digits: data.Dataset
) -> None:
    issued = await issue("key")
    assert (await admin.post("/v1/models", files=artefact_files(patient), data={"serve": "false"})).status_code == 201
    patient_network.given.clear()
    loading = asyncio.create_task(Caller(app).predict([sample(digits)], issued.secret, version=2))
    await until(under_way)
    loading.cancel()

    await gateway.engine.stop()

    assert sum(patient_network.given) < INPUTS
    assert not [task for task in gateway.engine._loaded.values() if not task.done()]
