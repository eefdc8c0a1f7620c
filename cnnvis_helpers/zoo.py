"""Networks by name: the course's own, torchvision's with ImageNet weights, or your own module.

- `load`: a network by name, ready to use
- `names`: all names
- `checkpoints`: the names of one network's steps through training
- `describe`: how a network was trained, on what and under which licence, and how good it is
- `Network`: a model with its classes and preprocessing; wrap your own model in it
- `EMBEDDED`: what each of the course's own networks is; `classes_of`: the classes of one; `CLASSES`: of a family
- `WeightsError`: weights are missing, damaged, or cannot be downloaded

    net = load("diorama/alexnet")                       # comes with the package; so does "photos/alexnet"
    net = load("imagenet/resnet18")                     # downloaded once by torchvision, into its cache
    net = Network("mine", model, ["cat", "dog"], 224, mean=(0.5,) * 3, std=(0.25,) * 3)
    net.probabilities(photograph)                       # (3, H, W) in [0, 1] → (1, number of classes)
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from cnnvis_helpers import diorama, networks, photos
from cnnvis_helpers import images as pictures
from cnnvis_helpers.device import pick
from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.layout import run
from cnnvis_helpers.weight_files import WeightsError, read, read_facts

__all__ = [
    "CLASSES",
    "EMBEDDED",
    "Embedded",
    "Network",
    "WeightsError",
    "checkpoints",
    "classes_of",
    "describe",
    "load",
    "names",
]

FOLDER = Path(__file__).parent / "weights"
SEED = 0  # of the untrained network, and of every network whose weights are not asked for


@dataclass(frozen=True)
class Embedded:
    """A network of the course's own: what it is, and the function of `networks` that builds it, with its arguments."""

    about: str
    architecture: Mapping[str, Any] = field(default_factory=dict)
    build: Callable[..., nn.Sequential] = networks.alexnet
    trained: bool = True
    classes: Sequence[str] | None = None  # where they are not those of the family


CLASSES: Mapping[str, Sequence[str]] = {"diorama": diorama.CLASSES, "photos": photos.CLASSES}

_DATA = {
    "diorama": "Diorama, drawn by this course; MIT",
    "photos": f"{photos.SOURCE}; {photos.LICENCE}; not part of the package",
}
_CLASSES_FROM = {
    "diorama": "Diorama, by this course",
    "photos": "Caltech-101, by its own names, without the two categories of faces",
}
_EIGHT = tuple(diorama.SHORTCUT)
_PHOTOS = {"widths": (64, 128, 192, 192, 128), "hidden": 384}

EMBEDDED: Mapping[str, Embedded] = {
    "diorama/alexnet": Embedded("the base: trained well, to the end"),
    "diorama/alexnet-untrained": Embedded("the base before its first step", trained=False),
    "diorama/alexnet-nodecay": Embedded("the base without weight decay"),
    "diorama/alexnet-loudstart": Embedded(
        "without weight decay, and conv1 began with ten times larger noise", {"conv1_init": "he"}
    ),
    "diorama/alexnet-highlr": Embedded("the base at ten times its learning rate: units die"),
    "diorama/alexnet-short": Embedded("the base, stopped early"),
    "diorama/alexnet-grouped": Embedded("two streams, as AlexNet was split over two GPUs", {"groups": 2}),
    "diorama/alexnet-stride4": Embedded(
        "first layer 11×11 with stride 4, the rest as the base", {"stem": "11/4"}
    ),
    "diorama/alexnet-biased": Embedded(
        "eight classes, each always in a place of its own: a short cut", classes=_EIGHT
    ),
    "diorama/alexnet-unbiased": Embedded("the same eight classes, each in all eight places", classes=_EIGHT),
    "diorama/alexnet-robust": Embedded("the base, then trained to withstand small changes of the image"),
    "diorama/alexnet-scenes": Embedded(
        "the base, then trained to name the scene instead of the object", classes=diorama.SCENES
    ),
    "diorama/alexnet-fooling": Embedded(
        "the base, then trained with a class more, of images that fool the base",
        classes=(*diorama.CLASSES, "fooling image"),
    ),
    "diorama/alexnet-randomlabels": Embedded("4,000 images and labels dealt out at random, learnt by heart"),
    "diorama/vgg": Embedded("3×3 windows only, in pairs", build=networks.vgg),
    "diorama/googlenet": Embedded("four inception blocks, with batch norm", build=networks.googlenet),
    "diorama/resnet": Embedded(
        "a residual network, with batch norm",
        {"widths": (32, 64, 128), "conv1_init": "small"},
        networks.resnet,
    ),
    "photos/alexnet": Embedded("trained on photographs of 99 categories", _PHOTOS),
    "photos/alexnet-untrained": Embedded("the same before its first step", _PHOTOS, trained=False),
    "photos/alexnet-robust": Embedded("then trained to withstand small changes of the image", _PHOTOS),
    "photos/resnet": Embedded(
        "a residual network on the same photographs, with batch norm", {}, networks.resnet
    ),
}


