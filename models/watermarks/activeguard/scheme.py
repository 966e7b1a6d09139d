"""Xue et al., "ActiveGuard", arXiv:2103.01527, section 2.5: keygen, embed, extract, verify.

paper    here                 shape     meaning
l        key.layer                      the target layer's weight by name
w        carrier(weight)      (m,)      maximum over O, m = F F I
p        key.positions        (n,)      where the digits lie in w
wm, d    key.digits           (n,)      the watermark
map      key.digit_map                  d = a h + b
v        carrier(weight)[p]   (n,)      the weights that carry it
V_owner  Verdict.success                all digits equal
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.data import Dataset
from models.errors import WatermarkError
from models.training import OnBatch, TrainingConfig, TrainingReport, train
from models.watermarks.activeguard.carrier import carrier, map_of_range
from models.watermarks.digit_map import BASE, DigitMap
from models.watermarks.regularizer import DigitRegularizer, weight_of

STRENGTH = 0.01  # lambda, section 3.1, "the settings in (Uchida et al. 2017)"
WM1 = (1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 2, 1, 0)  # section 3.3
WM2 = (3, 8, 7, 6, 8, 7, 6, 9, 9, 4, 8, 6, 5)  # section 3.3, without small values, against pruning
LENET5_MAP = DigitMap(180 / 7, -18 / 7)  # section 3.1, from [.10, .45]
WRN_MAP = DigitMap(10.0, -2.0)  # section 3.1, from [.20, 1.10]


@dataclass(frozen=True)
class Key:
    """What the owner keeps: layer, positions (n,) in w, digits (n,), map."""

    layer: str
    positions: Tensor = field(repr=False)
    digits: Tensor = field(repr=False)
    digit_map: DigitMap


@dataclass(frozen=True)
class Verdict:
    """The digits found (n,), -1 where there is none, how many are the key's, and V_owner."""

    extracted: Tensor
    matches: int
    success: bool


def keygen(
    network: nn.Module,
    layer: str,
    digits: Sequence[int] = WM1,
    *,
    generator: torch.Generator,
    digit_map: DigitMap | None = None,
) -> Key:
    """n random positions of w for n digits; without a map, that of the layer's range of w.

    Raises WatermarkError naming `layer`, or `digits` when they are not 0 to 9 or more than w has positions.
    """
    weight = weight_of(network, layer)
    size = carrier(weight).numel()
    if not 1 <= len(digits) <= size or any(not 0 <= digit < BASE for digit in digits):
        raise WatermarkError("digits", f"must be 1 to {size} digits from 0 to 9")
    positions = torch.randperm(size, generator=generator)[: len(digits)]
    return Key(layer, positions, torch.tensor(digits, dtype=torch.int64), digit_map or map_of_range(weight))


def regularizer(key: Key, *, strength: float = STRENGTH) -> DigitRegularizer:
    """Eq. (4)'s second term, for `models.training.train`."""
    return DigitRegularizer(key.layer, key.positions, key.digits, key.digit_map, strength, carrier)


def embed(
    network: nn.Module,
    dataset: Dataset,
    key: Key,
    config: TrainingConfig,
    *,
    strength: float = STRENGTH,
    on_batch: OnBatch | None = None,
) -> TrainingReport:
    """Train with Eq. (4), from scratch (`config.fresh`) or by fine-tuning; the last epoch's weights are kept.

    Not the best epoch's: that may be the first, when the digits are not there yet.
    """
    return train(
        network, dataset, config, regularizer=regularizer(key, strength=strength), keep="last", on_batch=on_batch
    )


def extract(network: nn.Module, key: Key) -> Tensor:
    """Steps 1 to 3: D_l -> w -> v -> rounded map(v), int64 (n,), -1 where there is no digit."""
    weight = weight_of(network, key.layer)
    return key.digit_map.digits(carrier(weight.detach())[key.positions.to(weight.device)]).cpu()


def verify(network: nn.Module, key: Key) -> Verdict:
    """V_owner: success when every digit is the key's. No evidence in a dispute: see the registered scheme for that."""
    extracted = extract(network, key)
    matches = int((extracted == key.digits).sum())
    return Verdict(extracted, matches, matches == len(key.digits))
