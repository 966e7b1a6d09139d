"""How the students of a new version are made: the options of `signet model protect` and `pack`, as a policy."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models import checkpoints
from models.augmentation import Affine, CropAndFlip
from models.errors import SpecError
from models.serial_numbers.dsn import STRONG, DistillationConfig, Layout, Policy
from models.specs import InputSpec, OutputSpec

NETWORKS = {1: "dsn_mnist", 3: "dsn_gtsrb"}  # by channels
LEAST_SHOWN = 100_000  # images that a student learns from, each as often as it takes: with fewer it hardly locks


@dataclass(frozen=True, slots=True)
class StudentOptions:
    """What was asked for; the rest is chosen to fit the version's inputs."""

    bits: int = 64
    layout: str = "lattice"
    network: str | None = None
    epochs: int | None = None
    augment: Affine | CropAndFlip | None = None  # as the teacher's training had it

    def policy(self, images: int, input_spec: InputSpec, output_spec: OutputSpec) -> Policy:
        """A policy that holds for so many such inputs.

        Raises:
            ModelError: naming what cannot be.
        """
        channels, height, width = input_spec.shape
        copies = STRONG.copies if self.layout == STRONG.kind else 1
        layout = Layout(self.layout, self.bits, copies=copies)  # type: ignore[arg-type]  # it says what is not right
        layout = layout.scaled(height, width)
        network = self.network or NETWORKS.get(channels)
        if network is None:
            raise SpecError("student_network", f"there is none by default for {channels} channels; name one")
        config: Mapping[str, object] = {"channels": channels, "size": height, "classes": output_spec.classes}
        schedule = DistillationConfig(augment=self.augment)
        epochs = self.epochs or max(schedule.epochs, -(-LEAST_SHOWN // max(1, images)))
        schedule = replace(schedule, epochs=epochs)
        policy = Policy(layout, network, config, schedule)
        policy.check(input_spec, output_spec)
        return policy


@dataclass(frozen=True, slots=True)
class Students:
    """What a manifest says of them, and the file that they learn from."""

    serial_numbers: Mapping[str, object]
    distillation: bytes

    @classmethod
    def of(
        cls, options: StudentOptions, images: NDArray[np.uint8], input_spec: InputSpec, output_spec: OutputSpec
    ) -> "Students":
        """Of grey levels (M, C, H, W).

        Raises:
            ModelError: naming what cannot be.
        """
        policy = options.policy(len(images), input_spec, output_spec)
        encoded = checkpoints.encode_distillation(images)
        checkpoints.decode_distillation(encoded, input_spec)
        return cls(policy.to_dict(), encoded)
