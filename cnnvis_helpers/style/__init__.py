"""Texture and style: pictures that share a layer's Gram matrices, which keep what is there and forget where.

- `gram`: which channels are active together, over all places of a map
- `grams`: the Gram matrices of named layers for images of any size
- `style_loss`, `content_loss`: how far Gram matrices, or maps, are from wanted ones
- `synthesise_texture`, `texture_steps`: a texture like a given one, from noise; at once, or step by step
- `transfer`, `transfer_steps`: one picture's content in another's style
- `Styled`: the pictures of one step, with their losses
- `layer_codes`: what a layer says as vectors with and without places, for `codes.probe`
- `INPUT`: stands for the image itself in a list of layers

    layers = [INPUT, "relu1", "relu2", "relu3", "relu4"]
    new = synthesise_texture(net.model, brick, layers, normalise=net.normalise, size=128)  # images (1, 3, 128, 128)
    painted = transfer(net.model, photo, flower, layers, "relu3", normalise=net.normalise)

Sources: Gatys, Ecker & Bethge, *Texture synthesis using convolutional neural networks*, NeurIPS 2015, and *Image style
transfer using convolutional neural networks*, CVPR 2016.
"""

from .carries import layer_codes
from .matrices import INPUT, content_loss, gram, grams, style_loss
from .pictures import Styled, synthesise_texture, texture_steps, transfer, transfer_steps

__all__ = [
    "INPUT",
    "Styled",
    "content_loss",
    "gram",
    "grams",
    "layer_codes",
    "style_loss",
    "synthesise_texture",
    "texture_steps",
    "transfer",
    "transfer_steps",
]
