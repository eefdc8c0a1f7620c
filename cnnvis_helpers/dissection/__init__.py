"""Network dissection: which concept of a labelled data set each unit of a network stands for.

- `dissect`: thresholds, masks and IoU of the units of one or several layers
- `Dissection`: what it finds in a layer: table, detectors by category, best units of a concept, masks
- `Labels`: label maps by category with their names, from arrays
- `read_folder`: your own pictures with PNG label maps
- `Tally`: the statistic that counts, for surveys in parts
- `upsample`: maps at every pixel, anchored at receptive-field centres
- `DETECTOR`: the IoU above which a unit is called a detector
- `stored`: the course's own networks, dissected over all test images

    labels = Labels(test.maps, {c: diorama.names(c) for c in diorama.CATEGORIES})
    found = dissect(net.model, net.normalise(test.images), labels, "relu5")["relu5"]
    found.table(), found.counts(), found.best_units("wheel"), found.masks(net.model, x, [3])

Bau, Zhou, Khosla, Oliva, Torralba, *Network dissection: quantifying interpretability of deep visual representations*,
CVPR 2017.
"""

from .archive import stored
from .folder import read_folder
from .labels import Labels
from .result import DETECTOR, Dissection
from .run import dissect
from .tally import Tally, upsample

__all__ = ["DETECTOR", "Dissection", "Labels", "Tally", "dissect", "read_folder", "stored", "upsample"]
