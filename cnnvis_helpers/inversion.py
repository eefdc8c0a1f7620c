"""Turn a code back into an image: what a layer still knows of what it saw, and what it has thrown away.

- `invert`: images whose code at a layer is, as nearly as can be, a given one
- `invert_steps`: the same as an iterator, for a film or a stop button
- `Inverse`: the images of one step, with their errors
- `code_error`: squared distance of codes, relative to the target
- `distances`: how far images are from pictures, each from each, so that the null stands beside the result
- `variation`: total variation with an exponent
- `Cut`: a model cut off after a layer, so that images of any size pass

    code = activations(net.model, x, "relu3")["relu3"]                        # (N, C, h, w)
    inverse = invert(net.model, "relu3", code, normalise=net.normalise, size=net.input_size)
    distances(inverse.images, pictures)                                       # (N, starts, N)

Source: Mahendran & Vedaldi, *Understanding deep image representations by inverting them*, CVPR 2015.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from tqdm.auto import tqdm

from cnnvis_helpers.hooks import LayerError, find, frozen
from cnnvis_helpers.image_params import Fourier, Pixels
from cnnvis_helpers.images import check
from cnnvis_helpers.synthesis import sixth_norm

Basis = Literal["fourier", "pixels"]
_STEP = 0.1  # a difference of neighbours that `variation` punishes alike whatever its exponent


class _Reached(BaseException):
    """The layer has run. No `Exception`: a model that catches those must not catch this one."""


class Cut:
    """The model as far as `layer`: `Cut(model, layer)(x)` is the layer's output, what comes after does not run.

    So the fully connected layers, which need one size of image, do not stand in the way of other sizes. Of a layer
    that runs several times in one pass the last output counts, as in `hooks.activations`; how often it runs is found
    out in the first call. The model's mode and parameters are taken as they are, and gradients flow.

    Raises: LayerError for an unknown layer, for one that does not run or gives no tensor.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        self.model, self.layer, self._module, self._calls = model, layer, find(model, layer), 0

    def __call__(self, x: Tensor) -> Tensor:
        """Images that the model takes, (N, 3, H, W) → the layer's output for them."""
        if not self._calls:
            with torch.no_grad():
                self._calls = self._run(x[:1], 0)[0]
        return self._run(x, self._calls)[1]

    def _run(self, x: Tensor, last: int) -> tuple[int, Tensor]:
        calls, output = 0, x

        def look(module: nn.Module, inputs: Any, returned: Any) -> None:
            nonlocal calls, output
            tensor = next((leaf for leaf in tree_leaves(returned) if isinstance(leaf, Tensor)), None)
            if tensor is None:
                raise LayerError(f"Layer {self.layer!r} gives no tensor: choose a layer that does.")
            calls, output = calls + 1, tensor
            if calls == last:
                raise _Reached

        handle = self._module.register_forward_hook(look)
        try:
            self.model(x.clone())  # a first layer that works in place would change the caller's images
        except _Reached:
            pass
        except Exception as error:
            if isinstance(error, LayerError):
                raise
            if not calls:  # else the layer has been reached, and what fails comes after it
                raise LayerError(
                    f"The model does not get as far as layer {self.layer!r} with images {tuple(x.shape[1:])}: {error}"
                ) from error
        finally:
            handle.remove()
        if not calls:
            raise LayerError(
                f"Layer {self.layer!r} does not run in the model's forward pass: choose another."
            )
        return calls, output


@dataclass(frozen=True)
class Inverse:
    """What inversion has reached after `step` steps, for N codes and each of several starts.

    Attributes: images, (N, starts, 3, H, W) in [0, 1]; code_error, (N, starts), ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² of these
    images: 0 for the same code, 1 for a code of zeros.
    """

    images: Tensor
    code_error: Tensor
    step: int


