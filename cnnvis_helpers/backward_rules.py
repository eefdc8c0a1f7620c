"""What made a unit fire? From one unit back to the image, with three rules at the ReLUs on the way.

project(model, x, target)       the projection of a class, a channel or one unit of every image, signed
choose_units(a, channel, at)    where in a layer's activations the units in question are, and their values
ReLURule(rule)                  context manager: inside it, autograd follows the rule at every ReLU
RULES                           the names of the rules

    maps = project(model, x, rule="guided")                             # (N, 3, H, W), of the predicted classes
    maps = project(model, x, 17, layer="relu4", rule="deconvnet")       # of channel 17 where it is most active
    maps = project(model, x[:1], [3, 17, 40], layer="relu4")            # (3, 3, H, W), three channels of one image
    similarity(saliency_map(maps), saliency_map(others))                # sanity's and saliency's, of this package

Let y = ReLU(z), and g the signal that comes back to y. The rules differ in what goes on to z:

    "gradient"    g where z > 0, else 0            the derivative
    "deconvnet"   g where g > 0, else 0            Zeiler & Fergus, ECCV 2014
    "guided"      g where both are > 0, else 0     Springenberg et al., ICLR workshop 2015

Elsewhere the signal goes back as a gradient does. Only with "gradient" is the result one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cnnvis_helpers.hooks import LayerError, frozen, record
from cnnvis_helpers.layout import run
from cnnvis_helpers.scores import logits, targets

Rule = Literal["gradient", "deconvnet", "guided"]
RULES: tuple[Rule, ...] = get_args(Rule)
At = Literal["max", "all"] | Sequence[int] | Tensor
Numbers = int | Sequence[int] | Tensor | None

_aten = torch.ops.aten
# Activations for which the papers give no rule, as torch calls them. They pass the ordinary gradient, and are noted.
_OTHERS = {"leaky_relu", "_prelu_kernel", "rrelu_with_noise", "elu", "silu", "gelu", "hardswish", "mish"}
_OTHERS |= {"softplus"}


class ReLURule(TorchDispatchMode):
    """Inside the block, autograd follows `rule` at every ReLU, whatever module, function or line of code it is.

        with ReLURule("guided") as relus:
            (g,) = torch.autograd.grad(score, x)
        relus.met, relus.others             # how often a ReLU was met; torch's names of other activations

    torch computes the derivative of every ReLU by one function, of every clamp by another; the block watches for
    these while autograd runs. So neither the model nor its graph is touched, and ReLUs that are functions, work in
    place, or are one module used many times are no special case. A ReLU is what cuts at zero from below: `relu`,
    `relu6` and `hardtanh` from 0, `threshold` at 0 or more, `clamp` and `clamp_min` with the number 0. One written
    as `torch.where`, `torch.maximum`, a product with a mask or an autograd function of one's own looks like other
    arithmetic and keeps its gradient; in a compiled model no ReLU can be seen.

    Raises: ValueError for an unknown rule.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        if rule not in RULES:
            raise ValueError(f"rule is {rule!r}; it must be one of {', '.join(map(repr, RULES))}.")
        self.rule, self.met, self.others = rule, 0, set[str]()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        gradient = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.removesuffix("_backward")
        if name in _OTHERS:
            self.others.add(name)
        came = _came_to_relu(func, args)
        if came is None:
            return gradient
        self.met += 1
        if self.rule == "gradient":
            return gradient
        return (came if self.rule == "deconvnet" else gradient).relu()


def _came_to_relu(func: Any, args: Sequence[Any]) -> Tensor | None:
    """The signal that came back to a ReLU's output, if `func` computes the derivative of a ReLU."""
    if func == _aten.threshold_backward.default:  # (g, z, threshold)
        return args[0] if args[2] >= 0 else None
    if func == _aten.hardtanh_backward.default:  # (g, z, lowest, highest)
        return args[0] if args[2] == 0 else None
    if func == _aten.where.self:  # (mask, g, 0), of a clamp; but `where` occurs elsewhere too
        node = torch._C._current_autograd_node()
        if node is not None and node.name().startswith("Clamp"):
            lowest = getattr(node, "_saved_min", None)
            return args[1] if isinstance(lowest, int | float) and lowest == 0 else None
    return None


class Units(NamedTuple):
    """One unit of a layer for each image; all (N,)."""

    channel: Tensor
    row: Tensor  # of the layer's map; 0 in a fully connected layer
    column: Tensor
    value: Tensor  # the activation


