"""Hide a window of the image, move it about, and see what the classifier says at each place.

occlude(model, x)                 run the model for each place of the window
Occlusion                         what came out: by place of the window, or as a map over the pixels
    .probability(c), .labels()        probability of a class, and the most probable class, at each place
    .drop(c), .attribution(c)         what the class loses at each place, and on average at each pixel
positions(h, w, window, stride)   the places: top rows and left columns
cover(x, tops, lefts, window)     the images with a window hidden
blurred(x, sigma)                 the images out of focus: a fill that keeps the colours
filling(x, fill)                  what is shown where an image is hidden
evaluate(model, picture, count)   logits of many pictures that are made a batch at a time
multiplications(model, x)         what `occlude` has to multiply, picture by picture and by what the window changes

    seen = occlude(model, x, window=24, stride=6)
    seen.probability(3), seen.labels()            # (N, rows, columns) each
    seen.attribution(3)                           # (N, H, W), positive where the class needs the pixels

What is shown in the window matters. Zero in a *normalised* image is the mean colour of the training images, not
black; black is `images.normalise(torch.zeros(3, 1, 1), mean, std)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F
from tqdm.auto import trange

from cnnvis_helpers import incremental
from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.scores import logits, targets

Classes = int | Sequence[int] | Tensor | None
Score = Literal["logit", "probability"]
Method = Literal["auto", "plain", "incremental"]

LEAST_RATIO = 1.2  # "auto" does not cut maps into patches to multiply less than so many times less


@dataclass(frozen=True, eq=False)
class Occlusion:
    """What a classifier says with a window hidden, for each place of the window.

    Where a method takes `target_class`: one class for all images, one for each, or None for the class that the
    model gives to the image with nothing hidden. `score` is the logit or the softmax probability. ValueError for
    classes and scores that do not exist.
    """

    logits: Tensor  # (N, rows, columns, classes)
    clean: Tensor  # (N, classes), with nothing hidden
    tops: Tensor  # (rows,), first row of the window
    lefts: Tensor  # (columns,), first column
    window: tuple[int, int]  # height and width
    size: tuple[int, int]  # of the image
    how: str = "plain"  # or "incremental": how it was computed; "plain: …" says why not "incremental"

    def probability(self, target_class: Classes = None) -> Tensor:
        """Probability of the class at each place of the window, (N, rows, columns) float32, in [0, 1]."""
        return self._score(target_class, "probability")[1].float()

    def labels(self) -> Tensor:
        """Most probable class at each place of the window, (N, rows, columns), whole numbers."""
        return self.logits.argmax(3)

    def drop(self, target_class: Classes = None, score: Score = "logit") -> Tensor:
        """Score with nothing hidden minus score with the window hidden, (N, rows, columns) float32."""
        clean, hidden = self._score(target_class, score)
        return (clean[:, None, None] - hidden).float()

    def attribution(self, target_class: Classes = None, score: Score = "logit") -> Tensor:
        """Mean `drop` over all places of the window that hide a pixel, (N, H, W) float32.

        Pixels near the border are hidden by fewer places, so a sum instead of the mean would fade there.
        Departure from captum's `Occlusion`: its last window hangs over the edge where strides do not divide
        the image evenly; here all windows are inside. Where they divide, the two agree.

        Raises: ValueError if the stride leaves pixels between the windows that are never hidden.
        """
        drop = self.drop(target_class, score)
        (height, width), (rows, columns) = self.size, self.window
        down = _hidden(self.tops, rows, height).to(drop)  # (rows, H)
        across = _hidden(self.lefts, columns, width).to(drop)  # (columns, W)
        times = down.sum(0)[:, None] * across.sum(0)
        if not times.all():
            raise ValueError(
                f"The {rows} × {columns} window leaves gaps, so some pixels were never hidden: use a stride of at "
                "most the window's size."
            )
        return torch.einsum("nrc,rh,cw->nhw", drop, down, across) / times

    def _score(self, target_class: Classes, score: Score) -> tuple[Tensor, Tensor]:
        """Scores of the class: (N,) with nothing hidden, and (N, rows, columns)."""
        if score not in ("logit", "probability"):
            raise ValueError(f"score is {score!r}; it must be 'logit' or 'probability'.")
        chosen = targets(self.clean, target_class)
        clean, hidden = self.clean, self.logits
        if score == "probability":
            clean, hidden = clean.softmax(1), hidden.softmax(3)
        image = torch.arange(len(chosen), device=chosen.device)
        return clean[image, chosen], hidden[image, :, :, chosen]


def occlude(
    model: nn.Module,
    x: Tensor,
    *,
    window: int | tuple[int, int],
    stride: int | tuple[int, int],
    fill: float | Tensor = 0.0,
    batch: int = 64,
    progress: bool = False,
    method: Method = "auto",
) -> Occlusion:
    """Run the model for each place of a window that hides a part of the image.

    Departure from the paper: the window is filled with any colour or picture, not always with grey.

    Args:
        x: normalised images (N, 3, H, W).
        window: height and width of the window in pixels; one number for a square.
        stride: how far the window moves, down and across; see `positions`.
        fill: what the window shows, in normalised units; see `filling`.
        batch: at most so many pictures in memory at once.
        method: "plain" runs the model on each picture. "incremental" computes in each layer only what the window can
            change: the same logits but for rounding, 1.5 to 7 times sooner (see `incremental`). "auto" is that where
            it can be done and there is less to multiply, otherwise "plain"; `how` of what is returned says which.

    Raises: ValueError for input that is no batch of finite images, a window, stride or batch that does not fit, and
        a model that gives anything but finite logits (N, classes), or that "incremental" cannot follow.
    Source: Zeiler & Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014, section 4.2.
    """
    if method not in ("auto", "plain", "incremental"):
        raise ValueError(f"method is {method!r}; it must be 'auto', 'plain' or 'incremental'.")
    shown = filling(x, fill)
    height, width = x.shape[2:]
    tops, lefts = positions(height, width, window, stride)
    columns, places = len(lefts), len(tops) * len(lefts)
    clean = evaluate(model, lambda index: x[index], len(x), batch=batch)

    def picture(index: Tensor) -> Tensor:
        image, place = index // places, index % places
        top, left = tops[place // columns], lefts[place % columns]
        return cover(x[image], top, left, window, shown[image])

    how = "plain"
    if method != "plain":
        try:
            least = LEAST_RATIO if method == "auto" else 0
            given = (model, x, shown, tops, lefts, _pair(window), clean)
            hidden = incremental.hidden(*given, batch=batch, least=least, progress=progress)
            how = "incremental"
        except incremental.NotFollowed as reason:
            if method == "incremental":
                raise
            how = f"plain: {reason}"
    if how != "incremental":
        hidden = evaluate(model, picture, len(x) * places, batch=batch, progress=progress)
    return Occlusion(
        logits=_finite(hidden).view(len(x), len(tops), columns, -1),
        clean=clean,
        tops=tops,
        lefts=lefts,
        window=_pair(window),
        size=(height, width),
        how=how,
    )


def multiplications(
    model: nn.Module, x: Tensor, *, window: int | tuple[int, int], stride: int | tuple[int, int]
) -> incremental.Work:
    """Multiplications of `occlude` for one image of the size of `x` (N, C, H, W): `.plain`, `.incremental`, `.ratio`.

    Those of convolutions and fully connected layers; the rest is little, but takes time too. Raises: ValueError for
    windows that do not fit and for a model that can only be computed plainly.
    """
    tops, lefts = positions(x.shape[2], x.shape[3], window, stride)
    return incremental.multiplications(model, x, tops, lefts, _pair(window))


def positions(
    height: int, width: int, window: int | tuple[int, int], stride: int | tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Top rows (rows,) and left columns (columns,) of a window that moves over an image, whole numbers.

    Every place is inside the image, the first at 0 and the last flush with the far border, so the last step is
    shorter where the stride does not divide the way:

        |■■■■······|   |···■■■■···|   |······■■■■|      window 4, stride 3, width 10
        |■■■■·····|    |···■■■■··|    |·····■■■■|       window 4, stride 3, width 9

    Raises: ValueError for a window larger than the image, and sizes or strides below 1.
    """
    (rows, columns), (down, across) = _pair(window), _pair(stride)
    if min(rows, columns, down, across) < 1:
        raise ValueError(f"A window and its stride are at least 1 pixel, not {window} and {stride}.")
    if rows > height or columns > width:
        raise ValueError(f"A {rows} × {columns} window does not fit into a {height} × {width} image.")
    last_top, last_left = height - rows, width - columns
    tops, lefts = [*range(0, last_top, down), last_top], [*range(0, last_left, across), last_left]
    return torch.tensor(tops), torch.tensor(lefts)


