from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.stats import chisquare

from models.watermarks.registered.stream import HashStream


class TestBelow:
    def test_the_first_number_is_the_hash_s(self) -> None:
        data = hashlib.shake_256(b"domain\0" + (4).to_bytes(8, "big") + b"seed" + bytes(8)).digest(8)
        assert HashStream(b"domain", b"seed").below(1000) == int.from_bytes(data, "big") % 1000

    @pytest.mark.parametrize("bound", [7, 10, 2400])
    def test_it_is_uniform(self, bound: int) -> None:
        stream = HashStream(b"test", b"uniform")
        counts = np.bincount([stream.below(bound) for _ in range(100_000)], minlength=bound)
        assert chisquare(counts).pvalue > 1e-4

    def test_words_that_would_favour_small_numbers_are_left_out(self) -> None:
        # Three quarters of 2^64: without rejection the lower third would come up twice as often.
        bound = 3 << 62
        stream = HashStream(b"test", b"bias")
        low = sum(stream.below(bound) < 1 << 62 for _ in range(3000))
        assert 900 < low < 1100

    def test_domains_and_seeds_do_not_run_into_one_another(self) -> None:
        assert HashStream(b"a", b"bc").below(1 << 62) != HashStream(b"ab", b"c").below(1 << 62)


class TestSample:
    def test_distinct_and_in_every_order_alike(self) -> None:
        stream = HashStream(b"test", b"orders")
        orders = [tuple(stream.sample(range(4), 3)) for _ in range(24_000)]
        assert all(len(set(order)) == 3 for order in orders)
        counts = np.unique(np.array([100 * a + 10 * b + c for a, b, c in orders]), return_counts=True)[1]
        assert len(counts) == 24
        assert chisquare(counts).pvalue > 1e-4
