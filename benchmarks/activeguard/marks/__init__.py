"""Parts of the results file: marks, what they cost, what they survive, and whom they accuse."""

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks import (
    accused,
    obfuscated,
    overwritten,
    rejection,
    stealth,
    table2,
    table3,
    table4,
)
from benchmarks.activeguard.marks.plots import PLOTS
from benchmarks.runner import Part

PARTS: tuple[Part[Budget], ...] = (
    Part("table2", table2.ROWS, table2.table2),
    Part("table3", table3.ROWS, table3.table3),
    Part("table4", table4.ROWS, table4.table4),
    Part("obfuscated", obfuscated.ROWS, obfuscated.obfuscated),
    Part("overwritten", overwritten.ROWS, overwritten.overwritten),
    Part("stealth", stealth.ROWS, stealth.stealth),
    Part("false_ownership", accused.FALSE, accused.false_ownership),
    Part("ground", accused.GROUND, accused.ground),
    Part("rejection", rejection.ROWS, rejection.rejection),
)

__all__ = ["PARTS", "PLOTS"]
