"""Which layer feeds which: the units of a network, and the moves that leave its function as it is.

The order of a layer's units is arbitrary, and before a ReLU their scale is too: whoever permutes the rows of one layer
and the columns of the next, or multiplies a row by s > 0 and divides the column by s, has the same network in other
numbers. `Units` says which tensors take part; `models.attacks.obfuscation` makes the moves, `models.alignment` undoes
them. A chain of layers describes itself with `chain`; a network with residual connections lists its groups, one for
all that a shortcut ties together, in its own method `units` (`Stream`, `inner_units`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from models.errors import SpecError

State = dict[str, Tensor]
HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Flatten, nn.Dropout, nn.Identity)


@dataclass(frozen=True)
class Axis:
    """A dimension of a tensor that runs over the units, `block` entries each (25 columns a channel of 5x5 maps).

    `powers[k]` is the power of s that the tensor is multiplied with in the group's k-th rescaling: 1 for what makes
    the unit, -1 for what reads it, 0 for what does not take part.
    """

    tensor: str
    dim: int
    block: int = 1
    powers: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Units:
    """A group of `size` units that are permuted together; every axis has as many powers as there are rescalings.

    Beside a chain's one rescaling, a convolution before a batch normalisation has another: its rows by s, the running
    mean by s and the running variance by s squared, with nothing else to change.
    """

    name: str
    size: int
    axes: tuple[Axis, ...]

    @property
    def rescalings(self) -> int:
        """How many independent scales a unit has."""
        return len(self.axes[0].powers)


@runtime_checkable
class Described(Protocol):
    """A network that says which layer feeds which."""

    def units(self) -> tuple[Units, ...]:
        """Its groups, in the order from the input to the output."""


def units_of(network: nn.Module) -> tuple[Units, ...]:
    """The network's own description, or that of an nn.Sequential of convolutions, dense layers, ReLU and pooling.

    Raises SpecError naming `network` for any other: what cannot be described cannot be re-aligned.
    """
    if isinstance(network, Described):
        return network.units()
    if not isinstance(network, nn.Sequential):
        raise SpecError("network", f"{type(network).__name__} has no method units() that says which layer feeds which")
    layers = []
    for name, module in network.named_children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            layers.append(name)
        elif not isinstance(module, HOMOGENEOUS):
            raise SpecError("network", f"{type(module).__name__} in an nn.Sequential is not described")
    return chain(network, layers)


def chain(network: nn.Module, layers: Sequence[str]) -> tuple[Units, ...]:
    """Groups of a network whose `layers`, convolutions or dense, each feed the next through ReLU and pooling only."""
    groups = []
    for name, reader in pairwise(layers):
        weight, read = network.get_parameter(f"{name}.weight"), network.get_parameter(f"{reader}.weight")
        made = [Axis(f"{name}.weight", 0)]
        if getattr(network.get_submodule(name), "bias", None) is not None:
            made.append(Axis(f"{name}.bias", 0))
        block, rest = divmod(read.shape[1], weight.shape[0])
        if rest:
            raise SpecError("network", f"{reader} does not read the {weight.shape[0]} units of {name}")
        groups.append(Units(name, weight.shape[0], (*made, Axis(f"{reader}.weight", 1, block, (-1,)))))
    return tuple(groups)


@dataclass
class Stream:
    """The maps that blocks with pre-activation add to and read, while their network lists who does.

    Each reader is a batch normalisation, which takes back whatever scale the stream has (rescaling 0) and has one of
    its own, which the convolutions or dense layers after it take back.
    """

    name: str
    size: int
    writers: list[str]
    readers: list[tuple[str, list[str]]]

    def units(self) -> Units:
        """One group: `writers` are tensors with a row a map; of a reader, its normalisation and what reads that."""
        count = 1 + len(self.readers)
        axes = [Axis(writer, 0, powers=_at(count, {0: 1})) for writer in self.writers]
        for k, (norm, read_by) in enumerate(self.readers, 1):
            axes += normalised(norm, _at(count, {0: 1}), _at(count, {k: 1}))
            axes += [Axis(reader, 1, powers=_at(count, {k: -1})) for reader in read_by]
        return Units(self.name, self.size, tuple(axes))


def inner_units(name: str, size: int, writer: str, norm: str, reader: str) -> Units:
    """Maps that one convolution makes, that are normalised and rectified, and that one other reads."""
    axes = (Axis(writer, 0, powers=(1, 0)), *normalised(norm, (1, 0), (0, 1)), Axis(reader, 1, powers=(0, -1)))
    return Units(name, size, axes)


def normalised(norm: str, taken: tuple[int, ...], given: tuple[int, ...]) -> list[Axis]:
    """The axes of a batch normalisation: what it takes back of the maps before, and what it gives to those after."""
    twice = tuple(2 * power for power in taken)
    powers = {"running_mean": taken, "running_var": twice, "weight": given, "bias": given}
    return [Axis(f"{norm}.{tensor}", 0, powers=each) for tensor, each in powers.items()]


def _at(count: int, powers: dict[int, int]) -> tuple[int, ...]:
    return tuple(powers.get(k, 0) for k in range(count))


def size_in(state: State, group: Units) -> int:
    """How many units the group has in this state: more than `group.size` after dummy ones were added.

    Raises SpecError naming `weights.<tensor>` when one is missing or the tensors do not agree.
    """
    sizes = set()
    for axis in group.axes:
        if axis.tensor not in state or state[axis.tensor].ndim <= axis.dim:
            raise SpecError(f"weights.{axis.tensor}", "is missing or has too few dimensions")
        count, rest = divmod(state[axis.tensor].shape[axis.dim], axis.block)
        sizes.add(count if not rest else -1)
    if len(sizes) != 1 or -1 in sizes:
        raise SpecError(f"weights.{group.axes[0].tensor}", f"the tensors of {group.name} do not agree on its units")
    return sizes.pop()


def by_unit(tensor: Tensor, axis: Axis) -> Tensor:
    """(..., size * block, ...) -> (size, everything of one unit); a view where it can be."""
    return _split(tensor, axis).movedim(axis.dim, 0).flatten(1)


def reorder(state: State, group: Units, order: Tensor) -> State:
    """A state whose unit i is the given one's `order[i]`; units that `order` (size',) leaves out are dropped."""
    moved = dict(state)
    for axis in group.axes:
        split = _split(moved[axis.tensor], axis)
        moved[axis.tensor] = split.index_select(axis.dim, order).flatten(axis.dim, axis.dim + 1)
    return moved


def rescale(state: State, group: Units, scales: Tensor) -> State:
    """A state whose unit i is multiplied by `scales[k, i]` > 0 in the k-th rescaling; scales (rescalings, size)."""
    scaled = dict(state)
    for axis in group.axes:
        powers = torch.tensor(axis.powers, dtype=torch.float64)[:, None]
        factors = (scales.double() ** powers).prod(dim=0).repeat_interleave(axis.block)  # (size * block,)
        tensor = scaled[axis.tensor]
        shape = [1] * tensor.ndim
        shape[axis.dim] = -1
        scaled[axis.tensor] = (tensor.double() * factors.reshape(shape)).to(tensor.dtype)
    return scaled


def append(state: State, group: Units, rows: dict[Axis, Tensor]) -> State:
    """A state with more units: `rows[axis]` (count, everything of one unit) goes to the end of each axis."""
    grown = dict(state)
    for axis in group.axes:
        tensor = grown[axis.tensor]
        rest = _split(tensor, axis).movedim(axis.dim, 0).shape[1:]
        added = rows[axis].reshape(-1, *rest).movedim(0, axis.dim).flatten(axis.dim, axis.dim + 1)
        grown[axis.tensor] = torch.cat([tensor, added.to(tensor.dtype)], dim=axis.dim)
    return grown


def _split(tensor: Tensor, axis: Axis) -> Tensor:
    """(..., size * block, ...) -> (..., size, block, ...)"""
    shape = tensor.shape
    return tensor.reshape(*shape[: axis.dim], -1, axis.block, *shape[axis.dim + 1 :])
