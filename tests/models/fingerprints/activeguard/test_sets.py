from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import AllotmentError
from models.fingerprints.activeguard import Allotment, FingerprintOutput, FingerprintSets

PAPER = Allotment(10, (0.2, 0.3, 0.4))

allotments = st.builds(
    lambda classes, count: Allotment(classes, tuple(0.6 + 0.01 * step for step in range(count))),
    st.integers(2, 50),
    st.integers(1, 20),
)
sets = st.builds(FingerprintSets, allotments, st.integers(1, 6))


def field(call: object) -> str:
    with pytest.raises(AllotmentError) as caught:
        call()  # type: ignore[operator]
    return caught.value.field


class TestBijection:
    @given(sets=sets, data=st.data())
    def test_every_user_has_a_sequence_and_it_is_his(self, sets: FingerprintSets, data: st.DataObject) -> None:
        user = data.draw(st.integers(0, sets.capacity - 1))
        outputs = sets.outputs(user)
        assert len(outputs) == sets.length
        assert sets.user(outputs) == user

    @given(sets=sets, data=st.data())
    def test_every_sequence_has_a_user_and_it_is_his(self, sets: FingerprintSets, data: st.DataObject) -> None:
        slot = st.integers(0, sets.allotment.capacity - 1)
        slots = data.draw(st.lists(slot, min_size=sets.length, max_size=sets.length))
        user = sets.user([sets.allotment.output(slot) for slot in slots])
        assert 0 <= user < sets.capacity
        assert sets.slots(user) == tuple(slots)

    def test_all_of_a_small_one(self) -> None:
        pairs = FingerprintSets(Allotment(2, (0.6, 0.7)), 2)
        assert len({pairs.outputs(user) for user in range(16)}) == pairs.capacity == 16

    def test_order_counts(self) -> None:
        pairs = FingerprintSets(PAPER, 2)
        there = pairs.outputs(1)
        assert there == (FingerprintOutput(0, 0.2), FingerprintOutput(0, 0.3))
        assert pairs.user(there[::-1]) == 30

    def test_what_is_no_user_and_no_sequence_is_refused(self) -> None:
        pairs = FingerprintSets(PAPER, 2)
        assert field(lambda: pairs.slots(900)) == field(lambda: pairs.slots(-1)) == "user"
        assert field(lambda: pairs.user([FingerprintOutput(0, 0.2)])) == "outputs"
        assert field(lambda: pairs.user([FingerprintOutput(0, 0.2), FingerprintOutput(0, 0.25)])) == "output"
        assert field(lambda: FingerprintSets(PAPER, 0)) == "length"


class TestHolding:
    @given(allotment=allotments, licenses=st.integers(1, 10**6))
    def test_the_shortest_under_half(self, allotment: Allotment, licenses: int) -> None:
        sets = FingerprintSets.holding(allotment, licenses, longest=40)
        assert licenses / sets.capacity < 0.5
        shorter = allotment.capacity ** (sets.length - 1)
        assert licenses / shorter >= 0.5

    @pytest.mark.parametrize(("licenses", "length"), [(1, 1), (14, 1), (15, 2), (449, 2), (450, 3), (10**6, 5)])
    def test_with_the_paper_s_thirty_outputs(self, licenses: int, length: int) -> None:
        assert FingerprintSets.holding(PAPER, licenses).length == length

    def test_the_longest_fill_up_and_full_names_the_setting(self) -> None:
        assert FingerprintSets.holding(PAPER, 900, longest=2).length == 2
        with pytest.raises(AllotmentError) as caught:
            FingerprintSets.holding(PAPER, 901, longest=2)
        assert caught.value.field == "longest"
        assert "900 sequences of 2" in caught.value.message


class TestDraw:
    def test_nobody_who_is_taken(self) -> None:
        sets = FingerprintSets(Allotment(2, (0.6, 0.7)), 2)
        taken: set[int] = set()
        for _ in range(16):
            taken.add(sets.draw(taken))
        assert taken == set(range(16))
        assert field(lambda: sets.draw(taken)) == "length"

    def test_a_million_users_are_a_million_sequences(self) -> None:
        sets = FingerprintSets.holding(PAPER, 10**6)
        stride = sets.capacity // 10**6
        assert len({sets.slots(stride * n) for n in range(0, 10**6, 97)}) == len(range(0, 10**6, 97))
