"""The verifier's thread, when the gateway stops."""

import asyncio
import threading

import pytest

from service.ownership.verifier import Verifier


async def test_the_event_loop_goes_on_while_the_last_verification_ends() -> None:
    verifier, gate = Verifier(), threading.Event()
    under_way = asyncio.create_task(verifier.run(lambda: gate.wait(10)))
    waiting = asyncio.create_task(verifier.run(lambda: "never"))
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(verifier.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done(), "what was begun is finished first"
    gate.set()  # nobody could, were the loop held
    await asyncio.wait_for(stopping, 5)
    assert await under_way is True
    with pytest.raises(asyncio.CancelledError):
        await waiting
