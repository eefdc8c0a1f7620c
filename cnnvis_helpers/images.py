"""Pictures: from a file to a tensor and back, and a few photographs to work on.

    load         a picture file of any common kind → (3, H, W) in [0, 1]
    fit          shrink or enlarge to a square of a given size
    check        complain, in one sentence, about a tensor that is no picture
    normalise    [0, 1] → what a network takes
    denormalise  what a network takes → [0, 1]
    to_array     tensor (3, H, W) → uint8 array (H, W, 3)
    to_png       uint8 array → bytes of a PNG file
    samples      photographs that come with scikit-image and scikit-learn
    Sample       one of them, with licence and source
    ImageError   a picture cannot be read or used, and why

    photo = load("cat.jpg", size=224)                       # (3, 224, 224) float32 in [0, 1], sRGB
    x = normalise(photo[None], net.mean, net.std)           # (1, 3, 224, 224)

A *picture* here is a float tensor (3, H, W), red, green, blue, in [0, 1], in the sRGB colour space; several
of one size are (N, 3, H, W).
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as F

MAX_PIXELS = 64_000_000  # 0.8 GB as floats; larger files are refused before they are unpacked
# Pillow can open more, some of it with the help of other programs (PostScript); photographs come in these.
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")


class ImageError(ValueError):
    """A picture cannot be read or used; the message says why in one sentence."""


# --- file → tensor ----------------


def load(source: str | Path | bytes | BinaryIO, *, size: int | None = None) -> Tensor:
    """Read a picture file and return it upright as (3, H, W) float32 in [0, 1], in sRGB.

    The orientation that the camera noted (EXIF) is applied. CMYK, grey, 16-bit grey and palette files become
    RGB; an embedded colour profile is converted to sRGB; transparent parts show white; of an animation the
    first frame is read.

    Args:
        source: a path, the bytes of a file (an upload), or a file opened in binary mode.
        size: if given, `fit` the picture to size × size.

    Raises:
        ImageError: no such file, empty, cut short, damaged, not a picture, or above `MAX_PIXELS` pixels.
    """
    with _opened(source) as (name, file):
        image = _decoded(name, file)
        try:
            pixels = _rgb(image)
        except ImageError as error:
            raise ImageError(f"{name} {error}") from None
        except Exception as error:
            raise ImageError(f"{name} has colours (mode {image.mode}) that cannot be converted.") from error
    picture = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # (3, H, W)
    return picture if size is None else fit(picture, size)


@contextlib.contextmanager
def _opened(source: str | Path | bytes | BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    """Give what to call the source in a message, and a file that can be read and is not empty."""
    if isinstance(source, str | Path):
        name, path = repr(str(source)), Path(source).expanduser()
        if path.is_dir():
            raise ImageError(f"{name} is a folder, not a picture file.")
        try:
            file: BinaryIO = path.open("rb")
        except (FileNotFoundError, ValueError):
            raise ImageError(f"There is no file {name}.") from None
        except OSError as error:
            raise ImageError(f"{name} cannot be opened: {error.strerror}.") from None
    else:
        name = "The picture"
        content = source.read() if hasattr(source, "read") else source
        if not isinstance(content, bytes | bytearray | memoryview):
            kind = "file in text mode" if isinstance(content, str) else type(content).__name__
            raise ImageError(f"A picture is read from a path, bytes or a binary file, not from a {kind}.")
        file = io.BytesIO(content)
    with file:
        if not file.read(1):
            raise ImageError(f"{name} is empty (0 bytes).")
        file.seek(0)
        yield name, file


def _decoded(name: str, file: BinaryIO) -> Image.Image:
    """Unpack the first frame; every way in which a file can be bad ends as an ImageError."""
    Image.init()  # a Pillow may be built without some formats
    too_large = f"{name} has more than {MAX_PIXELS:,} pixels: make it smaller first."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(file, formats=[kind for kind in _FORMATS if kind in Image.OPEN])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(too_large) from None
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not a picture of a known kind: use JPEG, PNG, GIF or WebP.") from None
    except Exception as error:
        raise ImageError(f"{name} is damaged and cannot be read.") from error
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(too_large)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is refused, or repaired, here
        try:
            image.load()
        except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, EOFError and others
            raise ImageError(f"{name} is cut short or damaged and cannot be read.") from error
        with contextlib.suppress(Exception):  # a broken EXIF block is no reason to refuse good pixels
            image = ImageOps.exif_transpose(image)
    return image


def _rgb(image: Image.Image) -> np.ndarray:
    """Pixels as (H, W, 3) float32 in [0, 1], over white, in sRGB."""
    if image.mode == "I" or image.mode == "F" or image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float32)
        # Pillow's own conversion would cut 16 bits at 255: almost all white.
        top = 1.0 if image.mode == "F" else 65535.0
        if not (np.isfinite(grey).all() and grey.min() >= 0 and grey.max() <= top):
            raise ImageError(f"has grey values outside 0 to {top:g}: scale them first.")
        return np.repeat(grey[:, :, None] / np.float32(top), 3, axis=2)
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode != "CMYK":
        image = image.convert("RGB")
    if profile:
        # A profile that does not fit the pixels (grey, damaged) is left aside, as viewers do.
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            mode = "RGBA" if image.mode == "RGBA" else "RGB"
            converted = ImageCms.profileToProfile(
                image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode=mode
            )
            image = image if converted is None else converted
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB")).astype(np.float32) / np.float32(255)


# --- tensor → tensor ----------------


def fit(images: Tensor, size: int) -> Tensor:
    """Resize the short side to `size` (bilinear, antialiased) and cut the centre: (…, 3, size, size).

    Antialiasing averages over the area that a new pixel covers; without it, thin stripes and noise turn into
    false patterns. Interpolation never leaves the range of the values given.

    Args:
        images: (3, H, W) or (N, 3, H, W), float.
        size: side of the square in pixels, 1 or more.

    Raises:
        ImageError: wrong shape or size.
    """
    _shape(images)
    if size < 1:
        raise ImageError(f"The size must be at least 1 pixel, not {size}.")
    height, width = images.shape[-2:]
    short = min(height, width)
    # Of a very long picture only the middle can stay; enlarging all of it first could fill the memory.
    middle = F.center_crop(images, [min(height, 3 * short), min(width, 3 * short)])
    resized = F.resize(middle, [size], antialias=True)
    return F.center_crop(resized, [size, size]).clamp(images.min(), images.max())


def check(images: Tensor) -> None:
    """Return if `images` is a picture (3, H, W) or pictures (N, 3, H, W): float, finite, in [0, 1].

    Raises:
        ImageError: it is not; the message says what was found and what would be right.
    """
    _shape(images)
    if not images.is_floating_point():
        raise ImageError(f"Pictures are floats from 0 to 1, not {images.dtype}: divide 8-bit values by 255.")
    low, high = (end.item() for end in torch.aminmax(images))  # NaN where there is NaN
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError("The pictures hold NaN or infinite values.")
    if low < 0 or high > 1:
        raise ImageError(
            f"Pictures have values from 0 to 1, these from {low:.3g} to {high:.3g}: "
            "denormalise them, or divide 8-bit values by 255."
        )


def _shape(images: Tensor) -> None:
    expected = "Pictures are tensors (3, H, W) or (N, 3, H, W)"
    if not isinstance(images, Tensor):
        raise ImageError(f"{expected}, not {type(images).__name__}.")
    shape = tuple(images.shape)
    if images.ndim not in (3, 4) or shape[-3] != 3:
        hint = ": move the colour axis before height and width" if shape[-1:] == (3,) else ""
        raise ImageError(f"{expected}, not {shape}{hint}.")
    if images.numel() == 0:
        raise ImageError(f"{expected} with at least one pixel, not {shape}.")


def normalise(images: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> Tensor:
    """Return (images - mean) / std, channel by channel: from [0, 1] to what a network takes.

    Gradients flow through. `mean` and `std` are three numbers each, as stored with the network.

    Raises:
        ImageError: wrong shape, not three numbers, or a `std` of zero or less.
    """
    centre, scale = _channels(images, mean, std)
    return (images - centre).div_(scale)


def denormalise(images: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> Tensor:
    """Return images * std + mean: the inverse of `normalise`. Values are not clipped."""
    centre, scale = _channels(images, mean, std)
    return (images * scale).add_(centre)


def _channels(
    images: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor
) -> tuple[Tensor, Tensor]:
    _shape(images)
    centre, scale = (torch.as_tensor(v, dtype=images.dtype, device=images.device) for v in (mean, std))
    if centre.shape != (3,) or scale.shape != (3,) or not (scale > 0).all():
        raise ImageError("The mean and the std are three numbers each, the std above zero.")
    if images.ndim == 3 or images.stride(1) != 1:
        return centre.view(3, 1, 1), scale.view(3, 1, 1)
    # The channels of a pixel lie side by side: a table that lies so too is subtracted five times as fast as 3 numbers.
    height, width = images.shape[2:]
    centre, scale = (three.repeat(height, width, 1).permute(2, 0, 1) for three in (centre, scale))
    return centre, scale


# --- tensor → file ----------------


def to_array(image: Tensor) -> np.ndarray:
    """Return one picture (3, H, W) as uint8 (H, W, 3), rounded; values outside [0, 1] are clipped.

    Raises:
        ImageError: not one picture, not float, or not finite.
    """
    _shape(image)
    if image.ndim != 3:
        raise ImageError(f"to_array takes one picture (3, H, W), not {tuple(image.shape)}: pass images[0].")
    if not torch.isfinite(image).all():
        raise ImageError("The picture holds NaN or infinite values.")
    values = image.detach().clamp(0, 1) if image.is_floating_point() else image
    check(values)
    return (values * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()  # (H, W, 3)


def to_png(array: np.ndarray) -> bytes:
    """Return the bytes of a PNG file of a uint8 array (H, W), (H, W, 3) or (H, W, 4).

    Raises:
        ImageError: another shape or type.
    """
    array = np.asarray(array)
    shape_is_right = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shape_is_right or array.size == 0:
        raise ImageError(f"A PNG is made of a uint8 array (H, W, 3), not of {array.dtype} {array.shape}.")
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG")
    return file.getvalue()


# --- photographs to work on ----------------

_CC0 = "CC0 1.0"
_CC_BY = "CC BY 2.0"
_SAMPLES = {
    # name: (package, licence, source)
    "astronaut": ("skimage", "public domain", "NASA, portrait of Eileen Collins; flic.kr/p/r9qvLn"),
    "chelsea": ("skimage", _CC0, "Stefan van der Walt"),
    "coffee": ("skimage", _CC0, "Rachel Michetti, Pikolo Espresso Bar"),
    "rocket": (
        "skimage",
        "public domain",
        "SpaceX, launch of DSCOVR; flickr.com/photos/spacexphotos/16511594820",
    ),
    "china": ("sklearn", _CC_BY, "danielbuechele; flickr.com/photos/danielbuechele/6061409035"),
    "flower": ("sklearn", _CC_BY, "vultilion; flickr.com/photos/vultilion/6056698931"),
}


@dataclass(frozen=True)
class Sample:
    """A photograph that comes inside a package: its name, licence, and who made it."""

    name: str
    licence: str
    source: str

    @property
    def image(self) -> Tensor:
        """The picture (3, H, W) in [0, 1], read anew each time, so that it may be changed."""
        if _SAMPLES[self.name][0] == "skimage":  # imported here: these packages take a second to import
            from skimage import data

            pixels = getattr(data, self.name)()
        else:
            from sklearn.datasets import load_sample_image

            pixels = load_sample_image(f"{self.name}.jpg")
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float().div(255).contiguous()


def samples() -> dict[str, Sample]:
    """Return the sample photographs by name; `.image` reads one. Nothing is downloaded."""
    return {name: Sample(name, licence, source) for name, (_, licence, source) in _SAMPLES.items()}
