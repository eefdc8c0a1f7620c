"""The images that networks are trained and measured on, by family.

- `Images`: images in memory, with labels and what augmentation or measuring needs
- `load`: a split of a family's data set
- `LABELS`: what a network can learn to tell, instead of Diorama's objects
- `VERSIONS`: the version of each family's data set, noted in its weight files
"""

from dataclasses import dataclass, replace
from pathlib import Path

import caltech101
import fooling_images
import torch
from torch import Tensor

from cnnvis_helpers import diorama

SHORTCUT_IMAGES = 8_000
LABELS = {
    "": "the class of the object",
    "scenes": "the scene",
    "random": "in training the classes dealt out at random, each as often as before; the true ones in the tests",
    "fooling": "the class of the object; and in training a class more, of images that fool diorama/alexnet",
}
VERSIONS = {"diorama": diorama.VERSION, "photos": caltech101.VERSION}


@dataclass(frozen=True)
class Images:
    """Images in memory.

    pixels: (N, 3, H, W) uint8, since 20,000 images of floats would take 2.2 GB; labels: (N,) int64. For whole
    photographs squeezed into a square, extent: (N, 2), the shares of width and height that a centred square of
    the photograph covers. For Diorama, hidden: (N,), the share of the object that is hidden.
    """

    pixels: Tensor
    labels: Tensor
    extent: Tensor | None = None
    hidden: Tensor | None = None

    def to(self, device: torch.device) -> "Images":
        """The same images on a device."""
        moved = (
            t if t is None else t.to(device) for t in (self.pixels, self.labels, self.extent, self.hidden)
        )
        return Images(*moved)

    def __len__(self) -> int:
        return len(self.labels)


def load(
    family: str,
    split: str,
    most: int | None = None,
    *,
    places: str = "",
    labels: str = "",
    photographs: Path = Path("data"),
    download: bool = False,
) -> Images:
    """The "train", "validation" or "test" images of a family, for photographs also "train+validation"; at most `most`.

    places: "tied" or "free" are the images of Diorama's shortcut experiment, 8,000 of them to train on.
    labels: one of LABELS, for Diorama.
    photographs: the folder that holds caltech101/; download: let torchvision fetch it where it is missing.
    """
    if family == "photos":
        folder = caltech101.open_folder(photographs, download=download)
        return Images(**caltech101.read(folder, split, whole=split.startswith("train"), most=most))
    if places:
        n = most or min(SHORTCUT_IMAGES, diorama.SPLITS[split])
        batch = diorama.shortcut_images(split, n, tied=places == "tied", labels=False, progress=True)
    else:
        batch = diorama.load(split, most, labels=False)
    images = Images(
        torch.from_numpy(batch.pixels).permute(0, 3, 1, 2),
        batch.labels,
        hidden=torch.from_numpy(batch.attributes["occluded"]),
    )
    if labels == "scenes":
        return replace(images, labels=torch.from_numpy(batch.attributes["scene"]), hidden=None)
    if labels == "random" and split == "train":
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        return replace(images, labels=images.labels[order])
    if labels == "fooling" and split == "train":
        fooling = fooling_images.load().repeat(2, 1, 1, 1)  # twice: about as many as of each class
        made = torch.full((len(fooling),), len(diorama.CLASSES))
        return Images(torch.cat([images.pixels, fooling]), torch.cat([images.labels, made]))
    return images
