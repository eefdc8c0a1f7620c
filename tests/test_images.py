"""images: every way in which a photograph can be unusual or bad, and the way back to a file."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from cnnvis_helpers import images
from cnnvis_helpers.images import ImageError


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=kind, **options)
    return file.getvalue()


def photo(height: int = 40, width: int = 60) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def png_with_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be width × height."""
    chunks = b""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")):
        chunks += struct.pack(">I", len(content)) + kind + content
        chunks += struct.pack(">I", zlib.crc32(kind + content))
    return b"\x89PNG\r\n\x1a\n" + chunks


def assert_one_sentence(error: pytest.ExceptionInfo[BaseException]) -> None:
    message = str(error.value)
    assert message.endswith("."), message
    assert "\n" not in message and ". " not in message, message
    assert len(message) < 220, message


# --- what can be read ---


def test_rgb_values_and_layout(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 2] = (255, 51, 0)  # row 0, column 2: red 1, green 0.2
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(Image.fromarray(pixels)))
    expected = torch.zeros(3, 2, 3)
    expected[:, 0, 2] = torch.tensor([1.0, 0.2, 0.0])
    content = path.read_bytes()
    for source in (path, str(path), content, bytearray(content), memoryview(content), io.BytesIO(content)):
        picture = images.load(source)
        assert picture.dtype == torch.float32
        assert torch.equal(picture, expected)
    with path.open("rb") as file:
        assert torch.equal(images.load(file), expected)


def test_one_pixel() -> None:
    content = encoded(Image.new("RGB", (1, 1), (255, 0, 51)))
    assert torch.equal(images.load(content), torch.tensor([1.0, 0.0, 0.2]).view(3, 1, 1))
    assert torch.allclose(
        images.load(content, size=8), torch.tensor([1.0, 0.0, 0.2]).view(3, 1, 1).expand(3, 8, 8)
    )


def test_cmyk_jpeg() -> None:
    content = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)  # magenta + yellow
    red, green, blue = images.load(content).mean((1, 2)).tolist()
    assert red > 0.95 and green < 0.05 and blue < 0.05


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_cut(kind: str) -> None:
    grey = np.array([[0, 257, 32896, 65535]], np.uint16)  # 257 · k is k in 8 bits
    picture = images.load(encoded(Image.fromarray(grey), kind))
    assert picture.shape == (3, 1, 4)
    assert torch.allclose(picture[1, 0], torch.tensor([0, 1 / 255, 128 / 255, 1.0]))
    assert torch.equal(picture[0], picture[2])


def test_float_grey_and_its_limits() -> None:
    good = Image.fromarray(np.array([[0.0, 0.25, 1.0]], np.float32))
    assert images.load(encoded(good, "TIFF"))[0, 0].tolist() == [0.0, 0.25, 1.0]
    for bad in ([[0.0, 300.0]], [[-1.0, 0.0]], [[0.0, float("nan")]]):
        with pytest.raises(ImageError, match="grey values outside 0 to 1") as error:
            images.load(encoded(Image.fromarray(np.array(bad, np.float32)), "TIFF"))
        assert_one_sentence(error)


def test_palette_with_transparency_over_white() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putdata([0, 1])
    content = encoded(picture, transparency=1)  # blue is see-through
    assert images.load(content)[:, 0].T.tolist() == [[1, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparent_colour_of_a_png_without_alpha(mode: str) -> None:
    picture = Image.new(mode, (2, 1))
    content = encoded(picture, transparency=0 if mode == "L" else (0, 0, 0))
    assert torch.equal(images.load(content), torch.ones(3, 1, 2))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_over_white(kind: str) -> None:
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 51))  # one fifth red, four fifths white
    options = {"lossless": True} if kind == "WEBP" else {}
    loaded = images.load(encoded(picture, kind, **options))
    assert torch.allclose(loaded.mean((1, 2)), torch.tensor([1.0, 0.8, 0.8]), atol=0.01)


