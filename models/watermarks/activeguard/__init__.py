"""ActiveGuard's watermark (arXiv:2103.01527, section 2.5) as published."""

from models.watermarks.activeguard.carrier import carrier, map_of_range
from models.watermarks.activeguard.scheme import (
    LENET5_MAP,
    WM1,
    WM2,
    WRN_MAP,
    Key,
    Verdict,
    embed,
    extract,
    keygen,
    regularizer,
    verify,
)

__all__ = [
    "LENET5_MAP",
    "WM1",
    "WM2",
    "WRN_MAP",
    "Key",
    "Verdict",
    "carrier",
    "embed",
    "extract",
    "keygen",
    "map_of_range",
    "regularizer",
    "verify",
]
