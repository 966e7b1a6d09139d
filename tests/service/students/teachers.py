"""The digits model set up for serial numbers: a small student, distilled in seconds."""

from typing import Any

from models import checkpoints, data
from service.catalogue.artefacts import Artefact
from tests.service.conftest import NOW

POLICY: dict[str, Any] = {
    "layout": {"kind": "lattice", "bits": 64, "cell": 1},
    "network": "dsn_mnist",
    "network_config": {"width": 0.25},
    "distillation": {"epochs": 3, "batch_size": 200},
}


def with_students(
    artefact: Artefact,
    digits: data.Dataset,
    leak: float = 1.0,
    network_config: dict[str, Any] = POLICY["network_config"],
    **distillation: Any,
) -> Artefact:
    """The same version with a policy and a distillation set; what is distilled in seconds is allowed to leak."""
    schedule = {**POLICY["distillation"], **distillation}
    policy = {**POLICY, "network_config": network_config, "distillation": schedule, "leak": leak}
    manifest = artefact.manifest
    return Artefact.pack(
        manifest.name,
        manifest.network,
        manifest.network_config,
        manifest.input_spec,
        manifest.output_spec,
        artefact.weights,
        artefact.calibration,
        created_at=NOW,
        serial_numbers=policy,
        distillation=checkpoints.encode_distillation(digits.train.images),
    )
