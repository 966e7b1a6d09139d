"""Looking for what opens a locked student, with labelled data and without its number.

soft_bits        the number itself, by gradient through bits between 0 and 1: knows the layout
leaky_bits       the same through activations that leak: what is dead without the number gives no gradient by itself
greedy_flips     the number itself, bit by bit: knows the layout
front_end        anything that works: an image added to every input, or an affine map of every pixel, before the
                 network; its weights frozen, or free to follow
                 where `leak` is given, found through activations that leak ever less

All of them know the weights and have labelled images; a restart is chosen by its loss on images held back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attacks.transfer_learning import leaky
from models.data import Split
from models.predictor import Predictor
from models.serial_numbers.dsn.stamp import UNREAD, Stamp

SLOPES = (0.02, 0.05, 0.1, 0.2)  # of the leak
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Search:
    """Steps of Adam on batches, from so many random starts; a fifth of the images chooses among them."""

    steps: int = 200
    restarts: int = 10
    step_size: float = 0.05
    batch_size: int = 200
    seed: int = 0


class FrontEnd(nn.Module):
    """Raw-range images (N, C, H, W) -> scale * x + shift, one of each a pixel; where not affine, `scale` stays 1."""

    def __init__(self, shape: tuple[int, int, int], *, affine: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(shape), requires_grad=affine)
        self.shift = nn.Parameter(0.5 * torch.randn(shape, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        """Not held to the value range: the thief feeds the network what he likes."""
        return self.scale * images + self.shift


def soft_bits(predictor: Predictor, data: Split, stamp: Stamp, search: Search) -> Tensor:
    """The best number found, bool (n,)."""
    best, least = torch.zeros(stamp.layout.bits, dtype=torch.bool), float("inf")
    mask = (stamp.mask(torch.zeros(stamp.layout.bits, dtype=torch.bool)) != UNREAD).flatten()  # (H W,)
    low, high = predictor.input_spec.value_range
    for start in range(search.restarts):
        generator = torch.Generator().manual_seed((search.seed << 20) + start)
        guess = torch.randn(stamp.layout.bits, generator=generator).requires_grad_()

        def put(images: Tensor, guess: Tensor = guess) -> Tensor:
            soft = torch.zeros(len(mask)).index_put(
                (stamp.cells.flatten(),), guess.sigmoid().repeat_interleave(stamp.cells.shape[1])
            )
            flat = images.flatten(2)
            return torch.where(mask, low + (high - low) * soft, flat).reshape(images.shape)

        _descend(predictor, data, put, [guess], search, generator)
        found = guess.detach() > 0
        loss = _held_back(predictor, data, partial(stamp.put, number=found))
        if loss < least:
            best, least = found, loss
    return best


def leaky_bits(
    predictor: Predictor, data: Split, stamp: Stamp, search: Search, *, slopes: Sequence[float] = SLOPES
) -> Tensor:
    """The best number found through any of the leaks, held against the network as it is: bool (n,)."""
    numbers = [soft_bits(_leaking(predictor, slope), data, stamp, search) for slope in slopes]
    return min(numbers, key=lambda number: _held_back(predictor, data, partial(stamp.put, number=number)))


def greedy_flips(predictor: Predictor, data: Split, stamp: Stamp, search: Search) -> Tensor:
    """From random numbers, the bit whose flip helps most, until none does: bool (n,)."""
    best, least = torch.zeros(stamp.layout.bits, dtype=torch.bool), float("inf")
    images, labels = _part(predictor, data, slice(0, search.batch_size))
    for start in range(search.restarts):
        generator = torch.Generator().manual_seed((search.seed << 20) + start)
        found, reached = torch.rand(stamp.layout.bits, generator=generator) < 0.5, float("inf")
        while True:
            flips = found ^ torch.eye(stamp.layout.bits, dtype=torch.bool)  # (n, n)
            losses = [_loss(predictor, stamp.put(images, flipped), labels) for flipped in flips]
            if min(losses) >= reached:
                break
            reached = min(losses)
            found = flips[losses.index(reached)]
        loss = _held_back(predictor, data, partial(stamp.put, number=found))
        if loss < least:
            best, least = found, loss
    return best


def front_end(
    predictor: Predictor, data: Split, search: Search, *, affine: bool = False, free: bool = False, leak: float = 0.0
) -> tuple[nn.Module, Predictor]:
    """The best front end, and the predictor behind it: a copy that learned along if `free`, else the given one.

    `leak` is the slope below zero that the network, if it stays as it is, is given for the search: less with each step,
    and none at its end.
    """
    best: tuple[nn.Module, Predictor] | None = None
    least = float("inf")
    for start in range(search.restarts):
        generator = torch.Generator().manual_seed((search.seed << 20) + start)
        front = FrontEnd(predictor.input_spec.shape, affine=affine, generator=generator)
        behind = copy.deepcopy(predictor) if free else predictor
        through = _leaking(predictor, leak) if leak else behind
        learning = [*front.parameters(), *(behind.parameters() if free else ())]
        _descend(through, data, front, [one for one in learning if one.requires_grad], search, generator, leak)
        loss = _held_back(behind, data, front)
        if best is None or loss < least:
            best, least = (front.eval(), behind), loss
    assert best is not None, "at least one restart"
    return best


def _leaking(predictor: Predictor, slope: float) -> Predictor:
    return Predictor(leaky(predictor.network, slope), predictor.input_spec, predictor.output_spec)


def _descend(
    predictor: Predictor,
    data: Split,
    change: Change,
    learning: Iterable[Tensor],
    search: Search,
    generator: torch.Generator,
    leak: float = 0.0,
) -> None:
    images, labels = _part(predictor, data, slice(0, _most(data)))
    optimizer = torch.optim.Adam(list(learning), lr=search.step_size)
    leaks = [module for module in predictor.modules() if leak and isinstance(module, nn.LeakyReLU)]
    for step in range(search.steps):
        for module in leaks:
            module.negative_slope = leak * (1 - step / search.steps)
        rows = torch.randint(0, len(images), (min(search.batch_size, len(images)),), generator=generator)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(predictor(change(images[rows])), labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _held_back(predictor: Predictor, data: Split, change: Change) -> float:
    images, labels = _part(predictor, data, slice(_most(data), None))
    with torch.no_grad():
        return _loss(predictor, change(images), labels)


def _most(data: Split) -> int:
    return len(data) - max(1, len(data) // 5)


def _part(predictor: Predictor, data: Split, rows: slice) -> tuple[Tensor, Tensor]:
    return predictor.input_spec.from_grid(torch.from_numpy(data.images[rows])), torch.from_numpy(data.labels[rows])


def _loss(predictor: Predictor, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float(F.cross_entropy(predictor(images), labels))
