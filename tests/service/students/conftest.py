"""A gateway whose model makes students, and a worker in the test's own process."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from models import data
from service.catalogue.artefacts import Artefact
from service.database import reading
from service.jobs import running
from service.jobs.repository import open_jobs
from service.jobs.workshop import Workshop
from service.settings import Settings
from tests.service.conftest import SetClock, artefact_files
from tests.service.students.teachers import with_students

Ask = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(scope="session")
def teacher(artefact: Artefact, digits: data.Dataset) -> Artefact:
    """The digits model, with what its students learn from."""
    return with_students(artefact, digits)


@pytest.fixture
async def teaching(admin: httpx.AsyncClient, teacher: Artefact) -> str:
    """The digits model, served; it makes students. Its name."""
    response = await admin.post("/v1/models", files=artefact_files(teacher))
    assert response.status_code == 201, response.text
    return "digits"


@pytest.fixture
def ask(admin: httpx.AsyncClient, teaching: str) -> Ask:
    """`await ask("shared", quota=10)`: a license proved by a serial number, as it is answered when it is issued."""

    async def ask_for(student: str = "own", **terms: Any) -> dict[str, Any]:
        customer = (await admin.post("/v1/customers", json={"name": "Acme Optics"})).json()
        body = {"customer_id": customer["id"], "model": teaching, "credential": "serial_number", "student": student}
        response = await admin.post("/v1/licenses", json={**body, "terms": terms})
        assert response.status_code == 201, response.text
        issued: dict[str, Any] = response.json()
        return issued

    return ask_for


@pytest.fixture
async def workshop(settings: Settings, clock: SetClock) -> Any:
    """What a worker works with, over the gateway's home and database."""
    made = Workshop.open(settings, clock)
    yield made
    await made.engine.dispose()


async def work_off(workshop: Workshop) -> None:
    """Do all jobs there are, one after the other, as the worker does but for its memory of what was done."""

    async def once(_: str, step: Callable[[], Awaitable[running.Outcome]]) -> running.Outcome:
        return await step()

    async with reading(workshop.sessions) as session:
        waiting = [job.id for job in await open_jobs(session)]
    for job_id in waiting:
        await running.run(workshop, job_id, once)
