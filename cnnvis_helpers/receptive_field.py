"""Which part of the image a unit can see: derived from the network's layers, and measured by gradients.

receptive_field(model, layer, input_size)   size, stride and place of the boxes that a layer's units see, in theory
ReceptiveField                              what it returns; gives the box and the centre of any unit
by_gradient(model, x, layer, row, column)   the box of the pixels that move one unit, measured; for any module
effective(model, x, layer)                  how much each pixel moves the central unit, a map (H, W)
side(influence)                             side of the square as large as the area that holds most of such a map

    field = receptive_field(model, "conv5", input_size=(224, 224))
    top, left, bottom, right = field.box(row=3, column=7)
    patch = images[0, :, top:bottom, left:right]

The theory, on each axis by itself: unit i sees `size` pixels from `start + i · stride` on. A window of k positions with
stride s, padding p and dilation d makes of these: start - p · stride, stride · s, size + (k - 1) · d · stride. Where
branches meet, the box is the smallest that holds the boxes of all.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from cnnvis_helpers import hooks

Box = tuple[int, int, int, int]  # top, left, bottom, right; bottom and right are the first pixels outside


@dataclass(frozen=True)
class ReceptiveField:
    """The boxes that the units of one layer see; each pair is (along the height, along the width), in pixels.

    A stride of 0 means that every unit sees the whole image along that axis: `size` is the image's, `start` 0.
    """

    size: tuple[int, int]
    stride: tuple[int, int]  # from one unit's box to the next one's
    start: tuple[int, int]  # first pixel of the box of unit (0, 0); negative where it begins in the padding
    image: tuple[int, int] | None = None  # (H, W), where it was given
    units: tuple[int | None, int | None] = (None, None)  # rows and columns of the map, where known

    @property
    def whole(self) -> bool:
        """Whether every unit sees the whole image."""
        return self.stride == (0, 0)

    def centre(self, row: int = 0, column: int = 0) -> tuple[float, float]:
        """Row and column of the middle of a unit's unclipped box; whole numbers are centres of pixels."""
        top, left, bottom, right = self.box(row, column, clip=False)
        return (top + bottom - 1) / 2, (left + right - 1) / 2

    def box(self, row: int = 0, column: int = 0, clip: bool = True) -> Box:
        """Top, left, bottom, right of one unit's box: it sees `image[..., top:bottom, left:right]`.

        `clip` cuts the box at the image's borders; a unit that sees only padding has an empty box. Raises
        ValueError where the map has no such unit, and for `clip` where `input_size` was not given.
        """
        return tuple(self.boxes([[row, column]], clip)[0].tolist())

    def boxes(self, positions: Tensor | Sequence[Sequence[int]], clip: bool = True) -> Tensor:
        """The boxes (..., 4) of the units at `positions` (..., 2), each a (row, column); see `box`."""
        at = torch.as_tensor(positions)
        if at.ndim == 0 or at.shape[-1] != 2 or at.is_floating_point() or at.dtype == torch.bool:
            raise ValueError(f"Positions are whole numbers (..., 2), not {at.dtype} {tuple(at.shape)}.")
        counts = [torch.inf if count is None else count for count in self.units]
        if bool(((at < 0) | (at >= torch.tensor(counts, device=at.device))).any()):
            raise ValueError(f"There is no such unit: rows and columns are from 0 to below {counts}.")
        first = torch.tensor(self.start, device=at.device) + at * torch.tensor(self.stride, device=at.device)
        ends = torch.stack([first, first + torch.tensor(self.size, device=at.device)], -2)
        if clip:
            if self.image is None:
                raise ValueError("Clipping needs receptive_field(..., input_size=(H, W)).")
            ends = ends.clamp(min=0).minimum(torch.tensor(self.image, device=at.device))
        return ends.flatten(-2)


