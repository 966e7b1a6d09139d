"""A thread for verifications: not the event loop's, nor the one that answers licensees; one suspect at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.inference.engine import one_core

Result = TypeVar("Result")


class Verifier:
    """Runs work in its thread, in the order in which it comes."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "ownership", initializer=one_core)

    async def run(self, work: Callable[[], Result]) -> Result:
        """`work()` when those before are done."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def stop(self) -> None:
        """Let the thread finish what it has begun; others are answered meanwhile."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