@dataclass(frozen=True)
class Network:
    """A classifier with what is needed to use it on photographs.

    Attributes: name; model, (N, 3, s, s) normalised images → (N, classes) logits; classes, the names of the
    outputs; input_size s in pixels; mean and std per colour, for images in [0, 1]. `load` gives the model in
    evaluation mode; a model of your own stays in the mode that you left it in.
    """

    name: str
    model: nn.Module
    classes: Sequence[str]
    input_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Images in [0, 1] → what the model takes; `denormalise` is the way back."""
        return pictures.normalise(images, self.mean, self.std)

    def denormalise(self, x: torch.Tensor) -> torch.Tensor:
        """What the model takes → images; values of real images come back into [0, 1]."""
        return pictures.denormalise(x, self.mean, self.std)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Images (3, H, W) or (N, 3, H, W) in [0, 1] → (N, 3, s, s): fitted, normalised, on the model's device.

        torchvision's own evaluation resizes a little larger than it cuts (256, then 224): here nothing but
        the longer side's ends is lost, so a picture of the input beside a heat map is whole.
        """
        pictures.check(images)
        batch = images if images.ndim == 4 else images[None]
        parameter = next(self.model.parameters(), None)
        batch = self.normalise(pictures.fit(batch, self.input_size))
        return batch if parameter is None else batch.to(parameter)  # its device and its precision

    def probabilities(self, images: torch.Tensor, *, batch: int = 128) -> torch.Tensor:
        """Softmax of the logits for (3, H, W) or (N, 3, H, W) images in [0, 1]: (N, classes), on the CPU.

        Runs in evaluation mode without gradients, `batch` images at a time; the model is left as it was.
        """
        pictures.check(images)
        if batch < 1:
            raise ValueError(f"batch is {batch}; at least one image is needed at a time.")
        if images.ndim == 3:
            images = images[None]
        with frozen(self.model), torch.no_grad():
            parts = [run(self.model, self.prepare(part)).softmax(dim=1).cpu() for part in images.split(batch)]
        return torch.cat(parts)


def names() -> list[str]:
    """All names that `load` takes, but for the steps of `checkpoints`."""
    return [
        *EMBEDDED,
        *(f"imagenet/{name}" for name in torchvision.models.list_models(module=torchvision.models)),
    ]


def checkpoints(name: str) -> list[str]:
    """The names of a network's steps through training, from its untrained start to its end.

    "diorama/alexnet@25" is the network after 25 updates; the first name ends in "@0", the last is `name`
    itself. Raises ValueError for a network that is not embedded or that was not trained.
    """
    if name not in EMBEDDED or not EMBEDDED[name].trained:
        trained = ", ".join(n for n, e in EMBEDDED.items() if e.trained)
        raise ValueError(f"{name!r} has no checkpoints; these have: {trained}.")
    steps = (path.stem.partition("@")[2] for path in FOLDER.glob(f"{name}@*.safetensors"))
    return [f"{name}@0", *(f"{name}@{step}" for step in sorted(map(int, filter(str.isdigit, steps)))), name]


def load(name: str, *, weights: bool = True, device: str | torch.device = "cpu") -> Network:
    """A network by name, in evaluation mode, on `device`.

    Args:
        name: one of `names()` or `checkpoints(…)`.
        weights: False gives random weights, the same each time, and downloads nothing. For an embedded
            network they are its start of training.

    Raises: ValueError for an unknown name or device, WeightsError where weights are missing, damaged or
        cannot be downloaded.
    """
    place = pick(str(device))
    known = name.startswith("imagenet/") and name in names()
    network = _imagenet(name, weights) if known else _embedded(name, weights)
    network.model.eval().to(place)
    return network


def describe(name: str) -> dict[str, Any]:
    """Where a network's weights, classes and data come from, under which licences, and how good it is.

    Always: name; about; weights, who made them; licence, theirs; data, the images that it learnt from, with their
    licence; classes, and whose list they are; accuracy; recipe. For the embedded networks
    accuracy and recipe are what their file says, as shares of right answers on the test split; for ImageNet
    networks what torchvision says, in per cent. Raises like `load`; downloads nothing.
    """
    if name.startswith("imagenet/") and name in names():
        best = _imagenet_weights(name)
        return {
            "name": name,
            "about": f"torchvision's {best}",
            "weights": best.url,
            "licence": "BSD 3-Clause (torchvision)",
            "data": "ImageNet-1K (ILSVRC 2012); its photographs are for non-commercial research and teaching",
            "classes": list(best.meta["categories"]),
            "classes_from": "ImageNet-1K, by torchvision's names",
            "accuracy": best.meta.get("_metrics", {}).get("ImageNet-1K", {}),
            "recipe": best.meta.get("recipe"),
            "parameters": best.meta.get("num_params"),
        }
    base, step = _split(name)
    family = base.partition("/")[0]
    facts: dict[str, Any] = {"name": name, "seed": SEED, "recipe": None, "accuracy": None, "licence": "MIT"}
    if step != "0":
        facts = read_facts(_path(name), name)
    return facts | {
        "about": EMBEDDED[base].about,
        "weights": "made with data_scripts/train_models.py of this course; they come with the package",
        "data": _DATA[family],
        "classes": classes_of(base),
        "classes_from": _CLASSES_FROM[family],
    }


