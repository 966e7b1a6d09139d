"""Five digits, and who may ask about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray

from models import data
from tests.service.asking import Caller, npy
from tests.service.conftest import Issue, Issued


@pytest.fixture
def levels(digits: data.Dataset) -> NDArray[np.uint8]:
    """Held-out digits, (5, 1, 28, 28)."""
    images: NDArray[np.uint8] = digits.test.images[:5]
    return images


@pytest.fixture
async def licensed(issue: Issue) -> Issued:
    return await issue("key")


@pytest.fixture
async def expected(app: FastAPI, licensed: Issued, levels: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """What `/v1` says to the licensee."""
    answer = await Caller(app).predict([npy(levels)], licensed.secret)
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found
