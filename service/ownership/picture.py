"""The marked layer as inline SVG: a cell for each weight that carries a digit, where it lies in its kernel."""

import math
from collections.abc import Sequence

NO_DIGIT = -1
_GAP = 1  # between kernels, in cells
_FINEST = 1 / 160  # of the width: what is smaller cannot be seen, so the cells of a large layer are drawn larger


def draw(
    shape: Sequence[int], positions: Sequence[int], expected: Sequence[int], extracted: Sequence[int], tolerance: int
) -> str:
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
        cells.append(_cell(left, top, size, wanted, found, outcome(wanted, found, tolerance)))
    tile = f'<rect width="{width}" height="{height}" class="kernel"/>'
    return (
        f'<svg class="layer" viewBox="-1 -1 {whole_w + 2} {whole_h + 2}" role="img" '
        f'aria-label="where the marked weights lie in the layer">'
        f'<pattern id="kernels" width="{tile_w}" height="{tile_h}" patternUnits="userSpaceOnUse">{tile}</pattern>'
        f'<rect width="{whole_w}" height="{whole_h}" fill="url(#kernels)"/>{"".join(cells)}</svg>'
    )


def outcome(wanted: int, found: int, tolerance: int) -> str:
    """The style of a position: `match`, `other` digit, or `none`."""
    if found == NO_DIGIT:
        return "none"
    return "match" if abs(wanted - found) <= tolerance else "other"


def _cell(left: float, top: float, size: float, wanted: int, found: int, style: str) -> str:
    said = "none" if found == NO_DIGIT else str(found)
    place = f'x="{left:g}" y="{top:g}" width="{size:g}" height="{size:g}"'
    return f'<rect {place} class="{style}"><title>expected {wanted}, found {said}</title></rect>'


def _as_kernels(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """(O, I, ...) of a dense layer or a convolution of one to three dimensions -> (O, I, height, width)."""
    outputs, inputs, *kernel = shape
    *rest, width = kernel or [1]
    return outputs, inputs, math.prod(rest), width
