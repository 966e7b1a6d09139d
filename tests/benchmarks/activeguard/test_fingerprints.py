"""What the fingerprints' experiments count with, on numbers worked out by hand and on a tiny network."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from benchmarks.activeguard.fingerprints import PARTS
from benchmarks.activeguard.fingerprints.forgeries import CODE, EPSILONS, SECRET, Register, codewords, looked_at
from benchmarks.activeguard.fingerprints.generators import rate_ratio
from benchmarks.activeguard.fingerprints.identities import closest, keys
from benchmarks.activeguard.fingerprints.networks import Network, entropy
from models.fingerprints.activeguard import Codewords, generate
from models.fingerprints.activeguard.codewords import stack
from tests.models.conftest import tiny_predictor


class TestRateRatio:
    def test_it_is_that_of_the_sums_within_its_interval(self) -> None:
        rng = np.random.default_rng(0)
        seconds = 1 + rng.random(20)
        value, low, high = rate_ratio((30 * seconds, seconds), (2 * seconds, 2 * seconds), rng)
        assert value == pytest.approx(30.0)
        assert (low, high) == pytest.approx((30.0, 30.0))

    def test_rounds_that_differ_widen_it(self) -> None:
        ones = np.ones(20)
        fast = np.array([10.0, 30.0] * 10)
        value, low, high = rate_ratio((fast, ones), (ones, ones), np.random.default_rng(0))
        assert value == pytest.approx(20.0)
        assert 12 < low < 18
        assert 22 < high < 28


class TestForgeries:
    def test_issued_fingerprints_are_found_by_each_check_and_blank_ones_by_none_that_is_bound(self) -> None:
        predictor = tiny_predictor(hidden=64)
        network = Network(predictor, torch.zeros(1, 1, 8, 8), 0.0, 0.0, "")
        words = codewords(SECRET, 4)
        sources = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        grid = generate(predictor, sources, words, entropy=entropy(0, 4)).grid.numpy()
        digests = frozenset(hashlib.sha256(one.tobytes()).digest() for one in grid)
        register = Register(Codewords(stack(words), CODE.epsilon), digests)

        genuine = looked_at(network, register, lambda count: grid[:count], 4)
        blank = looked_at(network, register, lambda count: np.zeros((count, 1, 8, 8), dtype=np.uint8), 3)

        place = int(np.searchsorted(EPSILONS, CODE.epsilon))
        assert genuine["accepted"] == 4
        assert genuine["below"]["codeword"][place] == genuine["below"]["digest"][0] == 4
        assert genuine["nearest"] < CODE.epsilon
        assert blank["accepted"] == blank["below"]["digest"][-1] == blank["below"]["codeword"][place] == 0
        assert blank["nearest"] > CODE.epsilon

    def test_the_curve_of_a_check_rises_with_epsilon(self) -> None:
        network = Network(tiny_predictor(), torch.zeros(1, 1, 8, 8), 0.0, 0.0, "")
        register = Register(Codewords(stack(codewords(SECRET, 4)), CODE.epsilon), frozenset())
        rng = np.random.default_rng(0)
        noise = looked_at(network, register, lambda n: rng.integers(256, size=(n, 1, 8, 8), dtype=np.uint8), 500)
        for check in ("paper", "codeword"):
            counts = noise["below"][check]
            assert counts == sorted(counts)
        assert noise["below"]["paper"][-1] > noise["below"]["codeword"][-1]


class TestIdentities:
    def test_one_codeword_has_one_key_and_two_have_two(self) -> None:
        words = stack(codewords(SECRET, 200)).float().numpy()[:, None]
        found = keys(np.concatenate([words, words[:1]]))
        assert len(np.unique(found)) == 200
        assert found[0] == found[-1]

    def test_two_codewords_are_two_epsilon_apart(self) -> None:
        words = stack(codewords(SECRET, 500)).float().numpy()
        assert closest(words) >= 2 * CODE.epsilon - 1e-6


def test_parts_have_rows_of_their_own() -> None:
    rows = [row for part in PARTS for row in part.rows]
    assert len(set(rows)) == len(rows)
