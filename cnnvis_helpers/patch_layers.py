"""How a patch of one map becomes a patch of the next: geometry, and the layers that allow it. For `incremental`.

Span, spans, union, slid      along each axis, what a window in the image can change and what is computed
take(maps, starts, sizes)     parts of one map, one for each place, with patches laid on them
Sliding, sliding(...)         convolutions and poolings as functions of a patch with its rim
is_local(...)                 whether an operation gives each position what it makes of that position alone
kind(model, node)             what a node of a traced model does, in one word

    down, across = spans([tops, lefts], [tops + 24, lefts + 24], (96, 96))
    take(x, [down.start, across.start], [down.size, across.size])         # the windows' contents, (P, C, 24, 24)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

WHOLE = 0.8  # a patch with so large a share of its map saves less than it costs to cut it out
_LOCAL = (
    "relu relu6 leakyrelu prelu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid logsigmoid tanh "
    "softplus softsign dropout dropout2d alphadropout stochasticdepth localresponsenorm identity batchnorm2d add iadd "
    "sub isub mul imul div truediv itruediv pow neg abs exp sqrt square clamp maximum minimum contiguous clone detach "
    "float double cat concat getitem unsqueeze"
)
SLIDING = {  # the arguments of functions, in order; modules have attributes of these names
    "conv2d": "weight bias stride padding dilation groups padding_mode",
    "maxpool2d": "kernel_size stride padding dilation ceil_mode return_indices",
    "avgpool2d": "kernel_size stride padding ceil_mode count_include_pad divisor_override",
}


class Span(NamedTuple):
    """Along one axis of a map, for each place of the window along it."""

    low: Tensor  # first position that the window can change
    high: Tensor  # first position after these
    start: Tensor  # of the patch: at `low`, or so much before that the patch ends where the map does
    size: int  # of the patch that is computed, the same for all places
    extent: int  # of the map


Spans = Sequence[Span]  # down and across


def spans(
    lows: Sequence[Tensor], highs: Sequence[Tensor], extents: Sequence[int], whole: float = WHOLE
) -> Spans:
    """Patches just large enough for all places; the whole map where that is at least a share `whole` of it."""
    sizes = [max(1, int((high - low).max())) for low, high in zip(lows, highs, strict=True)]
    if sizes[0] * sizes[1] >= whole * extents[0] * extents[1]:
        sizes = [*extents]
    starts = [low.clamp(max=extent - size) for low, size, extent in zip(lows, sizes, extents, strict=True)]
    return [*map(Span, lows, highs, starts, sizes, extents)]


def union(met: Sequence[Spans]) -> Spans:
    """What one of several maps of the same size can change where they meet."""
    if len(met) == 1:
        return met[0]
    lows = [torch.stack([pair[axis].low for pair in met]).amin(0) for axis in (0, 1)]
    highs = [torch.stack([pair[axis].high for pair in met]).amax(0) for axis in (0, 1)]
    return spans(lows, highs, [span.extent for span in met[0]])


class Sliding(NamedTuple):
    """A convolution or a pooling; the pairs are (height, width)."""

    reach: Sequence[int]  # from the first to the last position under the window
    stride: Sequence[int]
    padding: Sequence[int]  # before the first position
    empty: float  # what the padding holds
    run: Callable[[Tensor, bool], Tensor]  # of a map; with the padding, or without
    share: Tensor | None = None  # (1, 1, H, W): average pooling adds up, and this makes means of the sums


def slid(before: Spans, layer: Sliding, extents: Sequence[int]) -> Spans:
    """What a sliding window can change in the next map, of size `extents`."""
    lows, highs = [], []
    steps = zip(before, layer.reach, layer.stride, layer.padding, extents, strict=True)
    for span, reach, stride, padding, extent in steps:
        lows.append((-((reach - 1 - padding - span.low) // stride)).clamp(0, extent))  # rounded up
        highs.append(((span.high - 1 + padding) // stride + 1).clamp(max=extent).maximum(lows[-1]))
    return spans(lows, highs, extents)


def sliding(name: str, s: Mapping[str, Any], x: Tensor, norm: nn.Module | None = None) -> Sliding | None:
    """A layer by its name and settings (see SLIDING) for maps like `x`; None if it cannot run on patches.

    `norm` is a batch norm in evaluation mode that a convolution takes into its weights.
    """
    if s.get("padding_mode", "zeros") != "zeros" or s.get("return_indices"):
        return None
    kernel = _two(s["weight"].shape[2:] if name == "conv2d" else s["kernel_size"])
    stride = _two(s.get("stride") or (1 if name == "conv2d" else kernel))
    dilation, groups = _two(s.get("dilation") or 1), s.get("groups") or 1
    padding, ceil = s.get("padding") or 0, bool(s.get("ceil_mode"))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    named = {"same": [(r - 1) // 2 for r in reach], "valid": [0, 0]}
    before = named[padding] if isinstance(padding, str) else _two(padding)

    if name == "maxpool2d":

        def most(maps: Tensor, pad: bool) -> Tensor:
            return F.max_pool2d(maps, kernel, stride, padding if pad else 0, dilation, ceil and pad)

        return Sliding(reach, stride, before, -torch.inf, most)
    if name == "avgpool2d":
        rule = (kernel, stride, padding, ceil, s.get("count_include_pad", True))

        def mean(maps: Tensor, pad: bool) -> Tensor:
            if pad:
                return F.avg_pool2d(maps, *rule, s.get("divisor_override"))
            return F.avg_pool2d(maps, kernel, stride, divisor_override=1)

        ones = x.new_ones(1, 1, *x.shape[2:])
        return Sliding(reach, stride, before, 0.0, mean, mean(ones, True) / F.avg_pool2d(ones, *rule, 1))

    weight, bias = s["weight"], s.get("bias")
    if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None:
        statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        weight, bias = fuse_conv_bn_weights(weight, bias, *statistics)
    weight = weight.contiguous(memory_format=torch.channels_last)  # as `take` gives the patches

    def convolve(maps: Tensor, pad: bool) -> Tensor:
        return F.conv2d(maps, weight, bias, stride, padding if pad else 0, dilation, groups)

    return Sliding(reach, stride, before, 0.0, convolve)


def kind(model: nn.Module, n: fx.Node) -> tuple[str, nn.Module | None]:
    """What a node does, in the same word for modules, functions and methods; and the module, if it is one."""
    if n.op != "call_module":
        name = n.target if isinstance(n.target, str) else getattr(n.target, "__name__", "function")
        return name.replace("_", "").lower(), None
    module = model.get_submodule(str(n.target))
    torchs = [cls for cls in type(module).__mro__ if cls.__module__.startswith("torch.nn.")]
    return torchs[0].__name__.lower(), module


def is_local(name: str, n: fx.Node, value: Tensor, maps: Sequence[Tensor], given: Sequence[Any]) -> bool:
    """Whether an operation gives each position what it makes of that position alone.

    `value` is what it gives for `maps`; `given` are its other inputs, which may differ by channel only.
    """
    if name not in _LOCAL.split() or any(m.shape[-2:] != value.shape[-2:] for m in maps):
        return False
    if any(size != 1 for g in given if isinstance(g, Tensor) for size in g.shape[-2:]):
        return False
    second = n.args[1] if len(n.args) > 1 else None
    if name == "getitem":
        index = second if isinstance(second, tuple) else ()
        inside = 0 < len(index) <= maps[0].ndim - 2 and index[0] == slice(None)
        return inside and all(isinstance(i, int | slice) for i in index)
    if name in ("cat", "concat", "unsqueeze"):
        return n.kwargs.get("dim", second) in (1, -3) and value.ndim == 4
    return value.ndim == 4 or len(maps) == 1


def take(
    maps: Tensor,
    starts: Sequence[Tensor],
    sizes: Sequence[int],
    empty: float = 0.0,
    patch: Tensor | None = None,
    at: Sequence[Tensor] = (),
) -> Tensor:
    """Parts of one map (1, ..., H, W), (P, ..., height, width), of P patches laid on it.

    Args:
        starts: first rows and first columns of the parts, (P,) each; `sizes` their height and width.
        empty: what lies beyond the border.
        patch: (P, ..., h, w), with the first rows and columns `at` in the map; what is not in the part is left out.
    """
    before = [max(0, -int(start.min())) for start in starts]
    extents = zip(starts, sizes, maps.shape[-2:], strict=True)
    after = [max(0, int(start.max()) + size - extent) for start, size, extent in extents]
    kept = F.pad(maps, (before[1], after[1], before[0], after[0]), value=empty)
    y, x = (_along(start + more, size) for start, more, size in zip(starts, before, sizes, strict=True))
    # The channels lie side by side in memory, so a position is a row of a table, and rows are quick to copy.
    parts = _rows(kept).index_select(0, (y[:, :, None] * kept.shape[-1] + x[:, None]).flatten())
    if patch is not None:
        moved = zip(at, starts, patch.shape[-2:], strict=True)
        y, x = (_along(first - start, size) for first, start, size in moved)
        inside = ((y >= 0) & (y < sizes[0]))[:, :, None] & ((x >= 0) & (x < sizes[1]))[:, None]
        y += torch.arange(len(y), device=y.device)[:, None] * sizes[0]
        to, rows = (y[:, :, None] * sizes[1] + x[:, None])[inside], _rows(patch)
        if len(to) < len(rows):
            rows = rows.index_select(0, inside.flatten().nonzero()[:, 0])
        parts.index_copy_(0, to, rows)
    return parts.view(len(y), *sizes, -1).permute(0, 3, 1, 2).reshape(-1, *maps.shape[1:-2], *sizes)


def _along(starts: Tensor, size: int) -> Tensor:
    return starts[:, None] + torch.arange(size, device=starts.device)


def _rows(maps: Tensor) -> Tensor:
    """(N, ..., H, W) → (N·H·W, channels)."""
    maps = maps.reshape(len(maps), -1, *maps.shape[-2:])
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _two(value: Any) -> list[int]:
    return [value[0], value[-1]] if isinstance(value, Sequence) else [value, value]
