from __future__ import annotations

import torch

from models.fingerprints.activeguard import Allotment, ControlLayer

PAPER = ControlLayer((0.2, 0.3, 0.4), epsilon=0.01)


def answer(label: int, confidence: float, classes: int = 10) -> torch.Tensor:
    row = torch.full((classes,), (1 - confidence) / (classes - 1))
    row[label] = confidence
    return row


class TestAuthenticate:
    def test_an_allotted_answer_names_its_user(self) -> None:
        allotment = Allotment(10, (0.2, 0.3, 0.4), 0.01)
        outputs = [allotment.output(user) for user in range(30)]
        found = PAPER.authenticate(torch.stack([answer(*output) for output in outputs]))
        assert found.authorized.all()
        assert found.user.tolist() == list(range(30))

    def test_the_error_is_the_distance_to_the_nearest_confidence(self) -> None:
        found = PAPER.authenticate(torch.stack([answer(1, 0.206), answer(1, 0.27), answer(1, 0.99)]))
        assert torch.allclose(found.error, torch.tensor([0.006, 0.03, 0.59], dtype=torch.float64), atol=1e-6)
        assert found.authorized.tolist() == [True, False, False]
        assert found.user.tolist() == [3, -1, -1]

    def test_an_error_of_epsilon_is_too_much(self) -> None:
        layer = ControlLayer((0.25,), epsilon=0.125)
        assert not layer.authenticate(torch.tensor([[0.375, 0.3125, 0.3125]])).authorized.any()


def test_the_verdict_chooses_row_by_row() -> None:
    logits, decoys = torch.rand(3, 10), torch.rand(3, 10)
    out = PAPER(logits, decoys, torch.tensor([True, False, True]))
    assert torch.equal(out, torch.stack([logits[0], decoys[1], logits[2]]))
