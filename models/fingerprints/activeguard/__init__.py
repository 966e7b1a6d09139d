"""ActiveGuard (arXiv:2103.01527): authorization by adversarial examples with an allotted class and confidence."""

from models.fingerprints.activeguard.allotment import Allotment, FingerprintOutput
from models.fingerprints.activeguard.control_layer import Authentication, ControlLayer
from models.fingerprints.activeguard.generate import Fingerprints, GenerationSettings, generate

__all__ = [
    "Allotment",
    "Authentication",
    "ControlLayer",
    "FingerprintOutput",
    "Fingerprints",
    "GenerationSettings",
    "generate",
]
