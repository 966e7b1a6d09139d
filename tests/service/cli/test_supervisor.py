"""The supervisor of `signet serve`'s worker, whatever becomes of the worker."""

import asyncio
from typing import Any

import pytest

from service.cli import supervisor
from service.cli.supervisor import Supervisor
from service.gateway import Gateway


class Dead:
    """A process that has ended with an error."""

    returncode = 1

    async def wait(self) -> int:
        return self.returncode


async def test_it_goes_on_starting_workers_however_often_they_die_or_do_not_start(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, many = 0, asyncio.Event()

    async def start(*_: Any, **__: Any) -> Dead:
        nonlocal started
        started += 1
        if started == 1100:  # 2.0**1024 is no float any more
            many.set()
        if started % 2:
            raise OSError(11, "Resource temporarily unavailable")
        return Dead()

    async def wanted(_: Any) -> bool:
        return True

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    monkeypatch.setattr(supervisor, "is_work_left", wanted)
    monkeypatch.setattr(supervisor, "_LOOK_S", 0.0)
    monkeypatch.setattr(supervisor, "_MOST_S", 0.0)
    async with Supervisor(gateway):
        async with asyncio.timeout(60):
            await many.wait()
