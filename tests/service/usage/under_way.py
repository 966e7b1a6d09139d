"""Two pictures that are reserved and not yet answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from service.gateway import Gateway
from tests.service.asking import Caller, network_held, until, used
from tests.service.conftest import Issued


@asynccontextmanager
async def two_under_way(
    app: FastAPI, gateway: Gateway, admin: httpx.AsyncClient, issued: Issued, picture: bytes
) -> AsyncIterator["asyncio.Task[httpx.Response]"]:
    """Within, the answer to two pictures waits for the network; what is reserved for them counts as used."""
    await Caller(app).predict([picture])  # the version is loaded before the network is held
    async with network_held(gateway):
        asking = asyncio.create_task(Caller(app).predict([picture] * 2, issued.secret))

        async def reserved() -> bool:
            return await used(admin, issued) == 2

        await until(reserved)
        yield asking
