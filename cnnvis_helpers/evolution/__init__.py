"""Evolution: a genetic algorithm on strings of bits, and on images that fool a network.

toy                     the six strings of the lecture, one generation at a time
operators               selection, crossover and mutation of a whole population at once
Direct, CPPN            genomes as pixels, and as functions that draw a pattern
confidence(model, …)    fitness: how sure a network is of the images that genomes describe
Genetic, MapElites      methods: one population for one class; one elite for every class
Variation               how parents become children: crossover, and mutation that falls
evolve(score, genes)    run it; evolve_steps(…) generation by generation, to show, pause or stop
Generation              what these give
StateError              the file of an interrupted run cannot be used, and why

code = CPPN(net.input_size)
score = confidence(net.model, code, normalise=net.normalise)
for generation in evolve_steps(score, code.genes, MapElites(), generations=200): ...   # show, wait, or break
images = code.decode(generation.genomes)                                                # (classes, 3, s, s)

A genome is a row of numbers in [0, 1], a population a tensor (N, genes) on the CPU; the network may be elsewhere.

Source: Nguyen, Yosinski & Clune, *Deep neural networks are easily fooled*, CVPR 2015.
"""

from .encodings import CPPN, Direct, Encoding
from .fitness import confidence
from .methods import Genetic, MapElites, Method, Score, Variation
from .run import Generation, evolve, evolve_steps
from .state import StateError

__all__ = [
    "CPPN",
    "Direct",
    "Encoding",
    "Generation",
    "Genetic",
    "MapElites",
    "Method",
    "Score",
    "StateError",
    "Variation",
    "confidence",
    "evolve",
    "evolve_steps",
]
