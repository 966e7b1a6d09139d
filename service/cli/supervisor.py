"""The worker of `signet serve`: started when there is a job, started again when it dies, stopped with the gateway."""

import asyncio
import contextlib
import os
import time
from typing import Self

import structlog

from service.cli.worker import ANOTHER
from service.cli.working import worker_command
from service.database import reading
from service.gateway import Gateway
from service.jobs.repository import is_work_left

log = structlog.get_logger(__name__)
_LOOK_S = 1.0
_ANOTHER_S = 30.0  # until we look whether the other worker is still at it
_LEAST_S, _MOST_S = 2.0, 60.0  # between a worker that died and the next
_DOUBLINGS = 10  # of that wait: more than it takes to the most
_STOP_S = 5.0


class Supervisor:
    """A context within which jobs are done. A process without jobs would hold torch in memory for nothing."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._deaths = 0
        self._not_before = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._process is not None:
                self._note(await self._process.wait())
                self._process = None
            if time.monotonic() >= self._not_before and await self._is_wanted():
                try:
                    self._process = await self._start()
                except OSError as error:  # too many processes, say
                    log.warning("worker.not_started", reason=error.strerror)
                    self._note(1)

    def _note(self, code: int) -> None:
        """When the next may start."""
        self._deaths = 0 if code in (0, ANOTHER) else self._deaths + 1
        wait = min(_MOST_S, _LEAST_S * 2 ** min(self._deaths, _DOUBLINGS)) if self._deaths else 0.0
        self._not_before = time.monotonic() + (_ANOTHER_S if code == ANOTHER else wait)
        if self._deaths:
            log.warning("worker.died", code=code, next_in_s=wait)

    async def _is_wanted(self) -> bool:
        try:
            async with reading(self._gateway.sessions) as session:
                return await is_work_left(session)
        except Exception as error:  # the database is away for a moment: jobs wait, answers go on
            log.warning("worker.unknown", error=type(error).__name__)
            return False

    async def _start(self) -> asyncio.subprocess.Process:
        command = worker_command(self._gateway.settings.home)
        return await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, env=dict(os.environ))
