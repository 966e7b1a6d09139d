from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from models.errors import WatermarkError
from models.evaluation.mark_parameters import mark_parameters as evaluated
from models.networks.lenet5 import LeNet5
from models.watermarks.digit_map import DigitMap
from models.watermarks.registered import derive_marks, mark_key, open_mark
from tests.models.conftest import mark_parameters

SECRET = b"s" * 32


class TestMarkKey:
    def test_it_is_hkdf_and_does_not_change(self) -> None:
        # RFC 5869 by hand: a commitment made today must open in ten years.
        parameters = mark_parameters(LeNet5())
        extracted = hmac.new(bytes(32), SECRET, hashlib.sha256).digest()
        info = b"signet/mark/1|" + hashlib.sha256(parameters.to_bytes()).digest() + b"|0"
        assert mark_key(SECRET, parameters, 0) == hmac.digest(extracted, info + b"\x01", "sha256")

    def test_secret_terms_and_index_all_count(self) -> None:
        terms = mark_parameters(LeNet5())
        others = [terms, replace(terms, model="b"), replace(terms, digits=255), replace(terms, nonce="1" * 32)]
        keys = {mark_key(s, p, i) for s in (SECRET, b"t" * 32) for p in others for i in (0, 1)}
        assert len(keys) == 16

    def test_the_same_secret_gives_other_keys_in_another_registry_though_all_else_is_the_same(self) -> None:
        network = LeNet5()
        here, there = (
            evaluated(network, model="digits/1", architecture="lenet5", config={}, marks=1) for _ in range(2)
        )
        assert replace(here, nonce=there.nonce) == there
        assert mark_key(SECRET, here, 0) != mark_key(SECRET, there, 0)

    def test_a_short_secret_is_refused(self) -> None:
        with pytest.raises(WatermarkError, match="secret"):
            mark_key(b"short", mark_parameters(LeNet5()), 0)


class TestDerive:
    def test_positions_are_distinct_within_and_between_marks(self) -> None:
        marks = derive_marks(SECRET, mark_parameters(LeNet5()))
        positions = torch.cat([mark.positions for mark in marks])
        assert len(marks) == 3
        assert len(set(positions.tolist())) == 3 * 256
        assert 0 <= int(positions.min()) <= int(positions.max()) < 2400

    def test_digits_and_positions_are_uniform_over_many_keys(self) -> None:
        parameters = mark_parameters(LeNet5())
        marks = [open_mark(parameters, 0, key.to_bytes(32, "big")) for key in range(200)]
        digits = torch.cat([mark.digits for mark in marks])
        assert chisquare(np.bincount(digits.numpy(), minlength=10)).pvalue > 1e-4
        counts = np.bincount(torch.cat([mark.positions for mark in marks]).numpy(), minlength=2400)
        part = counts[counts > 0]  # an index's third of the layer
        assert len(part) == 800
        assert chisquare(part).pvalue > 1e-4

    def test_an_opened_mark_is_the_derived_one(self) -> None:
        parameters = mark_parameters(LeNet5())
        mark = derive_marks(SECRET, parameters)[2]
        again = open_mark(parameters, 2, mark.key)
        assert torch.equal(again.positions, mark.positions)
        assert torch.equal(again.digits, mark.digits)

    def test_other_terms_give_other_digits_to_the_same_key(self) -> None:
        terms = replace(mark_parameters(LeNet5()), marks=1)
        plain = open_mark(terms, 0, b"k" * 32)
        for change in ({"digit_map": DigitMap(2.0, 4.5)}, {"layer": "conv9.weight"}, {"nonce": "1" * 32}):
            other = open_mark(replace(terms, **change), 0, b"k" * 32)  # type: ignore[arg-type]
            assert int((plain.digits == other.digits).sum()) < 64
            assert int((plain.positions == other.positions).sum()) < 16

    def test_a_key_does_not_show_in_a_representation(self) -> None:
        mark = derive_marks(SECRET, mark_parameters(LeNet5()))[0]
        assert repr(mark) == "Mark(index=0)"

    @pytest.mark.parametrize(("index", "key", "field"), [(3, b"k" * 32, "mark"), (0, b"k", "mark_key")])
    def test_what_cannot_be_opened_is_named(self, index: int, key: bytes, field: str) -> None:
        with pytest.raises(WatermarkError) as caught:
            open_mark(mark_parameters(LeNet5()), index, key)
        assert caught.value.field == field


class TestParameters:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("model", ""),
            ("layer", 7),
            ("digits", 63),
            ("digits", 801),
            ("digits", True),
            ("marks", 0),
            ("shape", (2400,)),
            ("shape", (16, 6, 5, -5)),
            ("null_frequencies", (0.1,) * 9),
            ("null_frequencies", (2.0,) * 10),
            ("network_config", [1]),
            ("digit_map", 3),
            ("nonce", "0" * 31),
            ("nonce", "A" * 32),
            ("nonce", None),
            ("owner", "me"),
            ("owner", None),
        ],
    )
    def test_what_is_wrong_is_named(self, field: str, value: object) -> None:
        with pytest.raises(WatermarkError) as caught:
            replace(mark_parameters(LeNet5()), **{field: value})  # type: ignore[arg-type]
        assert caught.value.field == field

    def test_it_reads_back(self) -> None:
        parameters = mark_parameters(LeNet5())
        assert type(parameters).from_dict(parameters.to_dict()) == parameters
        for change in ({"extra": 1}, {"digit_map": {"a": 1.0}}):
            with pytest.raises(WatermarkError):
                type(parameters).from_dict(parameters.to_dict() | change)
