"""Directions in the space of a layer's channels, looked at as if they were its units.

- `Turned`: a model with one more layer, `directions`

    turned = Turned(model, "relu5", directions(96, seed=0))
    hooks.activations(turned, x, "directions")             # (N, D, h, w)
"""

import torch
from torch import Tensor, nn

from cnnvis_helpers import hooks


class Turned(nn.Module):
    """A model with one more layer, `directions`: what `layer` gives along the D rows of `basis` (D, C).

    Raises: ValueError for a basis that is no table or not finite and, when run, has other than C columns.
    """

    def __init__(self, model: nn.Module, layer: str, basis: Tensor) -> None:
        super().__init__()
        if basis.ndim != 2 or not basis.isfinite().all():
            raise ValueError(f"A basis is a finite table (directions, channels), not {tuple(basis.shape)}.")
        self.model, self.layer, self.directions = model, layer, nn.Identity()
        self.register_buffer("basis", basis.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → the activations along the directions, (N, D, h, w)."""
        with hooks.record(self.model, self.layer) as record:
            self.model(x)
        a, basis = record[self.layer], self.get_buffer("basis")
        if a.shape[1] != basis.shape[1]:
            raise ValueError(
                f"The basis has {basis.shape[1]} columns, layer {self.layer!r} {a.shape[1]} channels."
            )
        # One image at a time: a product over the batch may round differently with its size.
        turned: Tensor = self.directions(torch.stack([torch.tensordot(basis.to(a), one, 1) for one in a]))
        return turned
