"""The marked layer as inline SVG: where its digits lie, and where the weights that bear each digit stand among all."""

import math
from collections.abc import Sequence
from statistics import quantiles

from models.watermarks.digit_map import BASE

NO_DIGIT = -1
_GAP = 1  # between kernels, in cells
_FINEST = 1 / 160  # of the width: what is smaller cannot be seen, so the cells of a large layer are drawn larger


def draw(shape: Sequence[int], positions: Sequence[int], expected: Sequence[int], extracted: Sequence[int]) -> str:
    """Kernels side by side, outputs along one side and inputs along the other; the longer one lies across."""
    outputs, inputs, height, width = _as_kernels(shape)
    turned = outputs < inputs
    columns, rows = (inputs, outputs) if turned else (outputs, inputs)
    tile_w, tile_h = width + _GAP, height + _GAP
    whole_w, whole_h = columns * tile_w - _GAP, rows * tile_h - _GAP
    size = max(1.0, max(whole_w, whole_h) * _FINEST)
    cells = []
    for position, wanted, found in zip(positions, expected, extracted, strict=True):
        rest, x = divmod(position, width)
        rest, y = divmod(rest, height)
        output, entry = divmod(rest, inputs)
        column, row = (entry, output) if turned else (output, entry)
        left, top = column * tile_w + x + (1 - size) / 2, row * tile_h + y + (1 - size) / 2
        cells.append(_cell(left, top, size, wanted, found, outcome(wanted, found)))
    tile = f'<rect width="{width}" height="{height}" class="kernel"/>'
    return (
        f'<svg class="layer" viewBox="-1 -1 {whole_w + 2} {whole_h + 2}" role="img" '
        f'aria-label="where the marked weights lie in the layer">'
        f'<pattern id="kernels" width="{tile_w}" height="{tile_h}" patternUnits="userSpaceOnUse">{tile}</pattern>'
        f'<rect width="{whole_w}" height="{whole_h}" fill="url(#kernels)"/>{"".join(cells)}</svg>'
    )


def draw_order(expected: Sequence[int], ranks: Sequence[int], size: int) -> str:
    """For each digit the quartiles of its weights' places in the layer of `size` weights, smallest below."""
    left, wide, high = 17, 80, 50
    shapes = []
    for digit in range(BASE):
        places = [(1 + rank / size) / 2 for wanted, rank in zip(expected, ranks, strict=True) if wanted == digit]
        if len(places) < 2:
            continue
        low, middle, top = (high * (1 - place) for place in quantiles(places, n=4, method="inclusive"))
        x = left + wide / BASE * digit + 1
        shapes.append(
            f'<rect x="{x:g}" y="{top:.2f}" width="6" height="{max(low - top, 0.2):.2f}"/>'
            f'<line class="median" x1="{x:g}" x2="{x + 6:g}" y1="{middle:.2f}" y2="{middle:.2f}"/>'
        )
    axes = "".join(
        f'<line class="axis" x1="{left}" x2="{left + wide}" y1="{y}" y2="{y}"/>'
        f'<text x="1" y="{y + 1.2:g}">{name}</text>'
        for y, name in ((0, "largest"), (high / 2, "middle"), (high, "smallest"))
    )
    below = ((left + wide / BASE * digit + 3, digit) for digit in range(BASE))
    names = "".join(f'<text x="{x:g}" y="{high + 5}">{digit}</text>' for x, digit in below)
    return (
        f'<svg class="order" viewBox="0 -3 {left + wide} {high + 10}" role="img" '
        f'aria-label="where the weights of each digit stand in the layer">{axes}{"".join(shapes)}{names}</svg>'
    )


def outcome(wanted: int, found: int) -> str:
    """The style of a position: `match`, `other` digit, or `none`."""
    if found == NO_DIGIT:
        return "none"
    return "match" if wanted == found else "other"


def _cell(left: float, top: float, size: float, wanted: int, found: int, style: str) -> str:
    said = "none" if found == NO_DIGIT else str(found)
    place = f'x="{left:g}" y="{top:g}" width="{size:g}" height="{size:g}"'
    return f'<rect {place} class="{style}"><title>expected {wanted}, found {said}</title></rect>'


def _as_kernels(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """(O, I, ...) of a dense layer or a convolution of one to three dimensions -> (O, I, height, width)."""
    outputs, inputs, *kernel = shape
    *rest, width = kernel or [1]
    return outputs, inputs, math.prod(rest), width
