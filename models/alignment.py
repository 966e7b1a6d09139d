"""A suspect put back into the order and scale of a reference: units permuted, rescaled or padded with dummies.

One group of units after the other, from the input to the output and again until nothing moves: match by linear
assignment on the cosine of what makes and what reads a unit, which no scale changes, then take the scale from the
ratios of these vectors' entries (Ainsworth et al., "Git Re-Basin", arXiv:2209.04836, section 3.2, with scales added).

Scales are rounded to 2^(k/8). So the alignments that there are can be counted, and a test that was free to choose among
them can pay for it (`Alignment.log10_orders`, `log10_scales`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from models.errors import SpecError
from models.topology import Axis, State, Units, append, by_unit, reorder, rescale, size_in

STEPS_AN_OCTAVE = 8  # off by 4.4 % at most: a fifth of a digit at the outermost ones
SCALES = 128  # 2^-8 to 2^(63/8): what training and pruning bring about
ALL_SCALES = 2048  # 2^-128 to 2^(1023/8): what a thief may choose, and float32 still holds
SWEEPS = 10
MOST = 16  # times as many units, dummies included, inputs or classes as the reference has
KERNEL = 2  # dimensions from here on are a kernel's height and width


@dataclass(frozen=True)
class Move:
    """What was done to one group: unit i of the result is the suspect's `order[i]`, divided by `scales[:, i]`.

    `order` int64 (size,), `scales` float64 (rescalings, size); `found` counts the suspect's units, dummies included.
    """

    group: Units
    order: Tensor
    scales: Tensor
    found: int

    @property
    def displaced(self) -> int:
        """Units that stood elsewhere."""
        return int((self.order != torch.arange(len(self.order))).sum())


@dataclass(frozen=True)
class Alignment:
    """The suspect's tensors in the reference's order and scale (`state`), in its order alone (`reordered`), and how."""

    state: State = field(repr=False)
    reordered: State = field(repr=False)
    moves: tuple[Move, ...]

    def log10_orders(self, tensor: str) -> float:
        """log10 of how many ways there were to place the units that this tensor runs over."""
        ways = (
            math.lgamma(move.found + 1) - math.lgamma(move.found - move.group.size + 1) for move in self._of(tensor)
        )
        return sum(ways) / math.log(10)

    def log10_scales(self, tensor: str) -> float:
        """log10 of how many ways there were to scale these units: a group's are all ordinary, or any at all.

        Half of the chance goes to either, so that ordinary scales are not made dearer by the others.
        """
        ways = 0.0
        for move in self._of(tensor):
            axes = [axis for axis in move.group.axes if axis.tensor == tensor]
            for k in range(move.group.rescalings):
                if any(axis.powers[k] for axis in axes):
                    choices = SCALES if _ordinary(move.scales[k]) else ALL_SCALES
                    ways += math.log10(2) + move.group.size * math.log10(choices)
        return ways

    def _of(self, tensor: str) -> list[Move]:
        return [move for move in self.moves if any(axis.tensor == tensor for axis in move.group.axes)]


def log10_alignments(units: Sequence[Units], tensor: str) -> float:
    """log10 of the orders and scales for a tensor's units, with no dummies: what re-alignment costs at most."""
    moves = tuple(
        Move(group, torch.arange(group.size), torch.full((group.rescalings, group.size), 2.0**100), group.size)
        for group in units
    )
    plain = Alignment({}, {}, moves)
    return plain.log10_orders(tensor) + plain.log10_scales(tensor)


