"""Where in the image a class is found: maps of a late layer, weighted for the class.

grad_cam(model, x, layer)             class activation map of one layer, for any differentiable network
grad_cams(model, x, layers)           the same for several layers, with one pass forward and one back
cam(model, x, conv_layer, linear)     class activation map of a network that ends in average pooling and a linear layer
upsample(maps, size)                  maps to the image's size

    maps = grad_cam(model, x, "relu5")                  # (N, h, w) for the predicted classes
    over = upsample(maps, x.shape[-2:])                 # (N, H, W)
    cam(resnet, x, "layer4", "fc", target_class=3)      # signed; its mean + bias is the logit of class 3

Maps are not rescaled. Shown on a common scale they tell that a class is absent; each stretched to its own range
they hide it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_helpers.hooks import LayerError, describe, find, frozen, record
from cnnvis_helpers.scores import logits, targets

Classes = int | Sequence[int] | Tensor | None


def grad_cam(
    model: nn.Module, x: Tensor, layer: str, target_class: Classes = None, *, rectify: bool = True
) -> Tensor:
    """Channels of a layer, each weighted by the mean gradient of the class score by it: (N, h, w) float32.

    L = ReLU(Σ_k α_k A_k), where A_k is the map of channel k and α_k the mean over its positions of ∂logit/∂A_k.
    Units are those of the logit per position. On a network that ends in average pooling and a linear layer this
    is CAM divided by the number h · w of positions, but for the ReLU.

    Args:
        x: normalised images (N, 3, H, W).
        layer: name of a layer that gives maps (N, C, h, w) of more than one position; one that runs several times
            gives its last output. The last convolution's ReLU is usual; in early layers, where a channel's gradient
            changes its sign from place to place, the mean says little.
        target_class: one class for all images, one for each, or None for the class that the model gives.
        rectify: keep what speaks for the class alone, as the paper does; False keeps the sign.

    Raises: hooks.LayerError for an unknown layer, one that does not run, gives no map, or on which the score does
        not depend; ValueError for input that is no batch of finite images, output that is no table of logits, and
        a class that is not there.
    Source: Selvaraju et al., *Grad-CAM: visual explanations from deep networks*, ICCV 2017.
    """
    return grad_cams(model, x, [layer], target_class, rectify=rectify)[layer]


def grad_cams(
    model: nn.Module,
    x: Tensor,
    layers: str | Iterable[str],
    target_class: Classes = None,
    *,
    rectify: bool = True,
) -> dict[str, Tensor]:
    """`grad_cam` of several layers, name → (N, h, w) float32, from one forward and one backward pass."""
    names = [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
    _finite(x)
    with frozen(model), torch.inference_mode(False), torch.enable_grad():
        # gradients=True lets the graph start at the first of the layers: nothing before it is kept for autograd.
        with record(model, names, gradients=True) as rec:
            y = logits(model, x.detach().clone())
        chosen = targets(y, target_class).clone()  # autograd refuses tensors made in inference mode
        score = y.gather(1, chosen[:, None]).sum()
        maps = [_map(model, x, name, rec) for name in names]
        followed = score.requires_grad and all(a.requires_grad for a in maps)
        gradients = torch.autograd.grad(score, maps, allow_unused=True) if followed else [None] * len(maps)
    result = {}
    for name, a, g in zip(names, maps, gradients, strict=True):
        if g is None:
            raise LayerError(f"No gradient of the logits reaches layer {name!r}, so it has no Grad-CAM.")
        weighted = (g.mean((2, 3), keepdim=True) * a.detach()).sum(1).float()
        result[name] = weighted.relu() if rectify else weighted
    return result


def cam(
    model: nn.Module, x: Tensor, conv_layer: str, linear_layer: str, target_class: Classes = None
) -> Tensor:
    """Σ_k w_k A_k with the linear layer's weights of the class, (N, h, w) float32, signed, in units of the logit.

    For a network in which the mean over positions of the maps of `conv_layer` goes straight into `linear_layer`,
    which gives the logits, such as torchvision's ResNets ("layer4", "fc") and GoogLeNet ("inception5b", "fc").
    The mean of the map plus the class's bias is then the logit; this is checked.

    Raises: ValueError for a network that is not of this kind, and as `grad_cam`.
    Source: Zhou et al., *Learning deep features for discriminative localization*, CVPR 2016.
    """
    linear = find(model, linear_layer)
    _finite(x)
    with frozen(model), torch.no_grad(), record(model, [conv_layer]) as rec:
        y = logits(model, x.detach().clone())
        chosen = targets(y, target_class)
    a = _map(model, x, conv_layer, rec)
    if not isinstance(linear, nn.Linear) or linear.in_features != a.shape[1]:
        has = f"has {linear.in_features} inputs" if isinstance(linear, nn.Linear) else "is none"
        raise ValueError(
            f"CAM needs a linear layer with one input for each of the {a.shape[1]} channels of {conv_layer!r}, but "
            f"{linear_layer!r} {has}; grad_cam has no such condition."
        )
    with torch.no_grad():
        pooled = linear(a.mean((2, 3)))
        if pooled.shape != y.shape or not torch.allclose(pooled, y, rtol=0, atol=1e-2 * float(y.abs().max())):
            raise ValueError(
                f"The logits are not {linear_layer!r} of the mean of {conv_layer!r}'s maps: something lies between "
                "them, so CAM would not explain the score; grad_cam has no such condition."
            )
        return torch.einsum("nk,nkhw->nhw", linear.weight[chosen], a).float()


def upsample(maps: Tensor, size: int | Sequence[int]) -> Tensor:
    """Maps (N, h, w) at a new size, (N, H, W), bilinear; values stay within each map's range.

    Every position is taken as the centre of its own tile of the image (align_corners=False). Where a network's
    padding is uneven, the true centre of a unit's receptive field is some pixels off.

    Args: size: (H, W), or one number for a square.
    Raises: ValueError for another shape, or a size below 1.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if maps.ndim != 3 or min(height, width) < 1:
        raise ValueError(
            f"upsample takes maps (N, h, w) and a size of 1 or more, not {tuple(maps.shape)} and {size}."
        )
    return functional.interpolate(maps[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]


def _finite(x: Tensor) -> None:
    if not (x.is_floating_point() and x.isfinite().all()):
        raise ValueError("x must hold finite floats: it has another type, or NaN or infinite values.")


def _map(model: nn.Module, x: Tensor, name: str, rec: record) -> Tensor:
    """The recorded output of a layer, if it is a map."""
    if name not in rec:
        raise LayerError(f"Layer {name!r} gives no tensor when the model runs in evaluation mode.")
    a = rec[name]
    if a.ndim == 4 and a.shape[2] * a.shape[3] > 1:
        return a
    maps = [info.name for info in describe(model, x[:1]) if info.is_map]
    raise LayerError(
        f"Layer {name!r} gives {tuple(a.shape)}, not maps (N, C, h, w) of several positions; the last layers that "
        f"give maps are: {', '.join(maps[-12:]) or 'none'}."
    )
