from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SpecError
from models.specs import InputSpec, OutputSpec

RANGES = st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-2.5, 3.75)])


class TestGrid:
    @given(value_range=RANGES)
    def test_every_grey_level_comes_back(self, value_range: tuple[float, float]) -> None:
        spec = InputSpec(shape=(1, 16, 16), value_range=value_range)
        grid = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
        values = spec.from_grid(grid)
        assert values.dtype == np.float32
        assert np.array_equal(spec.to_grid(values), grid)
        assert spec.is_on_grid(values).all()

    def test_tensors_and_arrays_of_one_picture_are_the_same_numbers(self) -> None:
        spec = InputSpec(shape=(3, 4, 4), mode="RGB", value_range=(-1.0, 1.0))
        grid = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4), dtype=np.uint8)
        values = spec.from_grid(torch.from_numpy(grid))
        assert np.array_equal(values.numpy(), spec.from_grid(grid))
        assert torch.equal(spec.to_grid(values), torch.from_numpy(grid))

    def test_levels_are_what_the_documentation_says(self) -> None:
        low, high = -1.0, 1.0
        levels = InputSpec(value_range=(low, high)).levels
        k = np.arange(256, dtype=np.float32)
        assert np.array_equal(levels, np.float32(low) + np.float32(high - low) * k / np.float32(255))
        assert (levels[0], levels[255]) == (low, high)

    def test_the_nearest_level_is_taken_and_the_ends_hold(self) -> None:
        spec = InputSpec(shape=(1, 1, 4))
        values = np.array([-0.3, 0.4 / 255, 0.6 / 255, 7.0], dtype=np.float32).reshape(1, 1, 1, 4)
        assert spec.to_grid(values).ravel().tolist() == [0, 0, 1, 255]

    def test_each_row_is_judged_by_itself(self) -> None:
        spec = InputSpec(shape=(1, 2, 2))
        values = spec.from_grid(np.full((3, 1, 2, 2), 77, dtype=np.uint8))
        values[1, 0, 0, 0] += np.float32(0.02 / 255)
        values[2, 0, 0, 0] = 1.5  # beyond the range there is no level, however round the number
        assert spec.is_on_grid(values).tolist() == [True, False, False]

    @pytest.mark.parametrize("shape", [(1, 28, 28), (2, 1, 28, 27), (2, 3, 28, 28)])
    def test_another_shape_is_refused_by_the_inputs_name(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(SpecError) as caught:
            InputSpec(name="picture").to_grid(np.zeros(shape, dtype=np.float32))
        assert caught.value.field == "picture"

    def test_nan_has_no_level(self) -> None:
        with pytest.raises(SpecError, match="not a number"):
            InputSpec(shape=(1, 1, 1)).to_grid(np.full((1, 1, 1, 1), np.nan, dtype=np.float32))


class TestInputSpec:
    def test_it_survives_json(self) -> None:
        spec = InputSpec("photo", (3, 32, 48), "RGB", (0.0, 255.0), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), "fit")
        assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""),
            ("name", "line\nbreak"),
            ("name", 3),
            ("shape", [1, 28]),
            ("shape", [1, 28, 28.0]),
            ("shape", [1, 0, 28]),
            ("shape", [1, 2**20, 2**20]),
            ("shape", "abc"),
            ("mode", "P"),
            ("mode", ["L"]),
            ("value_range", [1.0, 0.0]),
            ("value_range", [0.0, float("inf")]),
            ("value_range", [0.0]),
            ("mean", [True]),
            ("mean", [10**400]),
            ("mean", [0.1, 0.2]),
            ("std", [0.0]),
            ("std", [float("nan")]),
            ("std", None),
            ("resize", "crop"),
        ],
    )
    def test_a_wrong_value_is_named(self, field: str, value: object) -> None:
        with pytest.raises(SpecError) as caught:
            InputSpec.from_dict({**InputSpec().to_dict(), field: value})
        assert caught.value.field == field

    @pytest.mark.parametrize("field", ["name", "shape", "mode", "value_range", "mean", "std", "resize"])
    def test_a_missing_field_is_named(self, field: str) -> None:
        content = InputSpec().to_dict()
        del content[field]
        with pytest.raises(SpecError, match="missing") as caught:
            InputSpec.from_dict(content)
        assert caught.value.field == field

    def test_an_unknown_field_is_named(self) -> None:
        with pytest.raises(SpecError) as caught:
            InputSpec.from_dict({**InputSpec().to_dict(), "colour": "red"})
        assert caught.value.field == "colour"

    def test_channels_belong_to_the_mode(self) -> None:
        with pytest.raises(SpecError, match="RGB has 3"):
            InputSpec(shape=(1, 8, 8), mode="RGB")


class TestOutputSpec:
    def test_it_survives_json(self) -> None:
        spec = OutputSpec(2, ("cat", "dog"), "probabilities")
        assert OutputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("classes", 1),
            ("classes", True),
            ("classes", "2"),
            ("labels", ["cat"]),
            ("labels", "ab"),
            ("labels", ["cat", "cat"]),
            ("labels[1]", ["cat", 5]),
            ("kind", "votes"),
        ],
    )
    def test_a_wrong_value_is_named(self, field: str, value: object) -> None:
        content = {**OutputSpec.numbered(2).to_dict(), field.split("[")[0]: value}
        with pytest.raises(SpecError) as caught:
            OutputSpec.from_dict(content)
        assert caught.value.field == field
