"""Logits of images with a window hidden, computing only what the window can change; exact.

hidden(model, x, shown, tops, lefts, window)       logits with the window at each place
multiplications(model, x, tops, lefts, window)     how many that takes, run by run and in this way
Work                                               these two numbers, and their ratio
Patches                                            what both use: the model, computed patch by patch
NotFollowed                                        why a model cannot be computed in this way

    tops, lefts = occlusion.positions(96, 96, 24, 6)
    multiplications(model, x, tops, lefts, (24, 24)).ratio          # so many times less there is to do
    hidden(model, x, torch.zeros_like(x), tops, lefts, (24, 24))    # (N, rows, columns, classes)

A window changes a patch of the first map, a wider one of the second, and so on. Around it each map is as with nothing
hidden, and that one is kept. So a layer takes its patch with a rim of the kept map:

    kept map    ··········      the rim (+) is as wide as the layer's window needs;
                ··++++····      the patch (■) is what the layer before has computed;
                ··+■■+····      the patches of all places have one size, so that they
                ··++++····      are one batch, also where they meet a border

Where a patch is nearly the whole map, the whole map is computed. So it is for layers that see the whole map anyway
(fully connected ones, global pooling, attention, group norm), and for every operation that is not known here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map_only
from tqdm.auto import tqdm

from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.patch_layers import (
    SLIDING,
    Sliding,
    Span,
    Spans,
    is_local,
    kind,
    slid,
    sliding,
    spans,
    take,
    union,
)

TOLERANCE = 1e-4  # relative difference of logits at which the traced model is another one
STEP = 10_000_000  # one operation on a batch of patches costs as much time besides as so many multiplications


class NotFollowed(ValueError):
    """The model cannot be computed patch by patch; the message is the reason in a few words."""


class Work(NamedTuple):
    """Multiplications of the convolutions and fully connected layers for all places of the window on one image."""

    plain: int  # one run of the model for each place
    incremental: int  # one run, and the patches for each place

    @property
    def ratio(self) -> float:
        """How many times fewer they are."""
        return self.plain / max(self.incremental, 1)


class _Step(NamedTuple):
    """How a node of the graph is computed: "image", "fact" (knows no pixels), "local" (position by position), …"""

    kind: Literal["image", "fact", "local", "sliding", "whole"]
    sources: list[fx.Node]  # the nodes with pixels that it takes
    products: int = 0  # multiplications for the whole of it
    sliding: Sliding | None = None


def hidden(
    model: nn.Module,
    x: Tensor,
    shown: Tensor,
    tops: Tensor,
    lefts: Tensor,
    window: tuple[int, int],
    clean: Tensor,
    *,
    batch: int = 64,
    least: float = 0.0,
    progress: bool = False,
) -> Tensor:
    """Logits (N, rows, columns, classes) of images (N, C, H, W) with the window at each place.

    Args:
        shown: what the window shows where it is, (N, C, H, W).
        tops, lefts: first rows and columns of the window, as from `occlusion.positions`.
        clean: the model's logits (N, classes) with nothing hidden.
        batch: at most so many places at a time.
        least: by how many times the multiplications must be fewer.

    Raises: NotFollowed where `Patches` does, where what was traced gives other logits than the model's own, and where
        there is less to save than `least`.
    """
    places = len(tops) * len(lefts)
    numbers = torch.arange(places, device=x.device).view(len(tops), len(lefts))
    logits = clean.new_empty(len(x) * places, clean.shape[1])
    waiting: list[tuple[Tensor, list[Tensor]]] = []
    with frozen(model), torch.no_grad(), tqdm(total=len(logits), disable=not progress) as bar:
        patches = Patches(model)

        def finish() -> None:
            index, maps = zip(*waiting, strict=True)
            logits[torch.cat(index)] = patches.finish([torch.cat(each) for each in zip(*maps, strict=True)])
            waiting.clear()

        for i, (image, fill) in enumerate(zip(x.detach().split(1), shown.split(1), strict=True)):
            difference = (patches.keep(image) - clean[i]).abs().max()
            if not difference <= TOLERANCE * clean[i].abs().max():
                raise NotFollowed("what torch.fx has traced gives other logits")
            if i == 0:
                groups, work = _groups(patches, tops, lefts, window)
                if work.ratio < least:
                    raise NotFollowed("there is hardly less to compute")
            for down, across in groups:
                if i == 0 or len(groups) > 1:
                    patches.lay(tops[down], lefts[across], window)
                width = len(lefts[across])
                within = torch.arange(numbers[down, across].numel(), device=x.device).split(batch)
                for some, which in zip(within, numbers[down, across].flatten().split(batch), strict=True):
                    waiting.append((i * places + which, patches.hide(fill, some // width, some % width)))
                    bar.update(len(some))
                    if sum(len(index) for index, _ in waiting) >= batch:
                        finish()
        if waiting:
            finish()
    return logits.view(len(x), len(tops), len(lefts), -1)


def multiplications(
    model: nn.Module, x: Tensor, tops: Tensor, lefts: Tensor, window: tuple[int, int]
) -> Work:
    """Multiplications of convolutions and fully connected layers for one image like `x` (N, C, H, W), all places.

    Those of other operations are not counted. Raises: NotFollowed where `Patches` does.
    """
    with frozen(model), torch.no_grad():
        patches = Patches(model)
        patches.keep(x.detach()[:1])
        return _groups(patches, tops, lefts, window)[1]


def _groups(
    patches: Patches, tops: Tensor, lefts: Tensor, window: tuple[int, int]
) -> tuple[list[tuple[slice, slice]], Work]:
    """Rows and columns of places that are computed together, and the work: all, or those near the borders apart.

    There the patches are smaller, but more and smaller batches take time as well.
    """
    whole, ends = slice(None), (slice(2), slice(2, -2), slice(-2, None))
    together = patches.lay(tops, lefts, window)
    once = together.plain // (len(tops) * len(lefts))
    down, across = (ends if len(along) > 5 else (whole,) for along in (tops, lefts))
    groups = [(rows, columns) for rows in down for columns in across]
    costs = (len(groups) - 1) * patches.operations * STEP
    if together.incremental > 4 * costs:  # otherwise it cannot be worth it, and need not be tried
        apart = sum(patches.lay(tops[rows], lefts[columns], window).incremental for rows, columns in groups)
        if together.incremental - apart > costs:
            return groups, Work(together.plain, once + apart)
    return [(whole, whole)], Work(together.plain, once + together.incremental)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # By where `forward` was written: a subclass of nn.Conv2d that keeps it is a leaf as well.
        return type(m).forward.__module__.startswith("torch.nn.") and not isinstance(m, nn.Sequential)


class Patches(fx.Interpreter):
    """A model that computes only what a window can change; use it inside `frozen(model)` and `torch.no_grad()`.

    `keep` an image, `lay` out the places of a window, `hide` it at some of them, and `finish`. The weights stay the
    model's.

    Raises: NotFollowed where torch.fx cannot trace the model, hooks may change what its layers give, its batch norm
        has no statistics of its own, or a layer changes in place what is used again.
    """

    def __init__(self, model: nn.Module) -> None:
        if any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()):
            raise NotFollowed("there are hooks on its layers")
        parameters = inspect.signature(model.forward).parameters.values()
        try:
            defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
            graph = _Tracer().trace(model, defaults)
        except Exception as error:  # whatever the model does with a stand-in for a tensor
            reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
            raise NotFollowed(f"torch.fx cannot trace it ({reason})") from error
        super().__init__(fx.GraphModule(model, graph))
        self.extra_traceback = False  # errors stay as they are
        self.model = model
        self._doing: Literal["keep", "hide", "finish"] = "keep"
        self._at: list[Tensor] = []  # in which rows and columns of places the window is
        self._count = 1  # of pictures at a time
        self._whole: dict[fx.Node, Tensor] = {}  # maps that are needed as a whole: what `hide` ends with
        self.operations = len(graph.nodes)
        self._order = {node: number for number, node in enumerate(graph.nodes)}
        self._clean: dict[fx.Node, Any] = {}
        self._steps: dict[fx.Node, _Step] = {}
        self._done: set[fx.Node] = set()  # batch norms that the convolution before them does as well
        self._spans: dict[fx.Node, Spans] = {}  # of the patches; not in it is what is computed as a whole

    def keep(self, x: Tensor) -> Tensor:
        """Run an image (1, C, H, W) with nothing hidden, and keep its maps; gives the model's output."""
        self._doing = "keep"
        y: Tensor = self.run(x.contiguous(memory_format=torch.channels_last))
        return y

    def lay(self, tops: Tensor, lefts: Tensor, window: tuple[int, int]) -> Work:
        """Find the patches of all maps for the places of a window; the multiplications they take, all together."""
        once = patches = 0
        for n, step in self._steps.items():
            size = self._clean[n].shape[-2:] if step.kind not in ("fact", "whole") else ()
            if step.kind == "image":
                starts = [along.to(self._clean[n].device) for along in (tops, lefts)]
                ends = [start + extent for start, extent in zip(starts, window, strict=True)]
                self._spans[n] = spans(starts, ends, size, math.inf)
            elif step.sliding:
                self._spans[n] = slid(self._spans[step.sources[0]], step.sliding, size)
            elif step.kind == "local":
                self._spans[n] = union([self._spans[a] for a in step.sources])
            down, across = self._spans.get(n) or [Span(tops, tops, tops, 1, 1)] * 2
            once += step.products
            patches += step.products * down.size * across.size // (down.extent * across.extent)
        return Work(len(tops) * len(lefts) * once, len(tops) * len(lefts) * patches)

    def hide(self, shown: Tensor, rows: Tensor, columns: Tensor) -> list[Tensor]:
        """The last maps (P, ...) that are made of patches, for the kept image with the window at P places.

        Args:
            shown: the picture that the window shows where it is, (1, C, H, W).
            rows, columns: the places, (P,) each: numbers in the `tops` and `lefts` that were laid out.
        """
        self._doing, self._at, self._count, self._whole = "hide", [rows, columns], len(rows), {}
        self.run(shown)
        return [*self._whole.values()]

    def finish(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (P, classes) from what `hide` gives, or gives several times, put one after the other.

        What is left to do sees whole maps, and large matrices are best multiplied with many pictures at a time.
        """
        self._doing, self._count = "finish", len(maps[0])
        self._whole = dict(zip(self._whole, maps, strict=True))
        y: Tensor = self.run(maps[0])
        return y

    # --- one node at a time ----------------

    def run_node(self, n: fx.Node) -> Any:
        """Called by `run` for every node of the graph."""
        if self._doing == "keep":
            return self._run_whole(n)
        step, laid = self._steps[n], self._spans.get(n)
        value: Any
        if self._doing == "finish" and laid:
            return self._whole.get(n)
        if self._doing == "hide" and step.kind == "whole":
            return None
        if step.kind == "image" and laid:
            value = take(super().run_node(n), *self._wanted(laid))
        elif step.sliding and laid:
            value = self._slide(step.sources[0], step.sliding, laid)
        else:
            see: Callable[[fx.Node], Any] = self._fact if step.kind == "fact" else self.env.__getitem__
            if laid:
                see = partial(self._patch, laid=laid)
            args, kwargs = map_arg(n.args, see), map_arg(n.kwargs, see)
            value = args[0] if n in self._done else self._call(n, args, kwargs)
        kinds = {self._steps[user].kind for user in n.users}
        if laid and "whole" in kinds:
            self.env[n] = value
            zero = torch.zeros_like(self._at[0])
            self._whole[n] = self._cut(n, [zero, zero], [span.extent for span in laid])
            if self._whole[n] is value and len(kinds) > 1:
                self._whole[n] = value.clone()  # a layer on the patches may work in place
        return value

    def _run_whole(self, n: fx.Node) -> Any:
        # On copies: what is kept must not be changed by a layer that works in place.
        copies = {a: tree_map_only(Tensor, Tensor.clone, self.env[a]) for a in n.all_input_nodes}
        args, kwargs = map_arg(n.args, copies.__getitem__), map_arg(n.kwargs, copies.__getitem__)
        value = self._clean[n] = self._call(n, args, kwargs)
        for a, copy in copies.items():
            used = max(a.users, key=self._order.__getitem__) is not n  # later
            if used and isinstance(copy, Tensor) and copy._version:
                raise NotFollowed(f"{n.name} changes in place what is used again")
        if n not in self._steps:
            self._steps[n] = self._plan(n, value)
        return value

    def _call(self, n: fx.Node, args: Any, kwargs: Any) -> Any:
        # Channels lie side by side in memory here, so `view` cannot flatten a map.
        target = "reshape" if n.op == "call_method" and n.target == "view" else n.target
        return getattr(self, n.op)(target, args, kwargs)

    def _slide(self, source: fx.Node, layer: Sliding, laid: Spans) -> Tensor:
        if all(span.size == span.extent for span in (*laid, *self._spans[source])):
            return layer.run(self.env[source], True)
        starts, sizes = self._wanted(laid)
        first = [start * t - p for start, t, p in zip(starts, layer.stride, layer.padding, strict=True)]
        under = [(size - 1) * t + r for size, t, r in zip(sizes, layer.stride, layer.reach, strict=True)]
        y = layer.run(self._cut(source, first, under, layer.empty), False)
        return y if layer.share is None else y.mul_(take(layer.share, starts, sizes))

    def _fact(self, a: fx.Node) -> Any:
        """What knows no pixels; in place of maps, some of the same shape."""
        if self._steps[a].kind == "fact":
            return self.env[a]
        return tree_map_only(Tensor, lambda t: t.expand(self._count, *t.shape[1:]), self._clean[a])

    def _patch(self, a: fx.Node, laid: Spans) -> Any:
        have = self._spans.get(a)
        return self._cut(a, *self._wanted(laid)) if have and have is not laid else self.env[a]

    def _wanted(self, laid: Spans) -> tuple[list[Tensor], list[int]]:
        """First rows and first columns of the patches, (P,) each; their height and width."""
        starts = [span.start[at] for span, at in zip(laid, self._at, strict=True)]
        return starts, [span.size for span in laid]

    def _cut(self, a: fx.Node, starts: Sequence[Tensor], sizes: Sequence[int], empty: float = 0.0) -> Tensor:
        """Parts of a node's map, (P, ..., height, width): of the kept map, with the patches on top."""
        patch, (at, have) = self.env[a], self._wanted(self._spans[a])
        if have == [*sizes] and all(map(torch.equal, starts, at)):
            return patch
        return take(self._clean[a], starts, sizes, empty, patch, at)

    # --- once for each node ----------------

    def _plan(self, n: fx.Node, value: Any) -> _Step:
        if n.op == "placeholder":
            return _Step("fact" if self._steps else "image", [])
        name, module = kind(self.model, n)
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise NotFollowed("its batch norm looks at the other pictures of a batch")
        sources = [a for a in n.all_input_nodes if self._steps[a].kind != "fact"]
        about = n.args[1] if name == "getattr" else name
        if not sources or about in ("size", "dim", "shape", "ndim", "dtype", "device"):
            return _Step("fact", sources)
        keys = SLIDING.get(name, "weight").split()
        if module is not None:
            settings = {key: getattr(module, key, None) for key in keys}
        else:
            settings = dict(zip(keys, n.args[1:], strict=False)) | n.kwargs
            settings = map_arg(settings, self._clean.__getitem__)
        weight, products = settings.get("weight"), 0
        if name in ("conv1d", "conv2d", "linear") and isinstance(weight, Tensor):
            products = weight[0].numel() * value.numel()
        maps = [self._clean[a] for a in sources]
        given = [self._clean[a] for a in n.all_input_nodes if a not in sources]
        if not isinstance(value, Tensor) or any(self._steps[a].kind == "whole" for a in sources):
            return _Step("whole", sources, products)
        if name in SLIDING and len(sources) == 1 and value.ndim == maps[0].ndim == 4:
            alone = module is not None and len(n.users) == 1
            after = kind(self.model, next(iter(n.users)))[1] if alone else None
            layer = sliding(name, settings, maps[0], after)
            if layer and name == "conv2d" and isinstance(after, nn.BatchNorm2d):
                self._done |= set(n.users)
            if layer:
                return _Step("sliding", sources, products, layer)
        if value.ndim > 2 and is_local(name, n, value, maps, given):
            return _Step("local", sources)
        return _Step("whole", sources, products)
