"""Deep Serial Number (arXiv:2011.08960): students that work only on inputs stamped with their customer's number."""

from models.serial_numbers.dsn.distillation import DistillationConfig, DistillationReport, distil
from models.serial_numbers.dsn.keygen import keygen
from models.serial_numbers.dsn.policy import Policy
from models.serial_numbers.dsn.stamp import Layout, Stamp
from models.serial_numbers.dsn.statement import Statement, belongs, number, sign

__all__ = [
    "DistillationConfig",
    "DistillationReport",
    "Layout",
    "Policy",
    "Stamp",
    "Statement",
    "belongs",
    "distil",
    "keygen",
    "number",
    "sign",
]
