from __future__ import annotations

import pytest
import torch

from models.evaluation.null_model import frequencies, match_probabilities, matching
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

    def test_neighbours_add_their_shares(self) -> None:
        shares = (0.4, 0.2, 0.1, *[0.0] * 7)
        found = match_probabilities(torch.tensor([0, 1, 5, 9]), shares, tolerance=1)
        assert found.tolist() == pytest.approx([0.6, 0.7, 0.3, 0.3])
        assert match_probabilities(torch.tensor([0]), (0.9,) * 10, tolerance=2).tolist() == [1.0]

    @pytest.mark.parametrize("tolerance", [0, 1, 2])
    def test_whatever_digit_is_found_one_drawn_by_hash_is_no_oftener_near_it(self, tolerance: int) -> None:
        """Also where the map puts every weight on one digit: the ends of the scale are no cheaper than its middle."""
        digits = torch.randint(0, 10, (100_000,), generator=torch.Generator().manual_seed(0))
        chances = match_probabilities(digits, tolerance=tolerance)
        for found in range(10):
            assert float(((digits - found).abs() <= tolerance).double().mean()) < chances.mean() + 0.01
        assert chances.tolist() == pytest.approx([(2 * tolerance + 1) / 10] * len(digits))


class TestMatching:
    def test_no_digit_is_near_none(self) -> None:
        extracted, digits = torch.tensor([-1, 0, 3, 9, 5]), torch.tensor([0, 1, 3, 7, 5])
        assert [matching(extracted, digits, tolerance) for tolerance in (0, 1, 2)] == [2, 3, 4]
