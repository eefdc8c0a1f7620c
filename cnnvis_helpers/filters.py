"""What the weights of a convolution look like, in pictures and in numbers.

first_convolution(model)      name of the first convolution that looks at three colour channels
convolutions(model)           names of all convolutions
weights(model, layer)         detached copy of a layer's weights
to_colour(w)                  three-channel filters as colour pictures, 0.5 = weight zero
grey_slices(w)                filters of any depth as one grey picture per input channel
smoothness(w)                 1 = smooth, 0 = white noise
is_noisy(w)                   which filters fall below the smoothness of half signal, half noise
colourfulness(w)              share of a filter's energy that is colour, not grey
centre_frequency(w)           mean spatial frequency in cycles per pixel
rotate(w, degrees)            the filters turned anticlockwise
rotation_similarity(w)        best correlation of every pair over rotations
surrogates(w, generator)      filters of the same spectrum with random phases: a null for similarity
aliasing(w, images, stride)   share of the responses' power that a stride folds onto wrong frequencies

    w = filters.weights(model, filters.first_convolution(model))   # (N, 3, k, k)
    print(f"{int(filters.is_noisy(w).sum())} of {len(w)} filters are noisy")

A filter bank is a tensor (N, C, kH, kW): N filters over C input channels. No function changes its argument; results
are on the CPU.
"""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

# The expected largest of four independent standard normal numbers: the optimism of taking the best of four.
MAXIMUM_OF_FOUR = 1.0294

Scale = Literal["filter", "common"]


