"""DBOS, which remembers what each step of a job gave: beside the gateway's tables, in a schema or a file of its own.

It opens no port and calls nobody: no conductor, no exporter. What it keeps is JSON and holds no secret: job ids, the
names of steps and their notes.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID, StepOptions
from sqlalchemy.engine import make_url

from service.jobs import running
from service.jobs.workshop import Workshop

# One version for all releases: a job that one of them began is gone on with by the next. Steps are known by name.
VERSION = "signet-jobs-1"
EXECUTOR = "worker"  # one at a time (`service.jobs.lock`), so the next one owns what the last one left
SCHEMA, QUEUE = "signet_jobs", "jobs"
LOST = ("ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "CANCELLED")  # states in which a workflow does nothing any more
_ATTEMPTS = 12  # while the database is away: about half an hour
_RECOVERIES = 10  # a job that kills its worker this often is given up


class Durable:
    """Jobs as workflows. `launch` also takes up what a killed worker left."""

    def __init__(self, workshop: Workshop) -> None:
        _quiet()
        settings = workshop.settings
        config: DBOSConfig = {
            "name": "signet",
            "system_database_url": database_url(settings.resolved_database_url()),
            "dbos_system_schema": SCHEMA,
            "sys_db_pool_size": 4,
            "application_version": VERSION,
            "executor_id": EXECUTOR,
            "serializer": DBOSPortableJSONSerializer(),
            "enable_otlp": False,
            "log_level": "WARNING",
            "use_listen_notify": False,
        }
        DBOS(config=config)

        @DBOS.workflow(name="job", max_recovery_attempts=_RECOVERIES)
        async def job(job_id: str) -> None:
            await running.run(workshop, job_id, _step)

        self._job = job

    def launch(self) -> None:
        """Begin; blocking."""
        DBOS.launch()
        DBOS.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=0.5, on_conflict="always_update")

    def take(self, job_id: str) -> None:
        """Have a job done, if it is not known already; blocking."""
        with SetWorkflowID(job_id):
            DBOS.enqueue_workflow(QUEUE, self._job, job_id)

    def is_lost(self, job_id: str) -> bool:
        """Whether nothing more will come of a job that was taken; blocking."""
        status = DBOS.get_workflow_status(job_id)
        return status is not None and status.status in LOST

    def stop(self) -> None:
        """End; what is under way is taken up by the next worker."""
        DBOS.destroy(destroy_registry=True)


async def _step(name: str, work: Callable[[], Awaitable[Any]]) -> Any:
    async def step() -> Any:
        return await work()

    options = StepOptions(
        name=name, retries_allowed=True, max_attempts=_ATTEMPTS, interval_seconds=0.5, backoff_rate=2.0
    )
    return await DBOS.run_step_async(options, step)


def database_url(url: str) -> str:
    """DBOS's own URL for a gateway's database: the same PostgreSQL database, or a file beside the SQLite file."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        return f"sqlite:///{path.with_name(path.stem + '-jobs' + path.suffix)}"
    query = {{"ssl": "sslmode"}.get(name, name): value for name, value in parsed.query.items()}  # asyncpg's, libpq's
    return parsed.set(drivername="postgresql+psycopg", query=query).render_as_string(hide_password=False)


def _quiet() -> None:
    """DBOS sets up a console handler of its own unless its logger has one: warnings go where all others go."""
    logger = logging.getLogger("dbos")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = True
