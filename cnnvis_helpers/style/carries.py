"""What a layer carries: its maps as vectors, with and without the places, for a linear probe.

- `layer_codes`: a layer's answer to every image as a table, as means, Gram matrices, maps, or maps shuffled

    what = layer_codes(net.model, x, "relu3", "gram")                    # (N, C (C + 1) / 2)
    print(codes.probe(what, scenes), codes.probe(layer_codes(net.model, x, "relu3", "shuffled"), scenes))
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.survey import batches

from .matrices import Reader, gram


def layer_codes(
    model: nn.Module,
    data: Any,
    layer: str,
    kind: Literal["mean", "gram", "places", "shuffled"],
    *,
    grid: int | None = None,
    generator: torch.Generator | None = None,
    batch: int = 64,
    progress: bool = False,
) -> Tensor:
    """What a layer's maps say about every image, as a table for `codes.probe`: (N, D) float32 on the CPU.

    "mean": the mean of each channel over places, D = C. "gram": the Gram matrix without its mirrored half, D =
    C (C + 1) / 2. "places": the maps as they are, D = C · H · W. "shuffled": these with the places of each image in an
    order of its own, drawn by `generator`, all channels alike: the null of "places"; the first two would not change.

    Args:
        data: normalised images of one size, as for `codes.codes`.
        grid: average maps to grid × grid places first, which keeps "places" small.

    Raises: as `codes.codes`; ValueError for an unknown kind, LayerError for a layer that gives no maps.
    """
    if kind not in ("mean", "gram", "places", "shuffled"):
        raise ValueError(f"kind is {kind!r}; it must be 'mean', 'gram', 'places' or 'shuffled'.")
    if grid is not None and grid < 1:
        raise ValueError(f"grid is {grid}; it must be 1 or more, or None.")
    generator = generator or torch.Generator().manual_seed(0)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    found = []
    for _, images in batches(data, batch, progress=progress):
        with frozen(model), torch.no_grad():
            maps = Reader(model, [layer])(images.to(device))[layer].float().cpu()
        if not maps.isfinite().all():
            raise ValueError(f"Layer {layer!r} gives NaN or infinite values: look at the weights.")
        maps = maps if grid is None else functional.adaptive_avg_pool2d(maps, grid)
        if kind == "gram":
            upper = torch.triu_indices(maps.shape[1], maps.shape[1])
            found.append(gram(maps)[:, upper[0], upper[1]])
            continue
        flat = maps.flatten(2)
        if kind == "shuffled":
            flat = torch.stack([one[:, torch.randperm(one.shape[1], generator=generator)] for one in flat])
        found.append(flat.mean(2) if kind == "mean" else flat.flatten(1))
    return torch.cat(found)