def test_grey_with_alpha() -> None:
    loaded = images.load(encoded(Image.new("LA", (2, 2), (0, 102))))
    assert torch.allclose(loaded, torch.full((3, 2, 2), 0.6), atol=0.005)


def test_black_and_white() -> None:
    assert images.load(encoded(Image.new("1", (2, 2), 1))).unique().tolist() == [1.0]


def test_animation_gives_the_first_frame() -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "lime", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    assert Image.open(io.BytesIO(content)).n_frames == 3
    assert images.load(content).mean((1, 2)).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a.transpose(1, 0, 2), 2)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation(orientation, turned) -> None:
    stored = photo(4, 6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = images.load(encoded(stored, exif=exif.tobytes()))
    assert np.array_equal(images.to_array(loaded), turned(np.asarray(stored)))


@pytest.mark.filterwarnings("error")
def test_broken_exif_does_not_spoil_the_picture() -> None:
    content = encoded(photo(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert images.load(content).shape == (3, 40, 60)


def test_colour_profile_is_converted_to_srgb() -> None:
    # sRGB's primaries without its gamma; IEC 61966-2-1 gives 1.055 · v^(1/2.4) - 0.055 for linear v.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    linear = b"curv" + struct.pack(">II", 0, 0)
    for i in range(count):
        tag, place, length = struct.unpack(">4sII", profile[132 + 12 * i : 144 + 12 * i])
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            profile[place : place + length] = linear.ljust(length, b"\0")
    picture = Image.new("RGB", (2, 2), (128, 128, 128))
    assert images.load(encoded(picture)).mean().item() == pytest.approx(128 / 255)
    converted = images.load(encoded(picture, icc_profile=bytes(profile)))
    expected = 1.055 * (128 / 255) ** (1 / 2.4) - 0.055
    assert converted.mean().item() == pytest.approx(expected, abs=0.01)
    glass = Image.new("RGBA", (2, 2), (128, 128, 128, 51))  # the profile changes colours, not transparency
    over_white = images.load(encoded(glass, icc_profile=bytes(profile)))
    assert over_white.mean().item() == pytest.approx(0.2 * expected + 0.8, abs=0.01)
    damaged = images.load(encoded(picture, icc_profile=b"no profile"))
    assert damaged.mean().item() == pytest.approx(128 / 255)


# --- what cannot be read ---


def bad_sources(folder: Path) -> dict[str, tuple[object, str]]:
    jpeg, png = encoded(photo(), "JPEG"), encoded(photo())
    empty, text = folder / "empty.jpg", folder / "notes.txt"
    empty.write_bytes(b"")
    text.write_text("Not a picture.")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0xFF
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    return {
        "truncated jpeg": (jpeg[: len(jpeg) // 2], "cut short"),
        "truncated png": (png[: len(png) // 2], "cut short"),
        "png of a header alone": (png[:40], "cut short|damaged|not a picture"),
        "damaged png": (bytes(flipped), "damaged"),
        "empty bytes": (b"", "empty"),
        "empty stream": (io.BytesIO(), "empty"),
        "empty file": (empty, "empty"),
        "text file": (text, "not a picture"),
        "random bytes": (bytes(range(256)) * 4, "not a picture"),
        "postscript": (drawing, "not a picture"),
        "missing path": (folder / "none.png", "no file .*none.png"),
        "web address": ("https://example.org/cat.jpg", "no file"),
        "impossible path": ("a\0b", "no file"),
        "folder": (folder, "folder"),
        "text stream": (io.StringIO("text"), "text mode"),
        "array": (np.zeros((4, 4, 3)), "ndarray"),
        "nothing": (None, "NoneType"),
        "bomb": (png_with_header(60_000, 60_000), "more than 64,000,000 pixels"),
        "bomb below Pillow's own limit": (png_with_header(9_000, 9_000), "more than 64,000,000 pixels"),
        "bomb at which Pillow warns": (png_with_header(10_000, 10_000), "more than 64,000,000 pixels"),
    }


BAD = [
    "truncated jpeg", "truncated png", "png of a header alone", "damaged png", "empty bytes", "empty stream",
    "empty file", "text file", "random bytes", "postscript", "missing path", "web address", "impossible path",
    "folder", "text stream", "array", "nothing", "bomb", "bomb below Pillow's own limit",
    "bomb at which Pillow warns",
]  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_sources_get_one_sentence(case: str, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    sources = bad_sources(tmp_path)
    assert list(sources) == BAD
    source, words = sources[case]
    with pytest.raises(ImageError, match=words) as error:
        images.load(source)  # type: ignore[arg-type]
    assert_one_sentence(error)
    assert not recwarn.list


def test_pixel_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(photo(40, 60))
    monkeypatch.setattr(images, "MAX_PIXELS", 2400)
    assert images.load(content).shape == (3, 40, 60)
    monkeypatch.setattr(images, "MAX_PIXELS", 2399)
    with pytest.raises(ImageError, match="2,399 pixels"):
        images.load(content)


@pytest.mark.filterwarnings("error")
def test_every_cut_of_a_file_is_an_image_error_or_a_picture() -> None:
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"):
        content = encoded(photo(8, 8), kind)
        for end in range(0, len(content), max(1, len(content) // 25)):
            try:
                assert images.load(content[:end]).shape == (3, 8, 8)
            except ImageError as error:
                assert str(error).endswith(".")


# --- fit, check, normalise ---


def test_fit_is_resize_then_centre_crop() -> None:
    # Halving by antialiased bilinear weights (1, 3, 3, 1)/8; inner pixels of a row are computed by hand.
    row = torch.tensor([0, 0, 0.8, 0, 0, 0, 0, 0])
    picture = row.expand(3, 4, 8)
    fitted = images.fit(picture, 2)  # resized to 2 × 4, middle two columns
    assert fitted.shape == (3, 2, 2)
    assert torch.allclose(fitted[0], torch.tensor([[0.3, 0.0], [0.3, 0.0]]), atol=1e-6)


def test_fit_antialiases() -> None:
    stripes = torch.tensor([0.0, 1.0]).repeat(48).expand(3, 96, 96)
    small = images.fit(stripes, 24)
    assert (small - 0.5).abs().max() < 0.1  # without antialiasing: stripes that are not there


@pytest.mark.parametrize(
    "shape", [(3, 30, 50), (2, 3, 50, 30), (3, 1, 1), (3, 96, 96), (3, 1, 5000), (3, 97, 31)]
)
def test_fit_shapes_and_range(shape: tuple[int, ...]) -> None:
    pictures = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    for size in (1, 32, 97):
        fitted = images.fit(pictures, size)
        assert fitted.shape == (*shape[:-2], size, size)
        images.check(fitted)


def test_fit_rejects_no_size() -> None:
    with pytest.raises(ImageError, match="at least 1 pixel"):
        images.fit(torch.rand(3, 4, 4), 0)


def test_load_with_size_equals_fit() -> None:
    content = encoded(photo(40, 60))
    assert torch.equal(images.load(content, size=16), images.fit(images.load(content), 16))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.full((3, 2, 2), float("nan")), "NaN"),
        (torch.full((3, 2, 2), float("inf")), "infinite"),
        (torch.full((3, 2, 2), 1.01), "from 1.01 to 1.01"),
        (-torch.ones(3, 2, 2), "from 0 to 1"),
        (torch.full((3, 2, 2), 255, dtype=torch.uint8), "255"),
        (torch.rand(4, 4, 3), "colour axis"),
        (torch.rand(1, 4, 4), r"\(1, 4, 4\)"),
        (torch.rand(4, 4), r"\(4, 4\)"),
        (torch.rand(3), r"\(3,\)"),
        (torch.tensor(0.5), r"\(\)"),
        (torch.rand(1, 1, 3, 4, 4), r"\(1, 1, 3, 4, 4\)"),
        (torch.rand(0, 3, 4, 4), "at least one"),
        (np.zeros((3, 4, 4)), "ndarray"),
    ],
)
def test_check_says_what_is_wrong(wrong, words: str) -> None:
    with pytest.raises(ImageError, match=words) as error:
        images.check(wrong)
    assert_one_sentence(error)


def test_check_accepts() -> None:
    images.check(torch.zeros(3, 1, 1))
    images.check(torch.ones(2, 3, 4, 5, dtype=torch.float64))


def test_normalise_and_back() -> None:
    pictures = torch.tensor([0.5, 0.5, 1.0]).view(1, 3, 1, 1)
    mean, std = (0.5, 0.25, 0.5), (0.25, 0.5, 0.125)
    x = images.normalise(pictures, mean, std)
    assert x.flatten().tolist() == [0.0, 0.5, 4.0]
    assert torch.equal(images.denormalise(x, mean, std), pictures)
    assert torch.equal(images.normalise(pictures[0], torch.tensor(mean), list(std)), x[0])


def test_normalise_passes_gradients() -> None:
    pictures = torch.rand(1, 3, 2, 2, requires_grad=True)
    images.normalise(pictures, (0, 0, 0), (0.5, 0.25, 0.2)).sum().backward()
    assert torch.allclose(pictures.grad[0, :, 0, 0], torch.tensor([2.0, 4.0, 5.0]))


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (1, 1, 1)), ((0, 0, 0), (1, 0, 1)), ((0, 0, 0), (1, 1))])
def test_normalise_rejects(mean, std) -> None:
    for function in (images.normalise, images.denormalise):
        with pytest.raises(ImageError) as error:
            function(torch.rand(3, 2, 2), mean, std)
        assert_one_sentence(error)


# --- back to a file ---


def test_to_array_rounds_and_clips() -> None:
    picture = torch.tensor([0.5, 1.2, -0.1]).view(3, 1, 1)
    array = images.to_array(picture.requires_grad_())
    assert array.dtype == np.uint8 and array.shape == (1, 1, 3)
    assert array[0, 0].tolist() == [128, 255, 0]  # 127.5 rounds to the even 128


@pytest.mark.parametrize(
    "wrong",
    [
        torch.rand(1, 3, 2, 2),
        torch.full((3, 2, 2), float("nan")),
        torch.rand(2, 2),
        torch.ones(3, 2, 2).byte(),
    ],
)
def test_to_array_rejects(wrong: torch.Tensor) -> None:
    with pytest.raises(ImageError) as error:
        images.to_array(wrong)
    assert_one_sentence(error)


@pytest.mark.parametrize("shape", [(3, 5, 3), (3, 5), (3, 5, 4)])
def test_png_round_trip(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    content = images.to_png(array)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), array)
    assert content == images.to_png(array)
    if shape == (3, 5, 3):
        assert np.array_equal(images.to_array(images.load(content)), array)


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 2, 3)), np.zeros((2, 2, 2), np.uint8), np.zeros((0, 2), np.uint8)]
)
def test_to_png_rejects(wrong: np.ndarray) -> None:
    with pytest.raises(ImageError) as error:
        images.to_png(wrong)
    assert_one_sentence(error)


# --- samples ---


def test_samples() -> None:
    samples = images.samples()
    assert {"astronaut", "chelsea", "coffee", "rocket", "china", "flower"} == set(samples)
    for name, sample in samples.items():
        assert sample.name == name and sample.licence and sample.source
        picture = sample.image
        images.check(picture)
        assert min(picture.shape[1:]) >= 300
        assert picture.dtype == torch.float32 and picture.is_contiguous()
    samples["chelsea"].image.zero_()  # a copy: the next one is whole again
    assert samples["chelsea"].image.mean() > 0.3


def test_import_is_light() -> None:
    code = (
        "import sys; from cnnvis_helpers import images; images.samples(); "
        "print([m for m in ('skimage', 'sklearn', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
