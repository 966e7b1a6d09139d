from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from models.augmentation import Affine, CropAndFlip
from models.errors import SerialNumberError
from models.serial_numbers import dsn
from models.specs import InputSpec, OutputSpec

GREY, TEN = InputSpec(), OutputSpec.numbered(10)
WHOLE: dict[str, Any] = {
    "layout": {"kind": "border", "bits": 64, "cell": 1},
    "network": "dsn_mnist",
    "network_config": {"width": 0.25},
    "distillation": {"epochs": 2, "batch_size": 50},
}


def test_a_policy_is_read_back_and_makes_the_same_student_each_time() -> None:
    policy = dsn.Policy.from_dict(WHOLE)
    assert dsn.Policy.from_dict(policy.to_dict()) == policy
    for augment in (Affine(), CropAndFlip(2)):
        other = replace(policy, distillation=replace(policy.distillation, augment=augment))
        assert dsn.Policy.from_dict(other.to_dict()) == other
    policy.check(GREY, TEN)
    one, other = policy.student().state_dict(), policy.student().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"layout": {"bits": 9}}, "serial_numbers.layout.bits"),
        ({"layout": {"bits": 64, "cell": 5}}, "serial_numbers.layout.bits"),
        ({"layout": {"kind": "spiral"}}, "serial_numbers.layout.kind"),
        ({"layout": {"pixels": 1}}, "serial_numbers.layout.pixels"),
        ({"distillation": {"epochs": 0}}, "serial_numbers.distillation.epochs"),
        ({"distillation": {"epochs": True}}, "serial_numbers.distillation.epochs"),
        ({"distillation": {"learning_rate": "fast"}}, "serial_numbers.distillation.learning_rate"),
        ({"distillation": {"learning_rate": -1e-3}}, "serial_numbers.distillation.learning_rate"),
        ({"distillation": {"balance": 1.5}}, "serial_numbers.distillation.balance"),
        ({"distillation": {"near": 1}}, "serial_numbers.distillation.near"),
        ({"distillation": {"silence": -1}}, "serial_numbers.distillation.silence"),
        ({"distillation": {"patience": 0}}, "serial_numbers.distillation.patience"),
        ({"distillation": {"mode": "none"}}, "serial_numbers.distillation.mode"),
        ({"distillation": {"augment": {"padding": -1}}}, "serial_numbers.distillation.augment.padding"),
        ({"distillation": {"augment": {"blur": 2}}}, "serial_numbers.distillation.augment"),
        ({"leak": 0}, "serial_numbers.leak"),
        ({"network": "lenet5"}, "serial_numbers.network_config.width"),
        ({"network": "lenet5", "network_config": {}}, "serial_numbers.network"),
        ({"network": "nothing"}, "serial_numbers.network"),
        ({"network_config": {"size": 32}}, "serial_numbers.network"),
        ({"network_config": {"classes": 9}}, "serial_numbers.network"),
    ],
)
def test_what_cannot_be_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SerialNumberError) as caught:
        dsn.Policy.from_dict({**WHOLE, **changes}).check(GREY, TEN)
    assert caught.value.field == field
