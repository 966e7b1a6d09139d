"""The bound is one: against chance drawn many times, and where the answer is known."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.evaluation.rank_correlation import log10_rank_tail, rank_correlation, rank_excess


def digits_of(count: int, seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(10), k=count)


def noise(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestRankExcess:
    def test_smaller_ones_less_larger_ones(self) -> None:
        found = rank_excess(torch.tensor([[0.5, -1.0], [0.5, math.nan], [3.0, math.inf]]))
        assert found.tolist() == [-1, -4, -1, 0, 2, 4]

    def test_neither_scale_nor_cutting_off_the_large_ones_changes_much(self) -> None:
        weights = noise(1_000)
        assert torch.equal(rank_excess(1e9 * weights + 7), rank_excess(weights))
        cut = rank_excess(weights.clamp(-1, 1))
        assert torch.equal(cut[weights.abs() < 1], rank_excess(weights)[weights.abs() < 1])

    def test_pruned_weights_are_all_in_the_middle_together(self) -> None:
        assert rank_excess(torch.tensor([-2.0, 0.0, 0.0, 0.0, 2.0])).tolist() == [-4, 0, 0, 0, 4]


class TestTail:
    def test_chance_alone_is_below_alpha_at_most_that_often(self) -> None:
        ranks = rank_excess(noise(200))[:64].tolist()
        found = [log10_rank_tail(ranks, digits_of(64, seed)) for seed in range(4_000)]
        for alpha in (0.1, 0.01):
            assert sum(log10 <= math.log10(alpha) for log10 in found) <= 4_000 * alpha
        assert min(found) < -1.5  # and it is no idle bound

    @given(ranks=st.lists(st.integers(-9, 9), min_size=3, max_size=3), seen=st.tuples(*[st.integers(0, 9)] * 3))
    def test_it_is_never_below_the_probability_itself(self, ranks: list[int], seen: tuple[int, ...]) -> None:
        def score(digits: tuple[int, ...]) -> int:
            return sum(g * (2 * d - 9) for g, d in zip(ranks, digits, strict=True))

        every = [score(digits) for digits in itertools.product(range(10), repeat=3)]
        p = sum(other >= score(seen) for other in every) / len(every)
        assert log10_rank_tail(ranks, seen) >= math.log10(p) - 1e-9

    def test_weights_that_were_moved_by_several_digits_still_tell(self) -> None:
        digits = digits_of(512)
        ranks = rank_excess(torch.tensor(digits) + 6 * noise(512)).tolist()
        assert log10_rank_tail(ranks, digits) < -15
        assert log10_rank_tail(ranks, digits[::-1]) > -3

    def test_what_runs_the_other_way_or_is_no_number_is_no_evidence(self) -> None:
        digits = list(range(10)) * 7
        assert log10_rank_tail([9 - 2 * digit for digit in digits], digits) == 0
        assert log10_rank_tail(rank_excess(torch.full((70,), math.nan)).tolist(), digits) == 0

    def test_the_squares_of_a_large_layer_are_no_trouble(self) -> None:
        digits = digits_of(4_000)
        assert log10_rank_tail([(2 * digit - 9) * 10**12 for digit in digits], digits) == pytest.approx(
            -4_000 / 2 / math.log(10), rel=0.05
        )


def test_correlation_is_one_where_the_order_is_kept_and_none_without_weights() -> None:
    digits = digits_of(50)
    assert rank_correlation([2 * digit - 9 for digit in digits], digits) == pytest.approx(1)
    assert rank_correlation([9 - 2 * digit for digit in digits], digits) == pytest.approx(-1)
    assert rank_correlation([0] * 50, digits) == 0
