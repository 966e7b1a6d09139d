"""The worker: takes jobs that the gateway's transactions left in the table, one at a time, until it is killed.

It may be killed at any moment, and with any signal: the next one goes on where it was.
"""

import asyncio

import structlog

from service.clock import system_clock
from service.database import reading
from service.jobs.durable import Durable
from service.jobs.lock import WorkerLock
from service.jobs.repository import open_jobs
from service.jobs.running import clear, sweep
from service.jobs.service import fail
from service.jobs.workshop import Workshop
from service.settings import Settings

log = structlog.get_logger(__name__)
_LOOK_S = 0.5
_STANDBY_S = 2.0
_IDLE_LOOKS = 20  # without work, before `until_idle` ends: starting anew takes about as long


async def work(settings: Settings, *, until_idle: bool) -> bool:
    """Do jobs. With `until_idle`, end when there are none; False: another worker does them. Else wait for both.

    Raises:
        Whatever the database raises when it goes away: whoever supervises starts another worker.
    """
    workshop = Workshop.open(settings, system_clock)
    async with WorkerLock(workshop.engine, settings.resolved_database_url()) as lock:
        while not await lock.acquire():
            if until_idle:
                log.info("worker.another_runs")
                return False
            await asyncio.sleep(_STANDBY_S)
        await sweep(workshop)
        durable = Durable(Workshop.open(settings, system_clock))  # DBOS has an event loop of its own
        await asyncio.to_thread(durable.launch)
        log.info("worker.started")
        await _attend(workshop, durable, lock, until_idle=until_idle)
        await asyncio.to_thread(durable.stop)
    await workshop.engine.dispose()
    log.info("worker.stopped")
    return True


async def _attend(workshop: Workshop, durable: Durable, lock: WorkerLock, *, until_idle: bool) -> None:
    taken: set[str] = set()
    idle = 0
    while not (until_idle and idle >= _IDLE_LOOKS):
        await lock.check()
        async with reading(workshop.sessions) as session:
            wanted = [job.id for job in await open_jobs(session)]
        for job_id in wanted:
            if job_id not in taken:
                await asyncio.to_thread(durable.take, job_id)
                taken.add(job_id)
            elif await asyncio.to_thread(durable.is_lost, job_id):
                async with workshop.sessions.begin() as session:
                    words = "given up: its worker, or the database, went away again and again; the log says more"
                    await fail(session, workshop.act(job_id), job_id, words)
                await clear(workshop, job_id)
        taken &= set(wanted)
        idle = 0 if wanted else idle + 1
        await asyncio.sleep(_LOOK_S)
