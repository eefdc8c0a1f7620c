"""Zeiler and Fergus' deconvnet, written out: from one unit of a sequential network back to the image.

deconvnet(model, x, layer, channel)            the projection of one unit of every image
forward_and_back(module, x)                    one layer's output, and its way back
unpool(pooled, switches, size, overlap)        every maximum back to where it came from

    maps = deconvnet(model, x, "relu4", 17)                    # (N, 3, H, W), channel 17 where it is most active
    maps = deconvnet(vgg.features, x, "20", 17)                # the layers of torchvision's VGG

Going forward, each max pooling notes where in every window its maximum lay: the switches. Then all activations of the
layer but one are set to zero, and what is left goes back through the layers, the last one first:

    max pooling      each value goes to the place that its switch names; the other places get zero
    ReLU             the reconstruction is rectified, wherever the ReLU was on or off on the way forward
    convolution      the transposed convolution: the same filters, flipped; the bias plays no part
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_helpers.backward_rules import At, Numbers, choose_units
from cnnvis_helpers.hooks import find, frozen

Overlap = Literal["overwrite", "sum"]
Back = Callable[[Tensor], Tensor]


def deconvnet(
    model: nn.Module,
    x: Tensor,
    layer: str,
    channel: Numbers = None,
    *,
    at: At = "max",
    overlap: Overlap = "overwrite",
) -> Tensor:
    """Project one unit of each image back to the image: (N, 3, H, W), signed, in x's precision.

    The unit starts with its activation, as in the paper (`backward_rules.project` starts with 1). Where pooling
    windows do not overlap, the result is a positive activation times `project(..., rule="deconvnet")`: to transpose a
    convolution, and to send values to their switches, is what gradients do. Where they overlap, one position can be
    the maximum of several windows; gradients add up there, and an unpooling that writes keeps one of the values.

    Departures from the paper: filters are not renormalised; batch norm and fully connected layers are transposed too.

    Args:
        model: an `nn.Sequential`, which may hold others, of the layers that `forward_and_back` knows. Networks of
            another kind often hold one: pass `model.features` of torchvision's AlexNet or VGG.
        x: normalised images (N, 3, H, W). One image and several channels or positions give one result for each.
        layer: name of the layer to start from; of an `nn.Sequential` inside, its last layer.
        channel: one for all images, one for each, or None for the layer's most active channel.
        at: "max" is the unit where the channel is most active; (row, column) another, or one for each image (N, 2).
        overlap: see `unpool`.

    Raises: hooks.LayerError for an unknown layer; ValueError for a model that is not sequential, a layer of another
        kind on the way, an unknown `overlap`, a channel or position that is not there, a unit whose activation is 0,
        and input that is no batch of finite images.
    Source: Zeiler & Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014, section 2.1.
    """
    if x.ndim != 4 or len(x) == 0 or not (x.is_floating_point() and x.isfinite().all()):
        raise ValueError(f"x must be a batch (N, C, H, W) of finite floats, not {x.dtype} {tuple(x.shape)}.")
    if overlap not in ("overwrite", "sum"):
        raise ValueError(f"overlap is {overlap!r}; it must be 'overwrite' or 'sum'.")
    layers = _up_to(model, layer)
    with frozen(model), torch.no_grad():
        a, ways_back = x.detach(), list[Back]()
        for module in layers:
            a, back = forward_and_back(module, a, overlap)
            ways_back.append(back)

        unit = choose_units(a, channel, at)
        if not unit.value.all():
            raise ValueError(
                f"{'Image' if len(unit.value) == len(x) else 'Target'} {int(unit.value.eq(0).nonzero()[0])} has no "
                f"active unit in layer {layer!r}: its value is 0, so there is nothing to project; choose another."
            )
        alone = a.new_zeros(len(unit.value), *a.shape[1:])  # all activations but the units' are set to zero
        place = (unit.row, unit.column) if a.ndim == 4 else ()
        alone[torch.arange(len(alone), device=a.device), unit.channel, *place] = unit.value

        for back in reversed(ways_back):
            alone = back(alone)
    return alone


def forward_and_back(module: nn.Module, x: Tensor, overlap: Overlap = "overwrite") -> tuple[Tensor, Back]:
    """Run one layer, in evaluation mode: its output, and a function from a reconstruction of that to one of `x`.

    Knows Conv2d (padded with zeros), ReLU, ReLU6, MaxPool2d, batch norm, Dropout, Identity, Flatten and Linear.
    Raises: ValueError for any other layer.
    """
    shape = x.shape  # the functions keep this alone, not x
    match module:
        case _ if not type(module).forward.__module__.startswith("torch.nn.modules."):
            pass  # a subclass that computes something else than its parent is none of these layers
        case nn.Conv2d(padding_mode="zeros") if not isinstance(module.padding, str):
            return module(x), lambda y: _transposed(module, y, shape[2:])
        case nn.ReLU() | nn.ReLU6():
            return module(x.clone()), functional.relu  # a copy, since it may work in place
        case nn.MaxPool2d():
            window = (module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)
            y, switches = functional.max_pool2d(x, *window, return_indices=True)
            return y, lambda y: unpool(y, switches, shape[2:], overlap)
        case nn.BatchNorm1d() | nn.BatchNorm2d() if module.running_var is not None:
            scale = (module.running_var + module.eps).rsqrt()
            scale = scale if module.weight is None else scale * module.weight
            return module(x), lambda y: y * scale.view(-1, *[1] * (len(shape) - 2))
        case nn.Dropout() | nn.Dropout2d() | nn.Identity():
            return x, lambda y: y
        case nn.Flatten(start_dim=1, end_dim=-1):
            return module(x), lambda y: y.unflatten(1, shape[1:])
        case nn.Linear():
            return module(x), lambda y: y @ module.weight
    raise ValueError(
        f"The deconvnet has no way back through {module}: it knows convolutions padded with zeros, ReLUs, max "
        "pooling, batch norm, dropout, Flatten and Linear, one after the other. backward_rules.project has no such "
        "limits."
    )


def unpool(
    pooled: Tensor, switches: Tensor, size: tuple[int, int] | torch.Size, overlap: Overlap = "overwrite"
) -> Tensor:
    """Send values (N, C, h, w) back to the places of their windows' maxima, (N, C, H, W); zero elsewhere.

    `torch.nn.functional.max_unpool2d`, which leaves open what happens where overlapping windows name one place.

    Args:
        switches: numbers of places in a map, row · W + column, (N, C, h, w) or (1, C, h, w), as `return_indices`
            gives them.
        size: (H, W).
        overlap: where several windows name one place, "overwrite" keeps the value of the last of them in reading
            order, "sum" adds their values, as the gradient does.
    """
    values = pooled.flatten(2)
    places = switches.flatten(2).expand_as(values)
    empty = values.new_zeros(*values.shape[:2], size[0] * size[1])
    if overlap == "sum":
        return empty.scatter_add(2, places, values).unflatten(2, size)
    window = torch.arange(values.shape[2], device=values.device).expand_as(places)
    last = torch.full_like(empty, -1, dtype=torch.long).scatter_reduce(2, places, window, "amax")
    return torch.where(last < 0, empty, values.gather(2, last.clamp(min=0))).unflatten(2, size)


def _transposed(conv: nn.Conv2d, y: Tensor, size: torch.Size) -> Tensor:
    padding = [int(p) for p in conv.padding]
    # A stride may leave the last rows and columns out: `rest` of them, which get zeros.
    rest = [
        (size[i] + 2 * padding[i] - conv.dilation[i] * (conv.kernel_size[i] - 1) - 1) % conv.stride[i]
        for i in (0, 1)
    ]
    return functional.conv_transpose2d(
        y, conv.weight, None, conv.stride, padding, rest, conv.groups, conv.dilation
    )


def _up_to(model: nn.Module, layer: str) -> list[nn.Module]:
    """The layers that run one after the other, from the first to the one called `layer`."""
    find(model, layer)
    chain = list(_chain(model, ""))
    found = [i for i, (name, _) in enumerate(chain) if f"{name}.".startswith(f"{layer}.")]
    if not found:
        raise ValueError(f"{layer!r} lies inside a module that is no nn.Sequential, or holds no layers.")
    return [module for _, module in chain[: found[-1] + 1]]


def _chain(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if type(module).forward is nn.Sequential.forward:
        for key, child in module._modules.items():  # named_children would leave a ReLU out that is used twice
            if child is not None:
                yield from _chain(child, f"{name}.{key}".lstrip("."))
    elif name:
        yield name, module
    else:
        inside = [key for key, child in module.named_children() if isinstance(child, nn.Sequential)]
        raise ValueError(
            f"The deconvnet follows an nn.Sequential, and the model is a {type(module).__name__}"
            + (f": pass model.{inside[0]}, say." if inside else ".")
        )
