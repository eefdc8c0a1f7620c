"""Pictures made by their Gram matrices: textures from noise, and one picture's content in another's style.

- `synthesise_texture`, `texture_steps`: a texture like a given one, from noise; at once, or step by step
- `transfer`, `transfer_steps`: one picture's content in another's style
- `Styled`: the pictures of one step, with their losses

    for frame in texture_steps(net.model, brick, ["relu1", "relu2", "relu3"], normalise=net.normalise):
        print(frame.step, frame.loss)                                    # show frame.images, or break
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.image_params import Fourier
from cnnvis_helpers.images import check
from cnnvis_helpers.inversion import variation

from .matrices import Reader, content_loss, error, gram, grams, style_loss

_PER_STEP = 5  # iterations of L-BFGS in a step: it evaluates the loss once more at the beginning of each


@dataclass(frozen=True)
class Styled:
    """What has been reached after `step` steps.

    Attributes: images, (N, 3, H, W) in [0, 1]; style, name of the layer → ‖G − Ĝ‖² / ‖Ĝ‖², (N,); content, the same of
    the content's maps, 0 where there is no content; loss, what was minimised, (N,).
    """

    images: Tensor
    style: dict[str, Tensor]
    content: Tensor
    loss: Tensor
    step: int


def synthesise_texture(
    model: nn.Module,
    image: Tensor,
    layers: Sequence[str],
    *,
    progress: bool = False,
    steps: int = 30,
    **settings: Any,
) -> Styled:
    """Textures whose Gram matrices are those of `image`: the last of `texture_steps`, with its arguments and errors."""
    return _last(texture_steps(model, image, layers, steps=steps, **settings), steps, progress)


def texture_steps(
    model: nn.Module,
    image: Tensor,
    layers: Sequence[str],
    *,
    normalise: Callable[[Tensor], Tensor],
    size: int | tuple[int, int] | None = None,
    weights: Mapping[str, float] | None = None,
    steps: int = 30,
    smooth: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[Styled]:
    """Yield the start, noise around grey (step 0), then the textures after each step.

    Minimises `style_loss` + `smooth` · `inversion.variation` by L-BFGS, as the papers do, five iterations a step; each
    texture by itself, so that its companions do not matter. Departure: the coefficients of waves are changed instead of
    pixels (`image_params.Fourier`), else a first layer that skips pixels leaves its grid in the picture.
    Between the steps the model is as it was, so the loop may be left at any time.

    Args:
        model: any module that takes what `normalise` gives; only the layers named need to take images of this size.
        image: (3, H, W), or (N, 3, H, W) for a texture each, in [0, 1]; `image.expand(4, -1, -1, -1)` gives four.
        layers: names of layers that give maps, and `INPUT`.
        normalise: images in [0, 1] → what the model takes, such as `Network.normalise`.
        size: of the textures, a side or (H, W); by default the image's.
        weights: a number for each layer; by default 1.
        generator: draws the starts; without one, every call draws the same.

    Raises: ImageError for what is no image; LayerError for layers that are unknown, do not run or give no maps;
        ValueError for settings out of range, layers that do not answer, and where the loss is no number.
    """
    image = _batch(image)
    height, width = (
        tuple(image.shape[2:]) if size is None else (size, size) if isinstance(size, int) else size
    )
    if min(height, width) < 1:
        raise ValueError(f"A texture has one pixel at least, not size {size}.")
    noise = torch.rand(len(image), 3, height, width, generator=generator or torch.Generator().manual_seed(0))
    return _frames(model, 0.47 + 0.06 * noise, image, layers, None, normalise, weights, steps, smooth, 1.0)


def transfer(
    model: nn.Module,
    content: Tensor,
    style: Tensor,
    layers: Sequence[str],
    content_layer: str,
    *,
    progress: bool = False,
    steps: int = 30,
    **settings: Any,
) -> Styled:
    """One picture in the style of another: the last of `transfer_steps`, with its arguments and errors."""
    return _last(
        transfer_steps(model, content, style, layers, content_layer, steps=steps, **settings), steps, progress
    )


def transfer_steps(
    model: nn.Module,
    content: Tensor,
    style: Tensor,
    layers: Sequence[str],
    content_layer: str,
    *,
    normalise: Callable[[Tensor], Tensor],
    strength: float = 4.0,
    start: Literal["content", "noise"] = "content",
    weights: Mapping[str, float] | None = None,
    steps: int = 30,
    smooth: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[Styled]:
    """Yield the start (step 0), then the pictures after each step, of the size of `content`.

    As `texture_steps`, but what is minimised is `content_loss` at `content_layer` + `strength` · `style_loss` +
    `smooth` · `inversion.variation`.

    Args:
        content, style: (3, H, W) or (N, 3, H, W) in [0, 1], as many of one as of the other, or one of either; the style
            may have another size.
        layers, weights: of the style.
        start: the content, or noise around grey.
    """
    content, style = _batch(content), _batch(style)
    count = max(len(content), len(style))
    if {len(content), len(style)} - {1, count}:
        raise ValueError(f"{len(content)} contents and {len(style)} styles do not make pairs.")
    if not strength > 0 or start not in ("content", "noise"):
        raise ValueError(f"strength is above 0 and start 'content' or 'noise', not {strength} and {start!r}.")
    content, style = content.expand(count, -1, -1, -1), style.expand(count, -1, -1, -1)
    noise = torch.rand(content.shape, generator=generator or torch.Generator().manual_seed(0))
    begin = content if start == "content" else 0.47 + 0.06 * noise
    wanted = (content_layer, content)
    return _frames(model, begin, style, layers, wanted, normalise, weights, steps, smooth, strength)


def _batch(images: Tensor) -> Tensor:
    check(images)
    return images.detach() if images.ndim == 4 else images.detach()[None]


def _last(frames: Iterator[Styled], steps: int, progress: bool) -> Styled:
    frame = next(frames)
    for frame in tqdm(frames, total=steps, disable=not progress, desc="style"):  # noqa: B007
        pass
    return frame


def _frames(
    model: nn.Module,
    start: Tensor,
    style: Tensor,
    layers: Sequence[str],
    content: tuple[str, Tensor] | None,
    normalise: Callable[[Tensor], Tensor],
    weights: Mapping[str, float] | None,
    steps: int,
    smooth: float,
    strength: float,
) -> Iterator[Styled]:
    if steps < 1 or not smooth >= 0:
        raise ValueError(f"At least one step and smooth of 0 or more are needed, not {steps} and {smooth}.")
    device = next((parameter.device for parameter in model.parameters()), start.device)
    place = content[0] if content else ""
    read = Reader(model, [*layers, *([place] if content else [])])
    targets: list[tuple[dict[str, Tensor], Tensor | None]] = []
    for i in range(len(start)):  # one by one, so that an image's result does not depend on the others
        wanted = grams(model, normalise(style[i : i + 1].to(device)), layers)
        style_loss(wanted, wanted, weights)  # complains now of weights, and of layers that do not answer
        where = None
        if content:
            with frozen(model), torch.no_grad():
                where = Reader(model, [place])(normalise(content[1][i : i + 1].to(device)))[place]
        targets.append((wanted, where))

    def measure(number: int, x: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        wanted, where = targets[number]
        maps = read(normalise(x))
        reached = {name: gram(maps[name]) for name in wanted}
        kept = torch.zeros(len(x), device=x.device) if where is None else content_loss(maps[place], where)
        loss = kept + strength * style_loss(reached, wanted, weights) + smooth * variation(x)
        if not loss.isfinite().all() or not loss.requires_grad:
            raise ValueError(
                "The loss is not finite, or does not depend on the image: look at the weights and layers."
            )
        return (
            loss,
            {name: error(reached[name], wanted[name], name).detach() for name in wanted},
            kept.detach(),
        )

    def frames() -> Iterator[Styled]:
        waves = [Fourier(one.to(device)) for one in start.split(1)]
        optimisers = [
            torch.optim.LBFGS(
                [w.values],
                max_iter=_PER_STEP,
                history_size=100,
                line_search_fn="strong_wolfe",
                tolerance_grad=0,
                tolerance_change=0,
            )
            for w in waves
        ]
        for step in range(steps + 1):
            found = []
            with frozen(model), torch.enable_grad():
                for number, (wave, optimiser) in enumerate(zip(waves, optimisers, strict=True)):

                    def closure(number: int = number, wave: Fourier = wave) -> float:
                        loss = measure(number, wave.images())[0].sum()
                        (wave.values.grad,) = torch.autograd.grad(loss, wave.values)
                        return loss.item()

                    if step:
                        optimiser.step(closure)
                    image = wave.images()
                    found.append((image.detach(), *measure(number, image)))
            images, losses, styles, contents = zip(*found, strict=True)
            yield Styled(
                torch.cat(images),
                {name: torch.cat([one[name] for one in styles]) for name in styles[0]},
                torch.cat(contents),
                torch.cat(losses).detach(),
                step,
            )

    return frames()
