"""Stamps are put in exactly as the model's own code puts them, and what cannot bear one is refused by name."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import signet_client
import torch
from numpy.typing import NDArray
from PIL import Image
from signet_client import InvalidInput, LicenseFileInvalid, stamp
from signet_client.images import encode
from signet_client.license_file import LicenseFile, SerialNumberCredential
from signet_client.license_file import encode as license_text
from signet_client.stamped_images import stamped
from signet_client.stamping import Stamper

from models.serial_numbers import dsn
from models.specs import InputSpec
from tests.client.conftest import ISSUER, KEY_ID

GREY = InputSpec()
COLOUR = InputSpec(shape=(3, 12, 10), mode="RGB", value_range=(-1.0, 1.0), mean=(0.0,) * 3, std=(1.0,) * 3)
ODD = InputSpec(shape=(2, 9, 9), mode="tensor", value_range=(-0.37, 211.1), mean=(0.0,) * 2, std=(1.0,) * 2)
SPECS = {spec.mode: spec for spec in (GREY, COLOUR, ODD)}


def number_of(seed: int = 0) -> torch.Tensor:
    return torch.rand(64, generator=torch.Generator().manual_seed(seed)) < 0.5


def levels_of(spec: InputSpec, count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, *spec.shape), dtype=np.uint8)


def layout(spec: InputSpec) -> dsn.Stamp:
    return dsn.Stamp(dsn.Layout("lattice" if spec.shape[1] != spec.shape[2] else "border", 64), spec)


def credential_of(spec: InputSpec, plan: NDArray[Any] | None = None) -> SerialNumberCredential:
    steps = layout(spec).plan(number_of()).numpy() if plan is None else plan
    return SerialNumberCredential(spec.shape, spec.mode, spec.value_range, steps.astype("<i4").tobytes())


def png(levels: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, -1)).save(file, kind, **options)
    return file.getvalue()


def sent(image: Any, spec: InputSpec) -> NDArray[Any]:
    """What goes out for an image handed in."""
    part = stamped(encode(image, 3), 3, Stamper(credential_of(spec)))
    assert (part.filename, part.media_type) == ("3.npy", "application/x-npy")
    array: NDArray[Any] = np.load(io.BytesIO(part.data), allow_pickle=False)
    assert (array.dtype, array.shape) == (np.uint8, spec.shape)
    return array


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
class TestStamp:
    def test_is_what_the_model_puts_in_bit_by_bit(self, spec: InputSpec) -> None:
        raw = spec.from_grid(levels_of(spec))
        expected = layout(spec).put(torch.from_numpy(raw), number_of()).numpy()
        for array, wanted in ((raw, expected), (raw[0], expected[0])):
            found = stamp(array, credential_of(spec))
            assert found.dtype == np.float32
            assert np.array_equal(found, wanted)

    def test_on_levels_is_the_same_picture(self, spec: InputSpec) -> None:
        levels = levels_of(spec)
        expected = layout(spec).put(torch.from_numpy(spec.from_grid(levels)), number_of())
        assert np.array_equal(stamp(levels, credential_of(spec)), spec.to_grid(expected).numpy())
        assert (
            Stamper(credential_of(spec)).levels(levels[0].tobytes()) == stamp(levels[0], credential_of(spec)).tobytes()
        )

    def test_changes_nothing_that_is_handed_in(self, spec: InputSpec) -> None:
        levels = levels_of(spec)
        before = levels.copy()
        stamp(levels, credential_of(spec))
        assert np.array_equal(levels, before)

    def test_moves_and_inverts_pixels_where_the_plan_says_so(self, spec: InputSpec) -> None:
        pixels = spec.shape[1] * spec.shape[2]
        moved, levels = np.random.default_rng(1).permutation(pixels), levels_of(spec)
        inverted = np.arange(pixels) % 3 == 0
        credential = credential_of(spec, np.where(inverted, -3 - moved, moved))
        taken = levels.reshape(3, spec.shape[0], pixels)[..., moved]
        expected = np.where(inverted, 255 - taken, taken).reshape(levels.shape)
        assert np.array_equal(stamp(levels, credential), expected)
        assert Stamper(credential).levels(levels[1].tobytes()) == expected[1].tobytes()
        assert np.array_equal(spec.to_grid(stamp(spec.from_grid(levels), credential)), expected)

    def test_of_a_session_bears_it_and_nothing_else(self, spec: InputSpec) -> None:
        probe = np.load(io.BytesIO(Stamper(credential_of(spec)).probe()), allow_pickle=False)
        assert np.array_equal(probe, stamp(np.zeros(spec.shape, np.uint8), credential_of(spec)))
        read = layout(spec).read(torch.from_numpy(spec.from_grid(probe[None])))
        assert torch.equal(read[0].bool(), number_of())

    def test_of_another_shape_or_type_is_refused(self, spec: InputSpec) -> None:
        for array in (np.zeros((5, 5), np.uint8), np.zeros(spec.shape, np.int64), np.zeros((*spec.shape, 2), np.uint8)):
            with pytest.raises(InvalidInput) as caught:
                stamp(array, credential_of(spec))
            assert caught.value.field == "image"


class TestAlone:
    def test_by_a_license_file(self, license_file: LicenseFile) -> None:
        number = replace(license_file, credential=credential_of(GREY))
        image = levels_of(GREY)[0]
        expected = stamp(image, credential_of(GREY))
        trust = {KEY_ID: ISSUER.public_key()}
        assert np.array_equal(stamp(image, number), expected)
        assert np.array_equal(stamp(image, license_text(number, KEY_ID, ISSUER), trust=trust), expected)
        with pytest.raises(LicenseFileInvalid, match="bear no stamp"):
            stamp(image, license_file)

    def test_grey_and_colour_pictures_as_arrays_come(self) -> None:
        grey, colour = levels_of(GREY)[0], levels_of(COLOUR)[0]
        assert np.array_equal(stamp(grey[0], credential_of(GREY)), stamp(grey, credential_of(GREY))[0])
        last = np.ascontiguousarray(np.moveaxis(colour, 0, -1))
        assert np.array_equal(
            stamp(last, credential_of(COLOUR)), np.moveaxis(stamp(colour, credential_of(COLOUR)), 0, -1)
        )

    def test_neither_stamper_nor_credential_shows_the_number(self) -> None:
        credential = credential_of(GREY)
        shown = repr(credential) + repr(Stamper(credential))
        assert "28" in shown
        assert len(shown) < 200


class TestWhatIsSent:
    def test_pictures_files_and_arrays_of_one_image_go_out_alike(self, tmp_path: Path) -> None:
        for spec in (GREY, COLOUR):
            levels = levels_of(spec)[0]
            path = tmp_path / "a.png"
            path.write_bytes(png(levels))
            expected = stamp(levels, credential_of(spec))
            file = io.BytesIO()
            np.save(file, spec.from_grid(levels[None])[0].astype(np.float64))
            forms = {
                "path": path,
                "PNG": png(levels),
                "Pillow": Image.open(path),
                "levels": levels,
                "raw values": spec.from_grid(levels[None])[0],
                "NPY file of float64": file.getvalue(),
                "a torch tensor": torch.from_numpy(levels),
            }
            assert {name: form for name, form in forms.items() if not np.array_equal(sent(form, spec), expected)} == {}

    def test_a_jpeg_is_decoded_first_and_goes_out_lossless(self) -> None:
        jpeg = png(levels_of(GREY)[0], "JPEG")
        decoded = np.asarray(Image.open(io.BytesIO(jpeg)))
        assert np.array_equal(sent(jpeg, GREY), stamp(decoded[None], credential_of(GREY)))

    def test_a_float_a_hair_off_the_grid_is_taken_and_one_between_levels_is_not(self) -> None:
        levels = levels_of(GREY)[0]
        values = GREY.from_grid(levels[None])[0]
        assert np.array_equal(sent(values + np.float32(1e-5), GREY), sent(levels, GREY))
        for bad in (values + np.float32(0.002), np.full_like(values, np.nan), values + 5):
            with pytest.raises(InvalidInput, match="256 levels") as caught:
                sent(bad, GREY)
            assert caught.value.field == "images[3]"

    @pytest.mark.parametrize(
        ("image", "said"),
        [
            (png(np.zeros((1, 30, 28), np.uint8)), "28x30 pixels; this license's stamp is for 28x28"),
            (png(np.zeros((3, 28, 28), np.uint8)), "mode RGB"),
            (
                png(
                    np.zeros((1, 28, 28), np.uint8),
                    "JPEG",
                    exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0",
                ),
                "EXIF",
            ),
            (png(np.zeros((1, 28, 28), np.uint8))[:60], "damaged"),
            (png(np.zeros((1, 28, 28), np.uint8), transparency=3), "transparent"),
            (Image.fromarray(np.zeros((28, 28), np.uint8)).convert("1"), "1 bits"),
            (Image.fromarray(np.zeros((28, 28, 4), np.uint8)), "RGBA"),
            (np.zeros((3, 28, 28), np.uint8), r"shape \(3, 28, 28\)"),
            (np.zeros((27, 28), np.float32), "shape"),
            (b"\x93NUMPY rubbish", "NPY"),
        ],
        ids=["size", "mode", "turned", "truncated", "transparent", "one bit", "alpha", "channels", "shape", "no NPY"],
    )
    def test_what_cannot_bear_the_stamp_is_named(self, image: Any, said: str) -> None:
        with pytest.raises(InvalidInput, match=said) as caught:
            sent(image, GREY)
        assert caught.value.field == "images[3]"

    def test_a_picture_for_a_model_of_arrays_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="takes arrays"):
            sent(png(np.zeros((1, 9, 9), np.uint8)), ODD)

    def test_pictures_need_no_numpy(self) -> None:
        """A licensee with Pillow alone can stamp them."""
        script = (
            "import sys; sys.modules['numpy'] = None\n"
            "from signet_client.images import encode\n"
            "from signet_client.license_file import SerialNumberCredential\n"
            "from signet_client.stamped_images import stamped\n"
            "from signet_client.stamping import Stamper\n"
            f"stamper = Stamper(SerialNumberCredential((1, 28, 28), 'L', (0.0, 1.0), {credential_of(GREY).plan!r}))\n"
            f"print(stamped(encode({png(levels_of(GREY)[0])!r}), 0, stamper).data.hex())"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
        assert np.array_equal(
            np.load(io.BytesIO(bytes.fromhex(done.stdout.strip()))), stamp(levels_of(GREY)[0], credential_of(GREY))
        )


def test_it_is_at_the_root() -> None:
    assert signet_client.stamp is stamp
