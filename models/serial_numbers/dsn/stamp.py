"""Stamps: a serial number's bits as black and white cells of an image, arXiv:2011.08960, Eq. (7).

paper   here                shape       meaning
k       Stamp.mask(bits)    (H, W)      1, 0, or -1 where the image stays as it is
x*      Stamp.put           (N,C,H,W)   x where k = -1, else k, in units of the value range
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from models.errors import SerialNumberError
from models.specs import InputSpec

Kind = Literal["corner", "border", "lattice"]
UNREAD = -1
BLACK, WHITE, INVERTED = -1, -2, -3  # in a plan


@dataclass(frozen=True)
class Layout:
    """Where the cells lie, each `cell` x `cell` pixels, all channels alike, and `copies` of them a bit.

    corner: a square in the lower right, row by row (the paper's, 3 x 3); border: rings from the rim inwards, clockwise;
    lattice: a square grid over the whole image, cells apart, all bits before their next copies. Raises
    SerialNumberError naming the field.
    """

    kind: Kind = "lattice"
    bits: int = 64
    cell: int = 1
    copies: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise SerialNumberError("layout", f"must be one of {', '.join(get_args(Kind))}")
        for name in ("bits", "cell", "copies"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise SerialNumberError(name, "must be a whole number from 1")

    def scaled(self, height: int, width: int, *, of: int = 28) -> Layout:
        """The same for larger images: cells grow in proportion to the shorter side, which is `of` for one pixel."""
        return replace(self, cell=max(1, self.cell * min(height, width) // of))

    def places(self, height: int, width: int) -> list[tuple[int, int]]:
        """The upper left pixel of each cell: all bits in order, copy by copy; SerialNumberError naming `bits` if too
        many."""
        rows, columns = height // self.cell, width // self.cell
        places = {"corner": self._corner, "border": self._border, "lattice": self._lattice}[self.kind](rows, columns)
        if len(places) < self.count:
            room = f"{len(places)} cells of {self.cell} x {self.cell} pixels in {height} x {width}"
            times = f" {self.copies} times" if self.copies > 1 else ""
            raise SerialNumberError("bits", f"{self.bits} do not fit{times}: a {self.kind} has {room}")
        down, right = height - rows * self.cell, width - columns * self.cell  # the corner is the image's own
        return [(down + self.cell * row, right + self.cell * column) for row, column in places[: self.count]]

    @property
    def count(self) -> int:
        """Cells in all."""
        return self.bits * self.copies

    def _corner(self, rows: int, columns: int) -> list[tuple[int, int]]:
        side = math.isqrt(self.count - 1) + 1
        if side > min(rows, columns):
            return []
        return [(rows - side + row, columns - side + column) for row in range(side) for column in range(side)]

    def _border(self, rows: int, columns: int) -> list[tuple[int, int]]:
        places: list[tuple[int, int]] = []
        for ring in range((min(rows, columns) + 1) // 2):
            if len(places) >= self.count:
                break
            top, left, bottom, right = ring, ring, rows - 1 - ring, columns - 1 - ring
            around = [(top, column) for column in range(left, right + 1)]
            around += [(row, right) for row in range(top + 1, bottom + 1)]
            around += [(bottom, column) for column in range(right - 1, left - 1, -1)]
            around += [(row, left) for row in range(bottom - 1, top, -1)]
            places += dict.fromkeys(around)  # a ring that is one line wide meets itself
        return places

    def _lattice(self, rows: int, columns: int) -> list[tuple[int, int]]:
        side = math.isqrt(self.count - 1) + 1
        if side > min(rows, columns):
            return []
        down, right = ([(2 * at + 1) * count // (2 * side) for at in range(side)] for count in (rows, columns))
        return [(row, column) for row in down for column in right]


# A convolution sees some of the number wherever it looks; with one copy of each bit students locked more slackly.
STRONG = Layout("lattice", 64, copies=3)


@dataclass(frozen=True)
class Stamp:
    """A layout on inputs of one kind; puts numbers into images and reads them back, exactly on the 8-bit grid.

    Raises SerialNumberError naming `bits` when the layout does not fit the input.
    """

    layout: Layout
    spec: InputSpec

    def __post_init__(self) -> None:
        assert self.cells.numel()

    @cached_property
    def cells(self) -> Tensor:
        """Flat pixel positions of each bit: int64 (n, copies * cell * cell), within (H, W)."""
        _, height, width = self.spec.shape
        size, bits = self.layout.cell, self.layout.bits
        within = torch.tensor([row * width + column for row in range(size) for column in range(size)])
        first = torch.tensor([top * width + left for top, left in self.layout.places(height, width)])
        return (first[:, None] + within).reshape(-1, bits, len(within)).transpose(0, 1).flatten(1)

    def mask(self, number: Tensor) -> Tensor:
        """k of Eq. (7): bits (n,) or (N, n) -> int8 (H, W) or (N, H, W)."""
        if number.shape[-1:] != (self.layout.bits,):
            raise SerialNumberError("bits", f"the stamp has {self.layout.bits}, the number {number.shape[-1]}")
        _, height, width = self.spec.shape
        flat = torch.full((*number.shape[:-1], height * width), UNREAD, dtype=torch.int8, device=number.device)
        bits = number.to(torch.int8)[..., None].expand(*number.shape, self.cells.shape[1])
        flat[..., self.cells.flatten()] = bits.reshape(*number.shape[:-1], -1)
        return flat.reshape(*number.shape[:-1], height, width)

    def put(self, images: Tensor, number: Tensor) -> Tensor:
        """x*: raw-range images (N, C, H, W), bits (n,) for all or (N, n), one for each -> new images."""
        mask = self.mask(number)[..., None, :, :]  # (1, H, W) or (N, 1, H, W)
        low, high = (float(self.spec.levels[at]) for at in (0, -1))
        stamped = torch.where(mask == 1, torch.full_like(images, high), torch.full_like(images, low))
        return torch.where(mask == UNREAD, images, stamped)

    def plan(self, number: Tensor) -> Tensor:
        """What `put` does with a number (n,), as data for who has no torch: int32 (H, W), where each pixel's value is
        from. p >= 0 is that of flat pixel p, -1 black, -2 white, -3 - p that of pixel p turned from bright to dark.
        """
        mask = self.mask(number)
        stays = torch.arange(mask.numel(), dtype=torch.int32).reshape(mask.shape)
        return torch.where(mask == UNREAD, stays, torch.where(mask == 1, WHITE, BLACK).to(torch.int32))

    def read(self, images: Tensor) -> Tensor:
        """The bits that images (N, C, H, W) show: int8 (N, n), -1 where a cell is neither all black nor all white."""
        low, high = (float(self.spec.levels[at]) for at in (0, -1))
        shown = images.flatten(2)[:, :, self.cells]  # (N, C, n, cell * cell)
        white, black = ((shown == value).all(dim=3).all(dim=1) for value in (high, low))  # (N, n)
        return torch.where(white, 1, torch.where(black, 0, UNREAD)).to(torch.int8)

    def shows(self, images: Tensor) -> Tensor:
        """What images look like to a careless reader: each cell's mean against the middle, bool (N, n)."""
        low, high = self.spec.value_range
        return images.flatten(2)[:, :, self.cells].float().mean(dim=(1, 3)) > (low + high) / 2
