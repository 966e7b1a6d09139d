"""Structural obfuscation: the same function in other numbers (Yan et al., "Rethinking White-Box Watermarks on Deep
Learning Models under Neural Structural Obfuscation", USENIX Security 2023, arXiv:2303.09732).

Units permuted, rescaled, or joined by dummies that nothing listens to. `models.topology` says which tensors take part.
Each attack returns a copy; it knows the weights and the architecture, and needs no data.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from models.topology import Axis, State, append, by_unit, reorder, rescale, size_in, units_of


def permute(network: nn.Module, *, generator: torch.Generator) -> nn.Module:
    """Every group of units in a random order."""
    state = _state(network)
    for group in units_of(network):
        state = reorder(state, group, torch.randperm(size_in(state, group), generator=generator))
    return _with(network, state)


def rescale_units(network: nn.Module, *, generator: torch.Generator, octaves: float = 3.0) -> nn.Module:
    """Every unit times its own factor, log-uniform between 2^-octaves and 2^octaves, and undone where it is read."""
    state = _state(network)
    for group in units_of(network):
        shape = (group.rescalings, size_in(state, group))
        exponents = (2 * torch.rand(shape, generator=generator) - 1) * octaves
        state = rescale(state, group, torch.exp2(exponents))
    return _with(network, state)


def add_dummies(network: nn.Module, *, generator: torch.Generator, share: float = 0.25) -> nn.Module:
    """`share` more units in every group, put in at random places.

    What makes a dummy is another unit's weights with as much noise again, so that it does not stand out; what reads it
    is zero. The copy's layers are wider: its weights no longer fit the architecture's name.
    """
    state = _state(network)
    for group in units_of(network):
        count = size_in(state, group)
        added = math.ceil(share * count)
        like = torch.randint(0, count, (added,), generator=generator)
        state = append(state, group, {axis: _dummies(state, axis, like, generator) for axis in group.axes})
        state = reorder(state, group, torch.randperm(count + added, generator=generator))
    return _with(network, state)


def _dummies(state: State, axis: Axis, like: Tensor, generator: torch.Generator) -> Tensor:
    """(added, everything of one unit): zeros where units are read, noisy copies where they are made."""
    rows = by_unit(state[axis.tensor], axis)[like]
    if min(axis.powers) < 0:
        return torch.zeros_like(rows)
    if not rows.is_floating_point() or axis.tensor.endswith("running_var"):
        return rows
    return rows + rows.std(unbiased=False) * torch.randn(rows.shape, generator=generator)


def _state(network: nn.Module) -> State:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _with(network: nn.Module, state: State) -> nn.Module:
    """A copy that holds these tensors, whatever their shapes; layers compute with the shape of what they hold."""
    changed = copy.deepcopy(network)
    for name, tensor in state.items():
        owner, _, attribute = name.rpartition(".")
        module = changed.get_submodule(owner)
        if attribute in module._parameters:
            module._parameters[attribute] = nn.Parameter(tensor.clone())
        else:
            module._buffers[attribute] = tensor.clone()
    return changed
