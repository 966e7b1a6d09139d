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
LEAST, USUAL = 256, 4096  # digits of a mark
SHARE = 5  # weights of the layer for each that bears a digit; in small layers more of them do
ROOM = 3  # the fewest of them
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

    Without `layer`, the one whose marks are worth most once re-alignment is paid for: a large one of few units, many of
    whose weights follow their digits whatever a thief does to them. Without `digits`, 4096, or a fifth of a smaller
    layer for all marks together; as many as pay for re-alignment, and 256, at least. `unmarked` holds that layer's
    weights in other unmarked networks, beside this one's, for the null model; `nonce` is for experiments, which repeat,
    and `owner` for the registry. Raises WatermarkError naming `layer` or `digits` when nothing fits, SpecError naming
    `network` for one that does not say which layer feeds which.
    """
    units = units_of(network)
    layer = layer or _surest(network, marks)
    weight = weight_of(network, layer)
    if digits is None:
        digits = _digits(weight.numel(), marks, log10_alignments(units, layer))
    digit_map = map_of_spread(network, layer, spread=spread)
    null = frequencies([weight, *unmarked], digit_map)
    shape, own = tuple(weight.shape), {"owner": owner} | ({} if nonce is None else {"nonce": nonce})
    return MarkParameters(model, architecture, dict(config), layer, shape, digit_map, digits, marks, null, **own)


def _digits(size: int, marks: int, cost: float) -> int:
    """Of each mark, in a layer of `size` weights whose re-alignment costs 10^`cost`."""
    return max(LEAST, math.ceil((cost + MARGIN) / EVIDENCE), min(USUAL, size // (SHARE * marks)))


def _surest(network: nn.Module, marks: int) -> str:
    units = units_of(network)
    tied = {axis.tensor for group in units for axis in group.axes}
    left = {}
    for name, parameter in network.named_parameters():
        if name in tied and parameter.ndim > 1:
            cost = log10_alignments(units, name)
            digits = _digits(parameter.numel(), marks, cost)
            if parameter.numel() >= ROOM * marks * digits:
                left[name] = digits * EVIDENCE - cost
    if not left:
        raise WatermarkError("layer", f"none has the room for {marks} marks, {ROOM * marks * LEAST} weights or more")
    return max(left, key=lambda name: left[name])
