"""Section 2.5: where the paper's digits lie, the maximum over the O components of D = (F, F, I, O)."""

from __future__ import annotations

from torch import Tensor

from models.errors import WatermarkError
from models.watermarks.digit_map import DigitMap


def carrier(weight: Tensor) -> Tensor:
    """Kernels (O, I, F, F), as torch has them -> w (F F I,), the element-wise maximum over O of (F, F, I).

    Raises WatermarkError naming `layer` for a weight that is not a convolution's.
    """
    if weight.ndim != 4:
        raise WatermarkError("layer", f"needs the kernels of a convolution, not shape {tuple(weight.shape)}")
    return weight.amax(dim=0).permute(1, 2, 0).flatten()  # (I, F, F) -> (F, F, I) -> (F F I,)


def map_of_range(weight: Tensor) -> DigitMap:
    """The digit map of a layer's own range of w, as section 3.1 computes it (LeNet-5 there: [.10, .45])."""
    w = carrier(weight.detach())
    return DigitMap.from_range(float(w.min()), float(w.max()))
