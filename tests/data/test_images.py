"""Every kind of image file shows what it holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kdrun.data.images import decode, read_image
from kdrun.errors import DataError

HALF = 128 / 255


def grey_ramp() -> np.ndarray:
    """[8, 8] in [0, 1]: dark on the left, light on the right."""
    return np.tile(np.linspace(0, 1, 8, dtype=np.float32), (8, 1))


def transparent(mode: str) -> Image.Image:
    """A red or grey square of which all but the first row is transparent."""
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    image.paste((200, 0, 0, 255), (0, 0, 8, 1))
    return image.convert(mode)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_images_of_16_bits_keep_their_shades(tmp_path, suffix, channels) -> None:
    path = tmp_path / f"ramp.{suffix}"
    Image.fromarray(np.round(grey_ramp() * 65535).astype(np.uint16)).save(path)
    image = decode(path, size=8, resize=8, channels=channels)
    torch.testing.assert_close(image, torch.from_numpy(grey_ramp()).expand(channels, -1, -1), atol=1e-5, rtol=0)


def test_whole_numbers_of_32_bits_count_as_16_bits(tmp_path) -> None:
    Image.fromarray(np.full((8, 8), 32768, dtype=np.int32)).save(tmp_path / "a.tif")
    assert decode(tmp_path / "a.tif", size=8, resize=8, channels=1).mean() == pytest.approx(0.5, abs=1e-4)


def test_floats_in_the_range_are_taken_as_they_are_and_others_refused(tmp_path) -> None:
    Image.fromarray(grey_ramp()).save(tmp_path / "a.tif")
    torch.testing.assert_close(decode(tmp_path / "a.tif", size=8, resize=8, channels=1)[0], torch.tensor(grey_ramp()))
    Image.fromarray(255 * grey_ramp()).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match="b.tif is broken: its values go from 0 to 255, expected 0 to 1"):
        decode(tmp_path / "b.tif", size=8, resize=8, channels=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_camera_ends_upright(tmp_path, orientation) -> None:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.new("L", (16, 8))
    upright.paste(255, (0, 0, 8, 4))  # the upper left quarter is white
    stored = upright.transpose(turns[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    shown = read_image(tmp_path / "a.png", channels=1)
    assert np.array_equal(np.array(shown), np.array(upright))
    assert np.array_equal(np.array(read_image(tmp_path / "a.png", channels=1, upright=False)), np.array(stored))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_the_background(tmp_path, mode) -> None:
    path = tmp_path / "a.png"
    transparent(mode).save(path)
    for background in (0.0, 1.0):
        image = decode(path, size=8, resize=8, channels=3, background=background)
        torch.testing.assert_close(image[:, 1:], torch.full((3, 7, 8), background))
    seen = image[:, 0].mean(1)
    assert seen[0] == pytest.approx(200 / 255 if mode != "LA" else seen[1].item(), abs=0.02)
    assert seen[2] < 0.3


def test_a_colour_that_stands_for_transparent_shows_the_background(tmp_path) -> None:
    image = Image.new("RGB", (8, 8), (255, 0, 255))
    image.paste((10, 20, 30), (0, 0, 8, 4))
    image.save(tmp_path / "a.png", transparency=(255, 0, 255))
    found = decode(tmp_path / "a.png", size=8, resize=8, channels=3)
    assert (found[:, 4:] == 1).all()
    torch.testing.assert_close(found[:, 0, 0], torch.tensor([10, 20, 30]) / 255)


def test_half_transparent_pixels_are_mixed_with_the_background(tmp_path) -> None:
    Image.new("LA", (8, 8), (0, 128)).save(tmp_path / "a.png")
    image = decode(tmp_path / "a.png", size=8, resize=8, channels=1)
    torch.testing.assert_close(image, torch.full((1, 8, 8), 1 - HALF), atol=1e-3, rtol=0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_white_and_black_stay_so_in_every_mode(tmp_path, mode) -> None:
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 0, 8, 16))
    image.convert(mode).save(tmp_path / "a.tif")
    for channels in (1, 3):
        found = decode(tmp_path / "a.tif", size=16, resize=16, channels=channels)
        assert found.shape == (channels, 16, 16)
        assert found[:, :, 0].min() > 0.98
        assert found[:, :, -1].max() < 0.02
