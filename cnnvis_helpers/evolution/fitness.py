"""Fitness of genomes: how sure a network is of the images that they describe.

- `confidence`: the function from genomes to the probabilities of the classes

    score = confidence(net.model, code, normalise=net.normalise)                        # (N, genes) → (N, classes)
    score = confidence(net.model, code, normalise=net.normalise, target_class=3)        # (N, genes) → (N,)
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cnnvis_helpers.evolution.encodings import Encoding
from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.scores import logits, targets

_DRAWN = 4  # batches: drawing more images at once, and before the network has the caches, takes a third less


def confidence(
    model: nn.Module,
    encoding: Encoding,
    *,
    normalise: Callable[[Tensor], Tensor],
    target_class: int | None = None,
    batch: int = 16,
) -> Callable[[Tensor], Tensor]:
    """A function from genomes (N, genes) to softmax probabilities on the CPU: (N, classes), or (N,) of one class.

    The model is frozen within each call only and left as it was. `batch` images are shown at once, on the model's
    device, and four times as many drawn; other sizes change no more than the last digits.

    Raises: ValueError, at the call of the function, for genomes that cannot be decoded, an unknown class, and a model
        that gives no logits or NaN; at once for a batch below 1.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; at least one image is needed at a time.")

    def score(genomes: Tensor) -> Tensor:
        place = next(model.parameters(), genomes)
        with frozen(model), torch.no_grad():
            drawn = (normalise(encoding.decode(part.to(place))) for part in genomes.split(_DRAWN * batch))
            parts = [
                logits(model, images).softmax(1).float().cpu()
                for several in drawn
                for images in several.split(batch)
            ]
        found = torch.cat(parts)
        if not found.isfinite().all():
            row = int((~found.isfinite()).any(1).nonzero()[0, 0])
            raise ValueError(f"The model gives NaN for genome {row}: its weights or its input are broken.")
        return found if target_class is None else found.gather(1, targets(found, target_class)[:, None])[:, 0]

    return score
