"""Hide random parts of the image many times, and see which parts were visible when the classifier was sure.

rise(model, x, generator=g)             RISE map of each image
rise_steps(model, x, generator=g)       the same as an iterator of partial results
random_masks(count, size, generator=g)  the masks

    g = torch.Generator().manual_seed(0)
    maps = rise(model, x, target_class=3, masks=2000, generator=g)     # (N, H, W), units of probability
    for done, maps in rise_steps(model, x, generator=g): ...           # show, or break to stop
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from cnnvis_helpers.occlusion import Classes, Score, evaluate, filling
from cnnvis_helpers.scores import targets

ClassesOrAll = Classes | Literal["all"]


def rise(
    model: nn.Module,
    x: Tensor,
    target_class: ClassesOrAll = None,
    *,
    masks: int = 2000,
    cells: int = 7,
    keep: float = 0.5,
    fill: float | Tensor = 0.0,
    score: Score = "probability",
    generator: torch.Generator,
    batch: int = 64,
    progress: bool = False,
) -> Tensor:
    """Mean score of the class over the masks that show a pixel, (N, H, W) float32.

    Each mask M weighs image against fill, M · x + (1 − M) · fill; the map is Σ score · M / Σ M. Departure from the
    paper: it divides by the expected sum of the masks, `masks` · `keep`. The actual sum takes out that chance
    shows some pixels more often: a classifier that always says the same gives a flat map, up to rounding
    (10⁻⁶ of the score). Values lie between the lowest and the highest score, and mostly near their mean: it is
    the differences between pixels that tell. Their noise falls with the square root of `masks`.

    One set of masks serves all images, so that their maps can be compared. The masks depend on the generator
    alone; `batch` changes the map by rounding only.

    Args:
        x: normalised images (N, 3, H, W).
        target_class: one class for all images, one for each, None for the class that the model gives to the whole
            image, or "all" for every class at the cost of one: (N, classes, H, W).
        masks, cells, keep: see `random_masks`. The paper uses 4000 to 8000 masks of 7 × 7 cells at 224 pixels.
        fill: what is shown where the image is hidden; see `occlusion.filling`. 0 is the mean colour.
        score: softmax "probability", as in the paper, or "logit".
        generator: where the masks come from.
        batch: at most so many pictures in memory at once, or N if there are more images.

    Raises: ValueError for input that is no batch of finite images, settings out of range, classes that are not
        there, and a model that gives anything but finite logits (N, classes).
    Source: Petsiuk, Das & Saenko, *RISE: randomized input sampling for explanation*, BMVC 2018.
    """
    steps = rise_steps(
        model,
        x,
        target_class,
        masks=masks,
        cells=cells,
        keep=keep,
        fill=fill,
        score=score,
        generator=generator,
        batch=batch,
    )
    with tqdm(total=masks, disable=not progress, unit="mask") as bar:
        for done, maps in steps:
            bar.update(done - bar.n)
            result = maps
    return result


def rise_steps(
    model: nn.Module,
    x: Tensor,
    target_class: ClassesOrAll = None,
    *,
    masks: int = 2000,
    cells: int = 7,
    keep: float = 0.5,
    fill: float | Tensor = 0.0,
    score: Score = "probability",
    generator: torch.Generator,
    batch: int = 64,
) -> Iterator[tuple[int, Tensor]]:
    """Yield after each batch how many masks are done, and the map so far; the last map is that of `rise`.

    Arguments and errors as `rise`; bad input raises at the call. Between the steps the model is as it was, so the
    loop may be left at any time. A pixel that no mask has shown yet has the mean score.
    """
    shown, images, size = filling(x, fill), x.detach().contiguous(), (x.shape[2], x.shape[3])
    if score not in ("logit", "probability"):
        raise ValueError(f"score is {score!r}; it must be 'logit' or 'probability'.")
    if isinstance(target_class, str) and target_class != "all":
        raise ValueError(f"target_class is {target_class!r}; it must be class numbers, None or 'all'.")
    draws = _draws(masks, size, cells, keep, generator)
    clean = evaluate(model, lambda index: images[index], len(x), batch=batch)
    chosen = None if isinstance(target_class, str) else targets(clean, target_class)
    shape = clean.shape if chosen is None else chosen.shape  # of the maps, without height and width

    def hidden(mask: Tensor, index: Tensor) -> Tensor:
        first, end = int(index[0]), int(index[-1]) + 1
        pictures = images.new_empty(len(index), *images.shape[1:])
        for image in range(
            first // len(mask), (end - 1) // len(mask) + 1
        ):  # no copies of the image for its masks
            start, stop = (min(max(i - image * len(mask), 0), len(mask)) for i in (first, end))
            at = image * len(mask) - first
            some = slice(at + start, at + stop)
            torch.lerp(shown[image], images[image], mask[start:stop, None], out=pictures[some])
        return pictures

    def steps() -> Iterator[tuple[int, Tensor]]:
        # Thousands of terms are added: in double precision, on the CPU because not every device has it.
        sums, total, done = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64), 0
        for part in draws.split(max(1, batch // len(images))):
            mask = _masks(part, size, cells, keep).to(images)  # (k, H, W)
            y = evaluate(model, partial(hidden, mask), len(images) * len(mask), batch=batch).float()
            weight = (y if score == "logit" else y.softmax(1)).view(len(images), len(mask), -1)
            weight = (
                weight.mT
                if chosen is None
                else weight[torch.arange(len(chosen), device=chosen.device), :, chosen]
            )
            weight = torch.cat([weight.reshape(-1, len(mask)), weight.new_ones(1, len(mask))])
            sums = sums + (weight @ mask.float().flatten(1)).cpu().double()  # the last row counts the masks
            total, done = total + weight.sum(1, keepdim=True).cpu().double(), done + len(mask)
            maps = torch.where(sums[-1] > 0, sums / sums[-1], total / done)[:-1]
            yield done, maps.view(*shape, *size).float().to(x.device)

    return steps()


def random_masks(
    count: int,
    size: int | tuple[int, int],
    *,
    cells: int = 7,
    keep: float = 0.5,
    generator: torch.Generator,
) -> Tensor:
    """Smooth random masks (count, H, W) float32 in [0, 1], on the CPU; 1 shows the image.

    A small grid, `cells` × `cells`, of zeros and ones is enlarged bilinearly to (cells + 1) · ⌈H / cells⌉ rows, and
    as many columns, and H × W pixels are cut out at a random place, at most one cell from the corner. At every
    pixel the expected value is `keep`; a finite number of masks scatters about it.

    Args:
        size: height and width of the masks; one number for a square.
        cells: larger grids give finer masks, which hide small things and need more masks.
        keep: probability that a cell shows the image, above 0 and below 1.

    Raises: ValueError for a count below 1, fewer pixels than cells, and a `keep` out of range.
    """
    height, width = (size, size) if isinstance(size, int) else size
    return _masks(_draws(count, (height, width), cells, keep, generator), (height, width), cells, keep)


def _draws(count: int, size: tuple[int, int], cells: int, keep: float, generator: torch.Generator) -> Tensor:
    """The random numbers of all masks, (count, cells² + 2): few enough to hold, so batches cannot change them."""
    if count < 1:
        raise ValueError(f"The number of masks is 1 or more, not {count}.")
    if not 1 <= cells <= min(size):
        raise ValueError(f"cells is {cells}; it must be 1 to {min(size)} for {size[0]} × {size[1]} pixels.")
    if not 0 < keep < 1:
        raise ValueError(f"keep is {keep}; it is a probability above 0 and below 1.")
    return torch.rand(count, cells**2 + 2, generator=generator, device=generator.device).cpu()


def _masks(draws: Tensor, size: tuple[int, int], cells: int, keep: float) -> Tensor:
    """(k, cells² + 2) random numbers in [0, 1) → (k, H, W)."""
    grid = (draws[:, :-2] < keep).float().view(-1, cells, cells)
    down, across = (_enlarging(u, side, cells) for u, side in zip(draws[:, -2:].unbind(1), size, strict=True))
    return down @ grid @ across.mT  # only what is cut out of the enlarged grid


def _enlarging(draws: Tensor, side: int, cells: int) -> Tensor:
    """Bilinear weights (k, side, cells) of the cells at each row or column, cut out from a place drawn in [0, 1)."""
    cell = -(-side // cells)  # rounded up
    weights = functional.interpolate(torch.eye(cells)[None], size=(cells + 1) * cell, mode="linear")[0].T
    return weights[(draws * cell).long()[:, None] + torch.arange(side)]
