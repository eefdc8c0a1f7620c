"""The course's own ConvNets for 96×96 images: a small AlexNet, with the names that every lecture uses, and its heirs.

- `alexnet`, `vgg`, `googlenet`, `resnet`: build a small one, initialised from a seed alone
- `fold_batch_norm`: the same function as a network without batch norm
- `INPUT_SIZE`, `MEAN`, `STD`: what the network expects as its input

    model = alexnet(classes=16, seed=0).eval()
    model.conv1.weight.shape                             # (48, 3, 9, 9)
    logits = model(images.normalise(batch, MEAN, STD))   # (N, 3, 96, 96) → (N, 16)

The AlexNet's layers, run one after the other, and the shape that each gives (C, H, W) at its own widths:

    conv1 48×48×48   relu1   pool1 48×24×24      9×9, stride 2
    conv2 80×24×24   relu2   pool2 80×12×12      5×5
    conv3 96×12×12   relu3                       3×3
    conv4 96×12×12   relu4                       3×3
    conv5 96×12×12   relu5   pool5 96×4×4        3×3
    flatten 1536     fc6 256 relu6 drop6   fc7 256 relu7 drop7   fc8 (one per class)
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torchvision.models.googlenet import BasicConv2d, Inception
from torchvision.models.resnet import BasicBlock

Stem = Literal["9/2", "11/4"]
Conv1Init = Literal["small", "he"]

INPUT_SIZE = 96
MEAN = (
    0.45,
    0.43,
    0.38,
)  # of the training images, per colour; rounded, since nothing depends on the third digit
STD = (0.25, 0.25, 0.26)

_Module = TypeVar("_Module", bound=nn.Module)


def alexnet(
    classes: int = 16,
    *,
    widths: Sequence[int] = (48, 80, 96, 96, 96),
    hidden: int = 256,
    batch_norm: bool = False,
    groups: int = 1,
    stem: Stem = "9/2",
    conv1_init: Conv1Init = "small",
    dropout: float = 0.4,
    seed: int = 0,
) -> nn.Sequential:
    """Build the network with random weights that depend on `seed` alone; 0.8 million parameters at its own widths.

    Departures from Krizhevsky et al., *ImageNet classification with deep convolutional neural networks*,
    NeurIPS 2012: smaller throughout, no local response normalisation, pool5 does not overlap.

    Args:
        classes: number of outputs of fc8 (logits).
        widths: number of filters of conv1 … conv5.
        hidden: number of units of fc6 and of fc7.
        batch_norm: put `bn1` … `bn7` between each convolution or hidden linear layer and its ReLU. For
            training; `fold_batch_norm` removes them again.
        groups: 2 gives AlexNet's two streams. conv1 is two halves that both see all three colours (so it
            needs no grouped convolution), conv2, conv4 and conv5 see their own half alone, conv3 sees both.
        stem: "9/2" is a first layer of 9×9 windows with stride 2, after Zeiler and Fergus (ECCV 2014), who
            made AlexNet's 11×11 windows with stride 4 smaller and denser; "11/4" is that before. With
            "11/4" pool1 has stride 1, so that from conv2 on every map and weight has the same shape in both.
        conv1_init: "small" draws conv1 from N(0, 0.01²) as AlexNet did; "he" from N(0, 2/fan_in), like the
            other layers: nine times larger here, and training leaves much of that noise standing.
        dropout: probability of dropping a unit of fc6 and fc7 in training mode.
        seed: the same seed gives the same weights on every computer and with every version of torch.

    Returns: an `nn.Sequential` in training mode, (N, 3, 96, 96) normalised images → (N, classes) logits.
    Raises: ValueError for an unknown `stem` or `conv1_init`, for `groups` other than 1 and 2, or where there are
        not five widths.
    """
    if len(widths) != 5:
        raise ValueError(f"widths has {len(widths)} numbers; it needs five, one for each of conv1 … conv5.")
    if groups not in (1, 2):
        raise ValueError(f"groups is {groups}; it must be 1, or 2 for two streams.")
    if stem not in ("9/2", "11/4"):
        raise ValueError(f"stem is {stem!r}; it must be '9/2' or '11/4' (window size / stride).")
    if conv1_init not in ("small", "he"):
        raise ValueError(f"conv1_init is {conv1_init!r}; it must be 'small' or 'he'.")
    kernel, stride = (9, 2) if stem == "9/2" else (11, 4)
    w1, w2, w3, w4, w5 = widths
    bias = not batch_norm  # batch norm subtracts the mean, so a bias before it would do nothing

    # torch's own initialisation draws from the global generator: those draws are put back, their values are
    # replaced.
    with torch.random.fork_rng(devices=[]):
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, w1, kernel, stride, padding=4, bias=bias),  # 96 → 48 or 24
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(3, 2 if stem == "9/2" else 1, padding=1),  # → 24
            conv2=nn.Conv2d(w1, w2, 5, padding=2, groups=groups, bias=bias),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(3, 2, padding=1),  # → 12
            conv3=nn.Conv2d(w2, w3, 3, padding=1, bias=bias),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(w3, w4, 3, padding=1, groups=groups, bias=bias),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(w4, w5, 3, padding=1, groups=groups, bias=bias),
            relu5=nn.ReLU(),
            pool5=nn.MaxPool2d(3, 3),  # → 4; windows that do not overlap keep fc6, the largest layer, small
            **_classifier(w5 * 4 * 4, hidden, classes, bias, dropout),
        )
    _initialise(layers, seed, conv1_init)
    if batch_norm:
        layers = _with_batch_norm(layers)
    return nn.Sequential(layers)


def vgg(
    classes: int = 16,
    *,
    widths: Sequence[int] = (24, 48, 96, 128),
    hidden: int = 256,
    batch_norm: bool = False,
    dropout: float = 0.4,
    seed: int = 0,
) -> nn.Sequential:
    """Build a small VGG with random weights that depend on `seed` alone; 1.0 million parameters at its own widths.

    For each width two 3×3 convolutions (conv1_1, relu1_1, conv1_2, relu1_2, …) and a pooling (pool1, …) that halves
    the map, the last one a third: 12 → 4. Then fc6, fc7 and fc8, as in `alexnet`. Departures from Simonyan and
    Zisserman, *Very deep convolutional networks*, ICLR 2015: smaller, four pairs instead of five blocks.

    Args: as for `alexnet`; widths are those of the pairs.
    Returns: an `nn.Sequential` in training mode, (N, 3, 96, 96) normalised images → (N, classes) logits.
    Raises: ValueError where there are not four widths.
    """
    if len(widths) != 4:
        raise ValueError(
            f"widths has {len(widths)} numbers; it needs four, one for each pair of convolutions."
        )
    bias = not batch_norm
    with torch.random.fork_rng(devices=[]):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        entering = 3
        for block, width in enumerate(widths, start=1):
            for number in (1, 2):
                layers[f"conv{block}_{number}"] = nn.Conv2d(entering, width, 3, padding=1, bias=bias)
                layers[f"relu{block}_{number}"] = nn.ReLU()
                entering = width
            layers[f"pool{block}"] = nn.MaxPool2d(3 if block == len(widths) else 2)
        layers.update(_classifier(widths[-1] * 4 * 4, hidden, classes, bias, dropout))
    _initialise(layers, seed, "small")
    return nn.Sequential(_with_batch_norm(layers) if batch_norm else layers)


def _classifier(entering: int, hidden: int, classes: int, bias: bool, dropout: float) -> dict[str, nn.Module]:
    """From the last maps to the logits: fc6, fc7 and fc8, as in AlexNet and VGG."""
    return {
        "flatten": nn.Flatten(),
        "fc6": nn.Linear(entering, hidden, bias=bias),
        "relu6": nn.ReLU(),
        "drop6": nn.Dropout(dropout),
        "fc7": nn.Linear(hidden, hidden, bias=bias),
        "relu7": nn.ReLU(),
        "drop7": nn.Dropout(dropout),
        "fc8": nn.Linear(hidden, classes),
    }


def googlenet(classes: int = 16, *, dropout: float = 0.4, seed: int = 0) -> nn.Sequential:
    """Build a small GoogLeNet with random weights that depend on `seed` alone; 0.2 million parameters.

    conv1 7×7 (stride 2), pool1, conv2 3×3, pool2, then torchvision's inception blocks `inception3a`, `inception3b`,
    `inception4a`, `inception4b`, all of 12×12 places, average pooling and `fc`. Batch norm stays in every convolution.
    Departures from Szegedy et al., *Going deeper with convolutions*, CVPR 2015: batch norm and 3×3 windows in the
    branch that has 5×5 in the paper, both as in torchvision; four blocks, none of them pooled; no auxiliary outputs.

    Returns: an `nn.Sequential` in training mode, (N, 3, 96, 96) normalised images → (N, classes) logits.
    """
    with torch.random.fork_rng(devices=[]):
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=BasicConv2d(3, 48, kernel_size=7, stride=2, padding=3),  # 96 → 48
            pool1=nn.MaxPool2d(3, 2, padding=1),  # → 24
            conv2=BasicConv2d(48, 80, kernel_size=3, padding=1),
            pool2=nn.MaxPool2d(3, 2, padding=1),  # → 12
            # from, 1×1, before 3×3, 3×3, before "5×5", "5×5", after pooling
            inception3a=Inception(80, 24, 32, 48, 8, 12, 12),  # 96 maps
            inception3b=Inception(96, 32, 40, 64, 8, 16, 16),  # 128
            inception4a=Inception(128, 32, 48, 64, 8, 16, 16),  # 128
            inception4b=Inception(128, 40, 48, 80, 12, 20, 20),  # 160
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(dropout),
            fc=nn.Linear(160, classes),
        )
    model = nn.Sequential(layers)
    _initialise(dict(model.named_modules()), seed, "small")
    return model


def resnet(
    classes: int,
    *,
    widths: Sequence[int] = (64, 128, 256),
    blocks: int = 2,
    conv1_init: Conv1Init = "he",
    seed: int = 0,
) -> nn.Sequential:
    """Build a small residual network with random weights that depend on `seed` alone; 2.8 million parameters.

    conv1 7×7 (stride 2), bn1, relu, maxpool, then `layer1`, `layer2`, … of `blocks` basic blocks each, average
    pooling and `fc`: torchvision's ResNet-18 with its names, without its last stage. Batch norm stays, since
    some methods read its statistics. Source: He et al., *Deep residual learning*, CVPR 2016.

    Args:
        classes: number of outputs of fc (logits).
        widths: channels of each stage; every stage but the first halves height and width.
        blocks: residual blocks in each stage.
        conv1_init: as for `alexnet`.
        seed: the same seed gives the same weights on every computer and with every version of torch.

    Returns: an `nn.Sequential` in training mode, (N, 3, s, s) normalised images → (N, classes) logits.
    """
    with torch.random.fork_rng(devices=[]):
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, widths[0], 7, 2, padding=3, bias=False),  # 96 → 48
            bn1=nn.BatchNorm2d(widths[0]),
            relu=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, 2, padding=1),  # → 24
        )
        entering = widths[0]
        for number, width in enumerate(widths, start=1):
            stride = 1 if number == 1 else 2
            layers[f"layer{number}"] = nn.Sequential(
                *(
                    _block(entering if b == 0 else width, width, stride if b == 0 else 1)
                    for b in range(blocks)
                )
            )
            entering = width
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Linear(entering, classes)
    model = nn.Sequential(layers)
    _initialise(dict(model.named_modules()), seed, conv1_init)
    for block in model.modules():
        if isinstance(block, BasicBlock):
            nn.init.zeros_(block.bn2.weight)  # every block starts as the identity (Goyal et al. 2017)
    return model


def _block(entering: int, width: int, stride: int) -> BasicBlock:
    if entering == width and stride == 1:
        return BasicBlock(entering, width)
    shortcut = nn.Sequential(nn.Conv2d(entering, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    return BasicBlock(entering, width, stride, shortcut)


def _initialise(modules: Mapping[str, nn.Module], seed: int, conv1_init: Conv1Init) -> None:
    """Fill the weights from numpy's generator, whose numbers do not change with torch's version or with the
    processor.

    Every layer has a stream of its own: a network whose conv1 differs still starts with the same fc6.
    """
    weighted = {name: m for name, m in modules.items() if isinstance(m, nn.Conv2d | nn.Linear)}
    for number, (name, module) in enumerate(weighted.items()):
        shape = tuple(module.weight.shape)
        std = float(
            np.sqrt(2 / np.prod(shape[1:]))
        )  # He et al., ICCV 2015: keeps the variance through a ReLU
        if number == 0 and conv1_init == "small":
            std = 0.01
        if name in ("fc", "fc8"):
            std *= 0.1  # the first predictions are near uniform, so the first gradients are small and agree
        numbers = np.random.default_rng([seed, number]).standard_normal(shape) * std
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(numbers))
            if module.bias is not None:
                module.bias.zero_()


def _with_batch_norm(layers: OrderedDict[str, nn.Module]) -> OrderedDict[str, nn.Module]:
    normalised: OrderedDict[str, nn.Module] = OrderedDict()
    for name, module in layers.items():
        normalised[name] = module
        if isinstance(module, nn.Conv2d):
            normalised[f"bn{name.removeprefix('conv')}"] = nn.BatchNorm2d(module.out_channels)
        elif isinstance(module, nn.Linear) and name != "fc8":
            normalised[f"bn{name.removeprefix('fc')}"] = nn.BatchNorm1d(module.out_features)
    return normalised


FOLDABLE = (alexnet, vgg)  # their batch norm can be folded into the layer before


def fold_batch_norm(model: nn.Sequential) -> nn.Sequential:
    """A new network, without batch norm, that computes what `model` computes in evaluation mode.

    In evaluation mode batch norm is y = γ (x − μ)/√(σ² + ε) + β with fixed numbers: a scale and a shift per
    channel, which the convolution or linear layer before it can do itself. `model` is left as it was; the new
    network shares no weights with it, keeps every other name, and is in evaluation mode.

    Raises: ValueError where a batch norm does not directly follow a convolution or a linear layer.
    """
    folded: OrderedDict[str, nn.Module] = OrderedDict()
    previous = ""
    for name, module in model.named_children():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            before = folded.get(previous)
            if isinstance(before, nn.Conv2d):
                folded[previous] = fuse_conv_bn_eval(before, _evaluating(module))
            elif isinstance(before, nn.Linear):
                folded[previous] = fuse_linear_bn_eval(before, _evaluating(module))
            else:
                where = previous or "nothing"
                raise ValueError(f"{name} follows {where}; only a convolution or linear layer can absorb it.")
        else:
            folded[name] = _evaluating(module)
            previous = name
    return nn.Sequential(folded).eval()


def _evaluating(module: _Module) -> _Module:
    return deepcopy(module).eval()
