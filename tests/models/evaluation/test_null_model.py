from __future__ import annotations

import pytest
import torch

from models.evaluation.null_model import frequencies, match_probabilities
from models.watermarks.digit_map import DigitMap

IDENTITY = DigitMap(1.0, 0.0)


class TestFrequencies:
    def test_shares_of_all_weights_with_one_added_to_each_digit(self) -> None:
        shares = frequencies([torch.tensor([0.0, 0.0, 3.2]), torch.tensor([[-7.0], [40.0]])], IDENTITY)
        assert shares == pytest.approx([3 / 15, 1 / 15, 1 / 15, 2 / 15, *[1 / 15] * 6])
        assert sum(shares) < 1  # two weights have no digit

    def test_nothing_known_is_a_tenth_each(self) -> None:
        assert frequencies([], IDENTITY) == pytest.approx([0.1] * 10)


class TestMatchProbabilities:
    def test_the_largest_account_counts_and_never_less_than_a_tenth(self) -> None:
        rare, common = (0.01,) * 10, (0.02, 0.5, *[0.03] * 8)
        assert match_probabilities(torch.tensor([1, 0, 1]), rare, common).tolist() == [0.5, 0.1, 0.5]

    def test_whatever_digit_is_found_one_drawn_by_hash_is_no_oftener_that_one(self) -> None:
        """Also where the map puts every weight on one digit: the ends of the scale are no cheaper than its middle."""
        digits = torch.randint(0, 10, (100_000,), generator=torch.Generator().manual_seed(0))
        chances = match_probabilities(digits)
        for found in range(10):
            assert float((digits == found).double().mean()) < chances.mean() + 0.01
        assert chances.tolist() == pytest.approx([0.1] * len(digits))
