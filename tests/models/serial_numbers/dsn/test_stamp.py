from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SerialNumberError
from models.serial_numbers.dsn import STRONG, Layout, Stamp
from models.specs import InputSpec

GREY = InputSpec()
COLOUR = InputSpec(shape=(3, 32, 32), mode="RGB", mean=(0.5,) * 3, std=(0.25,) * 3)
WIDE = InputSpec(shape=(1, 30, 41), mode="L", value_range=(-1.0, 1.0))

kinds = st.sampled_from(["corner", "border", "lattice"])


def numbers(count: int, bits: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, bits, generator=torch.Generator().manual_seed(seed)) < 0.5


def pictures(spec: InputSpec, count: int, seed: int = 0) -> torch.Tensor:
    """On the 8-bit grid, black and white included."""
    grid = torch.randint(0, 256, (count, *spec.shape), generator=torch.Generator().manual_seed(seed))
    return spec.from_grid(grid.to(torch.uint8))


class TestLayout:
    def test_the_papers_is_the_lower_right_corner_row_by_row(self) -> None:
        expected = [(row, column) for row in (25, 26, 27) for column in (25, 26, 27)]
        assert Layout("corner", 9).places(28, 28) == expected

    def test_a_border_goes_round_and_then_inwards(self) -> None:
        places = Layout("border", 14).places(4, 4)
        assert places[:5] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 3)]
        assert places[11:] == [(1, 0), (1, 1), (1, 2)]

    def test_a_lattice_covers_the_image_evenly(self) -> None:
        places = Layout("lattice", 64).places(28, 28)
        rows = sorted({row for row, _ in places})
        assert len(rows) == 8
        assert {after - before for before, after in pairwise(rows)} <= {3, 4}
        assert rows[0] + 1 == 28 - 1 - rows[-1] or abs(rows[0] - (27 - rows[-1])) <= 1

    def test_larger_images_get_larger_cells(self) -> None:
        assert Layout("corner", 9).scaled(224, 224) == Layout("corner", 9, 8)
        assert Layout("lattice", 64).scaled(28, 40) == Layout("lattice", 64, 1)
        assert Layout("lattice", 64, 2).scaled(64, 64, of=32) == Layout("lattice", 64, 4)

    @given(kind=kinds, bits=st.integers(1, 300), cell=st.integers(1, 4), shape=st.tuples(*[st.integers(1, 60)] * 2))
    def test_cells_lie_in_the_image_and_apart_or_it_is_refused(
        self, kind: str, bits: int, cell: int, shape: tuple[int, int]
    ) -> None:
        layout = Layout(kind, bits, cell)  # type: ignore[arg-type]
        height, width = shape
        rows, columns = height // cell, width // cell
        if bits > (rows * columns if kind == "border" else min(rows, columns) ** 2):
            with pytest.raises(SerialNumberError, match="bits"):
                layout.places(height, width)
            return
        places = layout.places(height, width)
        pixels = {(top + y, left + x) for top, left in places for y in range(cell) for x in range(cell)}
        assert len(places) == bits
        assert len(pixels) == bits * cell * cell
        assert all(0 <= y < height and 0 <= x < width for y, x in pixels)

    @pytest.mark.parametrize(
        ("field", "layout"),
        [
            ("layout", ("round", 64)),
            ("bits", ("corner", 0)),
            ("cell", ("corner", 64, 1.5)),
            ("copies", ("border", 64, 1, 0)),
        ],
    )
    def test_what_is_wrong_is_named(self, field: str, layout: tuple[object, ...]) -> None:
        with pytest.raises(SerialNumberError) as caught:
            Layout(*layout)  # type: ignore[arg-type]
        assert caught.value.field == field

    def test_a_stamp_that_does_not_fit_says_how_much_room_there_is(self) -> None:
        with pytest.raises(SerialNumberError, match="bits: 1000 do not fit"):
            Stamp(Layout("lattice", 1000), GREY)
        with pytest.raises(SerialNumberError, match="bits: 400 do not fit 2 times"):
            Stamp(Layout("lattice", 400, copies=2), GREY)


