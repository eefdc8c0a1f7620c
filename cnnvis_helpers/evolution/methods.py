"""How one generation follows from another.

- `Variation`: how parents become children
- `Genetic`: one population, selected for one number
- `MapElites`: one elite for each of many numbers, such as the classes of a network
- `Method`, `Score`: what the methods are; what they call

    method, variation = Genetic(population=64, selection="roulette"), Variation(mutation_rate=0.05)
    genomes, fitness = method.begin(score, genes, generator)
    genomes, fitness = method.follow(genomes, fitness, score, partial(variation, number=1), generator)

`evolve_steps` does this, and more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from cnnvis_helpers.evolution import operators

Score = Callable[[Tensor], Tensor]
Breed = Callable[[Tensor, Tensor, torch.Generator], Tensor]
# A child must be better than an elite by a ten-thousandth: the last digits of a probability depend on which images
# the network saw beside it, and a child that looks the same must not win by them.
_MARGIN = 1e-4


class Method(Protocol):
    """What `evolve_steps` needs: two functions that return genomes (M, genes) and their fitness (M,)."""

    def begin(self, score: Score, genes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The first generation, from random genomes."""

    def follow(
        self, genomes: Tensor, fitness: Tensor, score: Score, breed: Breed, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The next generation; `breed` makes the child of two parents each."""

    def own(self, scores: Tensor) -> Tensor:
        """Of the scores of this method's genomes, the fitness (M,)."""


@dataclass(frozen=True)
class Variation:
    """Parents → children: crossover with probability `crossover_rate` a pair, then polynomial mutation.

    A gene mutates with probability `mutation_rate` at first, which is halved every `half_life` generations (Nguyen et
    al. 2015: 0.1, and 1,000); `eta` is the mutation's index, 15 in the paper.
    """

    crossover: Literal["one-point", "uniform"] = "uniform"
    crossover_rate: float = 0.5
    mutation_rate: float = 0.1
    half_life: float = 1000.0
    eta: float = 15.0

    def __post_init__(self) -> None:
        rates = (self.crossover_rate, self.mutation_rate)
        if self.crossover not in ("one-point", "uniform") or not all(0 <= rate <= 1 for rate in rates):
            raise ValueError(
                f"Crossover is 'one-point' or 'uniform' and the rates are from 0 to 1, not {self.crossover!r}, {rates}."
            )
        if not self.half_life > 0 or not self.eta >= 0:
            raise ValueError(f"half_life is above 0 and eta 0 or more, not {self.half_life} and {self.eta}.")

    def rate(self, number: int) -> float:
        """The mutation rate in generation `number`."""
        return self.mutation_rate * 0.5 ** (number / self.half_life)

    def __call__(self, first: Tensor, second: Tensor, generator: torch.Generator, number: int = 0) -> Tensor:
        """One child (N, genes) of each pair of parents, in generation `number`."""
        crossed = torch.rand(len(first), generator=generator) < self.crossover_rate
        swapped = torch.zeros_like(first)  # one pass over the genomes serves all pairs
        if crossed.any():
            swaps = operators.uniform_swaps if self.crossover == "uniform" else operators.one_point_swaps
            swapped[crossed] = swaps((int(crossed.sum()), first.shape[1]), generator).to(first)
        children = torch.lerp(first, second, swapped)  # exact at 0 and 1, and three times as fast as a choice
        return operators.polynomial_(children, self.rate(number), generator, self.eta)


@dataclass(frozen=True)
class Genetic:
    """A population of `population` genomes; the `elites` fittest live on unchanged, the others are children.

    Parents are drawn by a tournament of `competitors` or by the roulette wheel, which needs fitness of 0 or more.
    """

    population: int = 128
    selection: Literal["tournament", "roulette"] = "tournament"
    competitors: int = 4
    elites: int = 1

    def __post_init__(self) -> None:
        if self.population < 2:
            raise ValueError(f"A population needs two genomes or more, to be parents, not {self.population}.")
        if self.selection not in ("tournament", "roulette") or self.competitors < 1:
            raise ValueError(
                "Selection is by 'roulette' or by a 'tournament' of one competitor or more, not "
                f"{self.selection!r} of {self.competitors}."
            )
        if not 0 <= self.elites < self.population:
            raise ValueError(
                f"The elites are 0 to {self.population - 1} of the population, not {self.elites}."
            )

    def begin(self, score: Score, genes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random genomes (population, genes), and their fitness."""
        genomes = torch.rand(self.population, genes, generator=generator)
        return genomes, self.own(_scored(score, genomes))

    def follow(
        self, genomes: Tensor, fitness: Tensor, score: Score, breed: Breed, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The elites, best first, then children of selected parents."""
        count = self.population - self.elites
        if self.selection == "roulette":
            parents = operators.roulette(fitness, 2 * count, generator)
        else:
            parents = operators.tournament(fitness, 2 * count, generator, self.competitors)
        children = breed(genomes[parents[:count]], genomes[parents[count:]], generator)
        best = fitness.argsort(descending=True, stable=True)[: self.elites]
        found = self.own(_scored(score, children))
        return torch.cat([genomes[best], children]), torch.cat([fitness[best], found])

    def own(self, scores: Tensor) -> Tensor:
        """The scores themselves. Raises: ValueError where there is more than one a genome."""
        if scores.ndim != 1:
            raise ValueError(
                f"A genetic algorithm needs one score for each genome, not {tuple(scores.shape)}: name a target_class, "
                "or take MapElites."
            )
        return scores


@dataclass(frozen=True)
class MapElites:
    """One elite for each column of the scores: a run fills all classes at once (Mouret & Clune 2015).

    Each generation draws parents evenly from the elites and makes `children`; each child takes the place of every
    elite that it beats in that elite's column, by more than 0.01 % of its fitness. So what was found on the way to one
    class serves another.
    """

    children: int = 128

    def __post_init__(self) -> None:
        if self.children < 1:
            raise ValueError(f"A generation has at least one child, not {self.children}.")

    def begin(self, score: Score, genes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The best of `children` random genomes for each column: (columns, genes), (columns,)."""
        genomes = torch.rand(self.children, genes, generator=generator)
        fitness, best = self._table(_scored(score, genomes)).max(0)
        return genomes[best], fitness

    def follow(
        self, genomes: Tensor, fitness: Tensor, score: Score, breed: Breed, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The elites, some of them replaced by children."""
        first, second = torch.randint(len(genomes), (2, self.children), generator=generator)
        children = breed(genomes[first], genomes[second], generator)
        found, best = self._table(_scored(score, children)).max(0)
        better = found > fitness + _MARGIN * fitness.abs()
        elites = genomes.clone()
        elites[better] = children[best[better]]
        return elites, found.where(better, fitness)

    def own(self, scores: Tensor) -> Tensor:
        """The score of each elite in its own column."""
        return self._table(scores).diagonal()

    @staticmethod
    def _table(scores: Tensor) -> Tensor:
        if scores.ndim != 2:
            raise ValueError(
                f"MAP-Elites needs a score for each genome and class, (N, classes), not {tuple(scores.shape)}: leave "
                "out target_class."
            )
        return scores


def _scored(score: Score, genomes: Tensor) -> Tensor:
    """The scores, checked: a number that is not finite would win, or spoil every comparison after it."""
    scores = score(genomes).detach().float().cpu()
    if scores.ndim not in (1, 2) or len(scores) != len(genomes):
        raise ValueError(
            f"The scores of {len(genomes)} genomes are (N,) or (N, classes), not {tuple(scores.shape)}."
        )
    broken = ~scores.isfinite().reshape(len(scores), -1).all(1)
    if broken.any():
        row = int(broken.nonzero()[0])
        raise ValueError(
            f"The fitness of genome {row} is not a finite number: {scores[row].flatten()[:4].tolist()}."
        )
    return scores
