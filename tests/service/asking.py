"""Callers of a gateway in this process: where they ask from, what they show, what they are told."""

import asyncio
import base64
import io
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image
from signet_client import SessionUnproved
from signet_client.receipts import open_receipt

from models import data
from service.app import create_app
from service.clock import Clock
from service.gateway import Gateway
from service.settings import Settings
from tests.service.conftest import BASE, Issued

HOME = "127.0.0.1"
ELSEWHERE = "192.0.2.7"

# What does not touch the database runs once.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Grey levels (H, W) or (1, H, W) as a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels.reshape(pixels.shape[-2:])).save(file, "PNG")
    return file.getvalue()


def pixels(image: bytes) -> NDArray[np.uint8]:
    """The grey levels (H, W) of a PNG."""
    return np.asarray(Image.open(io.BytesIO(image)))


def npy(array: NDArray[Any]) -> bytes:
    """An array as NPY bytes."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def sample(digits: data.Dataset, index: int = 0) -> bytes:
    """A held-out digit as a PNG."""
    return png(digits.test.images[index])


def new_nonce() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


class Caller:
    """Somebody at an address, over plain HTTP."""

    def __init__(self, app: FastAPI, address: str = HOME) -> None:
        self.transport = httpx.ASGITransport(app, client=(address, 4711))
        self.http = httpx.AsyncClient(transport=self.transport, base_url=BASE)

    async def show_key(self, key: str, *, model: str = "digits", nonce: str | None = None) -> httpx.Response:
        """Ask for a session with a license key."""
        body = {"nonce": nonce or new_nonce()}
        return await self.http.post(f"/v1/models/{model}/sessions", json=body, headers=bearer(key))

    async def show_fingerprint(self, *images: bytes, model: str = "digits", nonce: str | None = None) -> httpx.Response:
        """Ask for a session with fingerprints as PNG or NPY, in this order."""
        return await self.http.post(
            f"/v1/models/{model}/sessions",
            data={"nonce": nonce or new_nonce()},
            files=[("fingerprint", ("fingerprint", image)) for image in images],
        )

    async def predict(
        self, images: list[bytes], secret: str | None = None, *, model: str = "digits", version: int | None = None
    ) -> httpx.Response:
        """Ask what these pictures show."""
        return await self.http.post(
            f"/v1/models/{model}/predict",
            params={} if version is None else {"version": version},
            files=[("images", ("x", image)) for image in images],
            headers=bearer(secret) if secret else {},
        )


def labels(answer: httpx.Response) -> list[str]:
    """The labels of a prediction."""
    assert answer.status_code == 200, answer.text
    return [one["label"] for one in answer.json()["predictions"]]


def claims(issued: Issued, nonce: str, answer: dict[str, Any]) -> dict[str, object] | None:
    """What a session's receipt says to the licensee; None when it does not open."""
    raw_nonce = base64.urlsafe_b64decode(nonce + "=")
    try:
        return open_receipt(issued.file.receipt_key, raw_nonce, answer["model"], answer["token"], answer["receipt"])
    except SessionUnproved:
        return None


@asynccontextmanager
async def network_held(gateway: Gateway) -> AsyncIterator[None]:
    """Within, every forward pass waits: requests are under way for as long as a test wants."""
    gate = threading.Event()
    holding = asyncio.create_task(gateway.engine.run(gate.wait))
    try:
        yield
    finally:
        gate.set()
        await holding


@asynccontextmanager
async def another_gateway(settings: Settings, clock: Clock) -> AsyncIterator[FastAPI]:
    """A second process' gateway over the same home and database, as far as one process can be two."""
    app = create_app(settings, clock=clock)
    async with app.router.lifespan_context(app):
        yield app


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Wait for something another task or process does."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it may be another process that does it
            await asyncio.sleep(0.01)


async def used(admin: httpx.AsyncClient, issued: Issued) -> int:
    """Units of a license: answered, or reserved for an answer under way."""
    answer = await admin.get(f"/v1/licenses/{issued.id}")
    assert answer.status_code == 200, answer.text
    count: int = answer.json()["used"]
    return count
