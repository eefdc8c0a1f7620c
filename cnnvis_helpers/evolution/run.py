"""Evolution, generation by generation: repeatable, and to be stopped and continued at any time.

- `evolve_steps`: an iterator over the generations
- `evolve`: the last of them
- `Generation`: one of them

    for generation in evolve_steps(score, code.genes, Genetic(), generations=50): ...    # show, wait, or break
    last = evolve(score, code.genes, MapElites(), generations=500, state="elites.state", progress=True)
    last.history[:, 0]                                          # the best fitness of each generation
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from cnnvis_helpers.evolution import state as files
from cnnvis_helpers.evolution.methods import MapElites, Method, Score, Variation


@dataclass(frozen=True)
class Generation:
    """The generation `number`, 0 for the random start.

    Attributes: genomes, (M, genes) in [0, 1]; fitness, (M,): of a population, or of the elite of each class;
    history, (number + 1, 2): best and median fitness of every generation up to this one.
    """

    number: int
    genomes: Tensor
    fitness: Tensor
    history: Tensor

    @property
    def best(self) -> int:
        """The row of the fittest genome."""
        return int(self.fitness.argmax())


def evolve_steps(
    score: Score,
    genes: int,
    method: Method | None = None,
    *,
    variation: Variation | None = None,
    generations: int = 100,
    seed: int = 0,
    state: str | Path | None = None,
    save_every: int = 10,
) -> Iterator[Generation]:
    """Yield the random start, then `generations` generations.

    Every generation draws its chances from a seed of its own, made of `seed` and its number: a run that was
    interrupted goes on as if it had not been. Bad settings and a bad file raise at the call.

    Args:
        score: genomes (N, genes) → fitness (N,) for `Genetic`, (N, classes) for `MapElites`; the greater the better.
        genes: length of a genome, such as `CPPN(96).genes`.
        method, variation: by default `MapElites()` and `Variation()`.
        generations: how many, counted from the random start, also where a file is continued.
        seed: from 0 on; the global generators are not used.
        state: a file in which the run is kept, written every `save_every` generations and at the end. Where it exists
            already, the run goes on from it, and the first generation yielded is the one in the file.

    Raises: ValueError for settings out of range and fitness that is not finite; StateError for a file that is
        damaged, cannot be written, or belongs to a run with other settings or another score.
    """
    method, variation = method or MapElites(), variation or Variation()
    if genes < 1 or generations < 0 or save_every < 1 or seed < 0:
        raise ValueError(
            "Genes and save_every are 1 or more, generations and the seed 0 or more, not "
            f"{genes}, {save_every}, {generations} and {seed}."
        )
    path = None if state is None else Path(state)
    settings = {"method": repr(method), "variation": repr(variation), "number of genes": genes, "seed": seed}
    kept = None if path is None else files.load(path, settings)
    if kept is not None:
        again, before = score(kept["genomes"]).float().cpu(), kept["fitness"]
        same_shape = again.shape[1:] in ((), before.shape)
        # Not exactly: the last digits depend on the computer.
        if not same_shape or not torch.allclose(method.own(again), before, rtol=0.01, atol=1e-4):
            raise files.StateError(
                f"{path} is of a run with another score, such as another network or class: give another file."
            )

    def dice(number: int) -> torch.Generator:
        return torch.Generator().manual_seed(int(np.random.SeedSequence((seed, number)).generate_state(1)[0]))

    def run() -> Iterator[Generation]:
        if kept is None:
            genomes, fitness = method.begin(score, genes, dice(0))
            now = Generation(0, genomes, fitness, _summary(fitness))
        else:
            now = Generation(len(kept["history"]) - 1, **kept)
        yield now
        while now.number < generations:
            number = now.number + 1
            breed = partial(variation, number=number)
            genomes, fitness = method.follow(now.genomes, now.fitness, score, breed, dice(number))
            now = Generation(number, genomes, fitness, torch.cat([now.history, _summary(fitness)]))
            if path is not None and (number % save_every == 0 or number == generations):
                tensors = {"genomes": now.genomes, "fitness": now.fitness, "history": now.history}
                files.save(path, tensors, settings)
            yield now

    return run()


def evolve(
    score: Score,
    genes: int,
    method: Method | None = None,
    *,
    generations: int = 100,
    progress: bool = False,
    **settings: Any,
) -> Generation:
    """The last generation of `evolve_steps`, with its arguments; `progress` shows a bar."""
    steps = evolve_steps(score, genes, method, generations=generations, **settings)
    for last in tqdm(steps, total=generations + 1, disable=not progress, desc="evolution"):  # noqa: B007
        pass
    return last


def _summary(fitness: Tensor) -> Tensor:
    return torch.stack([fitness.max(), fitness.quantile(0.5)])[None]