def invert(
    model: nn.Module,
    layer: str,
    code: Tensor,
    *,
    normalise: Callable[[Tensor], Tensor],
    size: int | tuple[int, int],
    starts: int = 1,
    steps: int = 100,
    rate: float = 0.07,
    smooth: float | tuple[float, float] = (100.0, 1.0),
    beta: float = 2.0,
    extremes: float = 0.1,
    basis: Basis = "fourier",
    generator: torch.Generator | None = None,
    batch: int = 16,
    progress: bool = False,
) -> Inverse:
    """Images x that minimise ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² + `smooth` · TV(x) + `extremes` · ‖x‖₆⁶, from noise around grey.

    Only the code Φ₀ is seen, never the image that it came from. Divided by ‖Φ₀‖², the error has the same scale at
    every layer, so one setting serves all of them. Departures from the paper: Adam with a rate that rises and falls
    instead of momentum; TV's weight falls on the way, so that large shapes come before small ones; and, with the
    basis "fourier", waves in three colour directions are changed instead of pixels, the low ones most, since
    photographs are like that (Olah, Mordvintsev & Schubert, *Feature visualization*, Distill 2017). "pixels" is
    the paper's way: in as many steps it stays noisier.

    Args:
        model: any module that takes what `normalise` gives.
        layer: any layer with a name.
        code: its output for N images, as `hooks.activations` gives it; or any tensor of that shape.
        normalise: images in [0, 1] → what the model takes, such as `Network.normalise`.
        size: of the images in pixels, a side or (H, W).
        starts: inverses of each code, from other noise.
        steps, rate: of Adam, on the coefficients or pixels.
        smooth: weight of `variation`, one for all steps or (first, last), between which it falls geometrically.
        beta: exponent of `variation`: 2, or 1 for flat patches with sharp edges and spikes.
        extremes: weight of `sixth_norm`, the paper's α-norm with α = 6, which holds colours off the ends.
        generator: draws the starts; without one, every call draws the same.
        batch: at most so many images pass through the model at once; the result is the same.

    Returns: the `Inverse` after the last step, on the model's device. The model is left as it was.
    Raises: LayerError for a layer that is unknown or does not run; ValueError for settings out of range, a code that
        is not finite, is all zeros, or has not the layer's shape, and where the error is no number or does not
        depend on the image.
    """
    every = invert_steps(
        model,
        layer,
        code,
        normalise=normalise,
        size=size,
        starts=starts,
        steps=steps,
        rate=rate,
        smooth=smooth,
        beta=beta,
        extremes=extremes,
        basis=basis,
        generator=generator,
        batch=batch,
    )
    result = next(every)
    for result in tqdm(every, total=steps, disable=not progress, desc=f"inverting {layer}"):  # noqa: B007
        pass
    return result


