"""Anything at all, for the decoders: what they must make of it is an array of the model's form or a ServiceError."""

from collections.abc import Callable

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.specs import InputSpec
from service.errors import ServiceError
from tests.service.inputs import builders as made

GREY = InputSpec(shape=(1, 28, 28))
COLOUR = InputSpec(shape=(3, 6, 5), mode="RGB", value_range=(-1.0, 1.0))
FITTED = InputSpec(shape=(3, 6, 5), mode="RGB", resize="fit")
TENSOR = InputSpec(shape=(2, 3, 4), mode="tensor", value_range=(-10.0, 10.0))
SPECS = st.sampled_from([GREY, COLOUR, FITTED, TENSOR])

quick = settings(max_examples=60, deadline=None)
GOOD = [
    made.saved(),
    made.saved(kind="JPEG"),
    made.saved(np.zeros((6, 5, 3), np.uint8)),
    made.rotated("PNG"),
    made.rotated_by_xmp(),
    made.rotated("JPEG"),
    made.animated("PNG"),
    made.animated("MPO"),
    made.npy(),
    made.npy(made.unit()),
]


def harmless(values: NDArray[np.float32], spec: InputSpec) -> None:
    """What the network may be handed."""
    assert values.dtype == np.float32
    assert values.ndim == 4
    assert len(values)
    assert values.shape[1:] == spec.shape
    assert np.isfinite(values).all()
    assert values.min() >= np.float32(spec.value_range[0])
    assert values.max() <= np.float32(spec.value_range[1])


def answers_or_refuses(work: Callable[[], NDArray[np.float32]], spec: InputSpec) -> None:
    """The property itself."""
    try:
        harmless(work(), spec)
    except ServiceError as error:
        refused = error
    else:
        return
    assert 400 <= refused.status < 500
    assert all(item["field"] and item["message"] for item in refused.extensions["errors"])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good file with some bytes changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        change = draw(st.sampled_from(["flip", "cut", "insert", "end"]))
        if change == "flip":
            data[at] = draw(st.integers(0, 255))
        elif change == "cut":
            del data[at : at + draw(st.integers(1, 8))]
        elif change == "insert":
            data[at:at] = draw(st.binary(max_size=12))
        else:
            del data[max(at, 1) :]
        if not data:
            return b""
    return bytes(data)


NUMBERS = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.text(max_size=2))
NESTED = st.recursive(
    NUMBERS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner, max_size=1),
    max_leaves=30,
)
