"""Intervals against known values."""

import numpy as np
import pytest

from benchmarks import statistics
from benchmarks.thread.forgery import neighbours


def test_wilson_as_newcombe_has_it() -> None:
    assert statistics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_none_of_a_thousand_leaves_a_third_of_a_percent_open() -> None:
    assert statistics.exact(0, 1000) == pytest.approx((0.0, 0.003682), abs=1e-6)


def test_students_interval_of_five() -> None:
    low, high = statistics.t_interval([1.0, 2.0, 3.0, 4.0, 5.0])

    assert (low, high) == pytest.approx((3 - 1.9632, 3 + 1.9632), abs=1e-4)  # 2.776 * 1.5811 / sqrt(5)


class TestAuc:
    def test_ties_count_half(self) -> None:
        assert statistics.auc(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == pytest.approx(0.875)

    def test_the_interval_of_two_of_a_kind_holds_a_half(self) -> None:
        rng = np.random.default_rng(0)
        blocks = [[rng.normal(size=50) for _ in range(40)] for _ in range(2)]
        low, high = statistics.auc_interval(*blocks, rng, resamples=200)

        assert low < 0.5 < high
        assert high - low < 0.1

    def test_what_a_turn_has_in_common_does_not_widen_the_interval(self) -> None:
        rng = np.random.default_rng(0)
        drift = rng.normal(size=100)
        turns = [[np.array([common + rng.normal() / 10]) for common in drift] for _ in range(2)]
        low, high = statistics.auc_interval(*turns, rng, resamples=200)

        assert high - low < 0.03  # 0.16 if both kinds were drawn apart

    @pytest.mark.parametrize(
        ("found", "folded"),
        [((0.4, 0.35, 0.45), (0.6, 0.55, 0.65)), ((0.52, 0.46, 0.58), (0.52, 0.5, 0.58))],
    )
    def test_the_wrong_way_round_tells_apart_as_well(
        self, found: tuple[float, float, float], folded: tuple[float, float, float]
    ) -> None:
        assert statistics.either_way(*found) == pytest.approx(folded)


class TestChiSquare:
    def test_labels_of_one_class_are_not_uniform(self) -> None:
        assert statistics.uniform(np.zeros(1000, dtype=np.int64), 10)[1] < 1e-9
        assert statistics.uniform(np.arange(1000) % 10, 10)[1] == pytest.approx(1.0)

    def test_a_label_that_follows_another_is_not_independent(self) -> None:
        labels = np.arange(1000) % 10
        statistic, freedom = statistics.independent(labels, labels, 10)

        assert freedom == 81
        assert statistics.chi_square_p(statistic, freedom) < 1e-9
        assert statistics.chi_square_p(*statistics.independent(labels, (labels + np.arange(1000) // 10) % 10, 10)) > 0.9


def test_neighbours_differ_by_one_level_at_one_pixel() -> None:
    picture = np.array([[[0, 7], [255, 3]]], dtype=np.uint8)
    made = neighbours(picture)

    difference = np.abs(made.astype(int) - picture.astype(int)).reshape(len(made), -1)
    assert len(made) == 6  # neither below 0 nor above 255
    assert (difference.sum(axis=1) == 1).all()
    assert len(np.unique(made, axis=0)) == 6


class TestPaired:
    def test_images_that_both_get_right_or_wrong_narrow_the_interval(self) -> None:
        both = np.arange(10_000) < 8_000
        other = both.copy()
        other[:40] = False
        middle, low, high = statistics.paired(other, both)
        assert middle == pytest.approx(-0.4)
        assert low == pytest.approx(-0.4 - 1.96 * 0.0631, abs=1e-3)
        assert high == pytest.approx(-0.4 + 1.96 * 0.0631, abs=1e-3)

    def sides(self, won: int, lost: int, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
        """Images that the first alone has right, then those that the second alone has."""
        at = np.arange(count)
        return (at < won) | (at >= won + lost), at >= won

    def test_where_none_differs_something_is_left_open(self) -> None:
        middle, low, high = statistics.paired_score(*self.sides(0, 0))
        beyond = 100 * 1.96**2 / (400 + 1.96**2)  # where the score of none of 400 is 1.96
        assert (middle, low, high) == pytest.approx((0, -beyond, beyond), abs=1e-3)

    @pytest.mark.parametrize(("won", "lost"), [(0.002, 0.022), (0.0, 0.01), (0.01, 0.01)])
    def test_few_that_differ_are_not_taken_for_certain(self, won: float, lost: float) -> None:
        drawn = np.random.default_rng(0).multinomial(400, [won, lost, 1 - won - lost], size=500)[:, :2]
        ends = [statistics.paired_score(*self.sides(*counts)) for counts in drawn]
        truth = 100 * (won - lost)
        assert np.mean([low <= truth for _, low, _ in ends]) > 0.955
        assert np.mean([truth <= high for _, _, high in ends]) > 0.935

    def test_of_many_that_differ_it_is_the_plain_interval(self) -> None:
        both = self.sides(900, 1100, 10_000)
        assert statistics.paired_score(*both) == pytest.approx(statistics.paired(*both), abs=0.01)


class TestBalanced:
    def test_every_class_counts_the_same(self) -> None:
        labels = np.repeat([0, 1], [900, 100])
        right = labels == 0
        assert statistics.balanced(right, labels)[0] == pytest.approx(0.5)

    def test_of_classes_alike_it_is_the_plain_share_with_its_interval(self) -> None:
        labels = np.repeat(np.arange(10), 1000)
        right = np.random.default_rng(0).random(10_000) < 0.3
        middle, low, high = statistics.balanced(right, labels)
        assert (middle, low, high) == pytest.approx(
            (right.mean(), *statistics.wilson(int(right.sum()), 10_000)), abs=3e-4
        )

    def test_a_difference_of_classes_alike_is_the_plain_one(self) -> None:
        labels = np.repeat(np.arange(10), 1000)
        rng = np.random.default_rng(0)
        first, second = (rng.random(10_000) < share for share in (0.5, 0.4))
        found = statistics.balanced_paired(first, second, labels)
        assert found == pytest.approx(statistics.paired(first, second), abs=0.02)
