"""A key's signs in the weights: every weight is drawn a little towards the sign that a keyed coin gave it.

Drawn to a side by a hinge, as the sign loss of Fan et al., "Rethinking Deep Neural Network Ownership Verification",
NeurIPS 2019, arXiv:1909.07830, draws the scales of normalisation layers; there it is few signs, all exact, here very
many, and somewhat more than half of them right. A network made without the key agrees with each with the chance 1/2,
whatever its weights are, and no positive scale of a unit changes a sign.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

KEY_BYTES = 32
DOMAIN = b"signet/sign-mark/1\0"


def signs(key: bytes, tensor: str, count: int) -> Tensor:
    """What a key gives the weights of one tensor: int8 (count,) of 1 and -1, bit by bit from SHAKE-256."""
    bits = hashlib.shake_256(DOMAIN + key + tensor.encode()).digest(-(-count // 8))
    drawn = np.unpackbits(np.frombuffer(bits, dtype=np.uint8))[:count].astype(np.int8)
    return torch.from_numpy(2 * drawn - 1)


def marked_tensors(network: nn.Module) -> tuple[str, ...]:
    """The parameters that bear a mark: those with two dimensions or more, which are the weights of layers."""
    return tuple(name for name, parameter in network.named_parameters() if parameter.ndim >= 2)


def key_digest(key: bytes) -> str:
    """What may be told of a key beforehand, so that nobody can put another in its place: SHA-256 in hex."""
    return hashlib.sha256(b"signet/sign-mark-key/1\0" + key).hexdigest()


@dataclass(frozen=True)
class Agreement:
    """How many of a tensor's weights have the key's sign; zeros, as pruning leaves them, have none and do not count."""

    tensor: str
    compared: int
    agreeing: int


def agreement(weights: Mapping[str, Tensor], key: bytes, tensor: str) -> Agreement:
    """Hold one tensor of a network's weights against a key."""
    values = torch.nan_to_num(weights[tensor].detach().cpu().float().flatten(), nan=0.0).sign().to(torch.int8)
    same = signs(key, tensor, len(values)) == values
    return Agreement(tensor, int((values != 0).sum()), int(same.sum()))


@dataclass(frozen=True)
class SignRegularizer:
    """strength * sum over tensors of mean_k max(0, margin - s_k w_k / sigma), sigma the tensor's standard deviation.

    Tensor by tensor, so that a convolution is drawn no less than the dense layer that has twenty times its weights.
    """

    key: bytes = field(repr=False)
    strength: float = 0.3
    margin: float = 0.5

    @property
    def description(self) -> str:
        """Says which key by its digest."""
        return f"signs {key_digest(self.key)} strength {self.strength} margin {self.margin}"

    def __call__(self, network: nn.Module) -> Tensor:
        """A scalar, over all marked tensors."""
        total = torch.zeros((), device=next(network.parameters()).device)
        for name in marked_tensors(network):
            weight = network.get_parameter(name).flatten()
            wanted = signs(self.key, name, len(weight)).to(weight.device, weight.dtype)
            total = total + (self.margin - wanted * weight / weight.detach().std()).relu().mean()
        return self.strength * total
