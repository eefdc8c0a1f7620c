"""Learning or memorising: a small problem, a training loop to watch, and critical samples.

small_problem(…)                    1,000 images of 4 classes with labels; Problem is what it gives
relabelled(problem, share, …)       the same images, a share of the labels drawn at random
small_net(width, …)                 a ConvNet with a knob for its capacity
train(model, problem, …)            epoch by epoch: loss and accuracies; Epoch is one of its reports
critical_samples(model, images, …)  who has another label close by; Critical is what it gives
critical_ratio(model, images, …)    what share has, by radius
normalise(images)                   images in [0, 1] → what small_net takes
stored()                            the runs that come with the package

problem = relabelled(small_problem(), share=1.0)
for epoch in train(model := small_net(16), problem):
    print(epoch.number, epoch.train, epoch.test)               # the model is ready to use here; `break` stops
ratio = critical_ratio(model, problem.test_images, [1 / 255, 4 / 255], normalise=normalise)        # (2,)

After Zhang et al., *Understanding deep learning requires rethinking generalization*, ICLR 2017, and Arpit et al., *A
closer look at memorization in deep networks*, ICML 2017.
"""

from .critical import Critical, critical_ratio, critical_samples
from .problem import Problem, normalise, relabelled, small_net, small_problem
from .training import TABLE, Epoch, stored, train

__all__ = [
    "TABLE",
    "Critical",
    "Epoch",
    "Problem",
    "critical_ratio",
    "critical_samples",
    "normalise",
    "relabelled",
    "small_net",
    "small_problem",
    "stored",
    "train",
]
