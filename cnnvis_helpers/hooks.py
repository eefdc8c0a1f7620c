"""Look inside a model without leaving a trace in it.

    layer_names     names of all layers of a model
    find            the layer of a given name
    record          context manager: keep what named layers give (and their gradients) while the model runs
    activations     the outputs of named layers for one batch
    frozen          context manager: evaluation mode and no parameter gradients, undone on exit
    describe        the layers in the order in which they run, with shapes and parameter counts
    rectified_maps  names of the layers whose output is a non-negative map
    LayerInfo       one line of `describe`
    LayerError      a layer name is unknown, or the layer did not run

    with record(model, ["conv1", "relu5"], gradients=True) as rec:
        model(x)[0, 3].backward()
    rec["relu5"], rec.gradients["relu5"]          # (N, C, H, W) each

A layer is a submodule, called by its name in `model.named_modules()`. A value computed between modules, such
as `F.relu(self.conv1(x))`, has no name of its own; it is seen where the enclosing module returns it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from cnnvis_helpers.layout import run

_LISTED_LAYERS = 60  # an error message names at most so many layers before it keeps to the outer ones


class LayerError(ValueError, KeyError):
    """A layer name is unknown, or the layer did not run. A `KeyError` too, so that `in` and `.get` work."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the sentence in quotation marks


def layer_names(model: nn.Module) -> list[str]:
    """Return the name of every submodule in the order of registration; the model itself has no name.

    A module registered under two names is listed under both.
    """
    return [name for name, _ in model.named_modules(remove_duplicate=False) if name]


def find(model: nn.Module, name: str) -> nn.Module:
    """Return the submodule called `name`.

    Raises:
        LayerError: there is no such layer; the message lists the layers and suggests near names.
    """
    layers = {key: module for key, module in model.named_modules(remove_duplicate=False) if key}
    if name in layers:
        return layers[name]
    near = difflib.get_close_matches(str(name), layers, n=3, cutoff=0.5)
    hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
    if len(layers) <= _LISTED_LAYERS:
        listed = ", ".join(layers) or "none"
    else:
        outer = [key for key in layers if "." not in key]
        listed = f"{', '.join(outer)}, and {len(layers) - len(outer)} inside these, which layer_names() lists"
    raise LayerError(f"The model has no layer {name!r}{hint}; its layers are: {listed}.")


class record(Mapping[str, Tensor]):
    """Keep the outputs of named layers while the model runs; the hooks are gone when the block ends.

    A mapping from layer name to the output in the last forward pass of `model`, in execution order. It stays
    readable after the block. A module that runs several times in one pass (one ReLU used twice) gives its
    last output under its name and all of them, in order, in `calls[name]`.

    Every value is a copy made the moment the layer returned it, so a later in-place operation cannot change
    it. Where autograd is on, the copy lies on the path from input to output: `torch.autograd.grad(score,
    rec[name])` and losses on `rec[name]` both work. Of a tuple, list or dict the first tensor is kept; a
    layer that returns no tensor is not recorded.

    Args:
        model: any module; its mode and parameters are left as they are.
        layers: one name or several; None means all leaf modules (those without children).
        gradients: also keep the gradient that reaches each recorded output; it is in `gradients[name]` after
            `backward()`, with the shape of the output (for a reused module: of its last call). Works for
            frozen models too: a recorded output that has no gradient history becomes the start of one.

    Raises:
        LayerError: a name is unknown (before any hook is set), or a layer asked for has not run.
    """

    def __init__(
        self, model: nn.Module, layers: str | Iterable[str] | None = None, *, gradients: bool = False
    ) -> None:
        if layers is None:
            self._layers = {n: m for n, m in model.named_modules() if n and not any(m.children())}
        else:
            self._layers = {n: find(model, n) for n in ([layers] if isinstance(layers, str) else layers)}
        self._model = model
        self._keep_gradients = gradients
        self._handles: list[Any] = []
        self._gradients: dict[tuple[str, int], Tensor] = {}
        self.calls: dict[str, list[Tensor]] = {}

    def __enter__(self) -> record:
        self.close()
        try:
            self._handles.append(self._model.register_forward_pre_hook(self._forget))
            for name, module in self._layers.items():
                self._handles.append(module.register_forward_hook(self._hook(name)))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the hooks; what was recorded stays."""
        while self._handles:
            self._handles.pop().remove()

    def _forget(self, *_: object) -> None:
        # New containers, not cleared ones: the graph of an earlier pass may still write into its own.
        self.calls, self._gradients = {}, {}

    def _hook(self, name: str) -> Callable[..., Any]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> Any:
            leaves, structure = tree_flatten(output)
            place = next((i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)), None)
            if place is None:
                return None
            kept = leaves[place].clone()
            if self._keep_gradients and torch.is_grad_enabled() and kept.is_floating_point():
                if not kept.requires_grad:
                    kept.requires_grad_()
                # The closure holds the gradients alone: one that held `kept` too would be a reference cycle
                # through the graph, which Python cannot free.
                gradients, key = self._gradients, (name, len(self.calls.get(name, [])))
                kept.register_hook(lambda grad: gradients.__setitem__(key, grad.detach().clone()))
            # Taken out and put back at the end: the mapping is in the order of the last calls.
            self.calls[name] = [*self.calls.pop(name, []), kept]
            if not kept.requires_grad:
                return None
            leaves[place] = kept.clone()  # the model goes on with a second copy, free to be changed in place
            return tree_unflatten(leaves, structure)

        return keep

    @property
    def gradients(self) -> Mapping[str, Tensor]:
        """Name → gradient of what `backward()` was called on, with respect to the layer's last output."""
        last = ((name, (name, len(calls) - 1)) for name, calls in self.calls.items())
        return _Gradients({name: self._gradients[key] for name, key in last if key in self._gradients})

    def __getitem__(self, name: str) -> Tensor:
        if name in self.calls:
            return self.calls[name][-1]
        if name in self._layers:
            raise LayerError(
                f"Layer {name!r} has given no tensor: run the model inside the `with` block first."
            )
        raise LayerError(
            f"Layer {name!r} is not recorded; recorded are: {', '.join(self._layers) or 'none'}."
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.calls)

    def __len__(self) -> int:
        return len(self.calls)


