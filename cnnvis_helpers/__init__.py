"""Seeing inside ConvNets: the functions behind the lectures. Import the module you need, by name.

The world and the networks
    diorama          a drawn data set with the truth of every pixel
    zoo, networks    networks by name, with their classes and preprocessing; how the embedded ones are built
    images           photographs ↔ tensors; sample photographs
    photos           the classes of the networks that have seen photographs, and their source
    hooks, scores    record what any layer computes; logits and classes, checked
    device, seeding, layout         pick the device; make a cell repeatable; where convolutions are fast
Methods: models and tensors in, tensors out
    filters          weights as pictures, and measures of them          lecture 01
    activations      sparsity, locality and dead units                  lecture 01
    receptive_field  which pixels a unit can see, derived and measured  lecture 02
    survey           top activations, moments and thresholds in one resumable pass
    patches, codes   what units answer to; what a layer's vectors know  lecture 02
    saliency, class_activation, occlusion, rise     which pixels made the decision: lecture 03
    incremental, patch_layers       occlusion that computes only what the window changes; exact
    attribution      all these maps by one call, and their scores       lecture 03
    segmentation     from a saliency map to a mask                      lecture 03
    faithfulness, sanity                            is a map right; nulls, lost weights, intervals
    backward_rules, deconvnet       what made a unit fire: lecture 04
    inversion        images with the same code                          lecture 05
    objectives, image_params, synthesis, facets     images that maximise a class or a unit: lecture 05
    dreams, deep_inversion          what a layer sees in a photograph, and in nothing: lecture 05
    adversarial, evolution          small changes that fool; images that evolve: lecture 06
    dissection       which concept each unit detects, and by chance     lecture 07
    memorisation     learnt by rule or by heart                         lecture 08
    generator        images through a decoder of codes                  lecture 09
    style            textures, transfer, Gram matrices                  lecture 10
    correspondence, attributes      parts that match; accuracy by size, pose and light: lecture 11
What a notebook shows
    figures          one look for every picture
    controls         sliders, browsers and explorers
    checks           exercise checks, a module a lecture
    claims           the ledger of claims that the lectures test

Nothing is imported here, so `import cnnvis_helpers` costs nothing.
"""

__version__ = "0.1.0"
