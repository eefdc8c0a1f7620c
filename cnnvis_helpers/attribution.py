"""Every map of lecture 03 by one call, and every score of a map.

METHODS, SCORES                          names, in the order of the lecture
maps(model, x, layer)                    one map per method and image
scores(model, x, maps, masks)            how right one method's maps are, by five scores
stored()                                 the scores of 520 test images, by method, kind of map and score

    made = maps(net.model, x, "relu5", target_class=labels)               # name → (N, H, W)
    scores(net.model, x, made["RISE"], masks, labels)["deletion"]         # (N,)
    stored()["RISE", "trained", "deletion"].mean()

Nothing here is a method of its own: the modules `occlusion`, `saliency`, `class_activation`, `rise` and
`faithfulness` do the work. What this module fixes are their settings, so that the tables, the lecture and the
control speak of the same maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from cnnvis_helpers import class_activation, faithfulness, occlusion, saliency
from cnnvis_helpers.rise import rise
from cnnvis_helpers.scores import targets

METHODS = ("occlusion", "gradient", "SmoothGrad", "integrated gradients", "Grad-CAM", "RISE")
SCORES = ("pointing", "share inside", "IoU", "deletion", "insertion")
TABLE = Path(__file__).parent / "tables" / "attribution.csv"

MASKS = 400  # of RISE
SAMPLES = 20  # of SmoothGrad
STEPS = 20  # of integrated gradients
CURVE_STEPS = 16  # of deletion and insertion


def maps(
    model: nn.Module,
    x: Tensor,
    layer: str,
    target_class: occlusion.Classes = None,
    *,
    methods: Sequence[str] = METHODS,
    masks: int = MASKS,
    samples: int = SAMPLES,
    steps: int = STEPS,
    seed: int = 0,
    batch: int = 64,
) -> dict[str, Tensor]:
    """The maps of the methods for one class of each image, name → (N, H, W) float32, higher where it is seen.

    - "occlusion": mean drop of the logit; the window is a quarter of the shorter side, its stride a twelfth, the
      fill the mean colour. Signed.
    - "gradient", "SmoothGrad", "integrated gradients" (from the mean colour): `saliency.saliency_map`, 0 or more.
    - "Grad-CAM" of `layer`, enlarged; 0 or more.
    - "RISE", 7 × 7 cells, minus its mean over the map: how much more probable the class is when the pixel shows.

    An image's maps do not depend on the other images: all see the same masks and the same noise, from `seed`.

    Args:
        x: normalised images (N, 3, H, W).
        layer: of Grad-CAM.
        target_class: one class for all images, one for each, or None for the class that the model gives.
        methods: which of `METHODS`.
        masks, samples, steps: of RISE, SmoothGrad and integrated gradients.
        batch: at most so many pictures in memory at once.

    Raises: ValueError for an unknown method, and what the methods raise.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise ValueError(f"There is no method {unknown[0]!r}; there are {', '.join(METHODS)}.")
    clean = occlusion.evaluate(model, lambda index: x.detach()[index], len(x), batch=batch)
    chosen = targets(clean, target_class)

    def by_batch(one: Callable[[Tensor, Tensor], Tensor], size: int) -> Tensor:
        return torch.cat([one(*part) for part in zip(x.split(size), chosen.split(size), strict=True)])

    def occluded() -> Tensor:
        short = min(x.shape[2:])
        window, stride = max(1, short // 4), max(1, short // 12)
        return occlusion.occlude(model, x, window=window, stride=stride, batch=batch).attribution(chosen)

    def smoothed(image: Tensor, c: Tensor) -> Tensor:
        g = torch.Generator().manual_seed(seed)
        return saliency.smooth_grad(model, image, c, samples=samples, generator=g, batch=batch)

    def shown() -> Tensor:
        g = torch.Generator().manual_seed(seed)
        found = rise(model, x, chosen, masks=masks, generator=g, batch=batch)
        return found - found.mean((1, 2), keepdim=True)

    ways: dict[str, Callable[[], Tensor]] = {
        "occlusion": occluded,
        "gradient": lambda: saliency.saliency_map(
            by_batch(lambda *part: saliency.gradient(model, *part), batch)
        ),
        "SmoothGrad": lambda: saliency.saliency_map(by_batch(smoothed, 1)),
        "integrated gradients": lambda: saliency.saliency_map(
            saliency.integrated_gradients(model, x, chosen, steps=steps, batch=batch)
        ),
        "Grad-CAM": lambda: class_activation.upsample(
            by_batch(lambda image, c: class_activation.grad_cam(model, image, layer, c), batch), x.shape[2:]
        ),
        "RISE": shown,
    }
    return {name: ways[name]() for name in methods}


def scores(
    model: nn.Module,
    x: Tensor,
    maps: Tensor,
    masks: Tensor,
    target_class: occlusion.Classes = None,
    *,
    steps: int = CURVE_STEPS,
    batch: int = 64,
) -> dict[str, Tensor]:
    """The five `SCORES` of maps (N, H, W), name → (N,) float32; every one but "deletion" is better when higher.

    "pointing": 1 where the highest pixel is on the object, else 0; "share inside" and "IoU" as in `faithfulness`;
    "deletion" and "insertion": areas under their curves with `steps` steps, in [0, 1].

    Args: masks: bool (N, H, W), True on the object. The rest as `maps`.
    Raises: what `faithfulness` raises.
    """
    gone = faithfulness.deletion(model, x, maps, target_class, steps=steps, batch=batch)
    come = faithfulness.insertion(model, x, maps, target_class, steps=steps, batch=batch)
    found = (
        faithfulness.pointing_game(maps, masks),
        faithfulness.share_inside(maps, masks),
        faithfulness.iou(maps, masks),
        gone.area,
        come.area,
    )
    return {name: values.float().cpu() for name, values in zip(SCORES, found, strict=True)}


def stored(path: Path = TABLE) -> pd.DataFrame:
    """The scores of "diorama/alexnet" on test images that it did not learn from, for the class that is there.

    A row for each image, its number in the test split as index. The columns have three levels: method; kind of map;
    score. Kinds are "trained", "shuffled" (the map of another image) and "untrained" (the map of the network before
    its first step, scored on the trained one). The methods "noise", "centre" and "area" know nothing of the image;
    theirs is the kind "null". NaN: a map without a positive value has no share inside. Written by
    `data_scripts/score_maps.py`, rounded to three digits.
    """
    return pd.read_csv(path, header=[0, 1, 2], index_col=0).sort_index(axis=1) / 1000