class _Gradients(dict[str, Tensor]):
    def __missing__(self, name: str) -> Tensor:
        raise LayerError(
            f"No gradient has reached layer {name!r}: record it with gradients=True and autograd on, then "
            "call backward() on a score that depends on it."
        )


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Put the model in evaluation mode and switch its parameters' gradients off; undo both on exit.

    The mode of every submodule and `requires_grad` of every parameter come back one by one, so a model of
    which a part was in training mode is as before, also when the block ends with an exception. Gradients with
    respect to the input still flow.
    """
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield model
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)


def activations(model: nn.Module, x: Tensor, layers: str | Iterable[str] | None = None) -> dict[str, Tensor]:
    """Return the outputs of `layers` for the batch `x`, by name, in the order in which `layers` gives them.

    One forward pass in evaluation mode without gradients; the model's mode is put back. A layer that runs
    several times gives its last output. None means all leaf modules that ran, in execution order.

    Raises:
        LayerError: a layer is unknown or does not run in this mode.
    """
    names = layers if layers is None else [layers] if isinstance(layers, str) else list(layers)
    with frozen(model), torch.no_grad(), record(model, names) as rec:
        run(model, x.clone())  # a first layer that works in place would change the caller's images
    return {name: rec[name] for name in (rec if names is None else names)}


@dataclass(frozen=True)
class LayerInfo:
    """One layer as it ran on one batch."""

    name: str
    kind: str  # class name
    shape: tuple[int, ...]  # of the output, without the batch axis
    parameters: int  # of the layer with all inside it
    rectified: bool  # no output value of this batch is negative
    is_map: bool  # the output is (N, C, H, W) with more than one position
    leaf: bool  # has no layers inside


def describe(model: nn.Module, x: Tensor) -> list[LayerInfo]:
    """Return the layers in the order in which they run on `x`; a container comes after its children.

    A module that runs several times stands where its last call ends, with the output of that call. Layers
    that do not run, and layers that return no tensor, are left out. `rectified` is a fact about this batch:
    give it a few real images. Evaluation mode, no gradients; the model is put back.
    """
    return [info for info, _ in _run(model, x)]


def rectified_maps(model: nn.Module, x: Tensor, most: int | None = None) -> list[str]:
    """Return names of layers whose output on `x` is a map (N, C, H, W) without negative values, as they run.

    These are the layers at which "how active is this channel here" has a plain meaning. It does not matter
    how the model rectifies: by modules, in place, by one module used many times, or by a function inside a
    block. Each distinct output is named once: where a block returns what its last ReLU gave, the block is
    named. Maps of one position are left out.

    Args:
        most: at most so many names, spread evenly, first and last among them (1 gives the last).

    Raises:
        ValueError: `most` is below 1.
    """
    if most is not None and most < 1:
        raise ValueError(f"most must be at least 1 or None, not {most}.")
    chosen: dict[Any, str] = {}
    for info, values in _run(model, x):
        if info.rectified and info.is_map:
            first = chosen.setdefault(values, info.name)
            if first.startswith(info.name + "."):
                chosen[values] = info.name
    names = list(chosen.values())
    if most is None or most >= len(names):
        return names
    if most == 1:
        return names[-1:]
    return [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)]


def _run(model: nn.Module, x: Tensor) -> list[tuple[LayerInfo, int]]:
    """Run once; return the lines of `describe`, each with a hash that tells rectified maps apart."""
    seen: dict[str, tuple[LayerInfo, int]] = {}

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensor = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
            if tensor is None:
                return
            rectified = bool(tensor.numel() and not tensor.is_complex() and (tensor >= 0).all())
            info = LayerInfo(
                name=name,
                kind=type(module).__name__,
                shape=tuple(tensor.shape[1:]),
                parameters=sum(p.numel() for p in module.parameters()),
                rectified=rectified,
                is_map=tensor.ndim == 4 and tensor.shape[2] * tensor.shape[3] > 1,
                leaf=not any(module.children()),
            )
            # A hash, since memory that one output has given back may hold the next: identity says nothing.
            values = hash(tensor.float().cpu().numpy().tobytes()) if rectified and info.is_map else 0
            seen.pop(name, None)  # a later call stands later
            seen[name] = (info, hash((info.shape, values)))

        return hook

    handles: list[Any] = []
    try:
        for name, module in model.named_modules():
            if name:
                handles.append(module.register_forward_hook(look(name)))
        with frozen(model), torch.no_grad():
            run(model, x.clone())
    finally:
        for handle in handles:
            handle.remove()
    return list(seen.values())
