"""Jobs that are cancelled before, or just when, a worker takes them, and what is left on the disk."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import pytest

from service.catalogue.artefacts import ABANDONED_S
from service.database import reading
from service.gateway import Gateway
from service.ids import new_id
from service.jobs import running
from service.jobs.repository import get_job_or_raise
from service.jobs.rows import add
from service.jobs.service import cancel
from service.jobs.tables import JobKind
from service.jobs.workshop import Workshop
from tests.service.students.conftest import workshop  # noqa: F401 - a fixture


async def once(_: str, step: Callable[[], Awaitable[running.Outcome]]) -> running.Outcome:
    return await step()


@pytest.fixture
async def job_id(gateway: Gateway, workshop: Workshop) -> str:  # noqa: F811
    """A job that waits, and the file that was kept for it."""
    async with workshop.sessions.begin() as session:
        job = add(session, workshop.act("job"), JobKind.TRACE, new_id("trc"))
    (workshop.folder(job.id) / "suspect.safetensors").write_bytes(b"weights")
    return job.id


async def state_of(workshop: Workshop, job_id: str) -> str:  # noqa: F811
    async with reading(workshop.sessions) as session:
        return (await get_job_or_raise(session, job_id)).state


async def test_one_that_is_cancelled_while_a_worker_begins_it_stays_so(workshop: Workshop, job_id: str) -> None:  # noqa: F811
    async with workshop.sessions.begin() as session:
        await cancel(session, workshop.act(job_id), job_id)
        beginning = asyncio.create_task(running.run(workshop, job_id, once))
        await asyncio.sleep(0.3)  # it has looked, and waits for us
    await beginning
    assert await state_of(workshop, job_id) == "cancelled"
    assert not (workshop.settings.home / "jobs" / job_id).exists()


async def test_what_was_kept_for_one_that_no_worker_took_is_removed_by_the_next_worker(
    workshop: Workshop,  # noqa: F811
    job_id: str,
) -> None:
    kept = workshop.settings.home / "jobs" / job_id
    await running.sweep(workshop)
    assert kept.exists()
    async with workshop.sessions.begin() as session:
        await cancel(session, workshop.act(job_id), job_id)
    await running.sweep(workshop)
    assert not kept.exists()


async def test_what_a_killed_upload_left_is_removed_by_the_next_worker_once_it_is_old(workshop: Workshop) -> None:  # noqa: F811
    folders = [workshop.settings.home / "jobs" / name for name in (".trc_dead.incoming", ".trc_new.incoming")]
    for folder in folders:
        folder.mkdir(parents=True)
    hour_ago = time.time() - ABANDONED_S - 1
    os.utime(folders[0], (hour_ago, hour_ago))
    await running.sweep(workshop)
    assert [folder.exists() for folder in folders] == [False, True]
