"""Checks of lecture 10's exercises; each takes the student's function.

- `check_gram`            Gram matrices of a batch of maps
- `check_unchanged`       a prediction: what a Gram matrix does not notice
- `check_style_loss`      the mean over layers of the relative squared distance
- `check_shuffle_places`  the places of each image in another order, all channels alike
- `reference_…`           the reference solutions
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .core import WrongAnswer, exercise, run

__all__ = [
    "check_gram",
    "check_shuffle_places",
    "check_style_loss",
    "check_unchanged",
    "reference_gram",
    "reference_shuffle_places",
    "reference_style_loss",
    "reference_unchanged",
]


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- exercise 1 ----------------


def reference_gram(maps: Tensor) -> Tensor:
    """Maps (N, C, H, W) → (N, C, C): the mean over the places of the product of any two channels."""
    flat = maps.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def check_gram(student: Callable[[Tensor], Tensor]) -> None:
    """Exercise 1: the Gram matrix, the first case by hand."""

    def centred(maps: Tensor) -> Tensor:
        return reference_gram(maps - maps.mean((2, 3), keepdim=True))

    def over_batch(maps: Tensor) -> Tensor:
        flat = maps.transpose(0, 1).flatten(1)
        return (flat @ flat.T / flat.shape[1]).expand(len(maps), -1, -1)

    def of_places(maps: Tensor) -> Tensor:
        flat = maps.flatten(2)
        return flat.mT @ flat / flat.shape[1]

    run(
        student,
        [
            (torch.tensor([[[[1.0, 2], [0, 3]], [[0, 1], [1, -1]]]]),),
            (_normal(2, 3, 4, 5, seed=0),),
            (_normal(3, 5, 2, 3, seed=1) + 1,),
        ],
        reference_gram,
        passed="what is active together, for each image, whatever the number of places",
        mistakes={
            "You took the sum over the places: divide by their number, so that maps of any size can be compared.": (
                lambda m: reference_gram(m) * m.shape[2] * m.shape[3]
            ),
            "You divided by the number of channels as well.": lambda m: reference_gram(m) / m.shape[1],
            "You divided by the number of channels: divide by that of the places.": (
                lambda m: reference_gram(m) * m.shape[2] * m.shape[3] / m.shape[1]
            ),
            "You took out each channel's mean: that is the covariance. Here the means count.": centred,
            "You mixed the images: each has a Gram matrix of its own.": over_batch,
            "You multiplied places, not channels: that table has a row for every place, and forgets what, not where.": (
                of_places
            ),
            "You scaled each channel to length 1: that is the cosine, and forgets how strong a channel is.": (
                lambda m: reference_gram(m / m.square().mean((2, 3), keepdim=True).sqrt())
            ),
            "That is the diagonal only: how strong each channel is, but not which go together.": (
                lambda m: torch.diag_embed(m.square().mean((2, 3)))
            ),
        },
        hint="Make the maps a table (N, C, H · W) with `flatten(2)`; its product with its own transpose is (N, C, C).",
    )


# --- exercise 2 ----------------


def reference_unchanged() -> set[str]:
    """The letters of the changes that leave a Gram matrix as it is."""
    return {"a", "c", "e"}


# For each letter: the change, and why a wrong guess about it is wrong.
_CHANGES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "a": (
        lambda m: m.rot90(1, (2, 3)),
        "a: the MAPS are turned, not the image. Every place goes somewhere else, all channels alike: the same terms, "
        "in another order.",
    ),
    "b": (lambda m: 2 * m, "b: doubled values make products four times as large."),
    "c": (
        lambda m: m.roll(2, 2),
        "c: each place takes all its channels along, and the sum has the same terms.",
    ),
    "d": (
        lambda m: torch.cat([m[:, :1].roll(2, 2), m[:, 1:]], 1),
        "d: one map moves against the others, so other values meet at a place. Its own mean square stays, the "
        "products with its neighbours do not.",
    ),
    "e": (
        lambda m: m.repeat_interleave(2, 2).repeat_interleave(2, 3),
        "e: four times as many terms, four times as many places: the mean stays. (Not so if the IMAGE is enlarged.)",
    ),
    "f": (
        lambda m: m[:, [1, 0, *range(2, m.shape[1])]],
        "f: the matrix has a row and a column for each channel. Two of them change places, so it is another matrix.",
    ),
    "g": (lambda m: m + 1, "g: the means are not taken out, so a constant counts in every product."),
}


def check_unchanged(student: Callable[[], set[str]]) -> None:
    """Exercise 2: which changes a Gram matrix does not notice; the answers are measured, not listed."""

    @exercise("a Gram matrix does not notice where, as long as all channels move together")
    def check(guarded: Callable[[], set[str]]) -> None:
        answer = guarded()
        if not isinstance(answer, set | frozenset | list | tuple) or not set(answer) <= set(_CHANGES):
            raise WrongAnswer(f"Return a set of letters from a to g, such as {{'a', 'c'}}, not {answer!r}.")
        maps = _normal(1, 4, 4, 4, seed=0)
        for letter, (change, reason) in _CHANGES.items():
            same = torch.allclose(reference_gram(change(maps)), reference_gram(maps), atol=1e-4)
            said = letter in set(answer)
            assert same == said, (
                f"You say that it {'stays' if said else 'changes'}, but it does not. {reason}"
            )

    check(student)


# --- exercise 3 ----------------


def reference_style_loss(reached: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Two lists of Gram matrices (N, C, C) → mean over layers of ‖G − Ĝ‖² / ‖Ĝ‖², (N,)."""
    return torch.stack([_relative(g, w) for g, w in zip(reached, wanted, strict=True)]).mean(0)


