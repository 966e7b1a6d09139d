"""Torch in a job: in a thread of its own, with no more of the machine's cores than the operator gives it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import torch

from service.jobs.workshop import Workshop

Result = TypeVar("Result")


async def on_torch(workshop: Workshop, work: Callable[[], Result]) -> Result:
    """`work()`, while the event loop goes on."""

    def bounded() -> Result:
        torch.set_num_threads(workshop.settings.worker_threads)
        return work()

    return await asyncio.to_thread(bounded)