def align(
    suspect: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    units: Sequence[Units],
    *,
    ignore: Mapping[str, Tensor] | None = None,
) -> Alignment:
    """Undo permutations, positive scales and dummy units, as far as the reference tells.

    `ignore[tensor]` (bool, the reference's shape) marks weights that must not be looked at: those that carry the
    mark. Only tensors that `units` names are looked at; others are passed on as they are. Raises SpecError naming
    `weights.<tensor>` where the suspect's tensors do not agree on the units of a group, differ from the reference's in
    more than the number of units, hold no real numbers, or are many times as large.
    """
    names = {axis.tensor for group in units for axis in group.axes}
    _check_tensors(suspect, reference, units)
    known = {name: reference[name].detach().double() for name in names}
    state = {name: _finite(tensor) if name in names else tensor for name, tensor in suspect.items()}
    masks = {name: (~mask).double() for name, mask in (ignore or {}).items()}
    moves: dict[str, Move] = {}
    for group in units:
        state = _padded(state, group)
        count = size_in(state, group)
        moves[group.name] = Move(group, torch.arange(count), torch.ones(group.rescalings, count).double(), count)
    matched: set[str] = set()
    for _ in range(SWEEPS):
        before = dict(moves)
        for group in units:
            moves[group.name] = _match(state, known, masks, moves, group, matched, units)
            matched.add(group.name)
        if all(_same(before[name], moves[name]) for name in moves):
            break
    done = tuple(replace(move, scales=_snapped(move.scales)) for move in moves.values())
    reordered = state
    for move in done:
        reordered = reorder(reordered, move.group, move.order)
    return Alignment(_moved(state, done), reordered, done)


def _check_tensors(suspect: Mapping[str, Tensor], reference: Mapping[str, Tensor], units: Sequence[Units]) -> None:
    """Before anything is made of shapes that a thief may have chosen."""
    grows = defaultdict[str, set[int]](set)
    for group in units:
        for axis in group.axes:
            grows[axis.tensor].add(axis.dim)
    for name, dims in grows.items():
        if name not in suspect:
            raise SpecError(f"weights.{name}", "is missing")
        found, known = tuple(suspect[name].shape), tuple(reference[name].shape)
        fits = len(found) == len(known) and all(
            size == wanted if dim >= KERNEL and dim not in dims else 0 < size <= MOST * wanted
            for dim, (size, wanted) in enumerate(zip(found, known, strict=True))
        )
        if not fits:
            raise SpecError(f"weights.{name}", f"has shape {found}, which no other number of units makes of {known}")
        if not suspect[name].is_floating_point():
            raise SpecError(f"weights.{name}", f"holds {suspect[name].dtype}, not real numbers")
        if suspect[name].numel() > MOST * reference[name].numel():  # what is made of it takes memory several times
            raise SpecError(f"weights.{name}", f"has shape {found}: over {MOST} times the numbers of {known}")


def _match(
    suspect: State,
    reference: State,
    masks: State,
    moves: Mapping[str, Move],
    group: Units,
    matched: set[str],
    units: Sequence[Units],
) -> Move:
    """One group against the reference, all the others as they stand so far."""
    state = _moved(suspect, [move for move in moves.values() if move.group.name != group.name])
    pairs = [
        _Pair.of(axis, reference, state, masks)
        for axis in group.axes
        if _comparable(axis, state, reference, group, matched, units)
    ]
    move = moves[group.name]
    if not pairs:
        return move
    similarity = torch.stack([pair.cosines() for pair in pairs]).sum(dim=0)  # (size, found)
    order = torch.from_numpy(np.asarray(linear_sum_assignment(similarity.numpy(), maximize=True)[1], dtype=np.int64))
    scales = torch.ones(group.rescalings, group.size, dtype=torch.float64)
    for k in range(group.rescalings):
        logs = [pair.axis.powers[k] * pair.log_ratio(order) for pair in pairs]
        squares = sum(pair.axis.powers[k] ** 2 for pair in pairs)
        scales[k] = _held(torch.stack(logs).sum(dim=0) / max(1, squares)).exp()  # least squares over the axes
    return Move(group, order, scales, move.found)


