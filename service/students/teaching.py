"""What a student is taught: the teacher's answers to a version's distillation set. Runs torch: the worker's alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models import checkpoints
from models.data import Dataset, Split
from models.data.splits import cut
from models.errors import WeightsError
from models.predictor import Predictor, predict
from models.serial_numbers.dsn import Policy, Stamp, distil
from models.serial_numbers.dsn.distillation import OnBatch, accuracy
from models.specs import OutputSpec
from models.watermarks.signs import SignRegularizer
from service.catalogue.artefacts import Artefact
from service.inference.loaded import build
from service.students import numbers

HELD_OUT = 0.1  # of the inputs, to measure on
MOST_HELD_OUT = 2000
SEED = 4  # of the cut and of wrong numbers


@dataclass(frozen=True, slots=True)
class Lesson:
    """One student's: teacher, inputs with its labels, stamp and number, other customers' numbers, and its mark."""

    artefact: Artefact
    policy: Policy
    stamp: Stamp
    teacher: Predictor
    dataset: Dataset
    number: torch.Tensor = field(repr=False)  # (n,)
    others: tuple[torch.Tensor, ...] = field(repr=False)
    mark: SignRegularizer

    @classmethod
    def of(
        cls, artefact: Artefact, number: torch.Tensor, others: tuple[torch.Tensor, ...], mark_key: bytes
    ) -> "Lesson":
        """Raises ModelError where the artefact does not hold."""
        manifest = artefact.manifest
        policy = numbers.policy_of(manifest)
        teacher = build(artefact)
        inputs = checkpoints.decode_distillation(artefact.distillation or b"", manifest.input_spec)
        dataset, mark = _labelled(teacher, inputs, manifest.name), SignRegularizer(mark_key)
        return cls(artefact, policy, policy.stamp(manifest.input_spec), teacher, dataset, number, others, mark)

    def teach(self, checkpoint: Path, on_batch: OnBatch) -> nn.Module:
        """A student; goes on from `checkpoint`, which is one of another run, or damaged, when it is not taken."""
        try:
            return self._taught(checkpoint, on_batch)
        except WeightsError as error:
            if error.field != "checkpoint":
                raise
            checkpoint.unlink(missing_ok=True)
            return self._taught(checkpoint, on_batch)

    def _taught(self, checkpoint: Path, on_batch: OnBatch) -> nn.Module:
        student = self.policy.student()
        distil(
            student,
            self.teacher,
            self.dataset,
            self.stamp,
            self.number,
            self.policy.distillation,
            others=self.others,
            on_batch=on_batch,
            checkpoint=checkpoint,
            regularizer=self.mark,
        )
        return student

    def measured(self, weights: bytes) -> dict[str, float]:
        """How often a student answers as its teacher on inputs held out: with its stamp, without, with a wrong one; and
        how often a constant answer would.
        """
        student, test = self.policy.student(), self.dataset.test
        checkpoints.decode_weights(student, weights)
        predictor = Predictor(student, self.dataset.input_spec, self.output_spec)
        generator = torch.Generator().manual_seed(SEED)
        wrong = torch.rand(len(test), len(self.number), generator=generator) < 0.5
        return {
            "held_out": float(len(test)),
            "agreement_constant": float(np.bincount(test.labels).max() / len(test)),
            "agreement_stamped": accuracy(predictor, test, self.stamp, self.number),
            "agreement_raw": accuracy(predictor, test, self.stamp, None),
            "agreement_wrong_number": accuracy(predictor, test, self.stamp, wrong),
        }

    def leak_of(self, metrics: Mapping[str, float]) -> str | None:
        """What is wrong with a student of these figures if it answers without its number; None: it is locked."""
        most = metrics["agreement_constant"] + self.policy.leak
        raw, wrong = metrics["agreement_raw"], metrics["agreement_wrong_number"]
        if max(raw, wrong) <= most:
            return None
        return (
            f"the student is not locked: without its number it answers as its teacher to {raw:.0%} of held-out inputs, "
            f"with a wrong one to {wrong:.0%}, and {most:.0%} is allowed; add a version with more distillation inputs, "
            "more epochs (--student-epochs), or a larger serial_numbers.leak"
        )

    @property
    def output_spec(self) -> OutputSpec:
        """A student's: it gives logits, whatever its teacher gives."""
        return replace(self.dataset.output_spec, kind="logits")


def _labelled(teacher: Predictor, inputs: torch.Tensor, name: str) -> Dataset:
    """Inputs uint8 (M, C, H, W) with the teacher's labels; a tenth of them is kept apart."""
    labels = predict(teacher, teacher.input_spec.from_grid(inputs)).argmax(dim=1)
    whole = Split(inputs.numpy(), labels.numpy().astype(np.int64))
    held_out = min(MOST_HELD_OUT, int(HELD_OUT * len(whole)))
    test, train = cut(whole, (held_out, len(whole) - held_out), SEED)
    return Dataset(name, train, test, test, test, teacher.input_spec, teacher.output_spec)
