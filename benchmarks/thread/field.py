"""What the fingerprint experiments play on: a gateway with 30 licenses, one an output of the paper, and its own eyes.

The adversary knows weights, allotment, sources, generator and code; not the 128 random bits of an issued fingerprint.
A forgery is accepted when it proves the license under attack: its session's receipt opens with that license's key, or
what its token buys is the truth.
"""

import asyncio
import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.gateway import Issued, Running, checked, fresh_home, issued
from benchmarks.thread.budgets import Budget
from benchmarks.thread.trained import MODEL, PAPER, chosen, named
from models.fingerprints.activeguard.control_layer import ControlLayer
from models.predictor import predict
from service.clock import system_clock
from service.control.book import Book
from service.gateway import Gateway
from service.inference.loaded import Loaded
from service.keyring import KeyRing, open_ring
from service.licenses.credentials import find_fingerprint
from service.settings import Settings

Grid = NDArray[np.uint8]
OUTPUTS = 10 * len(PAPER)


@dataclass(frozen=True, slots=True)
class Eyes:
    """The gateway's own recognition, in this process: its keys, its book, its network."""

    ring: KeyRing
    book: Book
    served: Loaded

    def accepted(self, grid: Grid) -> int:
        """How many of the grey levels (N, C, H, W) are somebody's fingerprint."""
        model = self.book.models[MODEL]
        canonical = self.served.input_spec.to_grid(self.served.input_spec.from_grid(grid))
        return sum(find_fingerprint(self.ring, self.book, model, one[None]) is not None for one in canonical)

    def unbound(self, grid: Grid) -> dict[str, int]:
        """How many the paper's check takes, which looks at the answer alone, by tolerance."""
        images = self.served.input_spec.from_grid(torch.from_numpy(grid))
        answers = predict(self.served.predictor, images).softmax(dim=1)
        checks = {str(epsilon): ControlLayer(PAPER, epsilon) for epsilon in (0.001, 0.01)}
        return {name: int(check.authenticate(answers).authorized.sum()) for name, check in checks.items()}


@dataclass(frozen=True, slots=True)
class Field:
    """A running gateway and whose fingerprints it knows."""

    gateway: Running
    live: list[Issued]
    eyes: Eyes

    def grids(self) -> Grid:
        """The issued fingerprints' grey levels (30, 1, H, W)."""
        return np.stack([pixels(license.png)[None] for license in self.live])


@contextlib.contextmanager
def field(budget: Budget, models: Sequence[str] = (MODEL,)) -> Iterator[Field]:
    """A gateway with the paper's 30 outputs issued. What looks for forgeries must know the genuine ones."""
    with fresh_home() as home, Running(home) as gateway:
        for name in models:
            gateway.add(named(chosen(budget)[1], name, PAPER))
        with gateway.admin() as admin:
            live = issue_all(admin, gateway)
        play = Field(gateway, live, asyncio.run(_eyes(gateway.settings())))
        assert play.eyes.accepted(play.grids()) == OUTPUTS
        yield play


def issue_all(admin: httpx.Client, gateway: Running, model: str = MODEL) -> list[Issued]:
    """One license an output."""
    customer = checked(admin.post("/v1/customers", json={"name": "Acme Optics"})).json()["id"]
    body = {"customer_id": customer, "model": model, "credential": "fingerprint"}
    answers = [checked(admin.post("/v1/licenses", json=body)).json() for _ in range(OUTPUTS)]
    return [issued(answer, gateway.home) for answer in answers]


def revoke_all(admin: httpx.Client, licenses: Sequence[Issued]) -> None:
    """Their outputs are free again, their fingerprints are not."""
    for license in licenses:
        checked(admin.post(f"/v1/licenses/{license.id}/revoke"))


def pixels(png: bytes) -> Grid:
    """(H, W)"""
    return np.asarray(Image.open(io.BytesIO(png)), dtype=np.uint8)


async def _eyes(settings: Settings) -> Eyes:
    ring = open_ring(settings.home / "keys" / "ring.json", create=False)
    gateway = Gateway.build(settings, ring, system_clock)
    await gateway.start(serving=False)
    version = gateway.book.models[MODEL].serving
    assert version is not None
    served = await gateway.engine.load(version)
    await gateway.stop()
    return Eyes(ring, gateway.book, served)


def batches(count: int, size: int, make: Callable[[int], Grid]) -> Iterator[Grid]:
    """`make(n)` until there are `count`."""
    for start in range(0, count, size):
        yield make(min(size, count - start))
