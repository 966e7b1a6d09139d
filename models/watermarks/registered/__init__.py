"""The strong form of ActiveGuard's watermark: digits and positions by HKDF, committed to before any suspect is seen."""

from models.watermarks.registered.commitment import Commitment, commit
from models.watermarks.registered.embedding import (
    EmbeddingReport,
    EmbeddingSettings,
    embed,
    extract,
    map_of_spread,
    set_digits,
)
from models.watermarks.registered.marks import Mark, derive_marks, mark_key, open_mark, regularizer
from models.watermarks.registered.parameters import MarkParameters

__all__ = [
    "Commitment",
    "EmbeddingReport",
    "EmbeddingSettings",
    "Mark",
    "MarkParameters",
    "commit",
    "derive_marks",
    "embed",
    "extract",
    "map_of_spread",
    "mark_key",
    "open_mark",
    "regularizer",
    "set_digits",
]
