"""Whose student a suspect is: two witnesses, each against what chance does, paid for and put together.

(1) load the suspect into the students' architecture;
(2) the stamp: how many of P labelled inputs it gets right with a student's number, against 10,000 random numbers. A
    number was as random as these for whoever made an innocent suspect, so that its rank among them is uniform:
    p = (1 + random numbers that do as well or better) / (1 + 10,000). Ties count against the student, no number is
    left out, and none is looked at twice;
(3) the mark: how many weights have the signs that the student's key gave them (`models.watermarks.signs`), tensor by
    tensor, as the suspect stands and, where that names nobody, with its units put back into the student's order;
(4) pay for every choice: tensors, readings and orders of the mark, two witnesses, all registered students (Bonferroni).

Bonferroni and not Holm: with it a student's figure rests on that student alone, and evidence about one customer can be
checked without the others'. What Holm would gain where all p are tiny is nothing.

A rank among 10,000 cannot be rarer than 1e-4: the stamp alone can point to somebody (`indicated`, at 1 %), not name
anyone (`named`, at 1e-6). A suspect that answers everything right under any number ties with all of them: p = 1. Two
averaged students may answer nothing any more; their marks are both still there.

The registered numbers are not quite uniform: `keygen` passes over those that inputs show by themselves, some
4e-5 of all for each input. They are the ones that an unlocked suspect would answer best.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from models.alignment import align
from models.checkpoints import decode_tensors, decode_weights
from models.errors import ModelError, SerialNumberError
from models.evaluation.probing import OnStamps, Probe, count_correct, null_numbers, null_seed
from models.evaluation.sign_agreement import log10_agreement_tail
from models.predictor import Predictor
from models.serial_numbers.dsn import Stamp
from models.topology import units_of
from models.watermarks.signs import agreement, marked_tensors

DRAWS, MOST_DRAWS = 10_000, 1_000_000
LOG10_NAMED, LOG10_INDICATED = -6.0, -2.0
WITNESSES, WAYS = 2, 2
Way = Literal["as it stands", "reordered"]
Finding = Literal["named", "indicated", "not named"]


@dataclass(frozen=True)
class RegisteredStudent:
    """A student that was made: its id, its number (n,), its mark's key, and its weights file for re-alignment."""

    id: str
    number: Tensor = field(repr=False)
    mark_key: bytes | None = field(default=None, repr=False)
    weights: Callable[[], bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class MarkReading:
    """One tensor against one key: `agreeing` of `compared` signs, and the ways there were to order its units."""

    tensor: str
    way: Way
    compared: int
    agreeing: int
    log10_orders: float

    @property
    def log10_p(self) -> float:
        """Before tensors and ways are paid for."""
        return min(0.0, log10_agreement_tail(self.agreeing, self.compared) + self.log10_orders)


@dataclass(frozen=True)
class Suspicion:
    """What speaks for one student: both p-values, and what is left of the smaller after everything is paid for.

    `mark` is its best reading, None without a key; `at_least` counts the random numbers that do as well or better.
    """

    id: str
    correct: int
    at_least: int
    log10_p_stamp: float
    mark: MarkReading | None
    log10_p_mark: float
    log10_adjusted_p: float

    @property
    def finding(self) -> Finding:
        """At which level, if any."""
        if self.log10_adjusted_p <= LOG10_NAMED:
            return "named"
        return "indicated" if self.log10_adjusted_p <= LOG10_INDICATED else "not named"


@dataclass(frozen=True)
class Trace:
    """Everything that evidence states; `histogram[c]` counts random numbers with which c of the probes were right."""

    suspicions: tuple[Suspicion, ...]
    histogram: tuple[int, ...]
    tensors: tuple[str, ...]
    suspect_sha256: str
    probe_sha256: str

    @property
    def probes(self) -> int:
        """P."""
        return len(self.histogram) - 1

    @property
    def draws(self) -> int:
        """Random numbers."""
        return sum(self.histogram)

    @property
    def named(self) -> tuple[Suspicion, ...]:
        """The likeliest first; several where colluders put their students together."""
        return self._found("named")

    @property
    def indicated(self) -> tuple[Suspicion, ...]:
        """The likeliest first."""
        return self._found("indicated")

    def _found(self, finding: Finding) -> tuple[Suspicion, ...]:
        found = (each for each in self.suspicions if each.finding == finding)
        return tuple(sorted(found, key=lambda each: each.log10_adjusted_p))


def trace(
    suspect: bytes,
    shell: Predictor,
    stamp: Stamp,
    students: Sequence[RegisteredStudent],
    probe: Probe,
    *,
    draws: int = DRAWS,
    on_stamps: OnStamps | None = None,
) -> Trace:
    """Hold a suspect's weights file against all registered students.

    `shell` is a network of the students' architecture, whose weights are overwritten. Raises WeightsError naming
    `weights` or `weights.<tensor>` for a suspect that does not fit it, SerialNumberError naming `students` when there
    are none or `draws`.
    """
    if not students:
        raise SerialNumberError("students", "there are none to hold the suspect against")
    if not 1 <= draws <= MOST_DRAWS:
        raise SerialNumberError("draws", f"must be from 1 to {MOST_DRAWS}")
    tensors = load(shell.network, suspect)  # (1)
    digest = hashlib.sha256(suspect).hexdigest()
    registered = torch.stack([student.number for student in students])
    random = null_numbers(null_seed(digest, probe.sha256), draws, stamp.layout.bits)
    counts = count_correct(shell, probe, stamp, torch.cat([registered, random]), on_stamps)  # (2)
    null = torch.bincount(counts[len(students) :], minlength=len(probe.labels) + 1)
    judge = _Judge(tuple(students), tuple(counts[: len(students)].tolist()), null, marked_tensors(shell.network))
    found = judge.all(_as_it_stands(student, tensors, judge.tensors) for student in students)  # (3), (4)
    if not any(each.finding == "named" for each in found):
        found = judge.all(_both_ways(student, tensors, judge.tensors, shell.network) for student in students)
    return Trace(found, tuple(null.tolist()), judge.tensors, digest, probe.sha256)


def load(network: nn.Module, suspect: bytes) -> dict[str, Tensor]:
    """The suspect's tensors, put into `network`; half and double precision are taken for what they stand for.

    Raises WeightsError naming `weights` or `weights.<tensor>`.
    """
    tensors, own = decode_tensors(suspect), network.state_dict()
    for name, tensor in tensors.items():
        if name in own and tensor.is_floating_point() and own[name].is_floating_point():
            tensors[name] = tensor.to(own[name].dtype)
    decode_weights(network, save_tensors(tensors))
    return tensors


@dataclass(frozen=True)
class _Judge:
    """What is the same for all readings."""

    students: tuple[RegisteredStudent, ...]
    correct: tuple[int, ...]
    null: Tensor
    tensors: tuple[str, ...]

    def all(self, readings: Iterable[Sequence[MarkReading]]) -> tuple[Suspicion, ...]:
        """One for each student, whose readings come in the students' order."""
        return tuple(map(self._one, self.students, self.correct, readings))

    def _one(self, student: RegisteredStudent, correct: int, readings: Sequence[MarkReading]) -> Suspicion:
        at_least = int(self.null[correct:].sum())
        by_stamp = math.log10((1 + at_least) / (1 + int(self.null.sum())))
        best = min(readings, key=lambda reading: reading.log10_p, default=None)
        by_mark = 0.0 if best is None else min(0.0, best.log10_p + math.log10(len(self.tensors) * WAYS))
        adjusted = min(0.0, min(by_stamp, by_mark) + math.log10(WITNESSES * len(self.students)))
        return Suspicion(student.id, correct, at_least, by_stamp, best, by_mark, adjusted)


def _as_it_stands(student: RegisteredStudent, suspect: Mapping[str, Tensor], names: Sequence[str]) -> list[MarkReading]:
    if student.mark_key is None:
        return []
    found = (agreement(suspect, student.mark_key, name) for name in names)
    return [MarkReading(each.tensor, "as it stands", each.compared, each.agreeing, 0.0) for each in found]


def _both_ways(
    student: RegisteredStudent, suspect: Mapping[str, Tensor], names: Sequence[str], network: nn.Module
) -> list[MarkReading]:
    """Both ways. Orders are paid for, since the student's own weights chose among them; scales move no sign."""
    readings = _as_it_stands(student, suspect, names)
    if student.mark_key is None or student.weights is None:
        return readings
    try:
        alignment = align(suspect, decode_tensors(student.weights()), units_of(network))
    except ModelError:  # a network that does not say which layer feeds which
        return readings
    for name in names:
        each = agreement(alignment.reordered, student.mark_key, name)
        orders = alignment.log10_orders(name)
        readings.append(MarkReading(name, "reordered", each.compared, each.agreeing, orders))
    return readings
