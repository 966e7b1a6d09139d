from __future__ import annotations

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
    def test_all_of_a_few(self) -> None:
        active = active_classes(torch.zeros(2, 5), torch.tensor([3, 0]), torch.tensor([0.4, 0.3]))
        assert active[:, 0].tolist() == [3, 0]
        assert active.sort(dim=1).values.tolist() == [[0, 1, 2, 3, 4]] * 2

    def test_of_many_as_many_as_can_carry_the_rest(self) -> None:
        log_p = torch.randn(1, 1000).log_softmax(dim=1)
        for confidence, count in ((0.4, 32), (0.02, 101)):
            active = active_classes(log_p, torch.tensor([7]), torch.tensor([confidence]))
            assert active.shape == (1, count)
            assert len(active[0].unique()) == count


@given(rest=st.integers(1, 5000), share=st.floats(0.01, 0.6), seed=st.integers(0, 99))
def test_the_rest_of_many_classes_is_steered_as_one(rest: int, share: float, seed: int) -> None:
    log_p = torch.randn(1, 32 + rest, generator=torch.Generator().manual_seed(seed)).log_softmax(dim=1)
    active = active_classes(log_p, torch.tensor([0]), torch.tensor([0.9]))
    steered = steered_log_probabilities(log_p, active)
    assert steered.shape == (1, 33)
    assert torch.allclose(steered.exp().sum(), torch.tensor(1.0), atol=1e-4)
    confidence = torch.tensor([share + 1 / (32 + rest)])
    target = target_log_probabilities(steered, confidence, rest)
    assert torch.allclose(target.exp().sum(), torch.tensor(1.0), atol=1e-4)
    assert runner_up(target, rest) < confidence
