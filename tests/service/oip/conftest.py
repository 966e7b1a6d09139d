"""Five digits, and who may ask about them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray

from models import data
from tests.service.asking import Caller, npy, until
from tests.service.conftest import Issue, Issued
from tests.service.serving import free_port


@pytest.fixture
def levels(digits: data.Dataset) -> NDArray[np.uint8]:
    """Held-out digits, (5, 1, 28, 28)."""
    images: NDArray[np.uint8] = digits.test.images[:5]
    return images


@pytest.fixture
async def address(app: FastAPI) -> AsyncIterator[str]:
    """Where the gateway listens, in this process."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return bool(server.started)

    await until(started)
    yield f"127.0.0.1:{port}"
    server.should_exit = True
    with contextlib.suppress(asyncio.CancelledError):
        await serving


@pytest.fixture
async def licensed(issue: Issue) -> Issued:
    return await issue("key")


@pytest.fixture
async def expected(app: FastAPI, licensed: Issued, levels: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """What `/v1` says to the licensee."""
    answer = await Caller(app).predict([npy(levels)], licensed.secret)
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found
