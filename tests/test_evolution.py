"""Evolution: the lecture's toy, operators against closed forms, encodings, and runs that can be interrupted."""

import math
import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch
from deap import tools
from torch import nn

from cnnvis_helpers import evolution
from cnnvis_helpers.evolution import (
    CPPN,
    Direct,
    Genetic,
    MapElites,
    StateError,
    Variation,
    confidence,
    evolve,
    evolve_steps,
    operators,
    toy,
)


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(images: torch.Tensor) -> torch.Tensor:
    return images


@pytest.fixture
def model() -> nn.Module:
    """A small ConvNet with random weights, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(3),
            nn.Flatten(), nn.Linear(72, 4),
        )  # fmt: skip
    net[-1].weight.data.mul_(20)
    return net


# --- the toy ----------------


def test_the_toy_has_the_numbers_of_the_slide():
    fitness = toy.ones(toy.STRINGS)
    assert fitness.tolist() == [7, 5, 7, 4, 8, 3] and fitness.sum() == 34
    assert toy.STRINGS.shape == (6, 10)
    assert toy.shares(fitness)[4].item() == pytest.approx(8 / 34)
    assert toy.shares(fitness).sum().item() == pytest.approx(1)
    assert toy.text(toy.STRINGS)[0].count("1") == 7
    # The slide crosses two parents that agree before the cut: the children are the parents, swapped.
    first, third = toy.STRINGS[0:1], toy.STRINGS[2:3]
    children = operators.one_point(first, third, cuts=torch.tensor([2]))
    assert torch.equal(children[0], third) and torch.equal(children[1], first)


def test_the_toy_loses_a_one_that_no_other_string_has():
    assert toy.STRINGS[:, 6].tolist() == [0, 0, 0, 0, 1, 0]
    lost = [toy.generation(toy.STRINGS, dice(i), mutation_rate=0)[:, 6].sum() == 0 for i in range(2000)]
    chance = (26 / 34) ** 6
    assert sum(lost) / 2000 == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / 2000))
    # Without mutation it stays lost: the best there can be is nine.
    seed = lost.index(True)
    strings = toy.generation(toy.STRINGS, dice(seed), mutation_rate=0)
    generator = dice(99)
    for _ in range(200):
        strings = toy.generation(strings, generator, mutation_rate=0)
    assert toy.ones(strings).max() <= 9


def test_the_toy_selects_then_crosses_then_mutates():
    still = toy.generation(toy.STRINGS, dice(), crossover_rate=0, mutation_rate=0)
    rows = {tuple(row) for row in toy.STRINGS.tolist()}
    assert {tuple(row) for row in still.tolist()} <= rows
    crossed = toy.generation(toy.STRINGS, dice(), crossover_rate=1, mutation_rate=0)
    assert not {tuple(row) for row in crossed.tolist()} <= rows
    assert torch.equal(toy.generation(toy.STRINGS, dice(), crossover_rate=0, mutation_rate=1), 1 - still)
    totals = toy.play(30, dice(3))
    assert totals.shape == (31,) and totals[0] == 34 and totals[10:].float().mean() > 34
    assert toy.play(2, dice(), torch.zeros(2, 4, dtype=torch.long), mutation_rate=0).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="N even"):
        toy.generation(toy.STRINGS[:5], dice())
    with pytest.raises(ValueError, match="crossover rate"):
        toy.generation(toy.STRINGS, dice(), crossover_rate=2)


# --- operators ----------------


def test_roulette_draws_in_proportion_to_fitness():
    fitness = toy.ones(toy.STRINGS)
    drawn = operators.roulette(fitness, 34_000, dice())
    counts = torch.bincount(drawn, minlength=6).numpy()
    assert scipy.stats.chisquare(counts, fitness.numpy() * 1000).pvalue > 0.001
    assert scipy.stats.chisquare(counts).pvalue < 1e-9  # the test does see another law
    assert (operators.roulette(torch.tensor([0.0, 2.0, 0.0]), 50, dice()) == 1).all()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_tournament_selects_by_rank(size):
    fitness = torch.tensor([0.3, -5.0, 100.0, 7.0])  # ranks from the worst: 1, 0, 3, 2
    drawn = operators.tournament(fitness, 20_000, dice(), size)
    counts = torch.bincount(drawn, minlength=4)[torch.tensor([1, 0, 3, 2])]
    rank = torch.arange(5) / 4
    law = rank[1:] ** size - rank[:-1] ** size  # the best of `size` has this rank
    assert scipy.stats.chisquare(counts.numpy(), law.numpy() * 20_000, sum_check=False).pvalue > 0.001


def test_one_point_crossover_cuts_everywhere_alike():
    a, b = torch.zeros(18_000, 10), torch.ones(18_000, 10)
    first, second = operators.one_point(a, b, dice())
    assert torch.equal(first + second, b)
    assert (first.diff(dim=1) >= 0).all()  # zeros, then ones
    cuts = (10 - first.sum(1)).long()
    counts = torch.bincount(cuts, minlength=10)
    assert counts[0] == 0 and len(counts) == 10
    assert scipy.stats.chisquare(counts[1:].numpy()).pvalue > 0.001


def test_uniform_crossover_swaps_single_genes():
    g = dice()
    a, b = torch.rand(200, 100, generator=g), torch.rand(200, 100, generator=g)
    first, second = operators.uniform(a, b, g, 0.3)
    swapped = first == b
    assert torch.equal(first, torch.where(swapped, b, a)) and torch.equal(second, torch.where(swapped, a, b))
    assert swapped.float().mean() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 20_000))
    assert swapped.float().mean(0).std() == pytest.approx(math.sqrt(0.21 / 200), rel=0.3)


@pytest.mark.parametrize("gene", [0.5, 0.03, 1.0])
def test_polynomial_mutation_has_its_density(gene):
    eta = 15
    start = torch.full((100, 200), gene, dtype=torch.float64)
    change = (operators.polynomial(start, 1.0, dice(), eta) - start).flatten().numpy()

    def law(delta):
        """The distribution function, from ∫ ½ (η + 1) (1 − |δ|)^η, each half scaled to end at its bound."""
        low, high = 1 - (1 - gene) ** (eta + 1), 1 - gene ** (eta + 1)
        below = ((1 + delta.clip(max=0)) ** (eta + 1) - (1 - gene) ** (eta + 1)) / (2 * max(low, 1e-300))
        above = (1 - (1 - delta.clip(min=0)) ** (eta + 1)) / (2 * max(high, 1e-300))
        return below + above

    if gene == 1.0:  # half of the changes have nowhere to go
        assert (change == 0).mean() == pytest.approx(0.5, abs=0.02)
        change = change[change < 0]
        assert scipy.stats.kstest(-change, lambda d: 1 - (1 - d) ** 16).pvalue > 0.001
        return
    assert scipy.stats.kstest(change, law).pvalue > 0.001
    assert scipy.stats.kstest(change * 1.05, law).pvalue < 0.01  # the test does see another η
    if gene == 0.5:
        assert abs(change).mean() == pytest.approx(1 / 17, rel=0.03)


@pytest.mark.parametrize("rate", [1e-4, 0.1, 0.9])
def test_genes_mutate_independently_at_the_rate(rate):
    start = torch.full((400, 500), 0.5)
    moved = operators.polynomial(start, rate, dice(1)) != start
    n = moved.numel()
    assert moved.sum() == pytest.approx(n * rate, abs=4 * math.sqrt(n * rate * (1 - rate)) + 1)
    if rate == 0.1:
        both = (moved[:, 1:] & moved[:, :-1]).float().mean()
        assert both == pytest.approx(0.01, rel=0.08)
        assert moved[:, 0].float().mean() == pytest.approx(0.1, abs=0.06)
        assert moved[:, -1].float().mean() == pytest.approx(0.1, abs=0.06)
        for law in (moved.sum(0), moved.sum(1)):
            trials = len(moved) if law is moved.sum(0) else 500
            assert law.float().var() == pytest.approx(trials * 0.09, rel=0.3)
    assert torch.equal(start, torch.full((400, 500), 0.5))


def test_mutation_keeps_the_range_and_rates_0_and_1_are_exact():
    g = dice()
    x = torch.rand(300, 300, generator=g).round(decimals=1)
    y = operators.polynomial(x, 1.0, g, eta=0)
    assert (y >= 0).all() and (y <= 1).all() and y.std() > 0.2
    assert torch.equal(operators.polynomial(x, 0.0, g), x)
    assert torch.equal(operators.flip(toy.STRINGS, 1.0, g), 1 - toy.STRINGS)
    assert torch.equal(operators.polynomial(x.T, 0.0, g), x.T)  # any memory layout
    bits = operators.flip(torch.zeros(200, 500), 0.2, g)
    assert bits.mean() == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 100_000))


def deal(monkeypatch, function, numbers):
    """Let DEAP draw these numbers, one after the other, from a function of Python's random module."""
    hand = iter(numbers)
    monkeypatch.setattr(random, function, lambda *_: next(hand))


