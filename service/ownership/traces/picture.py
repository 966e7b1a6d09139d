"""How many inputs are right under random numbers, as a histogram, and above it the registered ones; inline SVG."""

import math
from collections.abc import Iterable, Sequence

_LEFT, _WIDE, _HIGH, _TOP = 12, 120, 42, 14


def draw(histogram: Sequence[int], registered: Sequence[int], named: Iterable[int]) -> str:
    """Counts by the number of right answers, bars on a scale of logarithms; `named` are those of the named students."""
    slots, most = len(histogram), math.log1p(max(histogram))
    step = _WIDE / slots
    shapes = []
    for right, count in enumerate(histogram):
        if count:
            high = _HIGH * math.log1p(count) / most
            place = f'x="{_LEFT + right * step:.2f}" y="{_TOP + _HIGH - high:.2f}"'
            said = f"<title>{right} right: {count} random numbers</title>"
            shapes.append(f'<rect class="null" {place} width="{0.9 * step:.2f}" height="{high:.2f}">{said}</rect>')
    left = list(named)
    for at, right in enumerate(sorted(registered)):
        style = "own" if right in left else "other"
        if style == "own":
            left.remove(right)
        x, y = _LEFT + (right + 0.45) * step, 4 + at % 5 * 1.6
        said = f"<title>{right} right with a registered stamp</title>"
        shapes.append(f'<circle class="{style}" cx="{x:.2f}" cy="{y:.2f}" r="1.2">{said}</circle>')
    base = _TOP + _HIGH
    ticks = "".join(
        f'<text x="{_LEFT + (right + 0.45) * step:.2f}" y="{base + 5}">{right}</text>'
        for right in range(0, slots, max(1, slots // 8))
    )
    axis = f'<line class="axis" x1="{_LEFT}" x2="{_LEFT + _WIDE}" y1="{base}" y2="{base}"/>'
    return (
        f'<svg class="null" viewBox="0 0 {_LEFT + _WIDE + 2} {base + 8}" role="img" aria-label="right answers with '
        f'registered and with random stamps">{axis}{"".join(shapes)}{ticks}</svg>'
    )
