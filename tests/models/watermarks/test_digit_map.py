from __future__ import annotations

import math

import pytest
import torch

from models.errors import WatermarkError
from models.watermarks.digit_map import NO_DIGIT, DigitMap


class TestFromRange:
    @pytest.mark.parametrize(
        ("low", "high", "a", "b"), [(0.10, 0.45, 180 / 7, -18 / 7), (0.20, 1.10, 10.0, -2.0)], ids=["LeNet-5", "WRN"]
    )
    def test_the_paper_s_two_maps(self, low: float, high: float, a: float, b: float) -> None:
        found = DigitMap.from_range(low, high)
        assert (found.a, found.b) == (pytest.approx(a), pytest.approx(b))

    def test_an_empty_range_is_refused(self) -> None:
        with pytest.raises(WatermarkError, match="digit_map"):
            DigitMap.from_range(0.3, 0.3)


class TestDigits:
    def test_values_are_rounded_and_never_clipped(self) -> None:
        digit_map = DigitMap(10.0, -2.0)
        weights = torch.tensor([0.20, 0.249, 0.251, 1.10, 1.149, 1.151, 0.149, -5.0, 100.0, math.nan, math.inf])
        expected = [0, 0, 1, 9, 9, NO_DIGIT, NO_DIGIT, NO_DIGIT, NO_DIGIT, NO_DIGIT, NO_DIGIT]
        assert digit_map.digits(weights).tolist() == expected

    def test_a_hair_below_zero_is_zero(self) -> None:
        assert DigitMap(1.0, 0.0).digits(torch.tensor([-0.4, -0.0])).tolist() == [0, 0]

    @pytest.mark.parametrize("digit_map", [DigitMap(180 / 7, -18 / 7), DigitMap(10.0, -2.0), DigitMap.symmetric(0.24)])
    def test_centres_read_back_in_single_precision(self, digit_map: DigitMap) -> None:
        digits = torch.arange(10)
        assert torch.equal(digit_map.digits(digit_map.centres(digits).float()), digits)

    def test_the_symmetric_map_reads_back_from_text(self) -> None:
        digit_map = DigitMap.symmetric(0.123456789)
        assert float(f"{digit_map.a:.6g}") == digit_map.a
        assert digit_map.values(torch.tensor([-0.123456789, 0.123456789])).tolist() == pytest.approx([0, 9], abs=1e-3)


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (-1.0, 1.0), (math.nan, 0.0), (1.0, math.inf), (True, 0.0)])
def test_a_map_of_odd_numbers_is_refused(a: float, b: float) -> None:
    with pytest.raises(WatermarkError, match="digit_map"):
        DigitMap(a, b)
