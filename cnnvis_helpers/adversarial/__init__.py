"""Small changes of an image that change what a network says, and images of nothing that it is sure of.

fgsm(model, images, epsilon, …)       one step along the sign of the gradient
pgd(model, images, epsilon, …)        several smaller steps, held within the bound
is_fooled(model, images, labels, …)   which images get another class than theirs, or the target
success_curve(model, images, …)       share of images that an attack fools, by ε
smallest_epsilon(model, images, …)    how little is enough, image by image
transfer(models, images, …)           whom the examples made for one network fool
fool(model, classes, …)               from Gaussian noise to 99 % of any class
fool_steps(…)                         the same, step by step: for a film, or to stop early
Attack, Smallest, Fooling             what fgsm and pgd are; what smallest_epsilon and fool_steps give

changed = fgsm(net.model, images, 2 / 255, labels, normalise=net.normalise)        # (N, 3, H, W) in [0, 1]
rates = success_curve(net.model, images, [1 / 255, 4 / 255], labels, normalise=net.normalise, attack=pgd)
noise = fool(net.model, range(16), normalise=net.normalise, size=96).images        # (16, 3, 96, 96)

Images are in [0, 1] everywhere and ε is a share of that range: 4 / 255 is four steps of an 8-bit colour. The bound
is on every value of every pixel (L∞). An attack raises the loss −log ŷ of the labels or, given a target class, lowers
that of the target. What is returned has real values: rounded to 8 bits it may lose its effect.
"""

from .attacks import Attack, fgsm, pgd
from .from_noise import Fooling, fool, fool_steps
from .success import Smallest, is_fooled, smallest_epsilon, success_curve, transfer

__all__ = [
    "Attack",
    "Fooling",
    "Smallest",
    "fgsm",
    "fool",
    "fool_steps",
    "is_fooled",
    "pgd",
    "smallest_epsilon",
    "success_curve",
    "transfer",
]
