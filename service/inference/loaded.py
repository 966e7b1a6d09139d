"""Versions in memory: what an artefact becomes before it may answer, and what answers."""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from models import checkpoints, networks
from models.checkpoints import Manifest
from models.decoys import DecoyBank
from models.engines import Forward
from models.errors import AllotmentError, ModelError, SpecError, WeightsError
from models.fingerprints.activeguard.control_layer import ControlLayer
from models.fingerprints.activeguard.scheme import FingerprintScheme
from models.predictor import Predictor
from models.predictor import scores as scores_of
from models.serial_numbers.dsn import Policy, Stamp
from models.specs import InputSpec, OutputSpec
from service.catalogue.artefacts import Artefact
from service.control.book import VersionRecord
from service.keyring import KeyRing

Floats = NDArray[np.float32]
PIECE = 64  # calibration inputs in one turn of the torch thread: answers wait no longer than for each other


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version ready to answer."""

    version: VersionRecord
    manifest: Manifest
    fingerprints: FingerprintScheme
    predictor: Predictor
    bank: DecoyBank
    control: ControlLayer
    calibration: torch.Tensor  # (M, C, H, W) raw range
    decoy_secret: bytes
    students: Policy | None = None  # how they are made, and the stamp that they want; None where it has none
    stamp: Stamp | None = None
    engine: str = "eager"
    forward: Forward | None = field(default=None, repr=False)  # that engine; None: the predictor itself

    @property
    def input_spec(self) -> InputSpec:
        """What it takes."""
        return self.manifest.input_spec

    @property
    def output_spec(self) -> OutputSpec:
        """What it gives."""
        return self.manifest.output_spec

    @property
    def nbytes(self) -> int:
        """Of what it holds in memory: weights, calibration inputs, the profiles that decoys are drawn from."""
        weights = sum(int(tensor.nbytes) for tensor in self.predictor.state_dict().values())
        copies = 1 if self.forward is None else 2
        return copies * weights + int(self.calibration.nbytes) + self.bank.nbytes

    def numbers(self, inputs: Floats, spec: InputSpec) -> NDArray[np.int8]:
        """The serial numbers (N, n) that inputs (N, C, H, W), decoded as `spec` says, show; -1 where a bit is none.

        Off the 8-bit grid none is read: such an input is not one that anybody stamped.
        """
        assert self.stamp is not None, "a version without serial numbers"  # noqa: S101 - the caller looks
        exact = torch.from_numpy(self.input_spec.from_grid(spec.to_grid(inputs)))
        shown: NDArray[np.int8] = self.stamp.read(exact).numpy()
        shown[~spec.is_on_grid(inputs)] = -1
        return shown

    def answer(self, inputs: Floats, authorized: NDArray[np.bool_]) -> Floats:
        """Scores (N, K) for inputs (N, C, H, W): the network's where authorized, a decoy's elsewhere.

        Both are made for every row, so that the two take the same work.
        """
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(inputs))
            logits = self.predictor(batch) if self.forward is None else self.forward(batch)  # (N, C, H, W) -> (N, K)
            decoys = self.bank.draw(self.decoy_secret, self.version.digest, self.input_spec.to_grid(inputs))
            controlled = self.control(logits, decoys, torch.from_numpy(authorized))
            scores: Floats = scores_of(controlled).numpy()
        return scores


def build(artefact: Artefact) -> Predictor:
    """The network of an artefact with its weights, as the graph that is served.

    Raises:
        SpecError, WeightsError: the network cannot be built, or the weights are not its own.
    """
    manifest = artefact.manifest
    network = networks.build(manifest.network, manifest.network_config)
    checkpoints.decode_weights(network, artefact.weights)
    return Predictor(network, manifest.input_spec, manifest.output_spec)


def fingerprints_of(artefact: Artefact) -> FingerprintScheme:
    """The fingerprints a version may allot.

    Raises:
        AllotmentError: the manifest asks for what cannot exist.
    """
    classes, asked = artefact.manifest.output_spec.classes, artefact.manifest.fingerprints
    epsilon, longest = cast(float, asked["epsilon"]), cast(int, asked["longest"])
    confidences = cast("list[float] | None", asked["confidences"])
    try:
        return FingerprintScheme.of(str(asked["code"]), classes, epsilon, confidences, longest)
    except AllotmentError as error:
        raise AllotmentError(f"fingerprints.{error.field}", error.message) from None


def policy_of(artefact: Artefact) -> Policy | None:
    """How its students are made; None where it has none.

    Raises:
        SerialNumberError: the manifest asks for what cannot be, or what students learn from does not fit.
    """
    manifest = artefact.manifest
    if manifest.serial_numbers is None or artefact.distillation is None:
        return None
    policy = Policy.from_dict(manifest.serial_numbers)
    policy.check(manifest.input_spec, manifest.output_spec)
    checkpoints.decode_distillation(artefact.distillation, manifest.input_spec)
    return policy


@dataclass(frozen=True, slots=True)
class Draft:
    """A version whose network is built and has answered nothing yet."""

    predictor: Predictor
    calibration: torch.Tensor  # (M, C, H, W) raw range
    fingerprints: FingerprintScheme
    students: Policy | None

    @classmethod
    def of(cls, artefact: Artefact) -> "Draft":
        """Of an artefact's parts.

        Raises:
            ModelError: they do not fit together.
        """
        predictor = build(artefact)
        calibration = checkpoints.decode_calibration(artefact.calibration, artefact.manifest.input_spec)
        return cls(predictor, calibration, fingerprints_of(artefact), policy_of(artefact))

    def logits(self, start: int) -> torch.Tensor:
        """Logits (n, K) of the calibration inputs from `start` on, n = 64 or what is left.

        Raises:
            ModelError: the network does not take such inputs, or its answers are not numbers.
        """
        try:
            with torch.inference_mode():
                logits: torch.Tensor = self.predictor(self.calibration[start : start + PIECE])
        except ModelError:
            raise
        except Exception as error:  # a foreign network may fail in any way; the version is at fault, not the gateway
            raise SpecError("input_spec.shape", "the network does not take inputs of this shape") from error
        if not bool(torch.isfinite(logits).all()):
            raise WeightsError("weights", "the network answers its calibration inputs with NaN or infinite values")
        return logits

    def loaded(self, artefact: Artefact, version: VersionRecord, ring: KeyRing, logits: list[torch.Tensor]) -> Loaded:
        """Ready to answer, with the pieces of the calibration set's logits."""
        return Loaded(
            version,
            artefact.manifest,
            self.fingerprints,
            self.predictor,
            DecoyBank(torch.cat(logits)),
            ControlLayer(self.fingerprints.allotment.confidences, self.fingerprints.epsilon),
            self.calibration,
            # The oldest root, so that the lie stays the same when the ring rotates.
            ring.derive("decoy", version.digest, root=ring.oldest_root),
            self.students,
            None if self.students is None else self.students.stamp(artefact.manifest.input_spec),
        )
