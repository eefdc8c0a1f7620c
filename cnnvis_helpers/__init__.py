"""Seeing inside ConvNets: the functions behind the lectures. Import the module you need, by name.

The world and the networks
    diorama          a drawn data set with the truth of every pixel
    zoo, networks    networks by name, with their classes and preprocessing; how the embedded ones are built
    images           photographs ↔ tensors; sample photographs
    hooks            record what any layer computes; list a model's layers
    device, seeding  pick the device; make a cell repeatable
Methods: models and tensors in, tensors out
    filters          weights as pictures, and measures of them          lecture 01
    activations      sparsity, locality and dead units                  lecture 01
What a notebook shows
    figures          one look for every picture
    controls         sliders, browsers and explorers
    checks           exercise checks, a module a lecture
    claims           the ledger of claims that the lectures test

Nothing is imported here, so `import cnnvis_helpers` costs nothing.
"""

__version__ = "0.1.0"
