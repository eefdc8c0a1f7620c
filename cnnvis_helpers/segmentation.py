"""From a saliency map to an object's outline, without ever having seen one.

segment(saliency, images)       mask of the object: seeds, a colour model for each, and a graph cut
seeds(saliency)                 the pixels that are surely object, and those that are surely not
graph_cut(odds, image)          the labelling of one image that agrees with its odds and borders on edges

    maps = saliency.saliency_map(saliency.gradient(model, x))        # (N, H, W)
    masks = segment(maps, images)                                    # (N, H, W) bool
    share = masks.float().mean((1, 2))                               # how much of each image is object

A saliency map marks parts of an object, those that decide; the colours that occur there tell what else belongs to
it. Source: Simonyan, Vedaldi & Zisserman, *Deep inside convolutional networks*, ICLR workshop 2014, section 3.2.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from sklearn.mixture import GaussianMixture
from torch import Tensor
from tqdm.auto import tqdm

from cnnvis_helpers import images as pictures

_UNITS = 1000  # the flow is in whole numbers, each a thousandth of a natural logarithm
_CERTAIN = 20.0  # log odds beyond this count as this: all numbers then fit in 32 bits
_LEAST_VARIANCE = (
    1e-3  # of a colour component: a spread of 8 grey levels, about what noise and compression make
)


def segment(
    saliency: Tensor,
    images: Tensor,
    *,
    foreground: float = 0.95,
    background: float = 0.30,
    blur: float = 2.0,
    components: int = 5,
    smoothness: float = 10.0,
    largest: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Tensor:
    """Mask of the object in each image, (N, H, W) bool, on saliency's device.

    `seeds` gives sure pixels; one mixture of Gaussians over colours is fitted to those of the object and one to
    those of the background; `graph_cut` labels all pixels by the ratio of the two densities. Background seeds stay
    background, object seeds may be overruled, since part of the most salient pixels lie beside the object. A map
    without contrast (below two object seeds) gives an empty mask. The colours do much of the work: judge a map by
    how much better its masks are than those from an untrained network's map, or from one that is high in the centre.

    Departures from the paper: the map is blurred first; background seeds are fixed; the energy of the cut, which
    the paper leaves open, is GrabCut's without its iterations.

    Args:
        saliency: maps (N, H, W), higher for the object.
        images: pictures (N, 3, H, W) in [0, 1], as they look, not normalised.
        foreground, background: quantiles of each map; `blur`: standard deviation in pixels; see `seeds`.
        components: Gaussians in each mixture, fewer where there are fewer colours.
        smoothness: price of a border, see `graph_cut`.
        largest: keep the largest connected region alone, as the paper does.
        seed: of the mixtures' start.
        progress: show a bar over the images.

    Raises: ValueError for maps and images that do not fit, are not finite or not in [0, 1], and as `seeds` and
        `graph_cut`.
    """
    pictures.check(images)
    if images.ndim != 4 or saliency.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"segment takes maps (N, H, W) and images (N, 3, H, W), not {tuple(saliency.shape)} and "
            f"{tuple(images.shape)}; `class_activation.upsample` gives maps another size."
        )
    if components < 1:
        raise ValueError(f"components is {components}; it must be at least 1.")
    inside, outside = (s.cpu().numpy() for s in seeds(saliency, foreground, background, blur))
    colours = images.detach().float().cpu().permute(0, 2, 3, 1).numpy()  # (N, H, W, 3)
    masks = np.zeros(inside.shape, bool)
    for i in tqdm(range(len(masks)), disable=not progress):
        if inside[i].sum() < 2:
            continue
        pixels = colours[i].reshape(-1, 3)
        odds = np.zeros(len(pixels))
        for sign, sure in ((1, inside[i]), (-1, outside[i])):
            odds += sign * _mixture(colours[i][sure], components, seed).score_samples(pixels)
        odds = odds.reshape(inside[i].shape)
        odds[outside[i]] = -np.inf
        mask = graph_cut(odds, colours[i], smoothness)
        masks[i] = _largest_region(mask) if largest else mask
    return torch.from_numpy(masks).to(saliency.device)


def seeds(
    saliency: Tensor, foreground: float = 0.95, background: float = 0.30, blur: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Pixels above the `foreground` quantile of their map, and those up to the `background` quantile.

    Two masks (N, H, W) bool that do not overlap. `blur`, the standard deviation of a Gaussian in pixels, first
    gathers the speckle of gradient maps; 0 leaves them as they are.

    Raises: ValueError for maps that are not (N, H, W), empty or not finite, quantiles that are not
        0 ≤ background ≤ foreground ≤ 1, or a negative blur.
    """
    if saliency.ndim != 3 or saliency.numel() == 0 or not saliency.isfinite().all():
        raise ValueError(
            f"Saliency maps are (N, H, W) and finite; these are {tuple(saliency.shape)}, or hold NaN."
        )
    if not (0 <= background <= foreground <= 1 and 0 <= blur < np.inf):
        raise ValueError(
            f"It must be that 0 ≤ background ≤ foreground ≤ 1 and blur ≥ 0; they are {background}, {foreground} "
            f"and {blur}."
        )
    maps = ndimage.gaussian_filter(saliency.detach().float().cpu().numpy(), (0, blur, blur))
    high, low = np.quantile(maps, [foreground, background], axis=(1, 2), keepdims=True)
    return torch.from_numpy(maps > high).to(saliency.device), torch.from_numpy(maps <= low).to(
        saliency.device
    )


