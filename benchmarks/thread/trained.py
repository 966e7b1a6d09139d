"""The networks the experiments are about: LeNet-5 on MNIST, trained once a seed and kept under `runs/`."""

import hashlib
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.thread.budgets import RUNS, Budget
from models import data
from models.data import Dataset, Split
from models.data.mnist import SEED, SIZES
from models.fingerprints.activeguard import CodeKind
from models.training import presets
from service.catalogue.artefacts import CALIBRATION, MANIFEST, WEIGHTS, Artefact, read_folder
from service.cli.training import train_artefact
from service.settings import Settings

MODEL = "mnist"
_SECONDS = "seconds"  # of one core, that training took
PAPER = (0.2, 0.3, 0.4)  # ActiveGuard, section 3: three confidences, 30 outputs with ten classes


def mnist() -> Dataset:
    """MNIST from SIGNET_DATA_DIR."""
    return data.load("mnist", Settings().data_dir)


def artefact(budget: Budget, seed: int) -> Artefact:
    """The network of one seed: read, or trained now with the preset and written down."""
    folder = _folder(budget, seed)
    if not folder.exists():
        began = time.process_time()
        made = train_artefact(MODEL, "lenet5", "mnist", Settings().data_dir, epochs=budget.epochs, seed=seed)
        fresh = folder.with_name(f".{folder.name}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        (fresh / MANIFEST).write_bytes(made.manifest.to_bytes())
        (fresh / WEIGHTS).write_bytes(made.weights)
        (fresh / CALIBRATION).write_bytes(made.calibration)
        (fresh / _SECONDS).write_text(f"{time.process_time() - began:.0f}\n")
        fresh.rename(folder)
    return read_folder(folder)


def training_core_minutes(budget: Budget) -> float:
    """What training all networks took, whenever that was."""
    return sum(float((_folder(budget, seed) / _SECONDS).read_text()) for seed in range(budget.seeds)) / 60


def _folder(budget: Budget, seed: int) -> Path:
    return RUNS / "models" / f"mnist-{_recipe(budget)}-{seed}"


def _recipe(budget: Budget) -> str:
    """What a trained network hangs on besides the seed: after a change of it another one is trained."""
    recipe = (SIZES, SEED, asdict(presets("mnist")), budget.epochs)
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:8]


def chosen(budget: Budget) -> tuple[int, Artefact]:
    """The seed that is best on the validation images, and its network: the one behind the gateway."""
    every = [artefact(budget, seed) for seed in range(budget.seeds)]
    seed = int(np.argmax([one.manifest.metrics["validation_accuracy"] for one in every]))
    return seed, every[seed]


def named(one: Artefact, name: str = MODEL, confidences: tuple[float, ...] | None = None, *, day: int = 1) -> Artefact:
    """The same network as another model or version; another `day` makes another digest, so other secrets."""
    code = CodeKind.CODEWORD if confidences is None else CodeKind.CONFIDENCE
    listed = None if confidences is None else list(confidences)
    manifest = replace(
        one.manifest,
        name=name,
        fingerprints={"code": code.value, "confidences": listed, "epsilon": 0.001, "longest": 1},
        created_at=f"2027-01-{day:02d}T00:00:00Z",
    )
    return replace(one, manifest=manifest)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Images that neither training nor the decoys' calibration has seen: test and validation."""

    split: Split
    test_rows: int


def held_out() -> HeldOut:
    """Test images first."""
    dataset = mnist()
    parts = (dataset.test, dataset.validation)
    images, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels"))
    return HeldOut(Split(images, labels), len(dataset.test))
