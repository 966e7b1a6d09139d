"""What the experiments about marks compute for themselves: many marks at once, kept networks, the parts as a whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.activeguard import budgets
from benchmarks.activeguard.marks import PARTS, batch, stealth, table2
from benchmarks.activeguard.marks.counting import share_row
from benchmarks.activeguard.marks.rejection import ALPHAS, CLEAR
from benchmarks.progress import Steps
from benchmarks.rows import as_json
from benchmarks.statistics import auc
from models.evaluation.null_model import frequencies, match_probabilities
from models.evaluation.poisson_binomial import log10_tail
from models.evaluation.rank_correlation import log10_rank_tail, rank_excess
from models.networks import build
from models.training import initialise
from models.watermarks.digit_map import DigitMap
from models.watermarks.registered import MarkParameters, open_mark

KEYS = [bytes([number]) * 32 for number in range(8)]
WEIGHTS = 0.1 * torch.randn(2400, generator=torch.Generator().manual_seed(0))
MAP = DigitMap.symmetric(0.2)  # one weight in twenty has no digit


def terms(digits: int) -> MarkParameters:
    null = frequencies([WEIGHTS], MAP)
    return MarkParameters("model/1", "lenet5", {}, "conv2.weight", (16, 6, 5, 5), MAP, digits, 1, null, nonce="0" * 32)


class TestBatch:
    @pytest.mark.parametrize("digits", [64, 101, 800])
    def test_marks_are_those_that_the_keys_open(self, digits: int) -> None:
        parameters = terms(digits)
        marks = batch.open_marks(parameters, 0, KEYS)

        for row, key in enumerate(KEYS):
            mark = open_mark(parameters, 0, key)
            assert marks.positions[row].tolist() == mark.positions.tolist()
            assert marks.digits[row].tolist() == mark.digits.tolist()

    @pytest.mark.parametrize("digits", [64, 101])
    def test_both_p_are_those_of_the_evidence(self, digits: int) -> None:
        parameters = terms(digits)
        found, ranks = MAP.digits(WEIGHTS), rank_excess(WEIGHTS)
        marks = batch.open_marks(parameters, 0, KEYS)
        layer = found.numpy().astype(np.int8)
        by_digits = batch.read(layer, marks, parameters.null_frequencies).tail()
        by_ranks = batch.log10_rank_tails(ranks.numpy(), marks)

        for row, key in enumerate(KEYS):
            mark = open_mark(parameters, 0, key)
            others = torch.ones(2400, dtype=torch.bool)
            others[mark.positions] = False
            own = frequencies([WEIGHTS[others]], MAP)
            chances = match_probabilities(mark.digits, parameters.null_frequencies, own)
            matches = int((found[mark.positions] == mark.digits).sum())
            assert batch.matching(layer, marks)[row] == matches
            assert by_digits[row] == pytest.approx(10 ** float(log10_tail(chances, matches)), abs=1e-12)
            expected = log10_rank_tail(ranks[mark.positions].tolist(), mark.digits.tolist())
            assert by_ranks[row] == pytest.approx(expected, abs=1e-5)

    def test_a_score_that_is_not_high_has_no_small_p(self) -> None:
        keys = [number.to_bytes(32, "big") for number in range(2_000)]
        marks = batch.open_marks(terms(64), 0, keys)
        reading = batch.read(MAP.digits(WEIGHTS).numpy().astype(np.int8), marks, (0.1,) * 10)
        low = reading.score() <= CLEAR
        assert low.mean() > 0.5
        assert reading.take(low).tail().min() > 2 * max(ALPHAS.values())


class TestStealth:
    def test_the_detector_is_judged_on_networks_that_it_was_not_trained_on(self) -> None:
        rng = np.random.default_rng(0)
        unmarked, like_them = rng.normal(size=(2, 60, 45))
        marked = rng.normal(size=(60, 45))
        marked[:, 7] += 4
        assert auc(*stealth.detected(unmarked, marked).by_forest) > 0.95
        assert abs(auc(*stealth.detected(unmarked, like_them).by_forest) - 0.5) < 0.3

    def test_one_weight_far_out_is_seen_in_the_features_and_only_in_its_layer_s(self) -> None:
        network = build("lenet5", {})
        initialise(network, 0)
        before = stealth.features(network)
        with torch.no_grad():
            network.get_parameter("fc1.weight")[0, 0] = 9.0
        changed = np.flatnonzero(stealth.features(network) != before)
        each = len(before) // 7
        assert {index // each for index in changed} == {2}


def test_seeds_that_happen_to_agree_leave_the_images_open() -> None:
    before, after = np.ones(10_000, dtype=bool), np.arange(10_000) >= 15
    low, high = table2.interval([(before, after), (before, after)])

    assert (low, high) == pytest.approx((0.096, 0.204), abs=0.002)  # 0.15 and 1.96 times 0.0274


def test_one_that_fails_is_enough_to_miss_the_bar() -> None:
    row = share_row("verified", "what", [True, True, False], {})
    assert (row.value, row.n, row.extra["count"]) == (pytest.approx(2 / 3), 3, 2)
    assert not as_json(row, "cpu", 0.0, "")["met"]
    assert as_json(replace(row, value=1.0), "cpu", 0.0, "")["met"]


def test_parts_measure_their_rows_on_the_bundled_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "RUNS", tmp_path)
    measured = {}
    for part in PARTS:
        if part.name in ("ground", "rejection"):
            with Steps() as steps:
                rows = part.run(budgets.SMOKE, steps)
            assert tuple(row.id for row in rows) == part.rows
            measured |= {row.id: row for row in rows}

    assert measured["ground"].value == 0
    assert measured["rejection_1e-2"].value <= 0.01
