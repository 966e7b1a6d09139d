"""What a suspect is held against: a version's students, their stamps and marks, and a probe. Runs torch."""

from dataclasses import dataclass, field
from functools import partial

import torch

from models import checkpoints
from models.errors import ManifestError, SerialNumberError
from models.evaluation.probing import Probe, balanced, decode_probe, labelled_by
from models.evaluation.tracing import RegisteredStudent
from models.predictor import Predictor
from models.serial_numbers.dsn import Policy, Stamp
from service.catalogue.artefacts import Artefact
from service.inference.loaded import build
from service.keyring import KeyRing
from service.students import numbers
from service.students.store import StudentStore
from service.students.tables import Student

SUSPECT, PROBE = "suspect.safetensors", "probe.safetensors"


@dataclass(frozen=True, slots=True)
class Case:
    """A version and how it makes students."""

    artefact: Artefact = field(repr=False)
    policy: Policy

    @classmethod
    def of(cls, artefact: Artefact) -> "Case":
        """Raises Conflict for a version that makes no students."""
        return cls(artefact, numbers.policy_of(artefact.manifest))

    @property
    def stamp(self) -> Stamp:
        """Where the bits stand in an input."""
        return self.policy.stamp(self.artefact.manifest.input_spec)

    def shell(self) -> Predictor:
        """A network of the students' kind, for a suspect's weights."""
        manifest = self.artefact.manifest
        return Predictor(self.policy.student(), manifest.input_spec, manifest.output_spec)

    def probe(self, uploaded: bytes | None) -> Probe:
        """The inputs to ask about; without labels of their own they have the teacher's.

        Raises:
            CalibrationError: naming `probe` or a part of it.
        """
        manifest, teacher = self.artefact.manifest, build(self.artefact)
        if uploaded is None:
            return labelled_by(teacher, checkpoints.decode_calibration(self.artefact.calibration, manifest.input_spec))
        inputs, labels = decode_probe(uploaded, manifest.input_spec, manifest.output_spec.classes)
        return labelled_by(teacher, inputs) if labels is None else balanced(inputs, labels)

    def registered(self, ring: KeyRing, store: StudentStore, student: Student) -> RegisteredStudent:
        """A student with its number and its mark's key."""
        bits = numbers.again(ring, student.statement, student.issuer_key_id, self.policy.layout.bits).bits
        weights = partial(_weights, store, student.id, student.digest or "")
        return RegisteredStudent(student.id, torch.from_numpy(bits), numbers.mark_key(ring, student.id), weights)


def _weights(store: StudentStore, student_id: str, digest: str) -> bytes:
    try:
        return store.read(student_id, digest).weights
    except ManifestError as error:
        raise SerialNumberError("students", f"the files of {student_id} fail their check: {error}") from None
