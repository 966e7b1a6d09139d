from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import WatermarkError
from models.watermarks.registered import Commitment, commit, mark_key
from tests.models.conftest import Marked

NUMBERS = st.one_of(st.integers(), st.integers(10**300, 10**310), st.sampled_from([10**1000, -(10**400)]), st.floats())
ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(st.characters(exclude_categories=()))),
    lambda inner: st.one_of(st.lists(inner, max_size=12), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


class TestCommit:
    def test_it_reads_back_and_gives_no_key_away(self, marked: Marked) -> None:
        data = marked.commitment.to_bytes()
        assert Commitment.from_bytes(data) == marked.commitment
        assert not any(mark.key in data or mark.key.hex().encode() in data for mark in marked.marks)

    def test_all_marks_in_order_are_asked_for(self, marked: Marked) -> None:
        with pytest.raises(WatermarkError, match="marks"):
            commit(marked.parameters, marked.marks[:2], marked.reference)
        with pytest.raises(WatermarkError, match="marks"):
            commit(marked.parameters, marked.marks[::-1], marked.reference)


class TestOpen:
    def test_each_mark_opens_with_its_own_key_only(self, marked: Marked) -> None:
        for mark in marked.marks:
            assert marked.commitment.open(mark.index, mark.key).digits.tolist() == mark.digits.tolist()
        for index, key in ((0, marked.marks[1].key), (0, mark_key(b"t" * 32, marked.parameters, 0))):
            with pytest.raises(WatermarkError, match="mark_key"):
                marked.commitment.open(index, key)

    def test_a_key_opens_no_altered_statement(self, marked: Marked) -> None:
        altered = [
            replace(marked.commitment, reference_sha256="0" * 64),
            replace(marked.commitment, parameters=replace(marked.parameters, digits=255)),
            replace(marked.commitment, parameters=replace(marked.parameters, model="digits/2")),
        ]
        for commitment in altered:
            with pytest.raises(WatermarkError, match="mark_key"):
                commitment.open(0, marked.marks[0].key)


class TestFromBytes:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("format", 2),
            ("format", True),
            ("reference_sha256", "A" * 64),
            ("mark_hashes", []),
            ("mark_hashes", "0" * 64),
            ("parameters", None),
        ],
    )
    def test_what_is_wrong_is_named(self, marked: Marked, field: str, value: object) -> None:
        with pytest.raises(WatermarkError) as caught:
            Commitment.from_dict(marked.commitment.to_dict() | {field: value})
        assert caught.value.field == field

    def test_what_is_not_known_is_not_echoed(self, marked: Marked) -> None:
        with pytest.raises(WatermarkError, match=r"commitment: holds more .* mark_hashes, parameters") as caught:
            Commitment.from_dict(marked.commitment.to_dict() | {"surprise": 1})
        assert "surprise" not in str(caught.value)

    @given(data=st.data())
    def test_any_json_in_any_place_is_refused_as_a_watermark_error(self, data: st.DataObject, marked: Marked) -> None:
        content = marked.commitment.to_dict()
        place = data.draw(st.sampled_from(["", "parameters", "digit_map"]))
        inner = {"": content, "parameters": content["parameters"], "digit_map": content["parameters"]["digit_map"]}  # type: ignore[index]
        target = inner[place]
        assert isinstance(target, dict)
        target[data.draw(st.sampled_from(sorted(target)))] = data.draw(ANY_JSON)
        written = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
        with contextlib.suppress(WatermarkError):
            assert Commitment.from_bytes(written).to_bytes() == written

    @given(data=st.binary(max_size=200))
    def test_any_bytes_are_refused_as_a_watermark_error(self, data: bytes) -> None:
        with pytest.raises(WatermarkError):
            Commitment.from_bytes(data)

    def test_bytes_that_are_not_canonical_are_refused(self, marked: Marked) -> None:
        for data in (b"{", b"[]", json.dumps(marked.commitment.to_dict()).encode()):
            with pytest.raises(WatermarkError, match="commitment"):
                Commitment.from_bytes(data)

    def test_other_weights_are_not_the_reference(self, marked: Marked) -> None:
        marked.commitment.check_reference(marked.reference)
        with pytest.raises(WatermarkError, match="reference"):
            marked.commitment.check_reference(marked.reference + b" ")