def convolutions(model: nn.Module) -> list[str]:
    """Names of all `nn.Conv2d` modules, in the order in which the model registers them."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


def first_convolution(model: nn.Module) -> str:
    """Name of the first `nn.Conv2d` with three input channels; ValueError where the model has none."""
    for name in convolutions(model):
        if model.get_submodule(name).in_channels == 3:
            return name
    raise ValueError(
        "The model has no convolution with 3 input channels; choose a layer from convolutions(model)."
    )


def weights(model: nn.Module, layer: str) -> Tensor:
    """A detached float32 copy, on the CPU, of a layer's weights.

    A convolution gives (out, in / groups, kH, kW), a fully connected layer (out, in).
    Raises ValueError for an unknown layer and for one without a weight.
    """
    modules = dict(model.named_modules())
    having = [name for name, module in modules.items() if isinstance(getattr(module, "weight", None), Tensor)]
    if layer not in having:
        raise ValueError(f"Layer {layer!r} has no weights here; layers with weights: {', '.join(having)}.")
    return modules[layer].weight.detach().float().cpu().clone()


def to_colour(w: Tensor, scale: Scale = "filter") -> np.ndarray:
    """Colour pictures (N, kH, kW, 3) in [0, 1] of filters (N, 3, kH, kW).

    Weight zero becomes 0.5 (mid-grey) in every channel. `scale="filter"` divides each filter by its own
    largest absolute weight, which shows the shape of weak filters; `"common"` divides all by one number,
    which shows that they are weak. All three channels share the number, so that hues are kept. Raises
    ValueError unless C = 3.
    """
    w = _bank(w)
    if w.shape[1] != 3:
        raise ValueError(f"Colour pictures need filters with 3 channels, got {w.shape[1]}; use grey_slices.")
    return _centred(w, scale).permute(0, 2, 3, 1).numpy()


def grey_slices(w: Tensor, scale: Scale = "filter") -> np.ndarray:
    """Grey pictures (N, C, kH, kW) in [0, 1], one for each input channel; 0.5 = weight zero."""
    w = _bank(w)
    return _centred(w, scale).numpy()


def smoothness(w: Tensor) -> Tensor:
    """Correlation of neighbouring weights along the smoothest direction, (N,); 1 = smooth, 0 = noise.

    For each of four directions d (right, down and the two diagonals) the neighbours p and p + d are
    compared,
        r(d) = 1 - sum (w(p) - w(p+d))² / sum (w(p)² + w(p+d)²),
    summed over channels, so that a channel counts by its energy. r is in [-1, 1] and has mean 0 for white
    noise of any size. The best direction is taken because a fine grating is smooth along its stripes
    however narrow they are. The best of four noisy numbers is above 0 by chance: b = 1.03 / sqrt(P · C')
    for P neighbour pairs and C' effectively different channels. It is removed by (r - b) / (1 - b): white
    noise has mean 0 and a constant filter 1. Sizes and colours are then comparable; single noise filters
    scatter by 0.05 for 9 × 9 in colour and 0.13 for 7 × 7 in grey. The filter's
    mean is kept, since a flat patch of colour is as smooth as a filter gets. A filter of zeros gives NaN.

    Raises ValueError for 1 × 1 kernels, which have no neighbours. The measure is this course's own.
    """
    w = _bank(w)
    height, width = w.shape[2:]
    if min(height, width) < 2:
        raise ValueError(
            f"Smoothness compares neighbours, so kernels must be 2 × 2 or larger, not {height} × {width}."
        )
    w = w.detach().double()
    if not w.isfinite().all():
        raise ValueError(
            "The filters hold NaN or infinite weights: the network that they come from is broken."
        )
    pairs = [
        (w[:, :, :, :-1], w[:, :, :, 1:]),
        (w[:, :, :-1, :], w[:, :, 1:, :]),
        (w[:, :, :-1, :-1], w[:, :, 1:, 1:]),
        (w[:, :, :-1, 1:], w[:, :, 1:, :-1]),
    ]
    each = [1 - (a - b).square().sum((1, 2, 3)) / (a.square() + b.square()).sum((1, 2, 3)) for a, b in pairs]
    count = sum(a[0, 0].numel() for a, _ in pairs) / len(pairs)
    bias = MAXIMUM_OF_FOUR / (count * _effective_channels(w)).sqrt()
    bias = bias.clamp(max=0.9)
    return ((torch.stack(each).nan_to_num(nan=-1.0).amax(0) - bias) / (1 - bias)).float()


def is_noisy(w: Tensor, threshold: float = 0.5) -> Tensor:
    """Mask (N,) of the filters whose smoothness is below `threshold`; a filter of zeros is not noisy.

    White noise added to a perfectly smooth filter lowers its smoothness to the signal's share of the
    energy. So the default means: at least about half of the filter's energy is pixel noise.
    """
    return smoothness(w) < threshold


def colourfulness(w: Tensor) -> Tensor:
    """Share of each filter's energy outside the grey axis, (N,): 0 = grey, 1 = pure opponent colour.

    At every position the weight vector (red, green, blue) is split into its projection on (1, 1, 1)/√3
    and the rest. Independent noise in three channels has 2/3. A filter of zeros gives NaN; C ≠ 3 raises
    ValueError.
    """
    w = _bank(w)
    if w.shape[1] != 3:
        raise ValueError(f"Colourfulness needs filters with 3 channels, got {w.shape[1]}.")
    energy = w.square().sum((1, 2, 3))
    grey = w.sum(1).square().sum((1, 2)) / 3
    return 1 - grey / energy


def centre_frequency(w: Tensor, size: int = 32) -> Tensor:
    """Mean spatial frequency of each filter in cycles per pixel, (N,), weighted by spectral power.

    The spectrum is taken on a `size` × `size` grid (zero padding). A flat 9 × 9 filter has 0.08, for its edges
    count; white noise is near 0.38, a grating of wavelength L near 1 / L. A filter of zeros gives NaN.
    """
    w = _bank(w)
    power = torch.fft.fft2(w, s=(size, size)).abs().square().sum(1)  # (N, size, size)
    return (power * _radial_frequency(size, size)).sum((1, 2)) / power.sum((1, 2))


def rotate(w: Tensor, degrees: float) -> Tensor:
    """The filters (N, C, k, k) turned anticlockwise about their centre, by bilinear interpolation.

    Quarter turns are exact. Corners that turn in from outside repeat the border.
    """
    w = _bank(w)
    if degrees % 90 == 0:
        return torch.rot90(w, int(degrees // 90), (2, 3))
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = torch.tensor([[cosine, -sine, 0], [sine, cosine, 0]]).expand(len(w), 2, 3)
    grid = functional.affine_grid(matrix, list(w.shape), align_corners=True)
    return functional.grid_sample(w, grid, mode="bilinear", padding_mode="border", align_corners=True)


def rotation_similarity(w: Tensor, angles: int = 24) -> tuple[Tensor, Tensor]:
    """Best absolute correlation of every pair of filters when one of them is turned.

    Returns `similarity` (N, N) in [0, 1] and `angle` (N, N): the turn in degrees, anticlockwise, in [0,
    360), that makes filter i most like filter j. Both are compared inside the inscribed disc, where a
    turned square has no missing corners; a filter's mean inside the disc is removed, so that similarity
    is Pearson's correlation over positions and channels. The sign is ignored, since a filter and its
    negative see the same pattern. The diagonal is NaN: no filter is its own twin. Turns are multiples of
    360 / `angles` degrees by bilinear interpolation; multiples of 90 are exact, which favours them
    slightly, in a null as well. `angles=1` compares the filters as they are. Raises ValueError for
    kernels that are not square.
    """
    w = _bank(w)
    n, _, height, width = w.shape
    if height != width:
        raise ValueError(f"Rotation needs square kernels, got {height} × {width}.")
    if angles < 1:
        raise ValueError(f"angles is the number of turns to try, 1 or more, got {angles}.")
    centre = torch.linspace(-1, 1, width)
    disc = (centre[None] ** 2 + centre[:, None] ** 2 <= 1 + 1e-6).flatten()
    turns = torch.arange(angles) * (360 / angles)
    still = _standardised(w, disc)
    similarity, angle = torch.full((n, n), -1.0), torch.zeros(n, n)
    for turn in turns.tolist():
        score = (_standardised(rotate(w, turn), disc) @ still.T).abs()
        better = score > similarity + 1e-6  # ties keep the smaller turn, whatever the rounding
        similarity, angle = torch.where(better, score, similarity), torch.where(better, turn, angle)
    # Turning i by t onto j is turning j by -t onto i; interpolation makes the two differ a little.
    other = (360 - angle.T) % 360
    angle = torch.where(similarity >= similarity.T, angle, other)
    similarity = torch.maximum(similarity, similarity.T).clamp(max=1)
    return similarity.fill_diagonal_(math.nan), angle.fill_diagonal_(math.nan)


def surrogates(w: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Filters (N, C, kH, kW) with the amplitude spectrum of `w` and random phases.

    The phases are added alike to all channels of a filter, so its colours, wavelengths, orientation and
    smoothness stay and its shape goes. Source: Prichard & Theiler, Physical Review Letters 73 (1994) 951,
    there for time series.
    """
    w = _bank(w)
    noise = torch.randn((w.shape[0], 1, *w.shape[2:]), generator=generator)
    phase = torch.fft.fft2(noise)
    phase = phase / phase.abs().clamp(min=1e-12)
    phase[:, :, 0, 0] = 1  # the filter's mean keeps its sign
    return torch.fft.ifft2(torch.fft.fft2(w) * phase).real


def aliasing(w: Tensor, images: Tensor, stride: int) -> Tensor:
    """Share of each filter's response power that a stride cannot represent, (N,), in [0, 1].

    The images (M, C, H, W) are filtered at every pixel, without padding, and the power spectrum of the
    responses is taken without its mean. A grid with one sample every `stride` pixels carries horizontal
    and vertical frequencies up to 1 / (2 · stride) cycles per pixel; power beyond either bound folds back
    as a wrong, low frequency. A response without any variation gives NaN.
    """
    w = _bank(w)
    if stride < 1:
        raise ValueError(f"A stride is 1 or more, got {stride}.")
    if images.ndim != 4 or images.shape[1] != w.shape[1] or min(images.shape[2:]) <= max(w.shape[2:]):
        raise ValueError(
            f"Images are (M, {w.shape[1]}, H, W), larger than the {w.shape[2]} × {w.shape[3]} filters, got "
            f"{tuple(images.shape)}."
        )
    images = images.detach().to(w)
    responses = functional.conv2d(images, w)  # (M, N, H', W')
    responses = responses - responses.mean((2, 3), keepdim=True)
    power = torch.fft.fft2(responses).abs().square().sum(0)  # (N, H', W')
    limit = 1 / (2 * stride) + 1e-6
    rows, columns = (torch.fft.fftfreq(size).abs() for size in responses.shape[2:])
    lost = (rows[:, None] > limit) | (columns[None] > limit)
    return (power * lost).sum((1, 2)) / power.sum((1, 2))


def _bank(w: Tensor) -> Tensor:
    """A filter bank as float32 on the CPU, without history; ValueError for anything else."""
    if not isinstance(w, Tensor) or w.ndim != 4:
        given = tuple(w.shape) if isinstance(w, Tensor) else type(w).__name__
        raise ValueError(f"A filter bank has the shape (filters, channels, height, width), got {given}.")
    w = w.detach().float().cpu()
    if not w.isfinite().all():
        raise ValueError(
            "The filters hold NaN or infinite weights: the network that they come from is broken."
        )
    return w


def _centred(w: Tensor, scale: Scale) -> Tensor:
    if scale == "filter":
        largest = w.abs().amax((1, 2, 3), keepdim=True)
    elif scale == "common":
        largest = w.abs().amax()
    else:
        raise ValueError(f"scale is 'filter' or 'common', got {scale!r}.")
    return 0.5 + 0.5 * w / largest.clamp(min=1e-12)


def _effective_channels(w: Tensor) -> Tensor:
    """How many different channels a filter has, (N,), between 1 (all proportional) and C (all unlike).

    The participation ratio of the channels' inner products, less what chance correlation adds to it.
    """
    flat = w.flatten(2)
    inner = flat @ flat.mT  # (N, C, C)
    trace = inner.diagonal(dim1=1, dim2=2).sum(1)
    inverse = inner.square().sum((1, 2)) / trace.square() - 1 / flat.shape[2]
    return 1 / inverse.clamp(1 / flat.shape[1], 1)


def _radial_frequency(height: int, width: int) -> Tensor:
    return (torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.fftfreq(width)[None] ** 2).sqrt()


def _standardised(w: Tensor, disc: Tensor) -> Tensor:
    """(N, C · positions in the disc), mean 0 and length 1 in each row."""
    flat = w.flatten(2)[:, :, disc].flatten(1)
    return functional.normalize(flat - flat.mean(1, keepdim=True), dim=1)
