"""Rows that count verdicts: so many of so many, held to all or to none, with the exact interval beside."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.activeguard.marks.networks import Finding
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from models.evaluation.ownership import LOG10_THRESHOLD, LOG10_TRIES


def share_row(id: str, what: str, verdicts: Sequence[bool], extra: Mapping[str, Any], *, wanted: float = 1.0) -> Row:
    """The share that is true."""
    true, n = sum(verdicts), len(verdicts)
    counted = {"count": true} | dict(extra)
    return Row(id, what, bar("==", wanted), true / n, n, *exact(true, n), "exact, 95 %", counted)


def of(verdicts: Sequence[bool]) -> str:
    """Such as "4 of 5", for a table's cell."""
    return f"{sum(verdicts)} of {len(verdicts)}"


def exact_cell(findings: Sequence[Finding]) -> str:
    """Published marks: how many have every digit, and the least number of digits right."""
    return f"{successes(findings)}; {min(finding.measure for finding in findings):.0f} digits"


def verified_cell(findings: Sequence[Finding]) -> str:
    """Registered marks: how many are verified, and the largest adjusted p."""
    return f"{successes(findings)}; 1e{max(finding.measure for finding in findings):.0f}"


def undated_cell(findings: Sequence[Finding]) -> str:
    """Registered marks: how many would be verified if the suspect's age were not known, with 2^112 tries to pay."""
    return of([finding.measure + LOG10_TRIES <= LOG10_THRESHOLD for finding in findings])


def successes(findings: Sequence[Finding]) -> str:
    """Such as "4 of 5"."""
    return of([finding.success for finding in findings])


def percent(shares: Sequence[float]) -> str:
    """Their mean, as the papers print accuracies."""
    return f"{100 * sum(shares) / len(shares):.2f} %"
