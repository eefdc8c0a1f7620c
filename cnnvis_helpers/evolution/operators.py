"""Selection, crossover and mutation, for a whole population at once.

- `roulette`: parents, drawn in proportion to fitness
- `tournament`: parents, each the best of a few drawn at random
- `one_point`: two children of each pair, which swap tails
- `uniform`: two children of each pair, which swap single genes
- `one_point_swaps`, `uniform_swaps`: which genes these swap
- `polynomial`, `polynomial_`: numbers in [0, 1] moved a little, or rarely far; in place
- `flip`: bits turned over

    chosen = roulette(fitness, 6, generator)                      # (6,), rows of the population
    left, right = one_point(genomes[chosen[0::2]], genomes[chosen[1::2]], generator)
    children = polynomial(torch.cat([left, right]), 0.1, generator)

A population is a tensor (N, genes). No operator but `polynomial_` changes its arguments; all chances come from the
generator.
"""

import math

import torch
from torch import Tensor


def roulette(fitness: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` rows with replacement, row i with probability fᵢ / Σ f: (N,) → (count,), integers.

    Raises: ValueError for fitness that is negative, not finite, or zero throughout.
    """
    fitness = _fitness(fitness)
    if (fitness < 0).any() or not fitness.any():
        raise ValueError(
            "The roulette wheel needs fitness of 0 or more, and above 0 for some; use a tournament."
        )
    return torch.multinomial(fitness.double(), _count(count), replacement=True, generator=generator)


def tournament(fitness: Tensor, count: int, generator: torch.Generator, size: int = 2) -> Tensor:
    """Draw `size` rows with replacement, keep the fittest; `count` times: (N,) → (count,), integers.

    Only the order of fitness counts, so it may have any sign or scale. Raises: ValueError for a size below 1, or
    fitness that is not finite.
    """
    fitness = _fitness(fitness)
    if size < 1:
        raise ValueError(f"A tournament has at least one competitor, not {size}.")
    drawn = torch.randint(len(fitness), (_count(count), size), generator=generator)
    return drawn.gather(1, fitness[drawn].argmax(1, keepdim=True))[:, 0]


def one_point(
    first: Tensor, second: Tensor, generator: torch.Generator | None = None, cuts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Two children of each pair (N, genes): the first parent to the cut, the second from there on, and the reverse.

    The cut is before gene c, drawn evenly from 1 … genes − 1, or given as `cuts` (N,). Where the parents agree on one
    side of it, the children are the parents. Raises: ValueError for parents that do not match, with one gene only, or
    without a generator where cuts are to be drawn.
    """
    return _swap(first, second, one_point_swaps(_pairs(first, second), generator, cuts))


def one_point_swaps(
    shape: tuple[int, int], generator: torch.Generator | None = None, cuts: Tensor | None = None
) -> Tensor:
    """Where the children of N pairs have swapped genes by `one_point`: (N, genes), true from the cut on."""
    n, genes = shape
    if cuts is None:
        if genes < 2 or generator is None:
            raise ValueError(f"A cut needs two genes or more, not {genes}, and a generator to draw it.")
        cuts = torch.randint(1, genes, (n,), generator=generator)
    return torch.arange(genes) >= torch.as_tensor(cuts)[:, None]


def uniform(
    first: Tensor, second: Tensor, generator: torch.Generator, share: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Two children of each pair (N, genes), which swap each gene with probability `share`."""
    return _swap(first, second, uniform_swaps(_pairs(first, second), generator, share))


def uniform_swaps(shape: tuple[int, int], generator: torch.Generator, share: float = 0.5) -> Tensor:
    """Where the children of N pairs have swapped genes by `uniform`: (N, genes), true with probability `share`."""
    if not 0 <= share <= 1:
        raise ValueError(f"A share is a probability from 0 to 1, not {share}.")
    return torch.rand(shape, generator=generator) < share


def polynomial(genomes: Tensor, rate: float, generator: torch.Generator, eta: float = 15.0) -> Tensor:
    """Move each gene, with probability `rate`, by polynomial mutation within [0, 1].

    Far from the bounds the change δ has the density ½ (η + 1) (1 − |δ|)^η: with η = 15 its mean size is 1/17. Near
    a bound each half is compressed, so that no gene leaves [0, 1] and none is cut (Deb & Agrawal 1999; the operator
    of NSGA-II). Raises: ValueError for a rate outside [0, 1] or η below 0.
    """
    return polynomial_(genomes.clone(memory_format=torch.contiguous_format), rate, generator, eta)


def polynomial_(children: Tensor, rate: float, generator: torch.Generator, eta: float = 15.0) -> Tensor:
    """`polynomial` that changes the genomes given, contiguous ones, and returns them."""
    if not eta >= 0:
        raise ValueError(f"eta is 0 or more, not {eta}.")
    places = _places(children.numel(), rate, generator)
    gene = children.view(-1)[places]
    w = torch.rand(len(places), generator=generator, dtype=gene.dtype) * 2 - 1
    # One formula for both halves: w below 0 moves down and w above 0 up, and |w| = 1 reaches the bound.
    way, v = w.sign(), 1 - w.abs()
    short = (0.5 + way * (gene - 0.5)).pow(eta + 1)  # 1 − the distance to the bound, to the power η + 1
    size = 1 - (v + (1 - v) * short).pow(1 / (eta + 1))
    children.view(-1)[places] = (gene + way * size).clamp(0, 1)  # only rounding is ever cut
    return children


def flip(bits: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Turn each bit over with probability `rate`: (N, genes) of zeros and ones of any type."""
    children = bits.clone(memory_format=torch.contiguous_format)
    places = _places(bits.numel(), rate, generator)
    children.view(-1)[places] = 1 - children.view(-1)[places]
    return children


def _places(count: int, rate: float, generator: torch.Generator) -> Tensor:
    """Of `count` places, those at which a coin with chance `rate` falls heads, in order.

    The gaps between heads are geometric. Drawing them costs as much as there are heads, not places: a tenth of the
    pixels of a population are mutated in less time than a coin for each would take.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"A rate is a probability from 0 to 1, not {rate}.")
    if rate in (0, 1):
        return torch.arange(count if rate else 0)
    heads = count * rate
    drawn = math.ceil(heads + 6 * math.sqrt(heads)) + 8  # rarely too few, and then more are drawn
    places, last = torch.empty(0), -1.0
    while last < count:
        u = 1 - torch.rand(drawn, generator=generator, dtype=torch.float64)  # above 0, for the logarithm
        places = torch.cat([places, last + (u.log_().div_(math.log1p(-rate)).floor_() + 1).cumsum_(0)])
        last = float(places[-1])
    return places[: int(torch.searchsorted(places, float(count)))].long()


def _swap(first: Tensor, second: Tensor, swaps: Tensor) -> tuple[Tensor, Tensor]:
    return second.where(swaps, first), first.where(swaps, second)


def _fitness(fitness: Tensor) -> Tensor:
    if fitness.ndim != 1 or not len(fitness):
        raise ValueError(f"Fitness is one number for each genome, (N,), not {tuple(fitness.shape)}.")
    if not fitness.isfinite().all():
        raise ValueError("Fitness holds NaN or infinite values: nothing can be selected by them.")
    return fitness


def _count(count: int) -> int:
    if count < 1:
        raise ValueError(f"At least one parent is to be drawn, not {count}.")
    return count


def _pairs(first: Tensor, second: Tensor) -> tuple[int, int]:
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(
            f"Parents are two populations (N, genes) of one shape, not {tuple(first.shape)} and {tuple(second.shape)}."
        )
    return first.shape[0], first.shape[1]
