"""What an experiment keeps between runs: made once a recipe, whole or not at all, with what it took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from benchmarks.kept import Made, Piece, Shelf
from models.checkpoints import encode_weights
from models.networks import build
from models.training import initialise


def making(seed: int, calls: list[int]) -> Callable[[], Made]:
    def make() -> Made:
        calls.append(seed)
        network: nn.Module = build("lenet5", {})
        for again in range(30):  # some time to be counted
            initialise(network, seed + again)
        return network, {"seed": seed}

    return make


class TestNetworks:
    def test_a_recipe_is_made_once_and_another_one_anew(self, tmp_path: Path) -> None:
        calls: list[int] = []
        first, _ = Shelf(tmp_path).network("one", ("a", 1), making(1, calls))
        again, notes = Shelf(tmp_path).network("one", ("a", 1), making(1, calls))
        other, _ = Shelf(tmp_path).network("one", ("a", 2), making(2, calls))

        assert calls == [1, 2]
        assert notes == {"seed": 1}
        assert encode_weights(first) == encode_weights(again) != encode_weights(other)
        assert not any(network.training for network in (first, again))

    def test_what_was_killed_half_way_is_made_again(self, tmp_path: Path) -> None:
        calls: list[int] = []
        Shelf(tmp_path).network("one", ("a",), making(1, calls))
        next(tmp_path.glob("*.json")).unlink()  # the notes are written last
        Shelf(tmp_path).network("one", ("a",), making(1, calls))

        assert calls == [1, 1]


class TestPieces:
    def test_a_recipe_is_measured_once_and_another_one_anew(self, tmp_path: Path) -> None:
        assert Shelf(tmp_path).piece("one", ("a", 1), lambda: {"n": [1, 2.5]}) == {"n": [1, 2.5]}
        assert Shelf(tmp_path).piece("one", ("a", 1), lambda: {"n": 2}) == {"n": [1, 2.5]}
        assert Shelf(tmp_path).piece("one", ("a", 2), lambda: {"n": 3}) == {"n": 3}

    def test_a_measurement_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        def fails() -> Piece:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            Shelf(tmp_path).piece("one", 0, fails)
        assert not list(tmp_path.iterdir())


def test_minutes_are_those_of_earlier_runs(tmp_path: Path) -> None:
    first, second = Shelf(tmp_path), Shelf(tmp_path)
    for shelf in (first, second):
        shelf.network("one", (), making(0, []))
        shelf.piece("two", (), lambda: {})
    assert first.minutes == 0 < second.minutes


def test_minutes_are_counted_once_however_often_a_thing_is_asked_for(tmp_path: Path) -> None:
    first, second, third = (Shelf(tmp_path) for _ in range(3))
    for _ in range(3):
        first.network("one", (), making(0, []))
    assert first.minutes == 0, "it was made by this run"
    second.network("one", (), making(0, []))
    for _ in range(3):
        third.network("one", (), making(0, []))
    assert third.minutes == second.minutes > 0