def receptive_field(
    model: nn.Module, layer: str, input_size: tuple[int, int] | None = None, *, local: bool = False
) -> ReceptiveField:
    """The receptive field of the units of `layer`: of what that module returns, which may be a container.

    The model is not run: torch.fx notes what it consists of in evaluation mode, and each operation moves and widens
    the boxes as its window does. A layer that runs several times is taken at its last run, as by `hooks.record`.
    Fully connected units, and all after a global pooling, see the whole image. So do units multiplied by a
    squeeze-excitation gate or normalised by statistics of their own map (group, layer, instance norm).

    A box holds every pixel that can move the unit and is the smallest such box, except that: near a border, what is
    lost since an earlier map ends there is not taken off; global pooling counts as the whole image even where
    strides leave out its last pixels; weights of zero count like others. There may be holes inside a box.

    Args:
        input_size: (H, W) of the image; needed to clip, for adaptive pooling, and for whole images.
        local: leave gates and statistics of the whole map out: what a unit sees at its own place.

    Raises:
        LayerError: there is no such layer, or it does not run by itself in evaluation mode.
        ValueError: torch.fx cannot follow the model (its control flow depends on the image); the boxes form no
            regular grid (branches of different strides, transposed convolution, interpolation, circular padding);
            an operation is not known here; `input_size` is wrong, too small, or missing where it is needed.

    Source: Araujo, Norris, Sim, *Computing receptive fields of convolutional neural networks*, Distill 2019.
    """
    module = hooks.find(model, layer)
    if input_size is not None and (
        not isinstance(input_size, Sequence) or [type(n) is int and n > 0 for n in input_size] != [True, True]
    ):
        raise ValueError(f"input_size is the image's (height, width) in pixels, not {input_size}.")
    graph, outputs = _trace(model)
    if id(module) not in outputs:
        raise hooks.LayerError(f"Layer {layer!r} does not run by itself in evaluation mode.")
    grids: list[_Grid] = []
    for grid in _follow(model, graph, outputs[id(module)], input_size, local):
        if isinstance(grid, str):
            raise ValueError(f"The boxes of {layer!r} form no known grid: {grid}; by_gradient measures them.")
        if input_size is None and grid.stride == 0:
            raise ValueError(f"Layer {layer!r} sees the whole image: pass its input_size=(H, W).")
        grids.append(grid)
    if not grids:
        raise ValueError(f"Layer {layer!r} does not depend on the image.")
    start, stride, size, units = zip(*map(astuple, grids), strict=True)
    return ReceptiveField(size, stride, start, input_size and (input_size[0], input_size[1]), units)


class _Tracer(fx.Tracer):
    """Goes into every module that is not torch's own, and notes the node that each module returns."""

    outputs: dict[int, fx.Node]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # By where `forward` was written, so that a subclass of nn.Conv2d that keeps it is a leaf as well.
        return type(m).forward.__module__.startswith("torch.nn.") and not isinstance(m, nn.Sequential)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        output = super().call_module(m, forward, args, kwargs)
        proxies = [leaf for leaf in tree_leaves(output) if isinstance(leaf, fx.Proxy)]
        self.outputs |= {id(m): proxy.node for proxy in proxies[:1]}
        return output


def _trace(model: nn.Module) -> tuple[fx.Graph, dict[int, fx.Node]]:
    tracer = _Tracer()
    tracer.outputs = {}
    try:
        parameters = inspect.signature(model.forward).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        with hooks.frozen(model):
            return tracer.trace(model, defaults), tracer.outputs
    except Exception as error:  # whatever the model does with a stand-in for a tensor
        reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
        raise ValueError(f"torch.fx cannot follow the model ({reason}); by_gradient measures.") from error


@dataclass(frozen=True)
class _Grid:
    """Boxes along one axis; stride 0 stands for the whole image, which no operation changes."""

    start: int
    stride: int
    size: int
    count: int | None  # how many units, where known


_Axis = _Grid | str  # a string says why there is no grid: an error only where such a layer is asked for


