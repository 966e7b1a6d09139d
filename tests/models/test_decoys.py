from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from torch import Tensor

from models.decoys import DecoyBank
from models.predictor import predict, scores
from tests.models.conftest import tiny_predictor

SECRET, VERSION = b"a secret", b"digest of version 1"


def inputs(count: int, shape: tuple[int, int, int] = (1, 4, 4), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)


def answers(count: int, classes: int = 10, seed: int = 0) -> Tensor:
    """Answers of a network that is sure and mostly right: one class high, its neighbours a little."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (count,), generator=generator)
    distance = (torch.arange(classes) - label[:, None]).abs()
    height = 9 + 2 * torch.randn(count, 1, generator=generator)
    return height * torch.exp(-distance / 2.0) + torch.randn(count, classes, generator=generator)


BANK = DecoyBank(answers(3000))


class TestTheLie:
    def test_is_the_same_for_everyone_and_every_time(self) -> None:
        images = inputs(50)
        again = DecoyBank(answers(3000)).draw(SECRET, VERSION, images.numpy())
        assert torch.equal(BANK.draw(SECRET, VERSION, images), again)

    def test_does_not_depend_on_what_else_is_in_the_batch(self) -> None:
        images = inputs(20)
        whole = BANK.draw(SECRET, VERSION, images)
        assert torch.equal(whole[7:8], BANK.draw(SECRET, VERSION, images[7:8]))

    def test_is_another_one_for_another_secret_version_or_grey_level(self) -> None:
        image = inputs(1)
        changed = image.clone()
        changed[0, 0, 0, 0] ^= 1
        drawn = [
            BANK.draw(SECRET, VERSION, image),
            BANK.draw(b"another", VERSION, image),
            BANK.draw(SECRET, b"digest of version 2", image),
            BANK.draw(SECRET, VERSION, changed),
        ]
        assert len({tuple(row[0].tolist()) for row in drawn}) == 4

    def test_is_made_of_8_bit_inputs_only(self) -> None:
        with pytest.raises(AssertionError):
            BANK.draw(SECRET, VERSION, torch.rand(1, 1, 4, 4))


class TestLabels:
    @pytest.mark.parametrize("classes", [2, 10, 43])
    def test_are_uniform(self, classes: int) -> None:
        bank = DecoyBank(answers(500, classes))
        counts = torch.bincount(bank.draw(SECRET, VERSION, inputs(8000)).argmax(dim=1), minlength=classes)
        assert chisquare(counts).pvalue > 0.001

    def test_are_independent_of_the_truth(self) -> None:
        predictor = tiny_predictor((1, 4, 4))
        images = inputs(8000)
        truth = predict(predictor, predictor.input_spec.from_grid(images)).argmax(dim=1)
        lie = BANK.draw(SECRET, VERSION, images).argmax(dim=1)
        table = np.zeros((10, 10))
        np.add.at(table, (truth.numpy(), lie.numpy()), 1)
        table = table[table.sum(axis=1) > 0]
        assert len(table) > 1
        assert chi2_contingency(table).pvalue > 0.001

    def test_two_secrets_lie_independently(self) -> None:
        images = inputs(5000)
        first, second = (BANK.draw(secret, VERSION, images).argmax(dim=1) for secret in (b"one", b"two"))
        assert float((first == second).float().mean()) == pytest.approx(0.1, abs=0.02)


class TestScores:
    def test_no_vector_repeats(self) -> None:
        drawn = scores(BANK.draw(SECRET, VERSION, inputs(10_000)))
        assert len(drawn.unique(dim=0)) == 10_000

    def test_each_class_keeps_the_mean_and_spread_of_its_profiles(self) -> None:
        genuine, drawn = answers(3000), BANK.draw(SECRET, VERSION, inputs(20_000))
        for label in range(10):
            own = genuine[genuine.argmax(dim=1) == label]
            made = drawn[drawn.argmax(dim=1) == label]
            assert torch.allclose(made.mean(dim=0), own.mean(dim=0), atol=0.15)
            assert torch.allclose(made.std(dim=0), own.std(dim=0), rtol=0.1)

    def test_gradient_boosting_hardly_tells_them_from_fresh_answers(self) -> None:
        genuine, made = answers(3000, seed=1), BANK.draw(SECRET, VERSION, inputs(3000))
        p = torch.cat([scores(genuine), scores(made)])
        seen = torch.cat([p, p.sort(dim=1).values, p.log()], dim=1).numpy()
        is_decoy = np.repeat([0, 1], 3000)
        guess = cross_val_predict(
            HistGradientBoostingClassifier(random_state=0), seen, is_decoy, cv=3, method="predict_proba"
        )
        assert roc_auc_score(is_decoy, guess[:, 1]) < 0.56  # a repeated bank gets above 0.7


class TestAnyBank:
    @given(
        classes=st.sampled_from([2, 3, 10, 1000]),
        rows=st.integers(2, 40),
        lowest=st.sampled_from([0.0, -30.0]),
        seed=st.integers(0, 99),
    )
    def test_the_drawn_label_is_the_arg_max_and_the_scores_are_finite(
        self, classes: int, rows: int, lowest: float, seed: int
    ) -> None:
        bank = DecoyBank(answers(rows, classes, seed) + lowest)
        drawn = bank.draw(SECRET, VERSION, inputs(64, (3, 2, 2), seed))
        assert drawn.shape == (64, classes)
        assert drawn.dtype == torch.float32
        assert torch.isfinite(drawn).all()
        top = drawn.topk(2, dim=1).values
        assert (top[:, 0] > top[:, 1]).all()

    def test_a_class_nobody_is_answered_with_borrows_another_s_profile(self) -> None:
        genuine = answers(300)
        genuine = genuine[genuine.argmax(dim=1) != 4]
        drawn = DecoyBank(genuine).draw(SECRET, VERSION, inputs(3000))
        borrowed = scores(drawn[drawn.argmax(dim=1) == 4]).amax(dim=1)
        assert len(borrowed) > 200
        own = scores(genuine).amax(dim=1)
        assert float(borrowed.median()) == pytest.approx(float(own.median()), abs=0.02)

    def test_a_single_class_bank_serves_all_classes(self) -> None:
        genuine = answers(400)
        drawn = DecoyBank(genuine[genuine.argmax(dim=1) == 3]).draw(SECRET, VERSION, inputs(500))
        assert len(drawn.argmax(dim=1).unique()) == 10

    def test_nothing_in_nothing_out(self) -> None:
        assert BANK.draw(SECRET, VERSION, inputs(1)[:0]).shape == (0, 10)
