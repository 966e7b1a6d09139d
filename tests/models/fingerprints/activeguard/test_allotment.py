from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import AllotmentError
from models.fingerprints.activeguard import Allotment, FingerprintOutput


def refused(classes: int, confidences: tuple[float, ...], epsilon: float = 0.001) -> AllotmentError:
    with pytest.raises(AllotmentError) as caught:
        Allotment(classes, confidences, epsilon)
    return caught.value


class TestBand:
    def test_the_paper_s_confidences_but_the_one_that_cannot_be(self) -> None:
        """Section 3.1 lists 0.10, 0.12, ..., 0.48 at epsilon 0.01; at K = 10 the flat answer itself has 0.10."""
        expected = tuple(round(0.12 + 0.02 * step, 2) for step in range(19))
        assert Allotment.from_band(10, 0.01).confidences == expected

    def test_a_tenth_of_epsilon_holds_ten_times_as_many(self) -> None:
        allotment = Allotment.from_band(10)
        assert (len(allotment.confidences), allotment.capacity) == (199, 1990)

    @given(classes=st.integers(2, 1000), epsilon=st.sampled_from([0.001, 0.0025, 0.01]))
    def test_whatever_is_allotted_can_exist_and_be_told_apart(self, classes: int, epsilon: float) -> None:
        confidences = Allotment.from_band(classes, epsilon).confidences
        assert min(confidences) > 1 / classes
        assert max(confidences) < 1
        gaps = [upper - lower for lower, upper in pairwise(confidences)]
        assert min(gaps) == pytest.approx(2 * epsilon)

    def test_two_classes_have_a_band_of_their_own(self) -> None:
        confidences = Allotment.from_band(2).confidences
        assert 0.5 < min(confidences) < max(confidences) < 0.9


class TestConfidences:
    def test_the_paper_s_three(self) -> None:
        assert Allotment(10, (0.2, 0.3, 0.4)).capacity == 30

    def test_what_no_answer_can_have_is_refused_with_the_reason(self) -> None:
        error = refused(10, (0.1, 0.2))
        assert error.field == "confidences"
        assert "0.1 cannot be" in error.message
        assert "1/2 = 0.5" in refused(2, (0.2, 0.3, 0.4)).message

    def test_what_cannot_be_told_apart_is_refused(self) -> None:
        assert "0.2 and 0.2019" in refused(10, (0.2, 0.2019)).message

    @pytest.mark.parametrize("confidence", [0.0, 1.0, -0.2, float("nan"), 1.5, True, "0.2", None])
    def test_what_is_no_confidence_is_refused(self, confidence: object) -> None:
        assert refused(10, (confidence,)).field == "confidences"  # type: ignore[arg-type]

    def test_near_certainty_is_for_clean_inputs(self) -> None:
        assert "certainty" in refused(10, (0.9995,)).message

    def test_none_is_not_enough(self) -> None:
        assert "none is left" in refused(10, ()).message

    @pytest.mark.parametrize(("classes", "epsilon", "field"), [(1, 0.01, "classes"), (10, 0.0, "epsilon")])
    def test_the_other_fields_are_named(self, classes: int, epsilon: float, field: str) -> None:
        assert refused(classes, (0.6,), epsilon).field == field
        with pytest.raises(AllotmentError) as caught:
            Allotment.from_band(classes, epsilon)
        assert caught.value.field == field


class TestUsers:
    def test_user_i_t_plus_j_gets_class_i_and_confidence_j(self) -> None:
        allotment = Allotment(10, (0.2, 0.3, 0.4))
        assert allotment.output(0) == FingerprintOutput(0, 0.2)
        assert allotment.output(7 * 3 + 2) == FingerprintOutput(7, 0.4)

    @given(classes=st.integers(2, 50), data=st.data())
    def test_outputs_and_users_belong_to_one_another(self, classes: int, data: st.DataObject) -> None:
        allotment = Allotment.from_band(classes, 0.01)
        user = data.draw(st.integers(0, allotment.capacity - 1))
        assert allotment.user(allotment.output(user)) == user

    @pytest.mark.parametrize("user", [-1, 30])
    def test_beyond_the_capacity_there_is_nobody(self, user: int) -> None:
        with pytest.raises(AllotmentError) as caught:
            Allotment(10, (0.2, 0.3, 0.4)).output(user)
        assert caught.value.field == "user"

    @pytest.mark.parametrize("output", [FingerprintOutput(10, 0.2), FingerprintOutput(0, 0.25)])
    def test_an_output_that_is_not_allotted_has_no_user(self, output: FingerprintOutput) -> None:
        with pytest.raises(AllotmentError) as caught:
            Allotment(10, (0.2, 0.3, 0.4)).user(output)
        assert caught.value.field == "output"