def graph_cut(odds: np.ndarray, image: np.ndarray, smoothness: float = 10.0) -> np.ndarray:
    """The mask (H, W) bool with the least energy: an exact minimum, found as a minimum cut.

    The energy is −Σ odds(p) over the pixels p of the mask, plus, for every pair of neighbours p, q (8 each) of
    which one is in the mask, smoothness · exp(−‖I(p) − I(q)‖² / 2 ⟨‖I(p) − I(q)‖²⟩) / distance(p, q), where ⟨ ⟩ is
    the mean over all pairs. A border is therefore cheap where the colour changes.

    Args:
        odds: (H, W), logarithm of how much more likely each pixel is object than background; −inf and inf fix it.
        image: (H, W, 3) in [0, 1].
        smoothness: in the unit of `odds`; 0 labels each pixel by the sign of its own odds.

    Odds beyond ±20 count as ±20, and all terms are rounded to 0.001. Of several minima the smallest mask is given.

    Raises: ValueError for shapes that do not fit, NaN, or a smoothness outside 0 to 1000.
    Sources: Boykov & Jolly, *Interactive graph cuts*, ICCV 2001; the contrast term is that of Rother, Kolmogorov &
        Blake, *GrabCut*, SIGGRAPH 2004.
    """
    if (
        odds.ndim != 2
        or image.shape != (*odds.shape, 3)
        or np.isnan(odds).any()
        or not np.isfinite(image).all()
    ):
        raise ValueError(
            f"graph_cut takes odds (H, W) and an image (H, W, 3) without NaN, not {odds.shape} and {image.shape}."
        )
    if not 0 <= smoothness <= 1000:
        raise ValueError(f"smoothness is {smoothness}; it must be from 0 to 1000.")
    (height, width), colours = odds.shape, image.reshape(-1, 3)
    pixel = np.arange(odds.size).reshape(height, width)
    one, other, distance = [], [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):  # each pair of neighbours once
        one.append(pixel[: height - dy, max(0, -dx) : width - max(0, dx)].ravel())
        other.append(pixel[dy:, max(0, dx) : width + min(0, dx)].ravel())
        distance.append(np.full(one[-1].size, np.hypot(dy, dx)))
    p, q = np.concatenate(one), np.concatenate(other)
    contrast = np.square(colours[p] - colours[q]).sum(1)
    scale = 2 * contrast.mean() if contrast.any() else 1.0
    border = smoothness * np.exp(-contrast / scale) / np.concatenate(distance)

    # Cutting the edge source → p costs what it costs to call p background, p → sink what it costs to call it object.
    fixed = 8 * smoothness + _CERTAIN  # more than all borders of a pixel
    own = np.where(np.isinf(odds), np.sign(odds) * fixed, odds.clip(-_CERTAIN, _CERTAIN)).ravel()
    source, sink = odds.size, odds.size + 1
    yes, no = np.flatnonzero(own > 0), np.flatnonzero(own < 0)
    start = np.concatenate([p, q, np.full(len(yes), source), no])
    end = np.concatenate([q, p, yes, np.full(len(no), sink)])
    capacity = np.round(_UNITS * np.concatenate([border, border, own[yes], -own[no]])).astype(np.int32)
    graph = csr_array((capacity, (start, end)), shape=(odds.size + 2, odds.size + 2))
    left = graph - maximum_flow(graph, source, sink).flow
    left.eliminate_zeros()
    mask = np.zeros(odds.size + 2, bool)
    mask[breadth_first_order(left, source, return_predecessors=False)] = True  # what the source still reaches
    return mask[: odds.size].reshape(height, width)


def _mixture(pixels: np.ndarray, components: int, seed: int) -> GaussianMixture:
    count = min(components, len(np.unique(pixels, axis=0)))
    return GaussianMixture(count, reg_covar=_LEAST_VARIANCE, random_state=seed).fit(pixels)


def _largest_region(mask: np.ndarray) -> np.ndarray:
    regions, count = ndimage.label(mask)
    return mask if count < 2 else regions == 1 + np.bincount(regions.ravel())[1:].argmax()