@dataclass(frozen=True)
class _Pair:
    """One axis in both networks, a row a unit: reference and mask (size, D), suspect (found, D)."""

    axis: Axis
    reference: Tensor
    suspect: Tensor
    mask: Tensor

    @classmethod
    def of(cls, axis: Axis, reference: State, suspect: State, masks: State) -> _Pair:
        known = reference[axis.tensor]
        mask = masks.get(axis.tensor, torch.ones_like(known))
        return cls(axis, by_unit(known, axis), by_unit(suspect[axis.tensor], axis), by_unit(mask, axis))

    def cosines(self) -> Tensor:
        """(size, found), over what the mask lets see."""
        seen = self.mask * _unit_rows(self.reference)
        rows = _unit_rows(self.suspect)
        lengths = seen.norm(dim=1)[:, None] * (self.mask @ (rows**2).T).sqrt()
        cosines: Tensor = (seen @ rows.T) / lengths.clamp_min(1e-30)
        return cosines

    def log_ratio(self, order: Tensor) -> Tensor:
        """log of the suspect's entries over the reference's, a row's weighted median; 0 where it is negative (size,).

        Weighted by the reference's squares: weights that were pruned or that noise drowned are small ones.
        """
        ratios, at = torch.where(self.reference != 0, self.suspect[order] / self.reference, 0.0).sort(dim=1)
        weights = (self.mask * self.reference**2).gather(1, at).cumsum(dim=1)
        middle = torch.searchsorted(weights, weights[:, -1:] / 2).clamp_max(weights.shape[1] - 1)
        along = ratios.gather(1, middle)[:, 0]
        return torch.where(along > 0, along, torch.ones_like(along)).log()


def _comparable(
    axis: Axis, state: State, reference: State, group: Units, matched: set[str], units: Sequence[Units]
) -> bool:
    """Whether the tensor's other dimensions are in the reference's order, so that rows can be held against rows."""
    tensor, known = state[axis.tensor], reference[axis.tensor]
    if tensor.ndim < 2 or tensor.ndim != known.ndim:  # one number a unit has no direction
        return False
    for other in units:
        tied = any(each.tensor == axis.tensor and each.dim != axis.dim for each in other.axes)
        if tied and (other.name not in matched or other.name == group.name):
            return False
    sizes = zip(tensor.shape, known.shape, strict=True)
    return all(dim == axis.dim or found == wanted for dim, (found, wanted) in enumerate(sizes))


def _moved(state: State, moves: Iterable[Move]) -> State:
    for move in moves:
        state = rescale(reorder(state, move.group, move.order), move.group, 1 / move.scales)
    return state


def _finite(tensor: Tensor) -> Tensor:
    # By way of float32: what is larger or smaller no network computes with, and a double holds its products.
    return torch.nan_to_num(tensor.detach().float(), nan=0.0, posinf=0.0, neginf=0.0).double()


def _padded(state: State, group: Units) -> State:
    """Units that were pruned away come back as zeros."""
    missing = group.size - size_in(state, group)
    if missing <= 0:
        return state
    rows = {axis: torch.zeros(missing, by_unit(state[axis.tensor], axis).shape[1]) for axis in group.axes}
    return append(state, group, rows)


def _same(before: Move, after: Move) -> bool:
    return torch.equal(before.order, after.order) and torch.allclose(before.scales, after.scales, rtol=1e-4)


def _unit_rows(rows: Tensor) -> Tensor:
    """Each row by its largest entry, so that no square of it is too large or too small for a double."""
    largest = rows.abs().amax(dim=1, keepdim=True)
    return rows / torch.where(largest > 0, largest, 1.0)


def _held(logs: Tensor) -> Tensor:
    """Natural logarithms of scales, none beyond what there is."""
    return logs.clamp(*(math.log(2) * step / STEPS_AN_OCTAVE for step in (-ALL_SCALES // 2, ALL_SCALES // 2 - 1)))


def _snapped(scales: Tensor) -> Tensor:
    return torch.exp2((scales.log2() * STEPS_AN_OCTAVE).round() / STEPS_AN_OCTAVE)


def _ordinary(scales: Tensor) -> bool:
    steps = (scales.log2() * STEPS_AN_OCTAVE).round()
    return bool(((steps >= -SCALES // 2) & (steps < SCALES // 2)).all())
