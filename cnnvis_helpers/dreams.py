"""DeepDream: change a picture so that a layer sees more of what it already sees in it.

- `dream`: the changed pictures
- `dream_steps`: the same as an iterator over the pictures of each step, for a film or a stop button
- `excitement`: what is raised, ½ Σ f²; its gradient at the layer is the activation itself
- `resemblance`: what is raised in a guided dream, the match with the best-matching place of a guide

    dreamt = dream(net.model, "relu5", pictures, normalise=net.normalise)                 # (N, 3, H, W)
    dreamt = dream(net.model, "relu5", pictures, normalise=net.normalise, guide=flower)
    for step, pictures in enumerate(dream_steps(net.model, "relu3", …)): ...              # show, or break to stop

Source: Mordvintsev, Olah & Tyka, *Inceptionism: going deeper into neural networks*, Google Research blog, 2015, and
the notebook that came with it.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2.functional import gaussian_blur
from tqdm.auto import tqdm

from cnnvis_helpers.hooks import LayerError, frozen
from cnnvis_helpers.images import ImageError, check
from cnnvis_helpers.inversion import Cut

Channels = int | Sequence[int] | None


def excitement(activation: Tensor, channels: Channels = None) -> Tensor:
    """½ Σ f² over all or some channels of each image, (N, C, H, W) → (N,); its gradient there is f itself.

    So every unit is raised as much as it is active: what is seen a little is seen more.

    Raises: LayerError where the activation is no map; ValueError for no channel, or one that is not there.
    """
    if activation.ndim != 4:
        raise LayerError(
            f"A dream needs a layer that gives a map (N, C, H, W), not {tuple(activation.shape)}: choose one before "
            "the fully connected layers."
        )
    if channels is not None:
        chosen, count = [channels] if isinstance(channels, int) else list(channels), activation.shape[1]
        if not chosen or not all(0 <= channel < count for channel in chosen):
            raise ValueError(
                f"The layer has channels 0 to {count - 1}; choose one or several of them, not {channels}."
            )
        activation = activation[:, chosen]
    return activation.square().flatten(1).sum(1) / 2


def resemblance(activation: Tensor, guide: Tensor) -> Tensor:
    """Σ over places of the largest dot product with any place of the guide, (N, C, H, W), (1, C, h, w) → (N,).

    Its gradient at a place is the guide's vector that matches best there. Raises: LayerError for other shapes.
    """
    if (
        activation.ndim != 4
        or guide.ndim != 4
        or guide.shape[0] != 1
        or guide.shape[1] != activation.shape[1]
    ):
        raise LayerError(
            f"A guide is one map (1, C, h, w) of the same layer, for maps (N, C, H, W), not {tuple(guide.shape)} for "
            f"{tuple(activation.shape)}."
        )
    places, known = activation.flatten(2).mT, guide.flatten(2)[0]  # (N, H·W, C), (C, h·w)
    return (places @ known).amax(2).sum(1)


def dream(
    model: nn.Module,
    layer: str,
    pictures: Tensor,
    *,
    normalise: Callable[[Tensor], Tensor],
    channels: Channels = None,
    guide: Tensor | None = None,
    octaves: int = 4,
    scale: float = 1.5,
    steps: int = 12,
    rate: float = 0.006,
    blur: float = 1.0,
    jitter: int = 8,
    generator: torch.Generator | None = None,
    batch: int = 8,
    progress: bool = False,
) -> Tensor:
    """Pictures (N, 3, H, W) of any size, changed so that `layer` is more excited: the same shape, in [0, 1].

    The model runs no further than the layer, so its convolutional part is enough. It works on the picture shrunk
    several times first, then on larger and larger ones, so that shapes of several sizes appear; what has been
    added is enlarged and put onto the sharp picture of the next size. Each step goes along the gradient over its
    mean absolute value, of the picture moved by a few pixels, other ones at every step. Departure from the notebook:
    the gradient is blurred a little, which spares the picture the checks that strided layers leave.

    Args:
        model: takes what `normalise` gives, at any size as far as the layer.
        layer: one that gives a map; low ones bring strokes, high ones parts of things.
        pictures: (N, 3, H, W) in [0, 1].
        normalise: images in [0, 1] → what the model takes, such as `Network.normalise`.
        channels: raise these channels of the layer alone.
        guide: a picture (3, h, w) in [0, 1]; then each place is made more like the place of the guide that it
            resembles most, and `resemblance` is raised instead of `excitement`.
        octaves, scale: how many sizes, and each over the one before.
        steps: at each size.
        rate: mean absolute change of colours in [0, 1] at a step.
        blur: standard deviation in pixels of the gradient's blur, or 0.
        jitter: largest shift in pixels, each way; what leaves on one side enters on the other.
        generator: draws the shifts; without one, every call draws the same.
        batch: at most so many pictures pass through the model at once; the result is the same.

    Returns: the pictures, on the model's device; the model is left as it was.
    Raises: LayerError for a layer that is unknown, gives no map, or is not reached with pictures of these sizes;
        ImageError for what is no batch of pictures; ValueError for settings out of range, a picture at which nothing
        in the layer answers, and activations that are no numbers or do not depend on the picture.
    """
    every = dream_steps(
        model,
        layer,
        pictures,
        normalise=normalise,
        channels=channels,
        guide=guide,
        octaves=octaves,
        scale=scale,
        steps=steps,
        rate=rate,
        blur=blur,
        jitter=jitter,
        generator=generator,
        batch=batch,
    )
    result = pictures
    for result in tqdm(every, total=octaves * steps, disable=not progress, desc=f"dreaming at {layer}"):  # noqa: B007
        pass
    return result


def dream_steps(
    model: nn.Module,
    layer: str,
    pictures: Tensor,
    *,
    normalise: Callable[[Tensor], Tensor],
    channels: Channels = None,
    guide: Tensor | None = None,
    octaves: int = 4,
    scale: float = 1.5,
    steps: int = 12,
    rate: float = 0.006,
    blur: float = 1.0,
    jitter: int = 8,
    generator: torch.Generator | None = None,
    batch: int = 8,
) -> Iterator[Tensor]:
    """Yield the pictures after each step, `octaves` · `steps` times, all of full size; the last are those of `dream`.

    Arguments and errors as `dream`; bad settings raise at the call. Between the steps the model is as it was, so the
    loop may be left at any time.
    """
    check(pictures)
    if pictures.ndim != 4:
        raise ImageError(
            f"Pictures are a batch (N, 3, H, W), not {tuple(pictures.shape)}; pass picture[None]."
        )
    if min(octaves, steps, batch) < 1 or not scale > 1 or not rate > 0 or jitter < 0 or not blur >= 0:
        raise ValueError(
            "At least one octave, step and picture at a time are needed, a scale above 1, a rate above 0, blur and "
            f"jitter of 0 or more, not octaves {octaves}, steps {steps}, batch {batch}, scale {scale}, rate {rate}, "
            f"blur {blur}, jitter {jitter}."
        )
    if guide is not None and channels is not None:
        raise ValueError("A dream has a guide or channels, not both.")
    cut = Cut(model, layer)
    device = next((parameter.device for parameter in model.parameters()), pictures.device)
    whole, known = pictures.detach().to(device), None
    height, width = whole.shape[2:]
    generator = generator or torch.Generator().manual_seed(0)
    if guide is not None:
        check(guide)
        if guide.ndim != 3:
            raise ImageError(f"The guide is one picture (3, h, w), not {tuple(guide.shape)}.")
        with frozen(model), torch.no_grad():
            known = cut(normalise(guide.detach().to(device)[None]))
            resemblance(known, known)  # complains where the layer gives no map

    def gradient(x: Tensor) -> Tensor:
        x = x.requires_grad_()
        activation = cut(normalise(x))
        wanted = excitement(activation, channels) if known is None else resemblance(activation, known)
        if not wanted.isfinite().all() or not wanted.requires_grad:
            raise ValueError(
                f"The activations of layer {layer!r} are not finite, or do not depend on the picture: nothing to raise."
            )
        return torch.autograd.grad(wanted.sum(), x)[0]

    def dreams() -> Iterator[Tensor]:
        added = whole.new_zeros(len(whole), 3, 1, 1)  # what the dream has added to the picture
        for octave in reversed(range(octaves)):
            size = [max(1, round(side / scale**octave)) for side in (height, width)]
            sharp = functional.interpolate(whole, size, mode="bilinear", antialias=True) if octave else whole
            added = functional.interpolate(added, size, mode="bilinear")
            for _ in range(steps):
                down, right = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
                x = (sharp + added).clamp(0, 1)
                with frozen(model), torch.enable_grad():
                    parts = x.roll((down, right), (2, 3)).split(batch)
                    towards = torch.cat([gradient(part) for part in parts]).roll((-down, -right), (2, 3))
                if blur:
                    towards = gaussian_blur(towards, [2 * round(2 * blur) + 1] * 2, [blur] * 2)
                mean = towards.abs().mean((1, 2, 3), keepdim=True)
                # Where nothing answers yet, at a small size, the picture stays as it is.
                x = (x + rate * towards / mean.where(mean > 0, 1)).clamp(0, 1)
                added = x - sharp
                larger = functional.interpolate(added, (height, width), mode="bilinear") if octave else added
                yield (whole + larger).clamp(0, 1)
        silent = (added == 0).flatten(1).all(1).nonzero().flatten().tolist()
        if silent:
            raise ValueError(
                f"Nothing of what is to be raised at layer {layer!r} answers to picture {silent[0]}: choose other "
                "channels, or the layer before the ReLU."
            )

    return dreams()