def _follow(
    model: nn.Module, graph: fx.Graph, wanted: fx.Node, image: tuple[int, int] | None, local: bool
) -> list[_Axis]:
    """The grids of one node along the height and the width; none for what does not depend on the image."""
    known: dict[fx.Node, list[_Axis]] = {}
    for node in graph.nodes:
        if node.op == "placeholder" and not known:  # the first argument of the model is the image
            known[node] = [_Grid(0, 1, 1, extent) for extent in image or (None, None)]
            continue
        name, given = _operation(model, node)
        inputs = [known[source] for source in node.all_input_nodes if known[source]]
        known[node] = []
        for axis in (0, 1) if inputs and name not in _FACTS.split() else ():
            met = [pair[axis] for pair in inputs]
            grid = _step(name, given, axis, met, _Grid(0, 0, image[axis] if image else 0, None), local)
            if isinstance(grid, str) and grid not in met:
                grid += f" (at {str(node.target) if node.op == 'call_module' else node.name!r})"
            elif isinstance(grid, _Grid) and grid.count is not None and grid.count < 1:
                raise ValueError(f"An image of size {image} is too small: nothing is left of it at {node}.")
            known[node].append(grid)
        if node is wanted:
            break
    return known[wanted]


# Names of functions, methods and modules, in small letters without "_", and the arguments that matter here, in order.
_WINDOWS = {
    "conv2d": "weight bias stride padding dilation groups padding_mode",
    "maxpool2d": "kernel_size stride padding dilation ceil_mode",
    "avgpool2d": "kernel_size stride padding ceil_mode",
    "adaptiveavgpool2d": "output_size",
    "adaptivemaxpool2d": "output_size",
    "pad": "pad mode",
    "constantpad2d": "padding",
}
_REDUCTIONS = ("mean", "sum", "amax", "amin")
_ARGUMENTS = _WINDOWS | {"flatten": "start_dim end_dim", "cat": "dim"}
_ARGUMENTS |= dict.fromkeys(("chunk", "split"), "parts dim") | dict.fromkeys(_REDUCTIONS, "dim keepdim")
_POINTWISE = (
    "relu relu6 leakyrelu prelu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid logsigmoid tanh "
    "softplus softsign dropout dropout2d alphadropout stochasticdepth localresponsenorm identity add iadd sub isub "
    "mul imul div truediv itruediv pow neg abs exp log sqrt square clamp clip maximum minimum where gt lt unsqueeze "
    "contiguous clone detach to float double half type linear"
)
_STATISTICS = "batchnorm1d batchnorm2d syncbatchnorm instancenorm2d instancenorm groupnorm layernorm"
_FACTS = "size dim numel shape ndim dtype device"  # about a tensor; no maps
_KNOWN = {*_ARGUMENTS, *_POINTWISE.split(), *_STATISTICS.split()}


def _operation(model: nn.Module, node: fx.Node) -> tuple[str, dict[str, Any]]:
    """What a node does and with which arguments, in the same words for modules, functions and methods."""
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        names = [kind.__name__.lower() for kind in type(module).__mro__]
        name = next((name for name in names if name in _KNOWN), names[0])
        if getattr(module, "running_mean", None) is not None:
            name = "identity"  # statistics of the training images, not of this one
        return name, {key: getattr(module, key, None) for key in _ARGUMENTS.get(name, "").split()}
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "function")
    name = name.replace("_", "").lower() if name != "getattr" else str(node.args[1])
    given = dict(zip(_ARGUMENTS.get(name, "").split(), node.args[1:], strict=False))
    given |= {"others": node.args[1:]} | {"dim" if k == "axis" else k: v for k, v in node.kwargs.items()}
    weight = given.get("weight")
    if isinstance(weight, fx.Node) and weight.op == "get_attr":
        given["weight"] = operator.attrgetter(str(weight.target))(model)
    return name, given


