"""A decoder from codes back to images, and the images that a network likes most among those the decoder can draw.

- `Decoder`: the network code → image, with the range of the codes that it has learnt from
- `load`: a trained decoder and the facts about it
- `squared_loss`: the mean squared difference of colours, which draws the mean of all images with such a code
- `perceptual_loss`: differences of colours and of a network's features
- `ascend`: codes, and their images, that maximise an objective
- `ascent_steps`: the same as an iterator, for a film or a stop button
- `Step`: codes, images and objective of one step

    decoder, facts = load("diorama/decoder-perceptual")
    decoder(activations(net.model, x, facts["layer"])[facts["layer"]])              # (N, 3, 96, 96), reconstructions
    step = ascend(decoder, net.model, logit([3, 17]), normalise=net.normalise)      # step.images, step.values

Sources: Dosovitskiy & Brox, *Inverting visual representations with convolutional networks*, CVPR 2016; Nguyen,
Dosovitskiy, Yosinski, Brox & Clune, *Synthesizing the preferred inputs for neurons via deep generator networks*, 2016.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnnvis_helpers.hooks import find, frozen, record
from cnnvis_helpers.objectives import LOGITS, Objective, evaluate
from cnnvis_helpers.weight_files import WeightsError, read

FOLDER = Path(__file__).parent / "weights"
LAYERS = ("relu1", "relu2", "relu3", "relu5")  # of the course's own AlexNet, for `perceptual_loss`
_PATIENCE = 10  # steps after which an objective that has never had a gradient is called dead


class Decoder(nn.Module):
    """Codes (N, units) → images (N, 3, s, s) in [0, 1]; 0.89 million parameters at its own sizes.

    A linear layer gives `width`/2 maps of s/16 × s/16, a convolution `width`; four times they are doubled in side and
    convolved, into fewer each time. Departures from the papers: smaller; one linear layer, not three; smooth doubling
    instead of transposed convolution, which leaves chequerboards, as doubling by repetition leaves a woven pattern.

    Attributes: mean, std, (units,), of the codes that it has learnt from; 0 and 1 before `set_codes`.
    Args: units, length of a code; size, side s of the images, a multiple of 16; width, a multiple of 16; seed, on which
        alone the weights depend. Raises ValueError for sizes that do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, units: int = 256, *, size: int = 96, width: int = 128, seed: int = 0) -> None:
        if units < 1 or size < 16 or size % 16 or width < 16 or width % 16:
            raise ValueError(f"units ≥ 1, size and width multiples of 16; not {units}, {size}, {width}.")
        super().__init__()
        side = size // 16  # doubled four times
        self.architecture = {"units": units, "size": size, "width": width}
        widths = [width, width * 7 // 8, width // 2, width * 5 // 16, width * 3 // 16]
        # torch's own initialisation draws from the global generator, which is put back.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            maps = [nn.Linear(units, width // 2 * side**2), nn.Unflatten(1, (width // 2, side, side))]
            self.linear = nn.Sequential(
                *maps, nn.BatchNorm2d(width // 2), nn.LeakyReLU(0.1), *_convolved(width // 2, width)
            )
            doubled = (
                [nn.Upsample(scale_factor=2, mode="bilinear"), *_convolved(a, b)]
                for a, b in itertools.pairwise(widths)
            )
            self.blocks = nn.Sequential(*itertools.chain(*doubled))
            self.colours = nn.Conv2d(widths[-1], 3, 3, padding=1)
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("std", torch.ones(units))

    def set_codes(self, codes: Tensor) -> None:
        """Take each unit's mean and standard deviation from codes (N, units) of images, two or more."""
        self.check(codes)
        if len(codes) < 2:
            raise ValueError("The codes of two images at least are needed, not of one.")
        self.mean, self.std = codes.detach().mean(0), codes.detach().std(0)

    def scale(self) -> Tensor:
        """Root mean square of the units' standard deviations, a number: the usual size of a change in one unit."""
        return self.std.square().mean().sqrt()

    def clip(self, codes: Tensor, sigmas: float = 3.0) -> Tensor:
        """Codes (N, units) brought into [0, mean + `sigmas` · std] of each unit; real ones come out of a ReLU."""
        return codes.clamp(min=0).minimum(self.mean + sigmas * self.std)

    def check(self, codes: Tensor) -> None:
        """Raise ValueError where these are not finite codes (N, units) for this decoder."""
        fits = codes.ndim == 2 and len(codes) and codes.shape[1] == len(self.mean) and codes.isfinite().all()
        if not fits:
            raise ValueError(
                f"Codes are (N, {len(self.mean)}) finite numbers, not such {tuple(codes.shape)}."
            )

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (N, units) → images (N, 3, s, s) in [0, 1]; raises ValueError for codes of another shape."""
        self.check(codes)
        # divided by one number for all units: a dead unit has a std of 0
        drawn: Tensor = self.colours(self.blocks(self.linear(codes / self.scale().clamp(min=1e-6))))
        return drawn.sigmoid()


def _convolved(a: int, b: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.1)


def load(name: str, folder: Path = FOLDER) -> tuple[Decoder, dict[str, Any]]:
    """A trained decoder in evaluation mode, and the facts of its file, such as "diorama/decoder-perceptual".

    Of the facts, network and layer say whose codes it takes, heldout what it gets wrong on images that it has not
    seen. Raises WeightsError where the file is missing, damaged, or of another version.
    """
    tensors, facts = read(folder / f"{name}.safetensors", name)
    try:
        decoder = Decoder(**facts["architecture"])
        decoder.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{name} was made by another version of the package: make it again.") from error
    return decoder.eval(), facts


def squared_loss(images: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference of colours, (N, 3, H, W) twice → (N,); raises ValueError for two different shapes.

    Where a code leaves open what the image was, its least is at the mean of all that it may have been: blur.
    """
    _same(images, targets)
    return (images - targets).square().mean((1, 2, 3))


def _same(images: Tensor, targets: Tensor) -> None:
    if images.ndim != 4 or not len(images) or images.shape != targets.shape:
        raise ValueError(f"Images are (N, 3, H, W) twice, not {tuple(images.shape)}, {tuple(targets.shape)}.")


def perceptual_loss(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    normalise: Callable[[Tensor], Tensor],
    layers: Sequence[str] = LAYERS,
    pixels: float = 2.0,
) -> Tensor:
    """`pixels` · mean |x − y| + the mean over `layers` of ‖Φ(x) − Φ(y)‖² / ‖Φ(y)‖², (N, 3, H, W) twice → (N,).

    x are the images, through which gradients flow, y the targets; Φ are features of `model`, which takes what
    `normalise` gives, is used in evaluation mode and left as it was. Divided by its own norm, every layer counts alike.
    After Dosovitskiy & Brox, *Generating images with perceptual similarity metrics*, NeurIPS 2016, less its adversary.
    Raises: ValueError for two shapes, no layer, a negative weight; hooks.LayerError for a layer that does not run.
    """
    _same(images, targets)
    if isinstance(layers, str) or not layers or not pixels >= 0:
        raise ValueError(f"A list of layers and pixels ≥ 0 are needed, not {layers!r} and {pixels}.")
    with frozen(model), record(model, layers) as wanted, torch.no_grad():
        model(normalise(targets).clone())
    with frozen(model), record(model, layers) as seen:
        model(normalise(images).clone())  # a first layer may work in place
    loss = pixels * (images - targets).abs().mean((1, 2, 3))
    for layer in layers:
        a, b = seen[layer].float().flatten(1), wanted[layer].float().flatten(1)
        # a layer that is silent on a target would divide by 0
        loss = loss + (a - b).square().sum(1) / b.square().sum(1).clamp(min=1e-12) / len(layers)
    return loss


class Step(NamedTuple):
    """A step's number, from 0; images (N, 3, s, s) in [0, 1]; their objective (N,); their codes (N, units)."""

    number: int
    images: Tensor
    values: Tensor
    codes: Tensor


def ascend(
    decoder: Decoder, model: nn.Module, objective: Objective, *, progress: bool = False, **settings: Any
) -> Step:
    """The last of `ascent_steps`, which see for arguments and errors; `progress` shows a bar."""
    every = ascent_steps(decoder, model, objective, **settings)
    for step in tqdm(every, disable=not progress, desc="ascent"):  # noqa: B007
        pass
    return step


def ascent_steps(
    decoder: Decoder,
    model: nn.Module,
    objective: Objective,
    *,
    normalise: Callable[[Tensor], Tensor],
    start: Tensor | None = None,
    steps: int = 150,
    rate: float = 4.0,
    decay: float = 0.005,
    sigmas: float | None = 3.0,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Climb an objective by gradient steps on codes, all images in one batch; yield the start, then each step.

    (1) Begin at the mean code, with a little noise; (2) bring it into the range of real codes; (3) decode it;
    (4) normalise the image; (5) run the network; (6) read class, unit or channel; (7) go back through the network,
    (8) and through the decoder to the code; (9) move the code that way, shrink it a little, and go on from (2).
    Decoder and network are used in evaluation mode and are as they were between the steps: stop at any time.

    A step is `rate` · `Decoder.scale()` long at first, falling evenly to a twentieth; in the paper the gradient's own
    length counts too.

    Args: model, what is to like the images, the network whose codes the decoder takes or any other; objective, of
        `objectives`, one number for each image, such as `logit`, `unit`, `channel` and their sums; normalise, from
        images in [0, 1] to what the model takes; start, codes (N, units), else there are as many as the objective has,
        or one; decay, the share that a code loses in each step; sigmas, codes stay within [0, mean + `sigmas` · std],
        None lets them go anywhere, also below 0; generator, of the noise, by default the same in every call.
    Raises: ValueError for settings out of range, and where the objective is not finite, does not depend on the image,
        or has no gradient for one of the images in the first 10 steps, such as a dead unit; hooks.LayerError for an
        unknown layer. Bad settings raise at the call, what only the model can tell in the loop.
    """
    if steps < 1 or not 0 < rate < math.inf or not 0 <= decay < 1 or not (sigmas is None or sigmas > 0):
        wrong = f"not {steps}, {rate}, {decay} and {sigmas}."
        raise ValueError(f"Needed: steps ≥ 1, rate > 0, 0 ≤ decay < 1, sigmas > 0 or None; {wrong}")
    for name in objective.layers - {LOGITS}:
        find(model, name)
    if start is None:
        generator = generator or torch.Generator().manual_seed(0)
        noise = torch.randn(objective.images or 1, len(decoder.mean), generator=generator)
        start = decoder.mean + 0.1 * decoder.std * noise.to(decoder.mean)
    decoder.check(start)

    def climb(codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes = codes.clone().requires_grad_()
        with frozen(decoder), frozen(model), torch.enable_grad():
            images = decoder(codes)
            values = evaluate(model, objective, normalise(images))
            if not values.isfinite().all() or not values.requires_grad:
                raise ValueError(f"{objective.about} is not finite, or does not depend on the image.")
            return images.detach(), values.detach(), torch.autograd.grad(values.sum(), codes)[0]

    def run(codes: Tensor) -> Iterator[Step]:
        alive = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
        for number in range(steps + 1):
            codes = codes if sigmas is None else decoder.clip(codes, sigmas)
            images, values, gradient = climb(codes)
            alive |= gradient.any(1)
            if number == min(_PATIENCE, steps) and not alive.all():
                dead = f"{objective.about} has no gradient for image {alive.int().argmin().item()}: the unit is dead, "
                raise ValueError(f"{dead}or this start does not activate it; take the layer before the ReLU.")
            yield Step(number, images, values, codes.clone())
            length = rate * (1 - 0.95 * number / steps) * decoder.scale()
            codes = (codes + length * nn.functional.normalize(gradient)) * (1 - decay)

    return run(start.detach().to(decoder.mean))