@pytest.mark.parametrize("eta", [0.5, 15.0])
def test_polynomial_mutation_is_deaps_draw_by_draw(monkeypatch, eta):
    genes = torch.cat(
        [torch.rand(60, generator=dice(), dtype=torch.float64), torch.tensor([0.0, 1.0]).double()]
    )
    ours = operators.polynomial(genes[None], 1.0, dice(3), eta)[0]
    drawn = torch.rand(62, generator=dice(3), dtype=torch.float64).tolist()
    deal(monkeypatch, "random", [u for pair in zip([0.0] * 62, drawn, strict=True) for u in pair])
    (theirs,) = tools.mutPolynomialBounded(genes.tolist(), eta=eta, low=0.0, up=1.0, indpb=1.0)
    assert ours.tolist() == pytest.approx(theirs, abs=1e-12)
    assert (ours - genes).abs().max() > 0.01


def test_crossover_is_deaps_cut_by_cut(monkeypatch):
    mother, father = torch.rand(2, 10, generator=dice()).double()
    for cut in range(1, 10):
        deal(monkeypatch, "randint", [cut])
        theirs = tools.cxOnePoint(mother.tolist(), father.tolist())
        ours = operators.one_point(mother[None], father[None], cuts=torch.tensor([cut]))
        assert [child[0].tolist() for child in ours] == list(theirs)
    drawn = torch.rand(1, 10, generator=dice(5))[0].tolist()
    deal(monkeypatch, "random", drawn)
    theirs = tools.cxUniform(mother.tolist(), father.tolist(), indpb=0.3)
    ours = operators.uniform(mother[None], father[None], dice(5), share=0.3)
    assert [child[0].tolist() for child in ours] == list(theirs)
    assert 0 < sum(u < 0.3 for u in drawn) < 10