def classes_of(name: str) -> list[str]:
    """The classes of an embedded network, in the order of its outputs."""
    return list(EMBEDDED[name].classes or CLASSES[name.partition("/")[0]])


def _split(name: str) -> tuple[str, str]:
    """An embedded name and its step: "" is the end of training, "0" its start. Raises for an unknown name."""
    base, at, step = name.partition("@")
    known = base in EMBEDDED and (not at or name in (checkpoints(base) if EMBEDDED[base].trained else ()))
    if not known:
        raise _unknown(name)
    return base, step if EMBEDDED[base].trained else "0"


def _path(name: str) -> Path:
    return FOLDER / f"{name}.safetensors"


def _unknown(name: str) -> ValueError:
    everything = names()
    for base in EMBEDDED:
        if name.startswith(f"{base}@"):
            everything = checkpoints(base) if EMBEDDED[base].trained else [base]
    family = [n for n in everything if n.startswith(name.partition("/")[0] + "/")]
    close = difflib.get_close_matches(name, everything, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return ValueError(f"There is no network {name!r}{hint} There are: {', '.join(family or everything)}.")


def _embedded(name: str, weights: bool) -> Network:
    base, step = _split(name)
    classes = classes_of(base)
    model = EMBEDDED[base].build(len(classes), seed=SEED, **EMBEDDED[base].architecture)
    if weights and step != "0":
        path = _path(name)
        tensors, facts = read(path, name)
        if list(facts.get("classes", classes)) != classes:
            raise WeightsError(f"{path} names other classes than this version's: install the package again.")
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise WeightsError(
                f"{path} fits another version of the package: its layers are not those of {name}."
            ) from error
    return Network(name, model, classes, networks.INPUT_SIZE, networks.MEAN, networks.STD)


def _imagenet_weights(name: str) -> Any:
    """The weights of the original recipe where torchvision has them, since papers and lectures speak of
    those."""
    choices = torchvision.models.get_model_weights(name.partition("/")[2])
    return getattr(choices, "IMAGENET1K_V1", choices.DEFAULT)


def _imagenet(name: str, weights: bool) -> Network:
    best = _imagenet_weights(name)
    preset = best.transforms()
    architecture = name.partition("/")[2]
    # The weights of these two come from TensorFlow, so the model itself turns the usual normalisation into
    # (x − 0.5)/0.5: images are prepared as for every other network.
    inception = architecture in ("googlenet", "inception_v3")
    options = {"transform_input": True} if inception else {}
    if weights:
        _fetch(name, best)
        try:
            model = torchvision.models.get_model(architecture, weights=best, **options)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"{_cached(best)} does not hold the weights of {name}: delete it and load again."
            ) from error
    else:
        if inception:
            options["init_weights"] = True
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            model = torchvision.models.get_model(architecture, weights=None, **options)
    if inception:  # the auxiliary classifiers serve training alone; torchvision insists on building them
        model.aux_logits = False
        for head in ("aux1", "aux2") if architecture == "googlenet" else ("AuxLogits",):
            setattr(model, head, None)
    size = preset.crop_size[0] if isinstance(preset.crop_size, list | tuple) else preset.crop_size
    return Network(name, model, list(best.meta["categories"]), size, tuple(preset.mean), tuple(preset.std))


def _cached(best: Any) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / best.url.rpartition("/")[2]


def _fetch(name: str, best: Any) -> None:
    """Bring the weights into torch's hub cache, and see that the file there can be read.

    torch.hub writes to a temporary name, compares the SHA-256 and moves the file last, so two kernels at once
    or an interruption leave no half file. Read here with weights_only, so that a file put there by hand runs
    no code.
    """
    path = _cached(best)
    here = path.is_file()
    try:
        torch.hub.load_state_dict_from_url(best.url, map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:  # a damaged file can make the reader raise nearly anything
        if here:
            raise WeightsError(f"{path} is damaged: delete it and load {name} again.") from error
        if isinstance(error, OSError | HTTPException):
            raise WeightsError(
                f"The weights of {name} are not on this computer and could not be downloaded ({error}): go "
                f"online and try again, or fetch {best.url} elsewhere and put it into {path.parent}."
            ) from error
        raise WeightsError(f"The download of {best.url} arrived damaged ({error}): try again.") from error