def _step(
    name: str, given: Mapping[str, Any], axis: int, inputs: list[_Axis], everything: _Grid, local: bool
) -> _Axis:
    """What is known along one axis after an operation."""
    dims = tree_leaves(given.get("dim"))
    if (
        (name == "linear" and axis == 1)  # mixes the last axis; of (N, C), all that matters is mixed already
        or (name == "flatten" and (given.get("start_dim") or 0) < 2 and given.get("end_dim") in (None, -1, 3))
        or (name in ("view", "reshape") and len(tree_leaves(given["others"])) == 2)
        or (name in _REDUCTIONS and (dims in ([], [None]) or axis + 2 in dims or axis - 2 in dims))
        or (name.startswith("adaptive") and _two(given["output_size"])[axis] == 1)
    ):
        return everything
    grids = [grid for grid in inputs if isinstance(grid, _Grid)]
    maps = [grid for grid in grids if grid.stride]
    if len(maps) < len(grids) and not (local and len(grids) - len(maps) < len(inputs)):
        return everything
    if len(grids) < len(inputs):
        return next(grid for grid in inputs if isinstance(grid, str))
    for what in ("stride", "count"):
        values = sorted({getattr(grid, what) for grid in maps} - {None})
        if len(values) > 1:
            return f"maps of {what} {' and '.join(map(str, values))} meet"
    start = min(grid.start for grid in maps)
    grid = replace(maps[0], start=start, size=max(grid.start + grid.size for grid in maps) - start)

    if name in _STATISTICS.split():
        return grid if local else everything
    index = given["others"][0] if name == "getitem" else ()  # of several outputs, or of images or channels
    if (
        name in _POINTWISE.split()
        or (name in ("cat", "chunk", "split") and given.get("dim", 0) in (0, 1, -3, -4))
        or (name == "getitem" and (not isinstance(index, tuple) or all(i == slice(None) for i in index[2:])))
        or (name in _REDUCTIONS and given.get("keepdim"))
    ):
        return grid
    settings = [given.get(key) for key in _ARGUMENTS.get(name, "").split() if key != "bias"]
    if name not in _WINDOWS or any(isinstance(leaf, fx.Node) for leaf in tree_leaves(settings)):
        return f"{name} follows no rule known here"
    return _windows(name, given, axis, grid)


