from __future__ import annotations

import pytest

from models.augmentation import Affine
from models.errors import SerialNumberError
from models.serial_numbers.dsn import STRONG
from models.specs import InputSpec, OutputSpec
from service.cli.students import StudentOptions

GREY, TEN = InputSpec(), OutputSpec.numbered(10)


def test_few_images_are_shown_more_often() -> None:
    assert StudentOptions().policy(1000, GREY, TEN).distillation.epochs == 100
    assert StudentOptions().policy(50_000, GREY, TEN).distillation.epochs == 14
    assert StudentOptions(epochs=3).policy(1000, GREY, TEN).distillation.epochs == 3


def test_the_stamp_is_the_strong_one_and_grows_with_the_image() -> None:
    assert StudentOptions().policy(1000, GREY, TEN).layout == STRONG
    large = InputSpec(shape=(3, 64, 64), mode="RGB", mean=(0.5,) * 3, std=(0.25,) * 3)
    assert StudentOptions().policy(1000, large, TEN).layout == STRONG.scaled(64, 64)
    assert StudentOptions(layout="border").policy(1000, GREY, TEN).layout.copies == 1


def test_students_see_their_images_changed_as_their_teacher_did() -> None:
    assert StudentOptions(augment=Affine()).policy(1000, GREY, TEN).distillation.augment == Affine()


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(SerialNumberError) as caught:
        StudentOptions(bits=400).policy(1000, GREY, TEN)
    assert caught.value.field == "serial_numbers.layout.bits"