def invert_steps(
    model: nn.Module,
    layer: str,
    code: Tensor,
    *,
    normalise: Callable[[Tensor], Tensor],
    size: int | tuple[int, int],
    starts: int = 1,
    steps: int = 100,
    rate: float = 0.07,
    smooth: float | tuple[float, float] = (100.0, 1.0),
    beta: float = 2.0,
    extremes: float = 0.1,
    basis: Basis = "fourier",
    generator: torch.Generator | None = None,
    batch: int = 16,
) -> Iterator[Inverse]:
    """Yield the start (step 0), then the images after each step; the last are those of `invert`.

    Arguments and errors as `invert`; bad settings raise at the call. Between the steps the model is as it was, so the
    loop may be left at any time.
    """
    height, width = (size, size) if isinstance(size, int) else size
    first, last = smooth if isinstance(smooth, tuple) else (smooth, smooth)
    if min(height, width, starts, steps, batch) < 1:
        raise ValueError(
            f"One pixel, start, step and image at a time are needed at least, not size {size}, {starts} starts, "
            f"{steps} steps and batch {batch}."
        )
    if not rate > 0 or not beta > 0 or not min(first, last, extremes) >= 0 or (first > 0) != (last > 0):
        raise ValueError(
            f"rate and beta are above 0, smooth and extremes 0 or more, not rate {rate}, beta {beta}, smooth {smooth} "
            f"and extremes {extremes}; a falling smooth ends above 0."
        )
    if basis not in ("fourier", "pixels"):
        raise ValueError(f"basis is {basis!r}; it must be 'fourier' or 'pixels'.")
    cut, count = Cut(model, layer), len(_checked(code)) * starts
    generator = generator or torch.Generator().manual_seed(0)
    noise = 0.47 + 0.06 * torch.rand(count, 3, height, width, generator=generator)
    device = next((parameter.device for parameter in model.parameters()), code.device)
    target = code.detach().to(device).repeat_interleave(starts, 0)
    start = noise.to(device)
    parameters = Pixels(start) if basis == "pixels" else Fourier(start, "clamp")

    def gradient(x: Tensor, wanted: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        x = x.requires_grad_()
        reached = cut(normalise(x))
        if reached.shape != wanted.shape:
            raise ValueError(
                f"The code has shape {tuple(wanted.shape[1:])}, but layer {layer!r} gives {tuple(reached.shape[1:])} "
                f"for images of {height} × {width} pixels: use the code of this layer at this size."
            )
        error = code_error(reached, wanted)
        if not error.isfinite().all() or not error.requires_grad:
            raise ValueError(
                f"The error at layer {layer!r} is not finite, or does not depend on the image: it cannot be inverted."
            )
        loss = error + weight * variation(x, beta) + extremes * sixth_norm(x)
        return torch.autograd.grad(loss.sum(), x)[0], error.detach()

    def images() -> Iterator[Inverse]:
        optimiser = torch.optim.Adam([parameters.values], lr=rate, betas=(0.9, 0.99))
        for step in range(steps + 1):
            weight = first * (last / first) ** (step / steps) if first else 0.0
            with frozen(model), torch.enable_grad():
                x = parameters.images()
                parts = zip(x.detach().split(batch), target.split(batch), strict=True)
                results = [gradient(part, wanted, weight) for part, wanted in parts]
                towards, error = (torch.cat(values) for values in zip(*results, strict=True))
                (parameters.values.grad,) = torch.autograd.grad(x, parameters.values, towards)
            yield Inverse(x.detach().clamp(0, 1).unflatten(0, (-1, starts)), error.view(-1, starts), step)
            optimiser.param_groups[0]["lr"] = rate * min(1, (step + 1) / 10, 1.05 - step / steps)
            optimiser.step()
            parameters.settle()

    return images()


def _checked(code: Tensor) -> Tensor:
    if not code.is_floating_point() or code.ndim < 2 or not code.numel() or not code.isfinite().all():
        raise ValueError(
            f"The code must be finite floats (N, …) of one image at least, not {code.dtype} {tuple(code.shape)}."
        )
    dead = (code.flatten(1) == 0).all(1).nonzero().flatten().tolist()
    if dead:
        raise ValueError(
            f"The code of image {dead[0]} is all zeros: no unit of the layer answers, so there is nothing to invert."
        )
    return code


def code_error(codes: Tensor, target: Tensor) -> Tensor:
    """‖codes − target‖² / ‖target‖² of each pair, (N, …) and (N, …) → (N,); no number where the target is 0."""
    return (codes - target).flatten(1).square().sum(1) / target.flatten(1).square().sum(1)


def variation(images: Tensor, beta: float = 2.0) -> Tensor:
    """Mean of (step / 0.1)^β · 0.01 over pixels and channels, (N, C, H, W) → (N,); step is the length of (down, right).

    down and right are the differences to the two neighbours, 0 at the border. A step of 0.1 costs the same for
    every β. For β = 2 it is the mean of down² + right². Departure from the paper: the mean, not the sum, so that the
    weight does not depend on the size; at no step at all, where β < 2 has no gradient, a thousandth of the range is
    added to each.
    """
    down = nn.functional.pad(images[:, :, 1:] - images[:, :, :-1], (0, 0, 0, 1))
    right = nn.functional.pad(images[:, :, :, 1:] - images[:, :, :, :-1], (0, 1))
    squared = down.square() + right.square()
    if beta == 2:
        return squared.mean((1, 2, 3))
    return _STEP**2 * ((squared + 1e-6) / _STEP**2).pow(beta / 2).mean((1, 2, 3))


def distances(
    images: Tensor, pictures: Tensor, measure: Literal["squared", "correlation"] = "squared"
) -> Tensor:
    """How far N × S images are from M pictures: (N, S, 3, H, W) and (M, 3, H, W) in [0, 1] → (N, S, M).

    "squared" is the mean squared difference of colour values; "correlation" is Pearson's r over all of them, so
    1 is best; it forgives another brightness and contrast, and is NaN for an image of one value. Inverse n
    belongs to picture n; the other columns are the null: what a wrong picture would have got.
    """
    check(pictures)
    if images.ndim != 5 or pictures.ndim != 4 or images.shape[2:] != pictures.shape[1:]:
        raise ValueError(
            f"Images (N, starts, 3, H, W) are compared with pictures (M, 3, H, W) of the same size, not "
            f"{tuple(images.shape)} with {tuple(pictures.shape)}."
        )
    check(images.flatten(0, 1))
    a, b = images.flatten(2), pictures.to(images.device).flatten(1)
    if measure == "correlation":
        a, b = (v - v.mean(-1, keepdim=True) for v in (a, b))
        return torch.einsum("nsp,mp->nsm", a / a.norm(dim=-1, keepdim=True), b / b.norm(dim=-1, keepdim=True))
    if measure != "squared":
        raise ValueError(f"measure is {measure!r}; it must be 'squared' or 'correlation'.")
    return torch.stack([(a - picture).square().mean(-1) for picture in b], dim=-1)
