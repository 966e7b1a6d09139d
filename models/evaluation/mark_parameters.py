"""Sensible terms for an owner's marks: which layer, how many digits, which map, and the null model with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from models.alignment import log10_alignments
from models.errors import WatermarkError
from models.evaluation.null_model import frequencies
from models.topology import units_of
from models.watermarks.registered import MarkParameters, map_of_spread
from models.watermarks.registered.embedding import SPREAD
from models.watermarks.regularizer import weight_of

MARKS = 3
DIGITS = 256
ROOM = 3  # weights of the layer for each that bears a digit
EVIDENCE = 0.92  # log10 of the odds that a matching digit gives, near enough
MARGIN = 100  # what should be left of a mark's evidence, in powers of ten, once re-alignment is paid for


def mark_parameters(
    network: nn.Module,
    *,
    model: str,
    architecture: str,
    config: Mapping[str, object],
    layer: str | None = None,
    digits: int | None = None,
    marks: int = MARKS,
    spread: float = SPREAD,
    unmarked: Sequence[Tensor] = (),
    nonce: str | None = None,
    owner: str = "",
) -> MarkParameters:
    """Terms for this trained network, which `build(architecture, config)` would build.

    Without `layer`, the one whose re-alignment costs least among those with room; without `digits`, as many as pay
    for it, 256 at least. `unmarked` holds that layer's weights in other unmarked networks, beside this one's, for the
    null model; `nonce` is for experiments, which repeat, and `owner` for the registry. Raises WatermarkError naming
    `layer` or `digits` when nothing fits, SpecError naming `network` for one that does not say which layer feeds which.
    """
    units = units_of(network)
    layer = layer or _cheapest(network, marks)
    weight = weight_of(network, layer)
    if digits is None:
        digits = max(DIGITS, math.ceil((log10_alignments(units, layer) + MARGIN) / EVIDENCE))
    digit_map = map_of_spread(network, layer, spread=spread)
    null = frequencies([weight, *unmarked], digit_map)
    shape, own = tuple(weight.shape), {"owner": owner} | ({} if nonce is None else {"nonce": nonce})
    return MarkParameters(model, architecture, dict(config), layer, shape, digit_map, digits, marks, null, **own)


def _cheapest(network: nn.Module, marks: int) -> str:
    units = units_of(network)
    tied = {axis.tensor for group in units for axis in group.axes}
    costs = {
        name: log10_alignments(units, name)
        for name, parameter in network.named_parameters()
        if name in tied and parameter.ndim > 1 and parameter.numel() >= ROOM * marks * DIGITS
    }
    if not costs:
        raise WatermarkError("layer", f"none has {ROOM * marks * DIGITS} weights, the room for {marks} marks")
    return min(costs, key=lambda name: costs[name])