class TestStamp:
    @given(
        kind=kinds,
        bits=st.integers(1, 60),
        cell=st.integers(1, 2),
        copies=st.integers(1, 3),
        seed=st.integers(0, 2**31),
    )
    @pytest.mark.parametrize("spec", [GREY, COLOUR, WIDE])
    def test_what_is_put_in_is_read_back_and_nothing_else_changes(
        self, spec: InputSpec, kind: str, bits: int, cell: int, copies: int, seed: int
    ) -> None:
        stamp = Stamp(Layout(kind, bits, cell, copies), spec)  # type: ignore[arg-type]
        images, each = pictures(spec, 3, seed), numbers(3, bits, seed)
        before = images.clone()
        stamped = stamp.put(images, each)
        assert torch.equal(images, before)
        assert torch.equal(stamp.read(stamped), each.to(torch.int8))
        assert torch.equal(stamp.shows(stamped), each)
        untouched = (stamp.mask(each) == -1)[:, None].expand_as(images)
        assert torch.equal(stamped[untouched], images[untouched])
        assert torch.equal(spec.from_grid(torch.from_numpy(spec.to_grid(stamped.numpy()))), stamped), "on the grid"

    def test_one_number_for_all_is_as_each_its_own(self) -> None:
        stamp, images, number = Stamp(Layout(), COLOUR), pictures(COLOUR, 5), numbers(1, 64)
        assert torch.equal(stamp.put(images, number[0]), stamp.put(images, number.expand(5, 64)))

    def test_a_cell_that_is_not_all_of_one_kind_is_no_bit(self) -> None:
        stamp, number = Stamp(Layout("corner", 64, 2), COLOUR), numbers(1, 64)[0]
        stamped = stamp.put(pictures(COLOUR, 1), number)
        stamped.view(1, 3, -1)[0, 1, stamp.cells[5, 3]] = 0.5  # one pixel of one channel
        expected = number.to(torch.int8)
        expected[5] = -1
        assert torch.equal(stamp.read(stamped)[0], expected)

    def test_copies_that_do_not_agree_are_no_bit(self) -> None:
        stamp, number = Stamp(STRONG, GREY), numbers(1, 64)[0]
        stamped = stamp.put(pictures(GREY, 1), number)
        assert torch.equal(stamp.read(stamped)[0], number.to(torch.int8))
        pixel = stamp.cells[9, 2]
        stamped.view(-1)[pixel] = 1 - stamped.view(-1)[pixel]
        assert stamp.read(stamped)[0].tolist() == [-1 if bit == 9 else int(number[bit]) for bit in range(64)]

    def test_raw_images_show_no_number_of_many_bits(self) -> None:
        assert int((Stamp(Layout(), GREY).read(pictures(GREY, 50)) >= 0).all(dim=1).sum()) == 0

    def test_a_number_of_another_length_is_refused(self) -> None:
        with pytest.raises(SerialNumberError, match="bits"):
            Stamp(Layout(), GREY).put(pictures(GREY, 1), numbers(1, 65)[0])


class TestPlan:
    @given(kind=kinds, seed=st.integers(0, 2**31))
    def test_who_has_only_the_plan_stamps_the_same(self, kind: str, seed: int) -> None:
        stamp = Stamp(Layout(kind, 64), COLOUR)  # type: ignore[arg-type]
        number, images = numbers(1, 64, seed)[0], pictures(COLOUR, 3, seed)
        low, high = COLOUR.value_range
        by_hand = images.flatten(2).clone()
        for pixel, source in enumerate(stamp.plan(number).flatten().tolist()):
            by_hand[:, :, pixel] = {-1: low, -2: high}.get(source, images.flatten(2)[:, :, source])
        assert torch.equal(by_hand.reshape(images.shape), stamp.put(images, number))
