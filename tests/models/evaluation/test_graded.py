"""Chernoff's bound is one: against chance drawn many times, and where the answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from models.evaluation.graded import log10_graded


def drawn(seed: int, count: int) -> tuple[torch.Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    return 4.5 + 2 * torch.randn(count, generator=generator), generator


def test_chance_alone_is_below_alpha_at_most_that_often() -> None:
    values, generator = drawn(0, 64)
    found = [log10_graded(values, torch.randint(0, 10, (64,), generator=generator)) for _ in range(2_000)]
    for alpha in (0.1, 0.01):
        assert sum(log10 <= math.log10(alpha) for log10 in found) <= 2_000 * alpha
    assert min(found) < -1  # and it is no idle bound


def test_all_digits_at_their_ends_are_as_rare_as_they_are() -> None:
    digits = torch.tensor([0, 9] * 20)
    assert log10_graded(digits.float(), digits) == pytest.approx(-40, rel=0.02)  # each has one chance in ten


def test_weights_that_were_moved_by_more_than_a_digit_still_tell() -> None:
    generator = torch.Generator().manual_seed(1)
    digits = torch.randint(0, 10, (256,), generator=generator)
    moved = digits + 4 * torch.randn(256, generator=generator)
    assert log10_graded(moved, digits) < -15
    assert log10_graded(moved, digits.flip(0)) > -3


def test_what_runs_the_other_way_or_is_no_number_is_no_evidence() -> None:
    digits = torch.arange(10).repeat(7)
    assert log10_graded(9.0 - digits, digits) == 0
    assert log10_graded(torch.full((70,), math.nan), digits) == 0
    assert math.isfinite(log10_graded(1e30 * (digits - 4.5), digits))
