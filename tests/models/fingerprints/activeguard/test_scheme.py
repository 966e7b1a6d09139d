"""One scheme a model version: which answers are allotted, and how far another answer is from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import AllotmentError
from models.fingerprints.activeguard import CodeKind, Codeword, FingerprintOutput, FingerprintScheme

SECRET = b"thirty-two bytes of the owner's."
CODEWORDS = FingerprintScheme.of("codeword", 10, 0.001)
CONFIDENCES = FingerprintScheme.of("confidence", 10, 0.001)


def test_the_band_of_confidences_is_the_papers_and_codewords_leave_out_what_carries_little() -> None:
    assert (CONFIDENCES.kind, CONFIDENCES.allotment.capacity) == (CodeKind.CONFIDENCE, 1990)
    assert CODEWORDS.kind == CodeKind.CODEWORD
    assert 1000 < CODEWORDS.allotment.capacity < 1990


@given(slots=st.lists(st.integers(0, CODEWORDS.allotment.capacity - 1), min_size=1, max_size=4), name=st.text())
def test_answers_are_the_same_every_time_and_nothing_is_nearer_to_them(slots: list[int], name: str) -> None:
    answers = CODEWORDS.answers(SECRET, name, slots)
    assert answers == CODEWORDS.answers(SECRET, name, slots)
    said = np.array([answer.probabilities for answer in answers if isinstance(answer, Codeword)], dtype=np.float32)
    assert CODEWORDS.error(said, answers) < 1e-6
    others = CODEWORDS.answers(SECRET[::-1], name, slots)
    assert others == answers or CODEWORDS.error(said, others) > CODEWORDS.epsilon
    same_slot = CODEWORDS.answers(SECRET, name, [slots[0]] * 2)
    assert same_slot[0] != same_slot[1], "every image has a codeword of its own"


def test_one_answer_off_is_as_far_as_it_is_off() -> None:
    (answer,) = CONFIDENCES.answers(SECRET, "lic", [3])
    assert answer == FingerprintOutput(0, 0.108)
    near, far, other = ([0.1085, *[0.0990] * 9], [0.108 + 0.01, *[0.098] * 9], [0.09, 0.108, *[0.1] * 8])
    assert CONFIDENCES.error(np.array([near]), (answer,)) == pytest.approx(0.0005)
    assert CONFIDENCES.error(np.array([near, far]), (answer, answer)) == pytest.approx(0.01)
    assert CONFIDENCES.error(np.array([other]), (answer,)) == 1.0


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"kind": "morse"}, "code"),
        ({"epsilon": 1e-9}, "epsilon"),
        ({"epsilon": 0.5}, "epsilon"),
        ({"epsilon": 5e-5}, "epsilon"),
        ({"epsilon": 1e-4, "classes": 1000}, "epsilon"),
        ({"confidences": []}, "confidences"),
        ({"confidences": [0.101]}, "confidences"),
        ({"longest": 0}, "longest"),
        ({"longest": 17}, "longest"),
    ],
)
def test_what_cannot_be_is_named(settings: dict[str, object], field: str) -> None:
    asked = {"kind": "codeword", "classes": 10, "epsilon": 0.001, **settings}
    with pytest.raises(AllotmentError) as caught:
        FingerprintScheme.of(**asked)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_fingerprint_has_to_come_nearer_than_it_is_checked() -> None:
    for scheme in (
        CODEWORDS,
        CONFIDENCES,
        FingerprintScheme.of("codeword", 10, 1e-4),
        FingerprintScheme.of("confidence", 10, 1e-5),
    ):
        settings = scheme.generation(attempts=2)
        assert max(settings.tolerance, settings.codeword_tolerance / 2) < scheme.epsilon