def choose_units(a: Tensor, channel: Numbers = None, at: At = "max") -> Units:
    """One unit of every image, from a layer's activations `a`: maps (N, C, h, w), or (N, C) if fully connected.

    Args:
        channel: one for all images, one for each, or None for each image's most active one (at `at`). One image and
            several channels or positions are taken as that image several times.
        at: "max" for the channel's most active position, the first of equals; or one (row, column) for all images,
            or one for each (N, 2).

    Raises: LayerError for activations of another shape; ValueError for a channel or position that is not there.
    """
    if a.ndim not in (2, 4) or a.numel() == 0:
        raise LayerError(
            f"The layer gives {tuple(a.shape)}; units are looked for in maps (N, C, h, w) or rows (N, C)."
        )
    a, chosen, place = _together(a, "channel", channel, at)
    if place is not None and a.ndim == 2:
        raise ValueError("A fully connected layer has no positions: leave `at` out, the channel is the unit.")
    maps = a if a.ndim == 4 else a[:, :, None, None]
    count, channels, height, width = maps.shape
    best = maps.flatten(2).argmax(2)  # (N, C)
    if place is not None:
        if bool(((place < 0) | (place >= torch.tensor([height, width]))).any()):
            raise ValueError(
                f"at is {place.tolist()}; rows and columns are from 0 to below {height} and {width}."
            )
        best = (place[:, 0] * width + place[:, 1]).to(a.device)[:, None].expand(count, channels)
    values = maps.flatten(2).gather(2, best[:, :, None])[:, :, 0]  # (N, C)
    chosen = values.argmax(1) if chosen is None else chosen.to(a.device)
    wrong = chosen[(chosen < 0) | (chosen >= channels)]
    if wrong.numel():
        raise ValueError(f"There is no channel {int(wrong[0])}: the layer has {channels}, numbered from 0.")
    best, values = (table.gather(1, chosen[:, None])[:, 0] for table in (best, values))
    return Units(chosen, best // width, best % width, values)


def project(
    model: nn.Module,
    x: Tensor,
    target: Numbers = None,
    *,
    rule: Rule = "guided",
    layer: str | None = None,
    at: At = "max",
    dead: Literal["raise", "zeros"] = "raise",
    batch: int = 64,
) -> Tensor:
    """What comes back to the image from one class, unit or channel, (N, 3, H, W), signed, in x's precision.

    The signal starts as 1 at the target and 0 elsewhere. Zeiler & Fergus start with the activation: where that is
    positive, theirs is the result times the activation. Where pooling windows overlap, "deconvnet" sums as gradients
    do; `deconvnet.deconvnet` can do either. An image's result does not depend on the other images.

    Args:
        x: normalised images (N, 3, H, W). One image and several targets or positions give one result for each.
        target: without a layer a class, else a channel; one for all images, one for each, or None for the class that
            the model gives, or the layer's most active channel.
        rule: one of `RULES`; see the top of this module and `ReLURule`.
        layer: name of a layer that gives maps (N, C, h, w) or rows (N, C); one that runs several times gives its
            last output. None is the model's output, the logits.
        at: of a layer that gives maps. "max" is the unit where the channel is most active; (row, column) is another,
            or one for each image (N, 2); "all" is the sum of the channel's units.
        dead: what to do about units (or whole channels) behind a ReLU whose activation is 0. Nothing made them
            fire, and their gradient is 0; the deconvnet rule, which does not ask whether a ReLU was on, would
            return a picture all the same. "raise" an error, or give "zeros" for these images.
        batch: at most so many images in memory at once.

    Raises: hooks.LayerError for an unknown layer, one that does not run or gives no units; ValueError for input that
        is no batch of finite images, a class, channel or position that is not there, a dead unit, a target that has
        no gradient by x, and, unless the rule is "gradient", if no ReLU lies between the target and the image.
    Warns: UserWarning where LeakyReLUs and the like lie on the way besides ReLUs; they pass the ordinary gradient.
    """
    if x.ndim != 4 or len(x) == 0:
        raise ValueError(
            f"x must be a batch of images (N, C, H, W), not {tuple(x.shape)}; pass x[None] for one."
        )
    if not (x.is_floating_point() and x.isfinite().all()):
        raise ValueError("x must hold finite floats: it has another type, or NaN or infinite values.")
    if batch < 1 or dead not in ("raise", "zeros"):
        raise ValueError(f"batch is {batch}, at least 1, and dead {dead!r}, 'raise' or 'zeros'.")
    relus = ReLURule(rule)
    whole = isinstance(at, str) and at == "all"
    images, numbers, place = _together(x.detach(), "target", target, "max" if whole else at)
    if layer is None and (whole or place is not None):
        raise ValueError("A class has no positions: `at` needs a layer.")
    parts = []
    with frozen(model), torch.inference_mode(False), torch.enable_grad():
        for some in torch.arange(len(images)).split(batch):
            start = images[some.to(x.device)].clone().requires_grad_()
            number = None if numbers is None else numbers[some]
            if layer is None:
                y = logits(model, start.clone())  # the second copy may be changed in place by a first layer
                scores = y.gather(1, targets(y, number).clone()[:, None])[:, 0]
                silent = torch.zeros_like(scores, dtype=torch.bool)
            else:
                with record(model, layer) as rec:
                    run(model, start.clone())
                scores, silent = _scores(rec[layer], number, "max" if place is None else place[some], whole)
            if dead == "raise" and silent.any():
                what = "Image" if len(x) == len(images) else "Target"
                raise ValueError(
                    f"{what} {int(some[silent.cpu()][0])} has no active unit in layer {layer!r}: its value is 0, "
                    "so nothing made it fire; choose another, or pass dead='zeros'."
                )
            parts.append(_back(scores, start, relus).masked_fill(silent[:, None, None, None], 0))
    if rule != "gradient":
        _tell(relus, layer)
    return torch.cat(parts)


def _scores(a: Tensor, channel: Tensor | None, at: At, whole: bool) -> tuple[Tensor, Tensor]:
    """The values (N,) to go back from, and which of them belong to dead units."""
    if whole and channel is None and a.ndim == 4:
        channel = a.detach().sum((2, 3)).argmax(1)
    unit = choose_units(a.detach(), channel, at)
    maps = a.flatten(2) if a.ndim == 4 else a[:, :, None]
    values = maps[torch.arange(len(a), device=a.device), unit.channel]  # (N, h · w)
    place = unit.row * (a.shape[3] if a.ndim == 4 else 1) + unit.column
    scores = values.sum(1) if whole else values.gather(1, place[:, None])[:, 0]
    # Behind a ReLU no value is negative; elsewhere a value of 0 is one like any other.
    return scores, (unit.value == 0) & (a.detach().flatten(1).amin(1) >= 0)


def _back(scores: Tensor, start: Tensor, relus: ReLURule) -> Tensor:
    gradient = None
    if scores.requires_grad:
        with relus:
            (gradient,) = torch.autograd.grad(scores.sum(), start, allow_unused=True)
    if gradient is None:
        raise ValueError("No gradient leads from the target to x: the model computes it without autograd.")
    return gradient


def _tell(relus: ReLURule, layer: str | None) -> None:
    others = " and ".join(sorted(relus.others))
    if not relus.met:
        raise ValueError(
            f"No ReLU was met between {'the logits' if layer is None else repr(layer)} and the image"
            + (f", only {others}, for which there is no such rule" if others else "")
            + f": {relus.rule!r} would be the gradient by another name; pass rule='gradient'."
        )
    if others:
        warnings.warn(
            f"The rule {relus.rule!r} holds at the ReLUs; {others} on the way pass the ordinary gradient.",
            stacklevel=3,
        )


def _together(x: Tensor, name: str, number: Numbers, at: At) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Images or activations, their channels or classes (N,), and positions (N, 2), each repeated to the same N."""
    if isinstance(at, str) and at != "max":
        raise ValueError(f"at is {at!r}; it must be 'max', or in project 'all', or a (row, column).")
    numbers = _entries(name, number, "one whole number", 0)
    places = _entries("at", None if isinstance(at, str) else at, "a (row, column)", 1)
    counts = [len(entries) for entries in (x, numbers, places) if entries is not None]
    if {*counts} - {1, max(counts)}:
        raise ValueError(
            f"{counts[0]} images do not go with {' and '.join(map(str, counts[1:]))} targets or positions: give one "
            "for all images, or one for each."
        )
    numbers, places = (t if t is None else t.expand(max(counts), *t.shape[1:]) for t in (numbers, places))
    return x.expand(max(counts), *x.shape[1:]), numbers, places


def _entries(name: str, given: Any, one: str, axes: int) -> Tensor | None:
    """What was given for all images, (1, …), or for each, (N, …), on the CPU; one entry has so many axes."""
    if given is None:
        return None
    entries = torch.as_tensor(given).cpu()
    whole = not entries.is_floating_point() and entries.dtype != torch.bool
    if not whole or entries.ndim - axes not in (0, 1) or (axes and entries.shape[-1] != 2):
        raise ValueError(f"{name} is {given}; it must be {one} for all images, or for each.")
    # A copy, since autograd refuses tensors made in inference mode.
    return (entries if entries.ndim > axes else entries[None]).long().clone()
