"""Keyed signs in weights."""

from __future__ import annotations

import copy

import pytest
import torch

from models.evaluation.sign_agreement import log10_agreement_tail
from models.networks import build
from models.watermarks.signs import SignRegularizer, agreement, key_digest, marked_tensors, signs

KEY, OTHER = b"a" * 32, b"b" * 32


class TestSigns:
    def test_follow_from_key_and_tensor(self) -> None:
        drawn = signs(KEY, "head.0.weight", 1001)
        assert torch.equal(drawn, signs(KEY, "head.0.weight", 1001))
        assert set(drawn.tolist()) == {1, -1}
        for other in (signs(OTHER, "head.0.weight", 1001), signs(KEY, "head.2.weight", 1001)):
            assert 400 < int((drawn == other).sum()) < 600

    def test_are_as_many_of_one_kind_as_of_the_other(self) -> None:
        assert abs(int(signs(KEY, "x", 100_000).sum())) < 1500


class TestRegularizer:
    def test_draws_every_layer_towards_the_key_and_to_no_other(self) -> None:
        network = build("dsn_mnist", {"width": 0.125})
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        term = SignRegularizer(KEY)
        for _ in range(100):
            optimizer.zero_grad()
            term(network).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        for name in marked_tensors(network):
            own, other = (agreement(network.state_dict(), key, name) for key in (KEY, OTHER))
            assert own.agreeing > 0.7 * own.compared
            assert other.agreeing < 0.7 * other.compared

    def test_is_nothing_where_all_signs_are_there_with_a_margin(self) -> None:
        network = build("dsn_mnist", {"width": 0.125})
        for name in marked_tensors(network):
            weight = network.get_parameter(name)
            weight.data = signs(KEY, name, weight.numel()).reshape(weight.shape).float()
        assert float(SignRegularizer(KEY)(network).detach()) == 0

    def test_is_described_without_its_key(self) -> None:
        term = SignRegularizer(KEY)
        assert key_digest(KEY) in term.description
        assert KEY.hex() not in term.description
        assert "aaaa" not in repr(term)
        assert term.description != SignRegularizer(OTHER).description


class TestAgreement:
    def test_no_positive_scale_matters_and_zeros_do_not_count(self) -> None:
        network = build("dsn_mnist", {"width": 0.125})
        weights = dict(network.state_dict())
        before = agreement(weights, KEY, "head.0.weight")
        scaled = copy.deepcopy(weights)
        scaled["head.0.weight"] *= torch.rand(15, 1) + 0.1
        assert agreement(scaled, KEY, "head.0.weight") == before
        scaled["head.0.weight"][:5] = 0
        assert agreement(scaled, KEY, "head.0.weight").compared == before.compared * 10 // 15


class TestTail:
    @pytest.mark.parametrize(("agreeing", "compared"), [(60, 100), (75, 100), (100, 100), (5200, 10_000)])
    def test_bounds_the_binomial_within_a_power_of_ten_or_so(self, agreeing: int, compared: int) -> None:
        from scipy.stats import binom

        exact = binom.logsf(agreeing - 1, compared, 0.5) / 2.302585092994046
        assert exact <= log10_agreement_tail(agreeing, compared) + 1e-9
        assert log10_agreement_tail(agreeing, compared) < exact + 1.5

    def test_half_or_less_is_no_evidence(self) -> None:
        assert log10_agreement_tail(50, 100) == log10_agreement_tail(3, 100) == log10_agreement_tail(0, 0) == 0
