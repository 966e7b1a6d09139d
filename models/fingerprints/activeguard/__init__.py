"""ActiveGuard (arXiv:2103.01527): authorization by adversarial examples with an allotted class and confidence."""

from models.fingerprints.activeguard.adam import Adam
from models.fingerprints.activeguard.allotment import Allotment, FingerprintOutput
from models.fingerprints.activeguard.carlini_wagner import CarliniWagner
from models.fingerprints.activeguard.codewords import Code, Codeword, Codewords
from models.fingerprints.activeguard.control_layer import Authentication, ControlLayer
from models.fingerprints.activeguard.gauss_newton import GaussNewton
from models.fingerprints.activeguard.generate import Fingerprints, GenerationSettings, generate
from models.fingerprints.activeguard.method import Method
from models.fingerprints.activeguard.protected import ProtectedNetwork
from models.fingerprints.activeguard.scheme import CodeKind, FingerprintScheme
from models.fingerprints.activeguard.sets import FingerprintSets

__all__ = [
    "Adam",
    "Allotment",
    "Authentication",
    "CarliniWagner",
    "Code",
    "CodeKind",
    "Codeword",
    "Codewords",
    "ControlLayer",
    "FingerprintOutput",
    "FingerprintScheme",
    "FingerprintSets",
    "Fingerprints",
    "GaussNewton",
    "GenerationSettings",
    "Method",
    "ProtectedNetwork",
    "generate",
]
