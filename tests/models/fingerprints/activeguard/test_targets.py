from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.fingerprints.activeguard.targets import (
    active_classes,
    runner_up,
    steered_log_probabilities,
    target_log_probabilities,
)


@given(classes=st.integers(3, 40), share=st.floats(0.01, 0.95), spread=st.floats(0, 20), seed=st.integers(0, 99))
def test_the_target_is_an_answer_with_t_on_top_at_c(classes: int, share: float, spread: float, seed: int) -> None:
    confidence = torch.tensor([1 / classes + share * (1 - 1 / classes)])
    logits = spread * torch.randn(1, classes, generator=torch.Generator().manual_seed(seed))
    q = target_log_probabilities(logits.log_softmax(dim=1), confidence).exp()
    assert torch.allclose(q.sum(), torch.tensor(1.0), atol=1e-4)
    assert torch.allclose(q[:, 0], confidence)
    assert (q[:, 1:] < confidence).all()


def test_the_likelier_of_the_others_stays_the_likelier() -> None:
    p = torch.tensor([[0.05, 0.6, 0.25, 0.1]])
    q = target_log_probabilities(p.log(), torch.tensor([0.4])).exp()[0]
    assert q[1] > q[2] > q[3]


class TestActiveClasses:
    def test_all_where_the_confidence_is_low(self) -> None:
        active = active_classes(torch.zeros(2, 5), torch.tensor([3, 0]), torch.tensor([0.4, 0.22]))
        assert active[:, 0].tolist() == [3, 0]
        assert active.sort(dim=1).values.tolist() == [[0, 1, 2, 3, 4]] * 2

    @pytest.mark.parametrize(
        ("classes", "confidence", "count"),
        [
            (10, 0.4, 3),  # others may have up to 0.3, so two carry the 0.6 that are left
            (10, 0.3, 4),
            (10, 0.2, 6),
            (10, 0.12, 10),  # 0.117: eight carry most of 0.88, and a ninth alone is no fewer columns as the rest
            (1000, 0.4, 4),
            (1000, 0.1, 14),
            (2, 0.7, 2),
        ],
    )
    def test_else_no_more_than_carry_the_rest_of_the_answer(self, classes: int, confidence: float, count: int) -> None:
        log_p = torch.randn(1, classes, generator=torch.Generator().manual_seed(0)).log_softmax(dim=1)
        active = active_classes(log_p, torch.tensor([1]), torch.tensor([confidence]))
        likeliest = log_p.scatter(1, torch.tensor([[1]]), -torch.inf).topk(count - 1).indices[0]
        assert active[0].tolist() == [1, *likeliest.tolist()]

    def test_the_lowest_confidence_of_the_batch_decides(self) -> None:
        counts = [
            active_classes(torch.zeros(2, 100), torch.tensor([1, 2]), torch.tensor(confidences)).shape[1]
            for confidences in ([0.4, 0.4], [0.4, 0.2], [0.2, 0.2])
        ]
        assert counts[0] < counts[1] == counts[2]


@given(rest=st.integers(1, 5000), share=st.floats(0.01, 0.6), seed=st.integers(0, 99))
def test_the_rest_of_many_classes_is_steered_as_one(rest: int, share: float, seed: int) -> None:
    log_p = torch.randn(1, 32 + rest, generator=torch.Generator().manual_seed(seed)).log_softmax(dim=1)
    steered = steered_log_probabilities(log_p, torch.arange(32)[None])
    assert steered.shape == (1, 33)
    assert torch.allclose(steered.exp().sum(), torch.tensor(1.0), atol=1e-4)
    confidence = torch.tensor([share + 1 / (32 + rest)])
    target = target_log_probabilities(steered, confidence, rest)
    assert torch.allclose(target.exp().sum(), torch.tensor(1.0), atol=1e-4)
    assert runner_up(target, rest) < confidence
