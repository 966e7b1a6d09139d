from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from models.evaluation.poisson_binomial import log10_tail


def by_hand(probabilities: list[float], matches: int) -> float:
    """Every outcome, one by one."""
    total = 0.0
    for outcome in itertools.product((0, 1), repeat=len(probabilities)):
        if sum(outcome) >= matches:
            total += math.prod(p if hit else 1 - p for p, hit in zip(probabilities, outcome, strict=True))
    return total


class TestLog10Tail:
    @pytest.mark.parametrize("matches", range(9))
    def test_it_is_the_sum_over_all_outcomes(self, matches: int) -> None:
        probabilities = [0.1, 0.5, 0.9, 0.25, 1.0, 0.01, 0.33, 0.1]
        assert 10 ** float(log10_tail(probabilities, matches)) == pytest.approx(by_hand(probabilities, matches))

    def test_equal_probabilities_give_the_binomial(self) -> None:
        for matches in (0, 1, 13, 40, 64):
            expected = binom.logsf(matches - 1, 64, 0.1) / math.log(10)
            assert float(log10_tail([0.1] * 64, matches)) == pytest.approx(expected, abs=1e-9)

    def test_findings_of_the_paper_s_length(self) -> None:
        assert float(log10_tail([0.1] * 13, 13)) == pytest.approx(-13)
        assert 10 ** float(log10_tail([0.1] * 13, 10)) == pytest.approx(2.1e-8, rel=0.05)

    def test_numbers_smaller_than_a_float_are_numbers(self) -> None:
        assert float(log10_tail([0.1] * 1000, 1000)) == pytest.approx(-1000)

    def test_the_ends(self) -> None:
        assert float(log10_tail([0.1, 0.2], 0)) == 0
        assert float(log10_tail([0.1, 0.2], 3)) == -math.inf

    def test_many_at_once(self) -> None:
        probabilities = np.random.default_rng(0).uniform(0.1, 0.4, (5, 70))
        matches = np.array([3, 20, 33, 50, 70])
        rows = [float(log10_tail(row, count)) for row, count in zip(probabilities, matches, strict=True)]
        assert log10_tail(probabilities, matches).tolist() == pytest.approx(rows)
