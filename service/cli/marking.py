"""Writing an owner's marks into a version, on the owner's machine: the marked network as a new version, and the
statement about it."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from models import checkpoints, data, networks
from models.data import Dataset
from models.errors import WatermarkError
from models.evaluation.mark_parameters import mark_parameters
from models.own_answers import label
from models.predictor import Predictor, predict
from models.training import TrainingConfig, presets
from models.watermarks import registered
from models.watermarks.registered import Commitment, EmbeddingReport, EmbeddingSettings
from service.catalogue.artefacts import Artefact
from service.cli.api import errors
from service.cli.owner_secret import OwnerSecret
from service.clock import rfc3339

_LEARNING_RATE = 2e-3
_INPUTS = 20_000  # seen while the marks are held, by default


@dataclass(frozen=True)
class Wish:
    """What the owner asked for; None leaves it to us. Without a data set the network's own answers are kept."""

    marks: int
    digits: int | None
    layer: str | None
    dataset: str | None
    epochs: int | None


@dataclass(frozen=True)
class Marked:
    """The marked version, the statement about it, and what writing it cost."""

    artefact: Artefact
    commitment: Commitment
    report: EmbeddingReport
    agreement: float


def mark(artefact: Artefact, about: str, secret: OwnerSecret, wish: Wish, data_dir: Path | None) -> Marked:
    """A marked copy of the version, called `about` (model/number) in the statement.

    Raises:
        ModelError: no layer that could hold the marks, or a data set that is not there or not the version's kind.
    """
    torch.set_num_threads(1)
    manifest = artefact.manifest
    network = networks.build(manifest.network, manifest.network_config)
    checkpoints.decode_weights(network, artefact.weights)
    predictor = Predictor(network, manifest.input_spec, manifest.output_spec)
    calibration = checkpoints.decode_calibration(artefact.calibration, manifest.input_spec)
    before = predict(predictor, calibration).argmax(dim=1)
    dataset, training = _teaching(wish, predictor, calibration, data_dir)
    parameters = mark_parameters(
        network,
        model=about,
        architecture=manifest.network,
        config=manifest.network_config,
        layer=wish.layer,
        digits=wish.digits,
        marks=wish.marks,
        owner=secret.public_key,
    )
    marks = registered.derive_marks(secret.value, parameters)
    hold = wish.epochs or max(2, round(_INPUTS / len(dataset.train)))
    settings = EmbeddingSettings(training, pull_epochs=max(1, hold // 2), hold_epochs=hold)
    with _progress(f"writing {parameters.marks} marks into {parameters.layer}") as advance:
        report = registered.embed(network, dataset, parameters, marks, settings, on_batch=advance)
    agreement = float((predict(predictor, calibration).argmax(dim=1) == before).float().mean())
    weights = checkpoints.encode_weights(network)
    metrics = {"agreement": agreement}
    if wish.dataset is not None:
        metrics |= {"validation_accuracy": report.validation_accuracy, "test_accuracy": report.test_accuracy}
    return Marked(
        _marked_artefact(artefact, weights, metrics), registered.commit(parameters, marks, weights), report, agreement
    )


def _teaching(
    wish: Wish, predictor: Predictor, calibration: torch.Tensor, data_dir: Path | None
) -> tuple[Dataset, TrainingConfig]:
    """What the network goes on learning while the marks are written."""
    if wish.dataset is None:
        schedule = TrainingConfig(epochs=1, batch_size=32, learning_rate=_LEARNING_RATE, augment=None)
        return label(predictor, calibration), schedule
    dataset = data.load(wish.dataset, data_dir)
    for name, given, own in (
        ("input_spec", dataset.input_spec.shape, predictor.input_spec.shape),
        ("output_spec", dataset.output_spec.classes, predictor.output_spec.classes),
    ):
        if given != own:
            raise WatermarkError("dataset", f"{wish.dataset} has another {name} than the version: {given}, not {own}")
    return replace(dataset, input_spec=predictor.input_spec), replace(
        presets(wish.dataset), learning_rate=_LEARNING_RATE
    )


def _marked_artefact(artefact: Artefact, weights: bytes, metrics: dict[str, float]) -> Artefact:
    unsigned = replace(
        artefact.manifest,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        metrics=metrics,
        created_at=rfc3339(datetime.now(UTC)),
        key_id=None,
        signature=None,
    )
    return replace(artefact, manifest=unsigned, weights=weights)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error; gives what is to be told of each batch."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
