"""Training a network on the owner's machine, with a progress bar, into an artefact."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models import checkpoints, data, networks
from models.training import EpochReport, presets, train
from service.catalogue.artefacts import Artefact
from service.cli.api import errors
from service.cli.students import StudentOptions, Students


def train_artefact(
    name: str,
    network_name: str,
    dataset_name: str,
    data_dir: Path | None,
    *,
    epochs: int | None = None,
    seed: int = 0,
    students: StudentOptions | None = None,
) -> Artefact:
    """A trained network as an unsigned artefact; with `students` it takes serial numbers, and packs what it learned of.

    Raises:
        ModelError: unknown network or data set, or data that is not there.
    """
    torch.set_num_threads(1)  # on networks this small a second thread costs more than it brings, far more when busy
    dataset = data.load(dataset_name, data_dir)
    config = {
        "channels": dataset.input_spec.shape[0],
        "size": dataset.input_spec.shape[1],
        "classes": dataset.output_spec.classes,
    }
    network = networks.build(network_name, config)
    schedule = replace(presets(dataset_name), seed=seed)
    if epochs is not None:
        schedule = replace(schedule, epochs=epochs)
    made = None
    if students is not None:  # before the training: what cannot be is said at once
        made = Students.of(students, dataset.train.images, dataset.input_spec, dataset.output_spec)
    with _progress(f"training {network_name} on {dataset_name}", schedule.epochs) as advance:
        report = train(network, dataset, schedule, on_epoch=advance)
    return Artefact.pack(
        name,
        network_name,
        config,
        dataset.input_spec,
        dataset.output_spec,
        checkpoints.encode_weights(network),
        checkpoints.encode_calibration(dataset.calibration.images),
        created_at=datetime.now(UTC),
        metrics={"validation_accuracy": report.validation_accuracy, "test_accuracy": report.test_accuracy},
        serial_numbers=None if made is None else made.serial_numbers,
        distillation=None if made is None else made.distillation,
    )


@contextmanager
def _progress(what: str, epochs: int) -> Iterator[Callable[[EpochReport], None]]:
    """A bar on standard error; gives what is to be told of each epoch."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs · validation {task.fields[accuracy]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(what, total=epochs, accuracy="–")
        yield lambda report: progress.update(task, advance=1, accuracy=f"{report.validation_accuracy:.2%}")
