"""Packing a network that was trained elsewhere into an artefact."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models import checkpoints, networks
from models.errors import CalibrationError, SpecError
from models.specs import InputSpec, OutputSpec
from service.catalogue.artefacts import Artefact
from service.inference.engine import fingerprints_of


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
) -> Artefact:
    """An artefact whose network takes its weights; the shape of an input is the calibration set's.

    Raises:
        ModelError: naming the part that does not fit. OSError: a file cannot be read.
    """
    try:
        inputs = np.load(calibration, allow_pickle=False)
    except ValueError as error:
        raise CalibrationError("calibration", "not an NPY file of numbers") from error
    if inputs.ndim != 4:
        raise CalibrationError("calibration", f"has shape {inputs.shape}; (N, C, H, W) is wanted")
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
    now = datetime.now(UTC)
    artefact = Artefact.pack(
        name, network, config, inputs_are, outputs_are, data, encoded, created_at=now, fingerprints=fingerprints
    )
    fingerprints_of(artefact)  # one that cannot be is said here, not at the upload
    return artefact
