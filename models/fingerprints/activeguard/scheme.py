"""What one network's fingerprints are: the answers that are allotted, and how far another answer is from them.

Two codes: `codeword` fixes all K probabilities of an answer, secretly; `confidence` is the paper's (class, confidence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.errors import AllotmentError
from models.fingerprints.activeguard.allotment import Allotment, FingerprintOutput
from models.fingerprints.activeguard.codewords import Code, Codeword
from models.fingerprints.activeguard.generate import GenerationSettings
from models.fingerprints.activeguard.sets import LONGEST, FingerprintSets

LEAST_EPSILON = 1e-5  # answers are float32, and the band of a finer one would hold more outputs than memory does
LEAST_FOR_CODEWORDS = 1e-4  # grey levels come no nearer
FINEST_SHARE = 5e-7  # a class: deriving a codeword of a thousand classes finer than that takes seconds

Answers = tuple[FingerprintOutput | Codeword, ...]


class CodeKind(StrEnum):
    """Which numbers of an answer are allotted."""

    CODEWORD = "codeword"
    CONFIDENCE = "confidence"


@dataclass(frozen=True)
class FingerprintScheme:
    """One allotment, the code over it, and how many fingerprints a license may carry at most.

    Raises AllotmentError naming `epsilon`, `confidences` or `longest`.
    """

    kind: CodeKind
    allotment: Allotment
    longest: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.longest <= LONGEST:
            raise AllotmentError("longest", f"must lie between 1 and {LONGEST}")
        if self.kind == CodeKind.CODEWORD:
            _ = self._code  # refuses what leaves no room for a codeword

    @classmethod
    def of(
        cls, kind: str, classes: int, epsilon: float, confidences: Sequence[float] | None = None, longest: int = 4
    ) -> FingerprintScheme:
        """The scheme with these confidences; None allots all that the band holds and the code can use.

        Raises AllotmentError, also naming `code`.
        """
        if kind not in list(CodeKind):
            raise AllotmentError("code", f"must be {' or '.join(CodeKind)}")
        least = LEAST_EPSILON if kind == CodeKind.CONFIDENCE else max(LEAST_FOR_CODEWORDS, classes * FINEST_SHARE)
        if epsilon < least:
            raise AllotmentError("epsilon", f"must be at least {least:g} for {classes} classes and this code")
        if confidences is not None:
            return cls(CodeKind(kind), Allotment(classes, tuple(confidences), epsilon), longest)
        band = Allotment.from_band(classes, epsilon)
        return cls(
            CodeKind(kind), band if kind == CodeKind.CONFIDENCE else Code.within(band, epsilon).allotment, longest
        )

    @cached_property
    def _code(self) -> Code:
        return Code(self.allotment, self.epsilon)

    @property
    def epsilon(self) -> float:
        """Tolerable error of every allotted probability."""
        return self.allotment.epsilon

    def sets(self, licenses: int) -> FingerprintSets:
        """Sequences as short as so many licenses allow; raises AllotmentError naming `longest`."""
        return FingerprintSets.holding(self.allotment, licenses, self.longest)

    def answers(self, secret: bytes, license_id: str, slots: Sequence[int]) -> Answers:
        """What the network has to say to a license's fingerprints, one a slot, in order; raises AllotmentError."""
        if self.kind == CodeKind.CONFIDENCE:
            return tuple(self.allotment.output(slot) for slot in slots)
        return tuple(self._code.codeword(secret, license_id, slot, index) for index, slot in enumerate(slots))

    def error(self, probabilities: NDArray[np.floating], answers: Answers) -> float:
        """How far (m, K) is from m answers: the largest error of an allotted probability, 1 for another top class."""
        assert len(probabilities) == len(answers), "one answer a fingerprint"
        return max(_error(row, answer) for row, answer in zip(probabilities, answers, strict=True))

    def generation(self, attempts: int) -> GenerationSettings:
        """How near a fingerprint has to come, so that another engine leaves it within epsilon.

        A codeword's finish ends within half of its tolerance, by the Euclidean distance: no probability is off by more.
        """
        return GenerationSettings(tolerance=self.epsilon / 10, codeword_tolerance=self.epsilon, attempts=attempts)


def _error(probabilities: NDArray[np.floating], answer: FingerprintOutput | Codeword) -> float:
    if isinstance(answer, Codeword):
        return float(np.abs(probabilities - np.asarray(answer.probabilities)).max())
    label, confidence = answer
    return abs(float(probabilities.max()) - confidence) if int(probabilities.argmax()) == label else 1.0
