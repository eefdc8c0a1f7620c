"""Checks of lecture 03's exercises; each takes the student's function.

- `check_occlusion_map`    what the network says with a window hidden, by place of the window
- `check_affected`         which positions of a layer's map a part of its input can change
- `check_saliency`         largest absolute gradient of the logit over the colours
- `check_grad_cam`         channels weighted by their mean gradient
- `check_rise_map`         mean score of the masks that show a pixel
- `check_deletion`         the score while the highest pixels go first
- `reference_…`            the reference solutions
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .core import run

__all__ = [
    "check_affected",
    "check_deletion",
    "check_grad_cam",
    "check_occlusion_map",
    "check_rise_map",
    "check_saliency",
    "reference_affected",
    "reference_deletion",
    "reference_grad_cam",
    "reference_occlusion_map",
    "reference_rise_map",
    "reference_saliency",
]

Score = Callable[[Tensor], Tensor]


def _weighing(size: tuple[int, int], seed: int) -> Score:
    """A stand-in for a network: images (N, 3, H, W) → (N,) probabilities, different at every pixel."""
    w = torch.randn(3, *size, generator=torch.Generator().manual_seed(seed)) / (size[0] * size[1]) ** 0.5
    return lambda images: (images * w).sum((1, 2, 3)).sigmoid()


def _image(height: int, width: int, seed: int) -> Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(100 + seed))


# --- exercise 1 ----------------


def reference_occlusion_map(
    probability: Score, image: Tensor, window: int, stride: int, fill: float
) -> Tensor:
    """Probability with the window hidden at each place, (rows, columns); every window lies inside the image."""
    return _occluded(probability, image, window, stride, fill)


def _occluded(
    probability: Score, image: Tensor, window: int, stride: int, fill: float, keep: bool = False
) -> Tensor:
    rows = []
    hidden = image.clone()
    for top in range(0, image.shape[1] - window + 1, stride):
        for left in range(0, image.shape[2] - window + 1, stride):
            if not keep:
                hidden = image.clone()
            hidden[:, top : top + window, left : left + window] = fill
            rows.append(probability(hidden[None])[0])
    columns = (image.shape[2] - window) // stride + 1
    return torch.stack(rows).view(-1, columns)


def check_occlusion_map(student: Callable[[Score, Tensor, int, int, float], Tensor]) -> None:
    """Exercise 1: one number for each place of the window, with the image restored in between."""

    def one_channel(probability: Score, image: Tensor, window: int, stride: int, fill: float) -> Tensor:
        def recoloured(images: Tensor) -> Tensor:
            mixed = image[None].repeat(len(images), 1, 1, 1)
            mixed[:, 0] = images[:, 0]
            return probability(mixed)

        return _occluded(recoloured, image, window, stride, fill)

    run(
        student,
        [
            (_weighing((4, 4), 0), _image(4, 4, 0), 2, 2, 0.0),
            (_weighing((6, 6), 1), _image(6, 6, 1), 3, 1, 0.0),
            (_weighing((9, 9), 2), _image(9, 9, 2), 3, 2, -1.5),
            (_weighing((6, 9), 3), _image(6, 9, 3), 2, 3, 0.5),
        ],
        reference_occlusion_map,
        passed="one probability for each place of the window",
        mistakes={
            "The windows before are still hidden: begin each place with a fresh copy of the image.": (
                lambda p, x, w, s, f: _occluded(p, x, w, s, f, keep=True)
            ),
            "You hid the window with zeros: use `fill`.": lambda p, x, w, s, f: _occluded(p, x, w, s, 0.0),
            "You hid one channel only: a window hides all three colours.": one_channel,
            "Rows and columns are exchanged: the first axis goes down the image.": (
                lambda p, x, w, s, f: _occluded(p, x, w, s, f).T
            ),
            "That is the loss of probability: the map asks for the probability itself.": (
                lambda p, x, w, s, f: p(x[None])[0] - _occluded(p, x, w, s, f)
            ),
        },
        hint="The window's rows are top to top + window - 1, with top = 0, stride, 2 · stride, … while it fits.",
    )


# --- exercise 2 ----------------


def reference_affected(
    first: int, last: int, kernel: int, stride: int, padding: int, size: int
) -> tuple[int, int]:
    """First and last of a layer's `size` positions that look at a position from `first` to `last` of its input.

    Looks at every position in turn. There must be at least one, or it raises IndexError.
    """
    begins = [i * stride - padding for i in range(size)]
    seeing = [i for i, begin in enumerate(begins) if begin <= last and begin + kernel - 1 >= first]
    return seeing[0], seeing[-1]


def check_affected(student: Callable[[int, int, int, int, int, int], tuple[int, int]]) -> None:
    """Exercise 2: what a changed part of a layer's input can change in its map."""

    def solved(
        first: int, last: int, kernel: int, stride: int, padding: int, size: int, up: bool = True
    ) -> tuple[int, int]:
        earliest = first + padding - (kernel - 1)
        low = -(-earliest // stride) if up else earliest // stride
        return max(low, 0), min((last + padding) // stride, size - 1)

    run(
        student,
        [
            (5, 7, 3, 1, 0, 20),
            (9, 13, 3, 2, 0, 20),
            (9, 13, 5, 2, 2, 20),
            (0, 3, 5, 1, 2, 16),
            (12, 15, 3, 1, 1, 16),
            (36, 59, 9, 2, 4, 48),
            (100, 131, 11, 4, 2, 55),
        ],
        reference_affected,
        passed="the same positions as by looking at each of them",
        mistakes={
            "You left out the size of the window: position i sees kernel positions, from i · stride − padding on, "
            "so it reaches what begins up to kernel − 1 further on.": (
                lambda f, e, k, s, p, n: (max((f + p) // s, 0), min((e + p) // s, n - 1))
            ),
            "Round the first position up: rounded down, its window ends before the change begins.": (
                lambda f, e, k, s, p, n: solved(f, e, k, s, p, n, up=False)
            ),
            "Round the last position down: rounded up, its window begins behind the change.": (
                lambda f, e, k, s, p, n: (solved(f, e, k, s, p, n)[0], min(-(-(e + p) // s), n - 1))
            ),
            "A window of kernel positions reaches kernel − 1 beyond its first, not kernel.": (
                lambda f, e, k, s, p, n: solved(f, e, k + 1, s, p, n)
            ),
            "You left out the padding: position 0 begins `padding` positions before the input does.": (
                lambda f, e, k, s, p, n: solved(f, e, k, s, 0, n)
            ),
            "The padding has the wrong sign: position i begins at i · stride − padding, so solving for i adds it.": (
                lambda f, e, k, s, p, n: solved(f, e, k, s, -p, n)
            ),
            "The map has positions 0 to size − 1 only: cut off what lies beyond.": (
                lambda f, e, k, s, p, n: (-(-(f + p - k + 1) // s), (e + p) // s)
            ),
            "The last position is meant, not the first one behind it.": (
                lambda f, e, k, s, p, n: (solved(f, e, k, s, p, n)[0], solved(f, e, k, s, p, n)[1] + 1)
            ),
            "That is the receptive field, what positions first to last SEE. Asked is the other way: which "
            "positions see them.": lambda f, e, k, s, p, n: (f * s - p, e * s - p + k - 1),
        },
        hint="Position i sees i · stride − padding to i · stride − padding + kernel − 1: when does that meet "
        "[first, last]?",
    )


# --- exercise 3 ----------------


def reference_saliency(model: nn.Module, x: Tensor, c: int) -> Tensor:
    """Largest absolute derivative of the logit of class c over the colours, (3, H, W) → (H, W)."""
    return _derivative(model, x, c).abs().amax(0)


def _derivative(model: nn.Module, x: Tensor, c: int, softmax: bool = False) -> Tensor:
    start = x.detach()[None].clone().requires_grad_()
    y = model(start)
    y = y.softmax(1) if softmax else y
    return torch.autograd.grad(y[0, c], start)[0][0]


def _small_network(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers = [nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 4, 3, stride=2), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


def check_saliency(student: Callable[[nn.Module, Tensor, int], Tensor]) -> None:
    """Exercise 3: the gradient of a logit, folded to one number a pixel."""
    cases = [(_small_network(k), _image(*size, k), k) for k, size in enumerate([(5, 5), (7, 6), (6, 9)])]
    for network, x, _ in cases:  # a lazy layer learns its size from the first image
        network(x[None])
    run(
        student,
        cases,
        reference_saliency,
        passed="the largest absolute derivative of the logit, pixel by pixel",
        mistakes={
            "That is the gradient of the probability: take the logit, before the softmax.": (
                lambda m, x, c: _derivative(m, x, c, softmax=True).abs().amax(0)
            ),
            "You took the largest value and then its absolute value: a strong negative one is lost. "
            "Absolute values first.": lambda m, x, c: _derivative(m, x, c).amax(0).abs(),
            "You took the largest value with its sign: saliency asks how much, not which way.": (
                lambda m, x, c: _derivative(m, x, c).amax(0)
            ),
            "You added the three colours: take the largest.": lambda m, x, c: (
                _derivative(m, x, c).abs().sum(0)
            ),
            "You took the mean of the colours: take the largest.": lambda m, x, c: (
                _derivative(m, x, c).abs().mean(0)
            ),
            "You added the colours before the absolute value, so that they cancel: absolute values first.": (
                lambda m, x, c: _derivative(m, x, c).sum(0).abs()
            ),
            "That is gradient × input: leave out the input.": (
                lambda m, x, c: (_derivative(m, x, c) * x).abs().amax(0)
            ),
            "You differentiated the sum of all logits: take the one of class c.": (
                lambda m, x, c: torch.stack([_derivative(m, x, k) for k in range(3)]).sum(0).abs().amax(0)
            ),
        },
        hint="torch.autograd.grad(model(x[None])[0, c], x)[0] has the shape of x; x must require a gradient.",
    )


# --- exercise 4 ----------------


def reference_grad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """ReLU of the channels' sum, each weighted by the mean of its gradient, (C, h, w) twice → (h, w)."""
    return (gradient.mean((1, 2))[:, None, None] * activation).sum(0).relu()


def check_grad_cam(student: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Exercise 4: Grad-CAM from a layer's maps and their gradients."""

    def example(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
        g = torch.Generator().manual_seed(seed)
        return torch.rand(shape, generator=g), torch.randn(shape, generator=g)

    def weighted(a: Tensor, g: Tensor) -> Tensor:
        return g.mean((1, 2))[:, None, None] * a

    one = torch.tensor([[[1.0, 2.0], [0.0, 3.0]]])
    run(
        student,
        [(one, torch.full_like(one, 2.0)), (one, -one), example(0, 4, 3, 3), example(1, 8, 5, 6)],
        reference_grad_cam,
        passed="the ReLU of the weighted sum of the channels",
        mistakes={
            "The ReLU is missing: what speaks against the class is left out.": lambda a, g: weighted(
                a, g
            ).sum(0),
            "You rectified each channel before the sum: channels against the class must be able to cancel "
            "others.": lambda a, g: weighted(a, g).relu().sum(0),
            "You multiplied place by place: the weight of a channel is the MEAN of its gradient over all "
            "places.": lambda a, g: (g * a).sum(0).relu(),
            "You added the gradient over the places: take the mean.": (
                lambda a, g: (g.sum((1, 2))[:, None, None] * a).sum(0).relu()
            ),
            "You took the mean over the channels: take the sum.": lambda a, g: weighted(a, g).mean(0).relu(),
            "You rectified the gradients first: their signs decide which channels speak against the class.": (
                lambda a, g: (g.relu().mean((1, 2))[:, None, None] * a).sum(0)
            ),
        },
        hint="One weight per channel, the mean of its gradient; then a weighted sum of the maps; then the ReLU.",
    )


# --- exercise 5 ----------------


def reference_rise_map(masks: Tensor, scores: Tensor) -> Tensor:
    """Mean of the scores (N,), each pixel weighted by how much each mask (N, H, W) shows it, (H, W)."""
    return torch.einsum("n,nhw->hw", scores, masks) / masks.sum(0)


def check_rise_map(student: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Exercise 5: RISE's map, divided by what the masks have shown."""
    g = torch.Generator().manual_seed(4)
    blocks = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]]])
    smooth = torch.rand(12, 5, 6, generator=g)
    few = torch.rand(5, 4, 4, generator=g)

    def total(masks: Tensor, scores: Tensor) -> Tensor:
        return torch.einsum("n,nhw->hw", scores, masks)

    run(
        student,
        [
            (blocks, torch.tensor([0.9, 0.6, 0.0])),
            (few, torch.full((5,), 0.7)),
            (smooth, torch.rand(12, generator=g)),
        ],
        reference_rise_map,
        passed="the mean score of the masks that show a pixel; a constant classifier gives a flat map",
        mistakes={
            "You divided by the number of masks: pixels that were shown more often look better. Divide by "
            "the sum of the masks.": lambda masks, scores: total(masks, scores) / len(masks),
            "You divided by the EXPECTED sum of the masks, N / 2: some pixels were shown more often. Divide "
            "by the actual sum, so that a constant classifier gives a flat map.": (
                lambda masks, scores: total(masks, scores) / (0.5 * len(masks))
            ),
            "The sum is not divided by what the masks have shown.": total,
            "You divided by the sum of the scores: divide, pixel by pixel, by the sum of the masks.": (
                lambda masks, scores: total(masks, scores) / scores.sum()
            ),
            "You weighted by what the masks HIDE: weight by the masks themselves.": (
                lambda masks, scores: total(1 - masks, scores) / (1 - masks).sum(0)
            ),
        },
        hint="Numerator: Σ score · mask. Denominator: Σ mask, at each pixel.",
    )


# --- exercise 6 ----------------


def reference_deletion(score: Score, image: Tensor, heat: Tensor, fill: float, steps: int) -> Tensor:
    """Score after 0, 1, … `steps` equal parts of the pixels are filled, the highest of `heat` first: (steps + 1,)."""
    return _deleted(score, image, heat, fill, steps)


def _deleted(
    score: Score, image: Tensor, heat: Tensor, fill: float, steps: int, insert: bool = False
) -> Tensor:
    order = heat.flatten().argsort(descending=True)
    values = []
    for t in range(steps + 1):
        gone = torch.zeros(heat.numel(), dtype=torch.bool)
        gone[order[: t * heat.numel() // steps]] = True
        shown = torch.where(gone.view_as(heat) ^ insert, torch.tensor(float(fill)), image)
        values.append(score(shown[None])[0])
    return torch.stack(values)


def check_deletion(student: Callable[[Score, Tensor, Tensor, float, int], Tensor]) -> None:
    """Exercise 6: the deletion curve of a map."""

    def heat(height: int, width: int, seed: int) -> Tensor:
        order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))
        return order.view(height, width).float()  # no two pixels are alike: no ties

    run(
        student,
        [
            (_weighing((2, 2), 5), _image(2, 2, 5), heat(2, 2, 5), 0.0, 4),
            (_weighing((4, 6), 6), _image(4, 6, 6), heat(4, 6, 6), 0.0, 6),
            (_weighing((5, 5), 7), _image(5, 5, 7), heat(5, 5, 7), -1.0, 4),
        ],
        reference_deletion,
        passed="the score from the whole image to none of it, the highest pixels first",
        mistakes={
            "You began with the LOWEST pixels: the highest go first.": (
                lambda s, x, m, f, n: _deleted(s, x, -m, f, n)
            ),
            "That is insertion: deletion begins with the whole image.": (
                lambda s, x, m, f, n: _deleted(s, x, m, f, n, insert=True)
            ),
            "You filled with zeros: use `fill`.": lambda s, x, m, f, n: _deleted(s, x, m, 0.0, n),
            "You left out the whole image: after 0 steps nothing is gone yet.": (
                lambda s, x, m, f, n: _deleted(s, x, m, f, n)[1:]
            ),
            "That is the area under the curve: return the curve.": (
                lambda s, x, m, f, n: torch.trapezoid(_deleted(s, x, m, f, n)) / n
            ),
        },
        hint="After step t the t · H · W // steps highest pixels show `fill`, in all three colours.",
    )
