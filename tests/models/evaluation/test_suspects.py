"""Suspects that nobody trained: whatever a header says, a verdict or a refusal that names the tensor."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_tensors
from torch import Tensor

from models.checkpoints import decode_tensors
from models.errors import ModelError, WatermarkError
from models.evaluation.ownership import Verification, verify
from tests.models.conftest import Marked

Own = Callable[[], dict[str, Tensor]]
HeldAgainst = Callable[[Mapping[str, Tensor]], Verification]
LAYER = "conv2.weight"
TYPES = ["F64", "F32", "F16", "BF16", "I64", "I8", "U64", "U8", "BOOL", "F8_E5M2", "F8_E4M3", "C64", "F4", "E8M0", "?"]
SIZES = st.one_of(st.sampled_from([0, 1, 5, 6, 16, 400]), st.integers(0, 2**64))


@pytest.fixture(scope="session")
def held_against(marked: Marked) -> HeldAgainst:
    """A suspect of these tensors against the first mark."""
    return lambda tensors: verify(
        save_tensors(dict(tensors)), marked.commitment, 0, marked.marks[0].key, marked.reference
    )


@pytest.fixture(scope="session")
def own(marked: Marked) -> Own:
    """The reference's tensors."""
    return lambda: decode_tensors(marked.reference)


def refused(call: Callable[[], object]) -> str | None:
    """The field that is to blame, or None for an answer; anything else that is raised fails the test."""
    try:
        call()
    except ModelError as error:
        return error.field
    return None


def written(header: object, data: bytes) -> bytes:
    """A safetensors file with any header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@st.composite
def anything(draw: st.DrawFn) -> bytes:
    """Files of a few tensors, whose headers may lie about them."""
    names = draw(st.lists(st.sampled_from([LAYER, "conv1.weight", "fc3.bias", "other", ""]), unique=True))
    header, end = {}, 0
    for name in names:
        shape, kind = draw(st.lists(SIZES, max_size=5)), draw(st.sampled_from(TYPES))
        begin, length = (
            end,
            draw(st.one_of(st.integers(0, 40), st.just(math.prod(shape) * 4)).filter(lambda n: n < 4096)),
        )
        end = begin + length
        offsets = draw(st.sampled_from([[begin, end], [end, begin], [begin, end + 1], [begin], None, [-1, 2**70]]))
        entry = {"dtype": kind, "shape": shape, "data_offsets": offsets if draw(st.booleans()) else [begin, end]}
        header[name] = draw(st.sampled_from([entry, entry, entry, None, 7, {}]))
    return written(header, draw(st.binary(min_size=end, max_size=end)))


class TestDecodeTensors:
    @given(data=anything())
    def test_any_header_is_read_or_refused_as_weights(self, data: bytes) -> None:
        assert refused(lambda: decode_tensors(data)) in (None, "weights")

    def test_a_header_as_long_as_a_pickle_begins_is_no_pickle(self) -> None:
        for width in range(256):  # some of them make it 0x80 modulo 256
            name = "n" * width
            assert set(decode_tensors(save_tensors({name: torch.zeros(1)}))) == {name}

    @given(data=st.binary(max_size=64))
    def test_any_bytes_are_read_or_refused_as_weights(self, data: bytes) -> None:
        assert refused(lambda: decode_tensors(data)) in (None, "weights")


def like(shape: Sequence[int], kind: torch.dtype, value: float) -> Tensor:
    """A tensor of this type; a number that the type does not hold becomes 1."""
    try:
        return torch.full(tuple(shape), value).to(kind)
    except RuntimeError:
        return torch.ones(tuple(shape)).to(kind)


NUMBERS = [0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e-45, 3e38, 1e300]
KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.int8, torch.uint64]
KINDS += [torch.bool, torch.complex64]
NAMES = [f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2", "fc3") for kind in ("weight", "bias")]
SHAPES = st.one_of(st.none(), st.lists(st.sampled_from([0, 1, 2, 5, 6, 16, 17, 84]), max_size=4))
CHANGES = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(st.none(), st.tuples(SHAPES, st.sampled_from(KINDS), st.sampled_from(NUMBERS), st.booleans())),
    min_size=1,
)


class TestVerify:
    @settings(max_examples=60, deadline=None)
    @given(changes=CHANGES)
    def test_any_numbers_of_any_type_in_any_tensors(
        self,
        changes: dict[str, tuple[list[int] | None, torch.dtype, float, bool] | None],
        own: Own,
        held_against: HeldAgainst,
    ) -> None:
        tensors = own()
        for name, change in changes.items():
            was = tensors.pop(name)
            if change is not None:
                shape, kind, value, whole = change
                tensors[name] = like(was.shape if shape is None else shape, kind, value)
                if not whole and shape is None and kind.is_floating_point:  # half of the units only
                    tensors[name][: len(was) // 2] = was[: len(was) // 2].to(kind)
        assert refused(lambda: held_against(tensors)) in (None, f"weights.{LAYER}")

    @pytest.mark.parametrize(
        ("tensor", "said"),
        [
            (torch.full((16, 6, 5, 5), math.nan), "finite"),
            (torch.full((16, 6, 5, 5), -math.inf, dtype=torch.float16), "finite"),
            (torch.ones(16, 6, 5, 5, dtype=torch.int8), "real numbers"),
            (torch.ones(16, 6, 5, 5, dtype=torch.complex64), "real numbers"),
            (torch.zeros(0), "finite"),
            (torch.zeros(16, 0, 5, 5), "finite"),
            (torch.ones(16 * 5, 6 * 5, 5, 5), "over 16 times"),
        ],
    )
    def test_a_layer_that_cannot_be_read_is_named(
        self, tensor: Tensor, said: str, own: Own, held_against: HeldAgainst
    ) -> None:
        suspect = own() | {LAYER: tensor}
        with pytest.raises(WatermarkError, match=said) as refused:
            held_against(suspect)
        assert refused.value.field == f"weights.{LAYER}"

    @pytest.mark.parametrize("kind", [torch.int8, torch.complex64, torch.bool])
    def test_another_tensor_that_cannot_be_read_leaves_the_reading_as_it_stands(
        self, kind: torch.dtype, own: Own, held_against: HeldAgainst
    ) -> None:
        suspect = own()
        verification = held_against(suspect | {"fc2.weight": suspect["fc2.weight"].to(kind)})
        assert verification.verified
        assert {reading.way for reading in verification.readings} == {"as it stands"}
        assert str(verification.alignment_error).startswith("weights.fc2.weight: holds torch.")

    def test_dead_units_with_infinite_numbers_do_not_hide_the_mark(self, own: Own, held_against: HeldAgainst) -> None:
        suspect = own()
        suspect["fc1.bias"] = torch.full_like(suspect["fc1.bias"], -math.inf)
        assert held_against(suspect).verified
