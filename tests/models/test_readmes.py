"""The READMEs' Python runs as it stands there."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from models import training
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