def cover(
    x: Tensor,
    tops: int | Tensor,
    lefts: int | Tensor,
    window: int | tuple[int, int],
    fill: float | Tensor = 0.0,
) -> Tensor:
    """The images (N, C, H, W) with a window hidden: at one place, or for each image at its own, `tops` (N,).

    A window that reaches over the border hides the part inside. `fill`: see `filling`.
    """
    shown = filling(x, fill)
    rows, columns = _pair(window)
    down, across = _hidden(tops, rows, x.shape[2]), _hidden(lefts, columns, x.shape[3])  # (N, H), (N, W)
    inside = down[:, None, :, None] & across[:, None, None, :]
    return torch.where(inside.to(x.device), shown, x.detach())


def blurred(x: Tensor, sigma: float) -> Tensor:
    """The images (N, C, H, W) under a Gaussian blur of `sigma` pixels, the image mirrored beyond its border.

    Raises: ValueError for a `sigma` of zero or less.
    """
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma is {sigma}; a blur needs a number of pixels above zero.")
    reach = min(math.ceil(3 * sigma), min(x.shape[2:]) - 1)  # an image cannot mirror more than itself
    return F.gaussian_blur(x.detach(), [2 * reach + 1] * 2, [sigma] * 2)


def filling(x: Tensor, fill: float | Tensor) -> Tensor:
    """What is shown where an image is hidden, (N, C, H, W), in normalised units like `x` (N, C, H, W).

    Args:
        fill: one number for all channels (0 is the mean colour, not black), a colour (C,), or a picture (C, H, W)
            for all or (N, C, H, W) for each image, such as `blurred(x, sigma)`.

    Raises: ValueError if `x` is no batch of finite images, or `fill` none of these.
    """
    if x.ndim != 4 or x.numel() == 0 or not x.is_floating_point():
        raise ValueError(
            f"x must be a batch of normalised images (N, C, H, W), floats, at least one of them, not {x.dtype} "
            f"{tuple(x.shape)}; pass x[None] for one image."
        )
    colour = torch.as_tensor(fill).detach().to(x)
    if not x.isfinite().all() or not colour.isfinite().all():
        raise ValueError(f"{'fill' if x.isfinite().all() else 'x'} holds NaN or infinite values.")
    if colour.ndim == 1:
        colour = colour.view(-1, 1, 1)
    fits = all(have in (1, want) for have, want in zip(colour.shape[::-1], x.shape[::-1], strict=False))
    if colour.ndim not in (0, 1, 3, 4) or not fits:
        raise ValueError(
            f"fill has the shape {tuple(torch.as_tensor(fill).shape)}; for images {tuple(x.shape)} give a number, "
            "a colour (C,), a picture (C, H, W), or one for each (N, C, H, W)."
        )
    return colour.expand_as(x)


