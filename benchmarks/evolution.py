"""Evolution beside the bare forward pass of as many images, and beside DEAP.

    python benchmarks/evolution.py               # two minutes on two cores

The forward pass sees each population at once, as one would write it, and in the batches in which it is fastest, which
are also evolution's.

DEAP runs the same genetic algorithm: tournament of 4, uniform crossover of half the pairs, polynomial mutation, one
elite. It gets what is fastest for it: genomes as lists, copies without `deepcopy`, and fitness of the whole population
by one call. Chances differ, so results are compared on a function whose best value is known: how far the two have come
after as many generations. That each operator does what DEAP's does is tested draw by draw in tests/test_evolution.py.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from side_by_side import Clock, Row, installed, race, report
from torch import Tensor

from cnnvis_helpers import zoo
from cnnvis_helpers.evolution import CPPN, Direct, Genetic, MapElites, Variation, confidence, evolve

POPULATION, COMPETITORS, RATE, ETA, BATCH, CLASS = 128, 4, 0.1, 15.0, 16, 3
IMAGED = 4  # generations whose images a network sees, after the first
OPTIMUM = 0.3  # of every gene, in the function without a network

Score = Callable[[Tensor], Tensor]


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """Against the forward pass, then against DEAP."""
    how: dict[str, Any] = {"rounds": rounds, "clock": clock}
    net = zoo.load("diorama/alexnet")
    model = net.model.eval()
    x = torch.rand(POPULATION, 3, net.input_size, net.input_size)
    x = x.contiguous(memory_format=torch.channels_last)  # the faster layout
    codes: dict[str, Any] = {"CPPN": CPPN(net.input_size), "pixels": Direct(net.input_size)}
    methods: dict[str, Any] = {"one class": Genetic(POPULATION), "all classes": MapElites(POPULATION)}
    scores: dict[tuple[str, str], Score] = {}
    for name, code in codes.items():
        for kind, method in methods.items():
            target = CLASS if kind == "one class" else None
            score = confidence(model, code, normalise=net.normalise, target_class=target, batch=BATCH)
            scores[name, kind] = score
            sizes = [POPULATION] + [POPULATION - (kind == "one class")] * IMAGED  # one elite needs no image
            for against, batch in (("forward pass", POPULATION), (f"forward pass, {BATCH} at a time", BATCH)):
                yield race(
                    f"evolution, {name}, {kind}, {sum(sizes)} images",
                    partial(images_seen, score, code.genes, method),
                    against,
                    partial(bare, model, x, sizes, batch),
                    same=as_many,
                    faster=False,
                    goal=1.11,
                    **how,
                )
    if not installed("deap"):
        return
    for genes, generations, most in ((codes["CPPN"].genes, 150, 0.25), (codes["pixels"].genes, 1, 0.005)):
        yield race(
            f"genetic algorithm without network, {genes:,} genes, {generations} generations",
            partial(ours, distance, genes, generations),
            "DEAP",
            partial(deaps, distance, genes, generations),
            same=partial(as_far, most=most),
            goal=3.0,
            **how,
        )
    yield race(
        f"genetic algorithm, CPPN, {IMAGED} generations",
        partial(ours, scores["CPPN", "one class"], codes["CPPN"].genes, IMAGED),
        "DEAP",
        partial(deaps, scores["CPPN", "one class"], codes["CPPN"].genes, IMAGED),
        same=lambda one, other: as_many(one[1], other[1]),
        goal=1.0,
        **how,
    )


def counted(score: Score) -> tuple[Score, list[int]]:
    """The score, and a list to which each call adds how many genomes it was given."""
    seen: list[int] = []

    def count(genomes: Tensor) -> Tensor:
        seen.append(len(genomes))
        return score(genomes)

    return count, seen


def images_seen(score: Score, genes: int, method: Any) -> int:
    """Evolve; how many images the network saw."""
    score, seen = counted(score)
    evolve(score, genes, method, generations=IMAGED)
    return sum(seen)


@torch.no_grad()
def bare(model: torch.nn.Module, x: Tensor, sizes: Sequence[int], batch: int) -> int:
    """Forward passes of populations of these sizes; how many images they were."""
    return sum(len(model(part)) for size in sizes for part in x[:size].split(batch))


def as_many(ours: int, other: int) -> str:
    """Raises: AssertionError where one scored more genomes than the other."""
    assert ours == other, f"{ours} and {other} genomes were scored"
    return f"{ours:,} genomes each"


def distance(genomes: Tensor) -> Tensor:
    """Minus the mean squared distance from the optimum: (N, genes) → (N,)."""
    return -(genomes - OPTIMUM).square().mean(1)


def ours(score: Score, genes: int, generations: int) -> tuple[float, int]:
    """The best fitness after as many generations, and how many genomes were scored."""
    score, seen = counted(score)
    method, variation = Genetic(POPULATION, competitors=COMPETITORS), Variation(half_life=math.inf)
    last = evolve(score, genes, method, variation=variation, generations=generations)
    return float(last.fitness.max()), sum(seen)


def deaps(score: Score, genes: int, generations: int) -> tuple[float, int]:
    """The same by DEAP."""
    from deap import algorithms, base, tools

    score, seen = counted(score)

    class Fitness(base.Fitness):
        weights = (1.0,)

    class Genome(list):
        def __init__(self, values: Sequence[float]) -> None:
            super().__init__(values)
            self.fitness = Fitness()

    box = base.Toolbox()
    box.register("clone", Genome)
    box.register("mate", tools.cxUniform, indpb=0.5)
    box.register("mutate", tools.mutPolynomialBounded, eta=ETA, low=0.0, up=1.0, indpb=RATE)

    def scored(population: list[Genome]) -> list[Genome]:
        for genome, fitness in zip(population, score(torch.tensor(population)).tolist(), strict=True):
            genome.fitness.values = (fitness,)
        return population

    random.seed(0)
    population = scored([Genome([random.random() for _ in range(genes)]) for _ in range(POPULATION)])
    for _ in range(generations):
        parents = tools.selTournament(population, POPULATION - 1, COMPETITORS)
        children = algorithms.varAnd(parents, box, cxpb=0.5, mutpb=1.0)
        population = [tools.selBest(population, 1)[0], *scored(children)]
    return float(tools.selBest(population, 1)[0].fitness.values[0]), sum(seen)


def as_far(ours: tuple[float, int], theirs: tuple[float, int], most: float) -> str:
    """Raises: AssertionError where the distances from the optimum differ by more than the share `most`."""
    (one, count), (other, counts) = ours, theirs
    assert abs(one / other - 1) <= most, f"squared distances from the optimum: {-one:.4f} and {-other:.4f}"
    return f"squared distances from the optimum {-one:.4f} and {-other:.4f}, {as_many(count, counts)}"


if __name__ == "__main__":
    report(rows)