def _windows(name: str, given: Mapping[str, Any], axis: int, grid: _Grid) -> _Axis:
    """The grid after convolution, pooling or padding."""
    if name.startswith("adaptive"):
        wanted, count = _two(given["output_size"])[axis], grid.count
        if wanted in (None, count):
            return grid
        if count is None or count % wanted:
            return f"pooling to {wanted} positions needs input_size, and a map of a multiple of that"
        return _slide(grid, count // wanted, count // wanted, 0, 0)
    if name in ("pad", "constantpad2d"):
        if given.get("mode", "constant") != "constant":
            return f"padding of mode {given['mode']} shows the image again"
        pads = given["pad"] if name == "pad" else given["padding"]
        before, after = [*pads, 0, 0][2 - 2 * axis : 4 - 2 * axis]  # given for the last axis first
        return _slide(grid, 1, 1, before, after)
    kernel = given["weight"].shape[2:] if name == "conv2d" else given["kernel_size"]
    stride = given.get("stride") or (1 if name == "conv2d" else kernel)
    size, step, gap = (_two(value)[axis] for value in (kernel, stride, given.get("dilation") or 1))
    reach = gap * (size - 1) + 1
    padding = given.get("padding") or 0
    before = (reach - 1) // 2 if padding == "same" else 0 if padding == "valid" else _two(padding)[axis]
    after = reach // 2 if padding == "same" else before
    mode = given.get("padding_mode") or "zeros"
    # Mirrored or repeated rows are seen by the window anyway, if it reaches as far inside as outside.
    if (mode == "circular" and before + after) or (mode != "zeros" and 2 * after >= reach):
        return f"padding of mode {mode} shows the image again"
    return _slide(grid, reach, step, before, after, bool(given.get("ceil_mode")))


def _slide(grid: _Grid, reach: int, step: int, before: int, after: int, ceil_mode: bool = False) -> _Grid:
    """The grid of windows that stretch over `reach` units, one every `step` units."""
    count = grid.count
    if count is not None:
        more, rest = divmod(count + before + after - reach, step)
        # With ceil_mode one more window hangs over the end, unless it would begin in the padding there.
        count = more + 1 + (ceil_mode and rest > 0 and (more + 1) * step < count + before)
    start, size = grid.start - before * grid.stride, grid.size + (reach - 1) * grid.stride
    return _Grid(start, grid.stride * step, size, count)


def _two(value: Any) -> tuple[Any, Any]:
    return (value[0], value[-1]) if isinstance(value, Sequence) else (value, value)


def by_gradient(
    model: nn.Module, x: Tensor, layer: str, row: int | None = None, column: int | None = None
) -> Box:
    """The smallest box of the pixels that have a gradient of unit (row, column) of `layer`: top, left, bottom, right.

    For every module that autograd can follow. The union over the images `x` (N, C, H, W) and the layer's channels;
    a lower bound of what the unit can see, since ReLU and max pooling stop gradients: more images, best of noise,
    fill the gaps. `row` and `column` None are the middle; a layer that gives (N, features) takes no others.

    Raises:
        LayerError: there is no such layer, or it did not run.
        ValueError: `x` is no batch of finite images; there is no such unit; the layer gives neither maps nor
            features; no gradient reaches the image, or it is not finite.
    """
    rows, columns = _influence(model, x, layer, (None, row, column)).nonzero(as_tuple=True)
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1


def effective(model: nn.Module, x: Tensor, layer: str, channel: int | None = None, batch: int = 16) -> Tensor:
    """The effective receptive field of a layer's middle unit: a map (H, W) float32, not negative, of sum 1.

    |d unit / d pixel|, summed over colours and over the images `x` (N, C, H, W), `batch` at a time. `channel` None is
    the sum of the layer's channels. In theory every pixel of the box counts; this is by how much: for many layers of
    small windows nearly a Gaussian, much smaller than the box. Errors: as `by_gradient`, and for no such channel.

    Source: Luo, Li, Urtasun, Zemel, *Understanding the effective receptive field in deep convolutional neural
    networks*, NeurIPS 2016, who average over random weights and inputs; here over images alone.
    """
    influence = _influence(model, x, layer, (channel, None, None), batch)
    return (influence / influence.sum()).float()


def side(influence: Tensor, share: float = 0.95) -> float:
    """Side, in pixels, of the square as large as the smallest area that holds `share` of a map (H, W).

    The largest values are taken until they hold the share: n pixels, and the side is √n; √share · k for a box of
    k × k equal values. Raises ValueError for a map that is no such map, and a share outside (0, 1].
    """
    if influence.ndim != 2 or not bool((influence >= 0).all()) or not 0 < float(influence.sum()) < torch.inf:
        raise ValueError("An influence map is (H, W): finite, nowhere negative, and not zero everywhere.")
    if not 0 < share <= 1:
        raise ValueError(f"share is above 0 and at most 1, not {share}.")
    held = influence.flatten().cpu().double().sort(descending=True).values.cumsum(0)
    return float((held < share * held[-1] * (1 - 1e-9)).sum() + 1) ** 0.5


def _influence(
    model: nn.Module, x: Tensor, layer: str, unit: tuple[int | None, int | None, int | None], batch: int = 16
) -> Tensor:
    """Sum over images and colours of |d unit / d pixel|, (H, W) float64 on the CPU; unit: channel, row, column."""
    if x.ndim != 4 or x.numel() == 0 or not x.is_floating_point() or not bool(x.isfinite().all()):
        raise ValueError(f"x is a batch (N, C, H, W) of finite images, this is {x.dtype} {tuple(x.shape)}.")
    if batch < 1:
        raise ValueError(f"batch is the number of images at a time, 1 or more, not {batch}.")
    total = torch.zeros(x.shape[2:], dtype=torch.float64)
    with hooks.frozen(model), torch.enable_grad():
        for images in x.split(batch):
            pixels = images.detach().clone().requires_grad_()
            with hooks.record(model, layer) as record:
                model(pixels.clone())  # a first layer may work in place
            value = record[layer]
            middle = [None, *(size // 2 for size in value.shape[2:])]  # None: all channels
            place = [m if at is None else at for at, m in zip(unit, middle, strict=False)]
            inside = all(at is None or 0 <= at < n for at, n in zip(place, value.shape[1:], strict=False))
            if value.ndim not in (2, 4) or not inside or set(unit[len(place) :]) - {None}:
                raise ValueError(f"{layer!r} gives {tuple(value.shape)}: no (channel, row, column) {unit}.")
            value = value[(slice(None), *(slice(None) if at is None else at for at in place))]
            if value.requires_grad:
                (gradient,) = torch.autograd.grad(value.sum(), pixels)
                total += gradient.abs().sum((0, 1)).cpu()
    if not bool(total.isfinite().all()):
        raise ValueError(f"The gradients of layer {layer!r} are not finite.")
    if not bool(total.any()):
        raise ValueError(f"No pixel moves this unit of layer {layer!r}: try more images, or noise.")
    return total