class Worth(float):
    """A fitness for DEAP: its wheel reads `values`, its tournament compares."""

    @property
    def values(self):
        return (float(self),)


def test_selection_is_as_frequent_as_deaps():
    """The two draw differently, so draws cannot be dealt; how often each is chosen can be compared."""
    random.seed(0)
    fitness = torch.tensor([7.0, 5, 7.5, 4, 8, 3])
    strings = [SimpleNamespace(number=i, fitness=Worth(f)) for i, f in enumerate(fitness.tolist())]
    wheel = [string.number for string in tools.selRoulette(strings, 6000)]
    best = [string.number for string in tools.selTournament(strings, 6000, tournsize=3)]
    ours = operators.roulette(fitness, 6000, dice()), operators.tournament(fitness, 6000, dice(), 3)
    for theirs, drawn in zip((wheel, best), ours, strict=True):
        table = np.array([np.bincount(theirs, minlength=6), torch.bincount(drawn, minlength=6).numpy()])
        assert scipy.stats.chi2_contingency(table[:, table.any(0)]).pvalue > 0.001


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: operators.roulette(torch.tensor([1.0, -1.0]), 2, dice()), "0 or more"),
        (lambda: operators.roulette(torch.zeros(2), 2, dice()), "above 0 for some"),
        (lambda: operators.roulette(torch.tensor([1.0, math.nan]), 2, dice()), "NaN"),
        (lambda: operators.roulette(torch.ones(2), 0, dice()), "At least one parent"),
        (lambda: operators.tournament(torch.ones(2), 2, dice(), 0), "one competitor"),
        (lambda: operators.tournament(torch.ones(0), 2, dice()), "one number for each"),
        (lambda: operators.polynomial(torch.rand(2, 2), 1.5, dice()), "probability from 0 to 1"),
        (lambda: operators.polynomial(torch.rand(2, 2), 0.5, dice(), -1), "eta is 0 or more"),
        (lambda: operators.one_point(torch.rand(2, 1), torch.rand(2, 1), dice()), "two genes or more"),
        (lambda: operators.one_point(torch.rand(2, 3), torch.rand(1, 3), dice()), "one shape"),
        (lambda: operators.uniform(torch.rand(2, 3), torch.rand(2, 3), dice(), 2), "probability"),
    ],
)
def test_operators_complain_in_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- encodings ----------------


