"""Packing a network that was trained elsewhere into an artefact."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from models import checkpoints, networks
from models.errors import CalibrationError, ModelError, SerialNumberError, SpecError
from models.specs import InputSpec, OutputSpec
from service.catalogue.artefacts import Artefact
from service.cli.students import StudentOptions, Students
from service.inference.loaded import fingerprints_of


def pack_artefact(
    name: str,
    network: str,
    network_config: str,
    weights: Path,
    calibration: Path,
    input_spec: Mapping[str, object],
    labels: Sequence[str],
    kind: str,
    fingerprints: Mapping[str, object],
    distillation: Path | None = None,
    students: StudentOptions | None = None,
) -> Artefact:
    """An artefact whose network takes its weights; the shape of an input is the calibration set's.

    With a `distillation` set it takes serial numbers, its students made as `students` says.

    Raises:
        ModelError: naming the part that does not fit. OSError: a file cannot be read.
    """
    inputs = _array(calibration, "calibration", CalibrationError)
    try:
        config = json.loads(network_config)
    except ValueError as error:
        raise SpecError("network_config", "not valid JSON") from error
    inputs_are = InputSpec.from_dict({"name": "image", "shape": list(inputs.shape[1:]), **input_spec})
    outputs_are = OutputSpec.from_dict({"classes": len(labels), "labels": list(labels), "kind": kind})
    encoded = checkpoints.encode_calibration(inputs)
    checkpoints.decode_calibration(encoded, inputs_are)
    data = weights.read_bytes()
    checkpoints.decode_weights(networks.build(network, config), data)
    made = None
    if distillation is not None:
        images = _array(distillation, "distillation", SerialNumberError)
        if images.dtype != np.uint8:
            raise SerialNumberError("distillation", f"has type {images.dtype}; grey levels, uint8, are wanted")
        made = Students.of(students or StudentOptions(), images, inputs_are, outputs_are)
    artefact = Artefact.pack(
        name,
        network,
        config,
        inputs_are,
        outputs_are,
        data,
        encoded,
        created_at=datetime.now(UTC),
        fingerprints=fingerprints,
        serial_numbers=None if made is None else made.serial_numbers,
        distillation=None if made is None else made.distillation,
    )
    fingerprints_of(artefact)  # one that cannot be is said here, not at the upload
    return artefact


def _array(path: Path, field: str, error_type: type[ModelError]) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise error_type(field, "not an NPY file of numbers") from error
    if array.ndim != 4:
        raise error_type(field, f"has shape {array.shape}; (N, C, H, W) is wanted")
    return cast("NDArray[Any]", array)
