"""Fan, Ng and Chan, "Rethinking Deep Neural Network Ownership Verification", NeurIPS 2019: passport layers.

Only as far as the cost of an answer goes: weights, scales and passports are random, and nothing is trained.

paper         here          shape             meaning
P_gamma       scale_key     (1, I, H, W)      passport of the scale, a feature map that the layer could be given
P_beta        bias_key      (1, I, H, W)      passport of the bias
W_p           conv.weight   (O, I, F, F)      the layer's own kernels
gamma, beta                 (1, O, 1, 1)      Avg(W_p * P_gamma), Avg(W_p * P_beta), on every forward pass
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class PassportConv(nn.Module):
    """Equation 1: gamma X + beta in place of a normalisation's learned scale and bias, both from the passports."""

    scale_key: Tensor
    bias_key: Tensor

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, shape: torch.Size, seed: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        generator = torch.Generator().manual_seed(seed)
        for name in ("scale_key", "bias_key"):
            self.register_buffer(name, torch.rand(1, *shape[1:], generator=generator) * 2 - 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, I, H, W) -> (N, O, H', W')."""
        maps = self.conv(maps)
        if self.norm is not None:
            maps = self.norm(maps)
        return self._from(self.scale_key) * maps + self._from(self.bias_key)

    def _from(self, key: Tensor) -> Tensor:
        found: Tensor = self.conv(key).mean(dim=(2, 3), keepdim=True)  # (1, O, 1, 1)
        return found


def with_passports(network: nn.Module, layers: Mapping[str, str | None], example: Tensor) -> nn.Module:
    """Give these convolutions passports, in place; each with the name of its normalisation, or None.

    `example` (N, C, H, W), normalised, shows how large the maps are that a layer is given.
    """
    shapes: dict[str, torch.Size] = {}
    handles = [network.get_submodule(name).register_forward_hook(_note(shapes, name)) for name in layers]
    with torch.inference_mode():
        network(example)
    for handle in handles:
        handle.remove()
    for seed, (name, norm_name) in enumerate(layers.items()):
        conv = network.get_submodule(name)
        assert isinstance(conv, nn.Conv2d), f"{name} is no convolution"
        norm = network.get_submodule(norm_name) if norm_name else None
        assert norm is None or isinstance(norm, nn.BatchNorm2d)
        plain = None if norm is None else nn.BatchNorm2d(norm.num_features, affine=False).eval()
        network.set_submodule(name, PassportConv(conv, plain, shapes[name], seed))
        if norm_name:
            network.set_submodule(norm_name, nn.Identity())
    return network


def _note(shapes: dict[str, torch.Size], name: str):  # type: ignore[no-untyped-def]
    def hook(_: nn.Module, given: tuple[Tensor], __: Tensor) -> None:
        shapes[name] = given[0].shape

    return hook