def evaluate(
    model: nn.Module, picture: Callable[[Tensor], Tensor], count: int, *, batch: int, progress: bool = False
) -> Tensor:
    """Logits (count, classes) of pictures that are made a batch at a time, without gradients.

    Args:
        picture: takes numbers (b,) from 0 to count - 1, gives these pictures (b, C, H, W) as a new tensor, since
            a first layer may work in place.
        batch: at most so many pictures in memory at once.

    Raises: ValueError for a batch below 1, and a model that gives anything but finite logits (N, classes).
    """
    if batch < 1:
        raise ValueError(f"batch is the number of pictures at a time, 1 or more, not {batch}.")
    parts = []
    with frozen(model), torch.no_grad():
        for start in trange(0, count, batch, disable=not progress):
            parts.append(logits(model, picture(torch.arange(start, min(start + batch, count)))))
    return _finite(torch.cat(parts))


def _finite(y: Tensor) -> Tensor:
    if not y.isfinite().all():
        raise ValueError("The model gives NaN or infinite logits for finite images: its weights are broken.")
    return y


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or not all(isinstance(size, Integral) for size in pair):
        raise ValueError(f"A size is a whole number of pixels, or two (height, width), not {value!r}.")
    return int(pair[0]), int(pair[1])


def _hidden(starts: int | Tensor, extent: int, size: int) -> Tensor:
    """Which of `size` positions lie in each of the intervals that begin at `starts`, (M, size)."""
    offset = torch.arange(size) - torch.as_tensor(starts).reshape(-1, 1).cpu()
    return (offset >= 0) & (offset < extent)