def test_direct_genomes_are_pixels():
    code = Direct(4)
    genomes = torch.rand(2, code.genes, generator=dice())
    assert code.genes == 48 and torch.equal(code.decode(genomes), genomes.view(2, 3, 4, 4))
    coarse = Direct(8, side=2)
    images = coarse.decode(torch.rand(2, coarse.genes, generator=dice()))
    assert coarse.genes == 12 and images.shape == (2, 3, 8, 8)
    assert images.min() >= 0 and images.max() <= 1


@pytest.mark.parametrize(("side", "size"), [(1, 2), (3, 6), (5, 10), (5, 7), (8, 4)])
def test_images_are_enlarged_linearly(side, size):
    genomes = torch.rand(2, 3 * side**2, generator=dice())
    given = genomes.view(2, 3, side, side)
    asked = nn.functional.interpolate(given, size=(size, size), mode="bilinear", antialias=side > size)
    assert torch.allclose(Direct(size, side=side).decode(genomes), asked, atol=1e-6)
    assert torch.equal(given.flatten(1), genomes)


def slow_cppn(code: CPPN, genome: torch.Tensor, side: int) -> torch.Tensor:
    """One genome, one pixel, one node at a time."""
    kinds = [math.sin, lambda z: 2 / (1 + math.exp(-z)) - 1, lambda z: 2 * math.exp(-z * z) - 1]
    kinds.append(lambda z: min(1.0, max(-1.0, z)))
    image = torch.zeros(3, side, side)
    for row in range(side):
        for column in range(side):
            x, y = (2 * column + 1) / side - 1, (2 * row + 1) / side - 1
            values, genes = [x, y, math.hypot(x, y), 1.0], iter(genome.tolist())
            for layer, reach in enumerate(code.reach):
                last = layer == code.layers
                new = []
                for node in range(3 if last else code.width):
                    total = 0.0
                    for value in values:
                        v = 2 * next(genes) - 1
                        total += value * reach * math.copysign(max(0.0, (abs(v) - 0.2) / 0.8) ** 3, v)
                    new.append(1 / (1 + math.exp(-total)) if last else kinds[4 * node // code.width](total))
                values += new
            image[:, row, column] = torch.tensor(values[-3:])
    return image


@pytest.mark.parametrize("shape", [{}, {"width": 4, "layers": 1, "reach": (9.0, 2.0)}])
def test_cppn_computes_its_network_pixel_by_pixel(shape):
    code = CPPN(6, side=6, **shape)
    genomes = torch.rand(3, code.genes, generator=dice(2))
    images = code.decode(genomes)
    assert images.shape == (3, 3, 6, 6) and images.std() > 0.05
    for genome, image in zip(genomes, images, strict=True):
        assert torch.allclose(image, slow_cppn(code, genome, 6), atol=1e-5)
    assert torch.allclose(code.decode(genomes[1:2])[0], images[1], atol=1e-6)


def test_cppn_without_connections_is_grey_and_only_small_genes_connect():
    code = CPPN(8)
    assert code.genes == 8 * 4 + 8 * 12 + 3 * 20
    nothing = code.decode(torch.full((1, code.genes), 0.5))
    assert torch.allclose(nothing, torch.full_like(nothing, 0.5))
    genes = torch.rand(50, code.genes, generator=dice())
    weights = torch.cat([w.flatten(1) for w in code.weights(genes)], 1)
    assert torch.equal(weights == 0, (2 * genes - 1).abs() <= 0.2)
    largest = [w.abs().max().item() for w in code.weights(torch.ones(1, code.genes))]
    assert largest == pytest.approx([8, 4, 1.5])
    # A pattern is the same at any resolution: drawn finer and shrunk, it is nearly what it was.
    fine, coarse = CPPN(96, side=96).decode(genes[:8]), CPPN(48, side=48).decode(genes[:8])
    shrunk = nn.functional.avg_pool2d(fine, 2)
    assert (shrunk - coarse).abs().mean() < 0.02 < coarse.std()


@pytest.mark.parametrize("code", [Direct(4), CPPN(4)])
def test_genomes_that_cannot_be_decoded_are_named(code):
    good = torch.rand(2, code.genes)
    for bad in (good * math.nan, good + 1, good - 1):
        with pytest.raises(ValueError, match="cannot be decoded"):
            code.decode(bad)
    for bad in (good[:, 1:], good[0], good.long()):
        with pytest.raises(ValueError, match=r"are floats \(N, "):
            code.decode(bad)


def test_encodings_check_their_settings():
    for call in (partial(Direct, 0), partial(Direct, 4, 0), partial(CPPN, 0)):
        with pytest.raises(ValueError, match="a pixel at least"):
            call()
    for settings in ({"width": 6}, {"layers": 3}, {"layers": 0, "reach": (1.0,)}):
        with pytest.raises(ValueError, match="4, 8, 12"):
            CPPN(8, **settings)


# --- fitness ----------------


def test_confidence_is_the_softmax_and_leaves_the_model(model):
    code = Direct(12)
    genomes = torch.rand(7, code.genes, generator=dice())
    all_classes = confidence(model, code, normalise=lambda x: x - 0.5, batch=3)(genomes)
    one = confidence(model, code, normalise=lambda x: x - 0.5, target_class=2)(genomes)
    assert model.training and model[0].weight.requires_grad
    kept, whole = genomes.clone(), Direct(12)  # a first layer in place must not reach the genomes
    confidence(nn.Sequential(nn.Threshold(2, 0, inplace=True), model), whole, normalise=same)(genomes)
    assert torch.equal(genomes, kept)
    model.eval()
    with torch.no_grad():
        expected = model(genomes.view(-1, 3, 12, 12) - 0.5).softmax(1)
    assert torch.allclose(all_classes, expected, atol=1e-6) and torch.allclose(one, expected[:, 2], atol=1e-6)
    with pytest.raises(ValueError, match="no class 4"):
        confidence(model, code, normalise=same, target_class=4)(genomes)
    with pytest.raises(ValueError, match="batch is 0"):
        confidence(model, code, normalise=same, batch=0)
    model[-1].bias.data[1] = math.nan
    with pytest.raises(ValueError, match="NaN for genome 0"):
        confidence(model, code, normalise=same)(genomes)
    with pytest.raises(ValueError, match="a tuple, not a tensor"):
        confidence(TwoOutputs(), code, normalise=same)(genomes)


class TwoOutputs(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


# --- runs ----------------


def closeness(genomes: torch.Tensor) -> torch.Tensor:
    """One number, best where all genes are 0.8."""
    return 1 - (genomes - 0.8).abs().mean(1)


def corners(genomes: torch.Tensor) -> torch.Tensor:
    """Three numbers, best where all genes are 0, ½ and 1."""
    return torch.stack([1 - (genomes - c).abs().mean(1) for c in (0, 0.5, 1)], 1)


@pytest.mark.parametrize("selection", ["roulette", "tournament"])
@pytest.mark.parametrize("crossover", ["one-point", "uniform"])
def test_a_population_gets_better(selection, crossover):
    method, variation = Genetic(40, selection), Variation(crossover, half_life=30)
    steps = list(evolve_steps(closeness, 20, method, variation=variation, generations=60))
    last = steps[-1]
    assert [step.number for step in steps] == list(range(61))
    assert last.genomes.shape == (40, 20) and last.fitness.shape == (40,) and last.history.shape == (61, 2)
    assert torch.allclose(closeness(last.genomes), last.fitness)
    assert last.fitness[last.best] == last.history[-1, 0]
    assert (last.history[:, 0].diff() >= 0).all()  # the elite lives on
    # Fitness differs by a few per cent between genomes: the wheel hardly notices, a tournament does.
    assert last.history[-1, 0] > {"roulette": 0.85, "tournament": 0.95}[selection] > last.history[0, 0]
    assert last.history[-1, 1] > last.history[0, 1] + 0.05
    assert last.history[-1, 1] == pytest.approx(last.fitness.quantile(0.5).item())


def test_selection_is_what_makes_it_better():
    drift = evolve(closeness, 20, Genetic(40, competitors=1, elites=0), generations=60)
    assert drift.history[-1, 1] < 0.85  # without selection nothing improves
    strict = evolve(closeness, 20, Genetic(40, competitors=8), generations=60)
    assert strict.history[-1, 1] > 0.92


def test_map_elites_keeps_the_best_for_every_class():
    seen = []

    def watched(genomes: torch.Tensor) -> torch.Tensor:
        seen.append(corners(genomes))
        return seen[-1]

    last = evolve(watched, 10, MapElites(children=30), generations=80)
    assert last.genomes.shape == (3, 10) and last.fitness.shape == (3,)
    assert torch.allclose(corners(last.genomes).diagonal(), last.fitness)
    best = torch.cat(seen).amax(0)
    assert (last.fitness <= best).all() and torch.allclose(last.fitness, best, rtol=2e-4)
    assert (last.fitness > 0.9).all() and len(seen) == 81 and all(len(s) == 30 for s in seen)


def test_elites_are_not_replaced_by_noise_in_the_last_digits():
    calls = []

    def trembling(genomes: torch.Tensor) -> torch.Tensor:
        calls.append(len(genomes))
        return torch.full((len(genomes), 2), 0.5) * (1 + 1e-6 * len(calls))

    steps = list(evolve_steps(trembling, 5, MapElites(4), generations=20))
    assert torch.equal(steps[0].genomes, steps[-1].genomes)


def test_one_child_a_generation_is_enough_for_map_elites():
    variation = Variation(mutation_rate=0.5)  # of four genes
    last = evolve(corners, 4, MapElites(children=1), variation=variation, generations=400)
    assert (last.fitness > 0.9).all()


@pytest.mark.parametrize("method", [Genetic(24), MapElites(24)])
@pytest.mark.parametrize("code", [Direct(12), CPPN(12)])
def test_runs_repeat_and_do_not_depend_on_the_batch(model, method, code):
    state, weights = torch.random.get_rng_state(), model[0].weight.clone()
    wanted = 1 if isinstance(method, Genetic) else None

    def run(batch: int, seed: int = 0) -> evolution.Generation:
        score = confidence(model, code, normalise=same, target_class=wanted, batch=batch)
        return evolve(score, code.genes, method, generations=12, seed=seed)

    first, again, single, other = run(32), run(32), run(1), run(32, seed=1)
    assert torch.equal(first.genomes, again.genomes) and torch.equal(first.history, again.history)
    assert torch.equal(first.genomes, single.genomes)
    assert torch.allclose(first.history, single.history, atol=1e-6)
    assert not torch.equal(first.genomes, other.genomes)
    assert first.history[-1, 1] > first.history[0, 1]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training and torch.equal(model[0].weight, weights)


@pytest.mark.parametrize("method", [Genetic(20), MapElites(20)])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, method):
    score = closeness if isinstance(method, Genetic) else corners
    path = tmp_path / "new" / "run.state"
    whole = evolve(score, 6, method, generations=23)
    for step in evolve_steps(score, 6, method, generations=23, state=path, save_every=5):
        if step.number == 12:  # killed here: the file is of generation 10
            break
    steps = list(evolve_steps(score, 6, method, generations=23, state=str(path), save_every=5))
    assert [s.number for s in steps] == list(range(10, 24))
    for name in ("genomes", "fitness", "history"):
        assert torch.equal(getattr(steps[-1], name), getattr(whole, name)), name
    # Done: the last generation comes at once, and more may be asked for.
    assert [s.number for s in evolve_steps(score, 6, method, generations=23, state=path)] == [23]
    longer = evolve(score, 6, method, generations=30, state=path)
    assert torch.equal(longer.genomes, evolve(score, 6, method, generations=30).genomes)
    assert [p.name for p in path.parent.iterdir()] == ["run.state"]


def test_a_file_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.state"
    evolve(closeness, 6, Genetic(8), generations=3, state=path)
    kept = path.read_bytes()
    again = partial(evolve_steps, generations=9, state=path)
    with pytest.raises(StateError, match="with another method"):
        again(closeness, 6, Genetic(9))
    with pytest.raises(StateError, match="with another seed"):
        again(closeness, 6, Genetic(8), seed=1)
    with pytest.raises(StateError, match="another variation"):
        again(closeness, 6, Genetic(8), variation=Variation(eta=3))
    with pytest.raises(StateError, match="another number of genes"):
        again(closeness, 7, Genetic(8))
    with pytest.raises(StateError, match="another score"):
        again(lambda g: closeness(g) + 0.1, 6, Genetic(8))
    assert path.read_bytes() == kept
    elites = tmp_path / "elites.state"
    evolve(corners, 6, MapElites(8), generations=3, state=elites)
    with pytest.raises(StateError, match="another score"):
        evolve_steps(lambda g: corners(g)[:, :2], 6, MapElites(8), generations=9, state=elites)
    for damage in (kept[:100], b"", kept[:-4] + b"\0\0\0\0", b"x" * 500):
        path.write_bytes(damage)
        with pytest.raises(StateError, match="damaged"):
            again(closeness, 6, Genetic(8))
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StateError, match="cannot be written"):
        evolve(closeness, 6, Genetic(8), generations=3, state=file / "run.state")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.state"
    evolve(closeness, 6, Genetic(8), generations=3, state=path)
    kept = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StateError, match="No space left"):
        evolve(closeness, 6, Genetic(8), generations=6, state=path)
    monkeypatch.undo()
    assert path.read_bytes() == kept and [p.name for p in tmp_path.iterdir()] == ["run.state"]