def _relative(reached: Tensor, wanted: Tensor) -> Tensor:
    return (reached - wanted).square().sum((1, 2)) / wanted.square().sum((1, 2))


def check_style_loss(student: Callable[[list[Tensor], list[Tensor]], Tensor]) -> None:
    """Exercise 3: the style loss, the first case by hand: (1 + 4 + 4 + 1) / 20 = ½ and (3 − 1)² / 1 = 4."""

    def parts(measure: Callable[[Tensor, Tensor], Tensor]) -> Callable[[list[Tensor], list[Tensor]], Tensor]:
        return lambda reached, wanted: torch.stack(
            [measure(g, w) for g, w in zip(reached, wanted, strict=True)]
        ).mean(0)

    def pooled(reached: list[Tensor], wanted: list[Tensor]) -> Tensor:
        return sum(
            ((g - w).square().sum((1, 2)) for g, w in zip(reached, wanted, strict=True)), torch.zeros(1)
        ) / sum((w.square().sum((1, 2)) for w in wanted), torch.zeros(1))

    def matrices(count: int, *channels: int, seed: int) -> list[Tensor]:
        return [reference_gram(_normal(count, c, 3, 3, seed=seed + c)) for c in channels]

    run(
        student,
        [
            (
                [torch.tensor([[[5.0, 2], [2, 1]]]), torch.full((1, 1, 1), 3.0)],
                [torch.tensor([[[4.0, 0], [0, 2]]]), torch.ones(1, 1, 1)],
            ),
            (matrices(2, 3, 5, seed=0), matrices(2, 3, 5, seed=10)),
            (matrices(3, 2, 4, 6, seed=20), [3 * m for m in matrices(3, 2, 4, 6, seed=30)]),
        ],
        reference_style_loss,
        passed="every layer counts alike, however strong its activations are",
        mistakes={
            "You added the layers up: take their mean.": (lambda r, w: reference_style_loss(r, w) * len(w)),
            "You took the plain squared distance: divide each layer's by ‖Ĝ‖², or the layer with the largest "
            "activations outweighs all others.": parts(lambda g, w: (g - w).square().sum((1, 2))),
            "You took the mean squared distance: the size of the wanted matrix is what to divide by.": parts(
                lambda g, w: (g - w).square().mean((1, 2))
            ),
            "You divided by the size of what is reached: divide by what is WANTED, which does not move.": parts(
                lambda g, w: (g - w).square().sum((1, 2)) / g.square().sum((1, 2))
            ),
            "You divided by the length, not by its square.": parts(
                lambda g, w: (g - w).square().sum((1, 2)) / w.square().sum((1, 2)).sqrt()
            ),
            "You forgot the square: that is ‖G − Ĝ‖ / ‖Ĝ‖.": parts(lambda g, w: _relative(g, w).sqrt()),
            "You divided sums over all layers: divide layer by layer, then take the mean.": pooled,
            "You took the mean over the images too: one number for each image.": (
                lambda r, w: reference_style_loss(r, w).mean()
            ),
        },
        hint="For each layer: the sum of (G − Ĝ)² over (1, 2), over that of Ĝ²; then the mean of the layers.",
    )


# --- exercise 4 ----------------


def reference_shuffle_places(maps: Tensor, orders: Tensor) -> Tensor:
    """Maps (N, C, H, W) with the values of place orders[n, p] at place p of image n, for all channels."""
    flat = maps.flatten(2)
    return flat.gather(2, orders[:, None].expand_as(flat)).view_as(maps)


def check_shuffle_places(student: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Exercise 4: the places of each image in an order of its own."""

    def orders(count: int, places: int, seed: int) -> Tensor:
        draws = torch.Generator().manual_seed(seed)
        return torch.stack([torch.randperm(places, generator=draws) for _ in range(count)])

    def one_order(maps: Tensor, orders: Tensor) -> Tensor:
        return maps.flatten(2)[:, :, orders[0]].view_as(maps)

    def backwards(maps: Tensor, orders: Tensor) -> Tensor:
        return reference_shuffle_places(maps, orders.argsort(1))

    def first_channel(maps: Tensor, orders: Tensor) -> Tensor:
        found = maps.clone()
        found[:, :1] = reference_shuffle_places(maps[:, :1], orders)
        return found

    def own_orders(maps: Tensor, orders: Tensor) -> Tensor:
        """Channel c gets the order rolled by c: the maps move against each other."""
        found = [
            reference_shuffle_places(maps[:, c : c + 1], orders.roll(c, 1)) for c in range(maps.shape[1])
        ]
        return torch.cat(found, 1)

    run(
        student,
        [
            (torch.arange(8.0).view(1, 2, 2, 2), torch.tensor([[2, 0, 3, 1]])),
            (_normal(3, 4, 2, 3, seed=0), orders(3, 6, seed=1)),
            (_normal(2, 5, 4, 4, seed=2), orders(2, 16, seed=3)),
        ],
        reference_shuffle_places,
        passed="each image in an order of its own, all its channels alike",
        mistakes={
            "All images got the order of the first: each has one of its own.": one_order,
            "You went the other way: place p GETS the values of place orders[n, p].": backwards,
            "Only the first channel moved: all channels of an image move together.": first_channel,
            "The channels of an image moved against each other: that changes the Gram matrix.": own_orders,
            "Nothing moved.": lambda m, o: m.clone(),
        },
        hint="`flatten(2)`, then `gather(2, index)` with an index of the same shape: orders[:, None], expanded over C.",
    )
