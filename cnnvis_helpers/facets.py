"""The different sides of one unit or class: images that start from the means of groups of real images.

    facet_means(codes, images, 4)  the mean image of each cluster of codes
    centre_window(size)            weights that let the middle of an image change most

    starts = facet_means(codes[labels == 3], images[labels == 3], 4)           # (4, 3, s, s)
    pictures = synthesise(model, logit(3), normalise=net.normalise, size=96, start=starts, window=centre_window(96))

A class is many things: a boat with sails, a boat without, seen from afar. From noise, ascent finds one of them, or all
of them in pieces (Nguyen, Yosinski & Clune, *Multifaceted feature visualization*, 2016).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnvis_helpers.images import check


def facet_means(
    codes: Tensor | NDArray[Any], images: Tensor, facets: int = 4, *, nearest: int = 15, seed: int = 0
) -> Tensor:
    """Mean image of each cluster of codes, (facets, 3, s, s) in [0, 1]; the cluster with the most images first.

    The codes (N, D) of images (N, 3, s, s) are clustered by k-means; the mean is of the images whose codes are the
    `nearest` to the cluster's centre, of all its images if it has fewer. Departure from the paper: it clusters
    the codes after t-SNE into the plane.

    Raises: ValueError for codes that are no finite table with a row for each image, and unless 1 ≤ facets ≤ N and
        nearest ≥ 1. images.ImageError for images outside [0, 1].
    """
    from sklearn.cluster import KMeans

    check(images)
    table = codes.numpy(force=True) if isinstance(codes, Tensor) else np.asarray(codes)
    if table.ndim != 2 or images.ndim != 4 or len(table) != len(images) or not np.isfinite(table).all():
        raise ValueError(
            f"Codes are a finite table (N, D) with a row for each image, not {table.shape} for images "
            f"{tuple(images.shape)}."
        )
    if not 1 <= facets <= len(table) or nearest < 1:
        raise ValueError(
            f"There are {len(table)} images: facets is from 1 to {len(table)} and nearest 1 or more, not {facets} and "
            f"{nearest}."
        )
    distances = KMeans(facets, n_init=10, random_state=seed).fit_transform(table)  # (N, facets)
    members = [np.flatnonzero(distances.argmin(1) == k) for k in range(facets)]
    order = sorted(range(facets), key=lambda k: -len(members[k]))
    chosen = [members[k][distances[members[k], k].argsort(kind="stable")[:nearest]] for k in order]
    if min(map(len, chosen)) == 0:
        raise ValueError(f"There are fewer than {facets} different codes: ask for fewer facets.")
    return torch.stack([images[torch.from_numpy(rows)].mean(0) for rows in chosen])


def centre_window(size: int, spread: float = 0.25) -> Tensor:
    """Weights exp(−d² / 2σ²), (size, size), 1 in the middle; d is the distance from it and σ = `spread` · `size`.

    As `window` of `synthesise` it makes each update smaller towards the border, so that one object grows in the
    middle instead of many all over (the paper's centre-biased regularisation). Raises ValueError for a size below 1
    and a spread that is not above 0.
    """
    if size < 1 or not spread > 0:
        raise ValueError(f"A window has a size of 1 or more and a spread above 0, not {size} and {spread}.")
    squared = (torch.arange(size) - (size - 1) / 2).square()
    return torch.exp(-(squared[:, None] + squared) / (2 * (spread * size) ** 2))
