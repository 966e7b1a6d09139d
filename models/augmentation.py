"""Small random changes of a training batch: what a pen does to a digit, what a photographer does to a thing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Affine:
    """The largest rotation and shear in degrees, relative change of size, and shift as a share of the side."""

    rotation: float = 12.0
    shear: float = 8.0
    scale: float = 0.1
    shift: float = 0.07


@dataclass(frozen=True)
class CropAndFlip:
    """Shifts by up to `padding` pixels with a mirrored border, and every second image flipped left to right."""

    padding: int = 4


def augment(images: Tensor, generator: torch.Generator, limits: Affine | CropAndFlip) -> Tensor:
    """(N, C, H, W), each image changed in its own way within the limits."""
    change = random_affine if isinstance(limits, Affine) else random_crop_and_flip
    return change(images, generator, limits)  # type: ignore[arg-type]


def random_crop_and_flip(images: Tensor, generator: torch.Generator, limits: CropAndFlip) -> Tensor:
    """Each of (N, C, H, W) cut anew from its padded self, and flipped or not."""
    count, _, height, width = images.shape
    padded = F.pad(images, (limits.padding,) * 4, mode="reflect")
    top, left = torch.randint(0, 2 * limits.padding + 1, (2, count, 1), generator=generator)
    columns = left + torch.arange(width)  # (N, W)
    flipped = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    rows = top + torch.arange(height)  # (N, H)
    image, channel = torch.arange(count)[:, None, None, None], torch.arange(images.shape[1])[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def random_affine(images: Tensor, generator: torch.Generator, limits: Affine) -> Tensor:
    """Each of (N, C, H, W) under its own map, drawn uniformly within `limits`; outside the frame is 0."""
    draws = torch.rand(len(images), 5, generator=generator) * 2 - 1  # (N, 5) in [-1, 1)
    angle = draws[:, 0] * math.radians(limits.rotation)
    shear = torch.tan(draws[:, 1] * math.radians(limits.shear))
    size = 1 / (1 + draws[:, 2] * limits.scale)
    shift = draws[:, 3:] * 2 * limits.shift  # the frame is 2 wide in affine_grid's coordinates
    cos, sin = angle.cos() * size, angle.sin() * size
    rows = torch.stack([cos, shear * cos - sin, shift[:, 0], sin, shear * sin + cos, shift[:, 1]], dim=1)
    grid = F.affine_grid(rows.reshape(-1, 2, 3), list(images.shape), align_corners=False)  # (N, H, W, 2)
    return F.grid_sample(images, grid.to(images.device), align_corners=False)