def test_the_mutation_rate_falls_by_half():
    variation = Variation(half_life=20)
    assert [variation.rate(n) for n in (0, 20, 40)] == pytest.approx([0.1, 0.05, 0.025])
    parents = torch.full((200, 300), 0.5)
    early, late = (variation(parents, parents, dice(), number=n) for n in (0, 60))
    assert (early != 0.5).float().mean() == pytest.approx(0.1, rel=0.05)
    assert (late != 0.5).float().mean() == pytest.approx(0.0125, rel=0.15)


def test_a_run_mutates_less_and_less():
    variation = Variation(crossover_rate=0, mutation_rate=1, half_life=0.2)  # 2⁻²⁵ in the fifth generation
    steps = list(evolve_steps(closeness, 6, Genetic(10, elites=0), variation=variation, generations=5))
    parents, children = ({tuple(row) for row in step.genomes.tolist()} for step in steps[-2:])
    assert children <= parents


def test_crossover_takes_place_at_its_rate():
    a, b = torch.zeros(4000, 40), torch.ones(4000, 40)
    mixed = Variation(crossover_rate=0.3, mutation_rate=0)(a, b, dice()).any(1).float().mean()
    assert mixed == pytest.approx(0.3, abs=0.03)
    tails = Variation("one-point", crossover_rate=1.0, mutation_rate=0)(a, b, dice())
    assert (tails.diff(dim=1) >= 0).all() and tails[:, -1].all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Genetic(1), "two genomes or more"),
        (lambda: Genetic(8, "best"), "Selection is by"),
        (lambda: Genetic(8, elites=8), "elites are 0 to 7"),
        (lambda: MapElites(0), "at least one child"),
        (lambda: Variation("two-point"), "Crossover is"),
        (lambda: Variation(mutation_rate=1.1), "from 0 to 1"),
        (lambda: Variation(half_life=0), "half_life is above 0"),
        (lambda: evolve_steps(closeness, 0), "Genes and save_every"),
        (lambda: evolve_steps(closeness, 3, seed=-1), "seed 0 or more"),
        (lambda: evolve(corners, 3, Genetic(8)), "one score for each genome"),
        (lambda: evolve(closeness, 3, MapElites(8)), "a score for each genome and class"),
        (lambda: evolve(lambda g: closeness(g)[1:], 3, Genetic(8)), "scores of 8 genomes"),
        (lambda: evolve(lambda g: closeness(g) - 9, 3, Genetic(8, "roulette")), "use a tournament"),
    ],
)
def test_settings_are_checked_in_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("method", "score"), [(Genetic(8), closeness), (MapElites(8), corners)])
def test_fitness_that_is_no_number_is_named(method, score):
    calls = []

    def broken(genomes: torch.Tensor) -> torch.Tensor:
        scores = score(genomes)
        calls.append(1)
        if len(calls) == 3:
            scores[5] = math.nan
        return scores

    with pytest.raises(ValueError, match="fitness of genome 5 is not a finite number"):
        evolve(broken, 4, method)
