"""ActiveGuard, section 2.4: which licensee gets which fingerprint output FO = (t, c).

paper        here                   meaning
K            classes                number of classes
C_fp, T      confidences, T         the allotted confidences and how many there are
epsilon      epsilon                tolerable error of a confidence
[z_1, z_2)   band(K)                where confidences may lie
N_au         capacity               K T, eq. (5) for the whole band
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from models.errors import AllotmentError

SLACK = 1e-9  # confidences are decimals: 0.202 - 0.2 is a hair below 0.002 in binary


class FingerprintOutput(NamedTuple):
    """FO = (i, c_j): the class a fingerprint is answered with, and the confidence of that answer."""

    label: int
    confidence: float


@dataclass(frozen=True)
class Allotment:
    """T confidences for each of K classes; user i T + j gets (class i, confidence j), both counted from 0.

    The paper counts j from 1. Raises AllotmentError naming `classes`, `epsilon` or `confidences` with the reason.
    """

    classes: int
    confidences: tuple[float, ...]
    epsilon: float = 0.001

    def __post_init__(self) -> None:
        if type(self.classes) is not int or self.classes < 2:
            raise AllotmentError("classes", "must be an integer of at least 2")
        if not (isinstance(self.epsilon, int | float) and 0 < self.epsilon < 0.5):
            raise AllotmentError("epsilon", "must lie between 0 and 0.5")
        object.__setattr__(self, "confidences", _checked(self.confidences, self.classes, self.epsilon))

    @classmethod
    def from_band(cls, classes: int, epsilon: float = 0.001) -> Allotment:
        """Every confidence the band holds, 2 epsilon apart: z_1, z_1 + 2 epsilon, ... below z_2 (eq. 5).

        Those that no answer can have, or that a shrug of the network would pass, are left out (section 3.1 lists
        0.10 at K = 10, which is the flat answer). Raises AllotmentError when nothing is left.
        """
        if type(classes) is not int or classes < 2 or not 0 < epsilon < 0.5:
            return cls(classes, (), epsilon)  # refused there, by the rule that is broken
        low, high = band(classes)
        count = math.ceil((high - low) / (2 * epsilon) - SLACK)
        steps = (round(low + 2 * epsilon * step, 12) for step in range(count))
        return cls(classes, tuple(c for c in steps if c - epsilon >= 1 / classes - SLACK), epsilon)

    @property
    def capacity(self) -> int:
        """How many licensees can be told apart: K T."""
        return self.classes * len(self.confidences)

    def output(self, user: int) -> FingerprintOutput:
        """The output of user 0 to capacity - 1; raises AllotmentError naming `user` beyond that."""
        if not 0 <= user < self.capacity:
            raise AllotmentError("user", f"{user} is not one of the {self.capacity} that can be told apart")
        label, index = divmod(user, len(self.confidences))
        return FingerprintOutput(label, self.confidences[index])

    def user(self, output: FingerprintOutput) -> int:
        """The user an output is allotted to; raises AllotmentError naming `output` when there is none."""
        label, confidence = output
        if not 0 <= label < self.classes or confidence not in self.confidences:
            raise AllotmentError("output", f"class {label} with confidence {confidence} is not allotted")
        return label * len(self.confidences) + self.confidences.index(confidence)


def band(classes: int) -> tuple[float, float]:
    """[z_1, z_2): the low confidences that clean inputs rarely get, 0.10 to 0.50 (section 2.2).

    Not described in the paper: with two classes the larger probability is at least 0.5, so the band would be empty;
    one of the same width above 0.5 takes its place.
    """
    return (0.5, 0.9) if classes == 2 else (0.1, 0.5)


def _checked(confidences: Sequence[float], classes: int, epsilon: float) -> tuple[float, ...]:
    if any(isinstance(c, bool) or not isinstance(c, int | float) or not 0 < c < 1 for c in confidences):
        raise AllotmentError("confidences", "must be numbers between 0 and 1")
    ordered = tuple(sorted(float(c) for c in confidences))
    if not ordered:
        raise AllotmentError("confidences", f"none is left with {classes} classes and an epsilon of {epsilon}")
    if ordered[0] - epsilon < 1 / classes - SLACK:
        least = f"1/{classes} = {1 / classes:.4g}"
        raise AllotmentError("confidences", f"{ordered[0]} cannot be: the largest of {classes} is at least {least}")
    if ordered[-1] + epsilon > 1 + SLACK:
        raise AllotmentError("confidences", f"{ordered[-1]} is within {epsilon} of certainty, as clean inputs are")
    for lower, upper in pairwise(ordered):
        if upper - lower < 2 * epsilon - SLACK:
            raise AllotmentError("confidences", f"{lower} and {upper} are closer than twice epsilon, {2 * epsilon}")
    return ordered
