"""Deep Serial Number (arXiv:2011.08960): students that work only on inputs stamped with their customer's number."""

from models.serial_numbers.dsn.distillation import PAPER, DistillationConfig, DistillationReport, distil
from models.serial_numbers.dsn.keygen import keygen
from models.serial_numbers.dsn.stamp import STRONG, Layout, Stamp
from models.serial_numbers.dsn.statement import Statement, belongs, number, sign

__all__ = [
    "PAPER",
    "STRONG",
    "DistillationConfig",
    "DistillationReport",
    "Layout",
    "Stamp",
    "Statement",
    "belongs",
    "distil",
    "keygen",
    "number",
    "sign",
]
