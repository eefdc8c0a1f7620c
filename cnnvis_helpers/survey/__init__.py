"""Statistics of a network's layers over a whole data set, in one pass, in memory that does not grow with it.

- `survey`: run all images once and feed the statistics; can be killed and go on
- `TopK`: the k images that activate each channel most, and where
- `Moments`: mean, variance, extremes and share above zero of each channel
- `Threshold`: the value that a given share of each channel's activations exceeds
- `Statistic`: what these are; write your own with two functions
- `batches`: a data set in checked batches
- `ResumeError`: the file of an interrupted survey cannot be used, and why

    top, moments = survey(model, test, [TopK("relu5", k=9), Moments("relu5")], resume="conv5.survey")
    top.images[3], top.rows[3], top.columns[3]    # nine images and places for channel 3, best first
    top.merge(another)                            # of a survey of other images: as if surveyed together
    (top,) = survey(model, test, [TopK("relu5")], client=client)      # by all workers of a dask cluster

A data set has a length, and `data[i]` is a normalised image (C, H, W), or (image, label): a tensor (N, C, H, W), a
list, a `torch.utils.data.Dataset`. An image's number is its position there.

A statistic is the same to the last bit in whatever batches or parts, and in whatever order, the activations come. The
activations themselves may differ in the last digit between batch sizes and between computers, since a convolution can
be summed up in several orders.
"""

from .feeding import batches
from .moments import Moments
from .resume import ResumeError
from .run import survey
from .statistics import Statistic, Threshold, TopK

__all__ = ["Moments", "ResumeError", "Statistic", "Threshold", "TopK", "batches", "survey"]
