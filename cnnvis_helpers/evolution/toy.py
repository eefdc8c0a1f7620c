"""The genetic algorithm of the lecture: six strings of ten bits; the fitness of a string is its number of ones.

- `STRINGS`: the six strings, (6, 10)
- `ones`: fitness
- `shares`: the probability of each string at the roulette wheel
- `generation`: one generation: selection, crossover, mutation
- `play`: total fitness over many generations
- `text`: bits → strings of 0 and 1

    ones(STRINGS)                                          # 7 5 7 4 8 3, together 34
    shares(ones(STRINGS))[4]                               # 8 / 34
    strings = generation(STRINGS, torch.Generator().manual_seed(0))

Nothing makes it converge. The best string may not be selected: s₅ is left out of the next generation with probability
(26/34)⁶ = 0.20, and with it the only one in the seventh place, which then only a mutation can bring back.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnvis_helpers.evolution import operators

STRINGS = torch.tensor(
    [
        [1, 1, 1, 1, 0, 1, 0, 1, 0, 1],
        [0, 1, 1, 1, 0, 0, 0, 1, 0, 1],
        [1, 1, 1, 0, 1, 1, 0, 1, 0, 1],
        [0, 1, 0, 0, 0, 1, 0, 0, 1, 1],
        [1, 1, 1, 0, 1, 1, 1, 1, 0, 1],
        [0, 1, 0, 0, 1, 1, 0, 0, 0, 0],
    ]
)


def ones(strings: Tensor) -> Tensor:
    """Fitness (N,) of strings (N, bits): the number of ones."""
    return strings.sum(1)


def shares(fitness: Tensor) -> Tensor:
    """Probability (N,) of each string at the roulette wheel: its share of the total fitness."""
    return fitness / fitness.sum()


def generation(
    strings: Tensor,
    generator: torch.Generator,
    *,
    crossover_rate: float = 0.6,
    mutation_rate: float = 0.1,
) -> Tensor:
    """The next generation of strings (N, bits), N even: as many parents, paired as drawn.

    Each is drawn in proportion to fitness; each pair swaps tails with probability `crossover_rate`; each bit turns
    with probability `mutation_rate`. Strings without any one are drawn evenly. Raises: ValueError for an odd or empty
    population and rates outside [0, 1].
    """
    if strings.ndim != 2 or len(strings) % 2 or not len(strings):
        raise ValueError(
            f"Strings are (N, bits) with N even, since parents come in pairs, not {tuple(strings.shape)}."
        )
    if not 0 <= crossover_rate <= 1:
        raise ValueError(f"The crossover rate is a probability from 0 to 1, not {crossover_rate}.")
    fitness = ones(strings)
    parents = strings[operators.roulette(fitness if fitness.any() else fitness + 1, len(strings), generator)]
    first, second = parents[0::2], parents[1::2]
    crossed = torch.rand(len(first), 1, generator=generator) < crossover_rate
    children = operators.one_point(first, second, generator)
    both = [child.where(crossed, parent) for child, parent in zip(children, (first, second), strict=True)]
    return operators.flip(torch.stack(both, 1).flatten(0, 1), mutation_rate, generator)


def play(
    generations: int,
    generator: torch.Generator,
    strings: Tensor = STRINGS,
    *,
    crossover_rate: float = 0.6,
    mutation_rate: float = 0.1,
) -> Tensor:
    """Total fitness of the strings before and after each generation: (generations + 1,)."""
    totals = [ones(strings).sum()]
    for _ in range(generations):
        strings = generation(strings, generator, crossover_rate=crossover_rate, mutation_rate=mutation_rate)
        totals.append(ones(strings).sum())
    return torch.stack(totals)


def text(strings: Tensor) -> Sequence[str]:
    """Bits (N, bits) → strings such as "1111010101"."""
    return ["".join(map(str, row)) for row in strings.long().tolist()]
