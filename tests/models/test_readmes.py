"""The READMEs' Python runs as it stands there."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import nn

import models
from models import training
from models.predictor import Predictor
from models.serial_numbers import dsn
from tests.models.conftest import Marked, Trained

ROOT = Path(models.__file__).parent


def run(readme: Path, names: dict[str, Any]) -> dict[str, Any]:
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(readme), "exec"), names)  # noqa: S102 (our own text)
    return names


def test_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(training.PRESETS, "digits", replace(training.PRESETS["digits"], epochs=1))
    names = run(ROOT / "README.md", {})
    assert names["predictor"](torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_of_activeguard(digits: Trained) -> None:
    sources = digits.dataset.input_spec.from_grid(torch.from_numpy(digits.dataset.calibration.images[:3]))
    names = run(
        ROOT / "fingerprints" / "activeguard" / "README.md", {"predictor": digits.predictor, "sources": sources}
    )
    assert names["made"].solved.all()
    assert names["coded"].solved.all()
    assert names["known"].tolist() == [0, 1, 2]


def test_of_the_published_watermark(digits: Trained) -> None:
    network = copy.deepcopy(digits.predictor.network)
    names = run(ROOT / "watermarks" / "activeguard" / "README.md", {"network": network, "dataset": digits.dataset})
    assert names["activeguard"].verify(network, names["key"]).success


def test_of_registered_marks(digits: Trained, marked: Marked) -> None:
    network = copy.deepcopy(digits.predictor.network)
    given = {"network": network, "dataset": digits.dataset, "secret": b"s" * 32, "suspect": marked.reference}
    names = run(ROOT / "watermarks" / "registered" / "README.md", given)
    assert names["parameters"].digits == 3200
    assert names["verify"](
        names["reference"], names["commitment"], 0, names["marks"][0].key, names["reference"]
    ).verified


def test_of_deep_serial_number(digits: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    student = Boundary()
    images = digits.dataset.input_spec.from_grid(torch.from_numpy(digits.dataset.calibration.images[:3]))
    monkeypatch.setattr(dsn, "DistillationConfig", partial(dsn.DistillationConfig, epochs=1))
    given = {
        "dataset": digits.dataset,
        "owner_key": Ed25519PrivateKey.from_private_bytes(b"o" * 32),
        "calibration": images,
        "teacher": digits.predictor,
        "student": student,
        "student_predictor": Predictor(student, digits.dataset.input_spec, digits.dataset.output_spec),
        "images": images,
    }
    assert run(ROOT / "serial_numbers" / "dsn" / "README.md", given)["answers"].shape == (3, 10)


class Boundary(nn.Module):
    """The least that has features and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Flatten(), nn.Linear(784, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.features(images))
        return answer
