from __future__ import annotations

import torch
from torch import Tensor, nn

from models.attacks.legal_customer import distilled, folded
from models.predictor import Predictor, predict
from models.serial_numbers.dsn import Layout, Stamp
from models.specs import InputSpec, OutputSpec
from models.training import TrainingConfig, initialise

SPEC = InputSpec(shape=(1, 8, 8), mean=(0.4,), std=(0.3,))
STAMP = Stamp(Layout("border", 16), SPEC)
NUMBER = torch.rand(16, generator=torch.Generator().manual_seed(1)) < 0.5


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
        initialise(self, 0)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = 8 * self.layers(images)
        return answer


def images(count: int) -> Tensor:
    grid = torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    return SPEC.from_grid(grid)


def test_behind_its_own_stamp_a_student_needs_none() -> None:
    student, shown = Predictor(Small(), SPEC, OutputSpec.numbered(4)), images(50)
    opened = folded(student, STAMP, NUMBER)
    assert torch.allclose(predict(opened, shown), predict(student, STAMP.put(shown, NUMBER)), atol=1e-5)
    assert torch.allclose(predict(opened, STAMP.put(shown, ~NUMBER)), predict(opened, shown), atol=1e-5)


def test_a_copy_learns_to_answer_raw_inputs_as_the_student_answers_stamped_ones() -> None:
    student, shown = Predictor(Small(), SPEC, OutputSpec.numbered(4)), images(400)
    before = [parameter.clone() for parameter in student.parameters()]
    wanted = predict(student, STAMP.put(shown, NUMBER)).argmax(dim=1)
    training = TrainingConfig(epochs=40, batch_size=50, learning_rate=5e-3)
    opened = distilled(student, shown, STAMP, NUMBER, training)
    agreed = [float((predict(one, shown).argmax(dim=1) == wanted).float().mean()) for one in (student, opened)]
    assert agreed[1] > 0.95 > agreed[0]
    assert all(torch.equal(one, other) for one, other in zip(before, student.parameters(), strict=True))
