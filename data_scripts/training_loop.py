"""The training loop of the course's own networks: from a recipe and images to weights.

- `Recipe`: how one network is trained
- `train`: train, or go on with an interrupted training
- `evaluate`, `dead_summary`: accuracy and dead units
- `augment`, `as_input`: pixels → network input
- `attack`: the strongest change of images within a bound, by projected gradient
- `build`: the network at the start of its training

    model = train(Recipe("alexnet"), training, validation, Path("runs/diorama/alexnet"))
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms.v2 import CutMix
from tqdm.auto import tqdm
from training_data import VERSIONS, Images

from cnnvis_helpers import images as pictures
from cnnvis_helpers import networks, zoo


@dataclass(frozen=True)
class Recipe:
    """How one network is trained. What it is (widths, streams, start) stands in `zoo.EMBEDDED`."""

    name: str
    family: str = "diorama"
    continues: str = ""  # go on from the end of this recipe's run with the same seed
    epochs: int = 16  # the length of the learning rate's one cycle
    stop: int | None = None  # leave off after this many epochs, in the middle of the cycle
    batch: int = 64
    lr: float = 0.05  # the highest, reached after 15 % of the steps
    warm_up: float = 20.0  # the first step has lr / warm_up; 1: none
    weight_decay: float = 1e-3
    conv1_decay: float = 3e-3  # more on conv1: its filters are looked at, and decay removes their noise
    label_smoothing: float = 0.05
    dropout: float = 0.4
    clip: float = 5.0  # norm that the gradient is cut to
    batch_norm: bool = True
    zoom: tuple[float, float] = (0.72, 1.12)  # side of what is seen, as a share of the image's
    aspect: float = 0.0  # width to height of what is seen changes by up to exp(± this)
    cutmix: float = 0.0  # share of the batches in which a rectangle of each image comes from another image
    learn_all: bool = False  # learn from the validation images too, once the recipe is chosen
    augmented: bool = True  # False shows every image as it is, again and again
    labels: str = ""  # "scenes", "random" or "fooling" instead of the objects: training_data.LABELS
    most: int | None = None  # learn from this many images only
    places: str = ""  # Diorama's shortcut experiment: "tied" to the class, or "free"
    epsilon: float = 0.0  # each pixel is changed by up to this much to raise the loss, before each step
    seed: int = zoo.SEED
    keep: tuple[float, ...] = ()  # checkpoints: shares of the steps, besides the start and the end

    @property
    def full_name(self) -> str:
        """The name that `zoo.load` takes, such as "diorama/alexnet"."""
        return f"{self.family}/{self.name}"


def build(recipe: Recipe) -> nn.Sequential:
    """The network at the start of its training."""
    network = zoo.EMBEDDED[recipe.full_name]
    options: dict[str, Any] = dict(network.architecture)
    if network.build in networks.FOLDABLE:
        options |= {"batch_norm": recipe.batch_norm, "dropout": recipe.dropout}
    return network.build(len(zoo.classes_of(recipe.full_name)), seed=recipe.seed, **options)


def augment(
    images: Tensor,
    generator: torch.Generator,
    *,
    zoom: tuple[float, float] = (0.72, 1.12),
    aspect: float = 0.0,
    extent: Tensor | None = None,
) -> Tensor:
    """Move, zoom, turn, mirror and recolour each image a little: (N, 3, H, W) in [0, 1] → (N, 3, s, s).

    With `extent`, an image is a whole photograph squeezed into a square: what is seen is a piece of it, as long
    as it fits anywhere inside, unsqueezed to the network's input size. Otherwise s is the image's own size, and
    what is seen may reach over its border, where the image is mirrored. The chances come from a generator on
    the CPU, so they are the same on every device.
    """
    n, device = len(images), images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    def normal(std: float, *shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=generator) * std

    side, turn = uniform(*zoom), normal(0.05)  # share of the image that is seen; radians
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    shift = uniform(-0.16, 0.16, 2)  # of half the image's side
    stretch = uniform(-aspect, aspect).div(2).exp() if aspect else torch.ones(n)
    width, height = side * stretch, side / stretch
    cos, sin = turn.cos(), turn.sin()
    affine = torch.stack(
        [
            torch.stack([mirror * width * cos, -height * sin], 1),
            torch.stack([mirror * width * sin, height * cos], 1),
        ],
        1,
    )  # (N, 2, 2)
    size = images.shape[-1]
    if extent is not None:
        size, whole = networks.INPUT_SIZE, extent.cpu()
        affine = affine * whole[:, :, None]
        shift = shift / 0.16 * (1 - whole * torch.stack([width, height], 1)).clamp(min=0)
    grid = F.affine_grid(
        torch.cat([affine, shift[:, :, None]], 2).to(device), [n, 3, size, size], align_corners=False
    )
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    contrast = uniform(0.7, 1.3, 1, 1, 1).to(device)
    brightness, colour = normal(0.06, 1, 1, 1), normal(0.04, 3, 1, 1)
    offset = (brightness + colour).to(device)
    images = (images - 0.45) * contrast + 0.45 + offset
    grey = (uniform(0, 1, 1, 1, 1) < 0.12).to(device)
    return torch.where(grey, images.mean(1, keepdim=True), images).clamp(0, 1)


def as_input(images: Tensor) -> Tensor:
    """Images in [0, 1], or uint8 → normalised network input."""
    images = images if images.is_floating_point() else images.float() / 255
    x = pictures.normalise(images, networks.MEAN, networks.STD)
    return x.contiguous(memory_format=torch.channels_last)


def augmented(images: Images, rows: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """These rows of the training images, augmented as the recipe says: (N, 3, s, s) in [0, 1]."""
    extent = None if images.extent is None else images.extent[rows]
    pixels = images.pixels[rows].float() / 255
    if not recipe.augmented:
        return pixels
    return augment(pixels, generator, zoom=recipe.zoom, aspect=recipe.aspect, extent=extent)


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    steps: int,
    step: float,
    start: Tensor | None = None,
    mixed: bool = False,
) -> Tensor:
    """Projected gradient ascent on the loss (Madry et al., ICLR 2018): images in [0, 1] → changed images.

    Each step moves every value by `step` in the direction of the gradient's sign; no value ends further than
    `epsilon` from its own, nor outside [0, 1]. It begins at the images, or at images + `start`. One step from a
    random start is what Wong et al. (ICLR 2020) train with. `mixed` computes in bfloat16.
    """
    changed = images if start is None else (images + start).clamp(0, 1)
    for _ in range(steps):
        changed = changed.detach().requires_grad_()
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=mixed):
            logits = model(as_input(changed))
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), labels, reduction="sum"), changed)
        moved = changed.detach() + step * gradient.sign()
        changed = torch.minimum(torch.maximum(moved, images - epsilon), images + epsilon).clamp(0, 1)
    return changed.detach()


def train(
    recipe: Recipe, training: Images, validation: Images | None, folder: Path, *, progress: bool = True
) -> nn.Sequential:
    """Train one network, or go on with the training that `folder` holds; returns it, batch norm and all.

    `validation` images are only watched: accuracy on them is noted after each epoch. None where all are learnt from.

    Every epoch draws its chances (order, augmentation, dropout) from seeds of its own, so the state at the
    end of an epoch is the model, the optimiser, the schedule and no generator.
    """
    device = training.pixels.device
    model = build(recipe).to(device, memory_format=torch.channels_last)
    steps = len(training) // recipe.batch  # an epoch; images left over are other ones in each epoch
    conv1 = [next(m for m in model.modules() if isinstance(m, nn.Conv2d)).weight]
    others = [p for p in model.parameters() if p is not conv1[0]]
    optimiser = torch.optim.SGD(
        [{"params": conv1, "weight_decay": recipe.conv1_decay}, {"params": others}],
        lr=recipe.lr,
        momentum=0.9,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(  # moves the momentum too: 0.95 → 0.85 → 0.95
        optimiser,
        recipe.lr,
        recipe.epochs * steps,
        pct_start=0.15,
        div_factor=recipe.warm_up,
        final_div_factor=4_000 / recipe.warm_up,  # the last step has lr / 4000
    )
    history = _resume(recipe, len(training), folder, model, optimiser, schedule)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for epoch in range(len(history), recipe.stop or recipe.epochs):
            begin = time.perf_counter()
            loss = _epoch(recipe, epoch, model, optimiser, schedule, training, folder, progress)
            watched = {} if validation is None else evaluate(model, validation, mixed=True)
            result = {"loss": loss, **watched, "seconds": time.perf_counter() - begin}
            history.append(result)
            _save_state(folder, model, optimiser, schedule, history)
            said = (
                f"validation {watched['accuracy']:.4f}, dead {dead_summary(watched['dead'])}, "
                if watched
                else ""
            )
            end = recipe.stop or recipe.epochs
            print(
                f"{folder.name} epoch {epoch + 1}/{end}: loss {loss:.3f}, {said}{result['seconds']:.0f} s",
                flush=True,
            )
    return model


def _epoch(
    recipe: Recipe,
    epoch: int,
    model: nn.Sequential,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    training: Images,
    folder: Path,
    progress: bool,
) -> float:
    """One pass over the training images; returns the mean loss."""
    device, steps = training.pixels.device, len(training) // recipe.batch
    kept = {round(share * recipe.epochs * steps) for share in recipe.keep}
    generator = torch.Generator().manual_seed(recipe.seed * 1_000 + epoch)
    torch.manual_seed(recipe.seed * 1_000 + epoch)  # dropout knows only the global generator
    order = torch.randperm(len(training), generator=generator).to(device)
    mix = CutMix(num_classes=len(zoo.classes_of(recipe.full_name)))
    model.train()
    losses = []
    for step in tqdm(
        range(steps), desc=f"epoch {epoch + 1}", leave=False, disable=not progress, mininterval=2
    ):
        rows = order[step * recipe.batch : (step + 1) * recipe.batch]
        images, labels = augmented(training, rows, recipe, generator), training.labels[rows]
        if recipe.epsilon:
            start = (torch.rand(images.shape, generator=generator).to(device) * 2 - 1) * recipe.epsilon
            reach = {"steps": 1, "step": 1.25 * recipe.epsilon, "start": start, "mixed": True}
            images = attack(model, images, labels, recipe.epsilon, **reach)
        if recipe.cutmix and torch.rand((), generator=generator) < recipe.cutmix:
            images, labels = mix(images, labels)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = model(as_input(images))
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimiser.step()
        schedule.step()
        losses.append(loss.detach())
        if (done := epoch * steps + step + 1) in kept:
            _write(save_file, _tensors(model), folder / "steps" / f"{done:06d}.safetensors")
    return torch.stack(losses).mean().item()


@torch.no_grad()
def evaluate(model: nn.Sequential, images: Images, *, mixed: bool = False) -> dict[str, Any]:
    """What the network gets right and which of its units never fire, on unaugmented images.

    Returns: accuracy; dead, for each ReLU the share of its channels or units that are above 0 on no image;
    answers, the class given to each image, unless `mixed`, which computes in bfloat16, as in training.
    """
    model.eval()
    answers, alive = [], {}
    for rows in torch.arange(len(images), device=images.pixels.device).split(256):
        x = as_input(images.pixels[rows])
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=mixed):
            for name, layer in model.named_children():
                x = layer(x)
                # a stage of a ResNet and every branch of an inception block end in a ReLU
                if isinstance(layer, nn.ReLU) or name.startswith(("layer", "inception")):
                    on = (x > 0).transpose(0, 1).flatten(1).any(1)
                    alive[name] = on | alive.get(name, on)
        answers.append(x.argmax(1))
    given = torch.cat(answers)
    accuracy = (given == images.labels).float().mean().item()
    dead = {name: 1 - on.float().mean().item() for name, on in alive.items()}
    return {"accuracy": accuracy, "dead": dead} | ({} if mixed else {"answers": given.cpu()})


def dead_summary(shares: dict[str, float]) -> str:
    """The dead shares of `evaluate` on one line: "1:0% 2:12% …"."""
    return " ".join(f"{name.removeprefix('relu') or 0}:{share:.0%}" for name, share in shares.items())


# ---- the run folder


def _write(writer: Any, content: Any, path: Path) -> None:
    """Write under a temporary name first: a killed run leaves the old file or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    writer(content, temporary)
    os.replace(temporary, path)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}


def _save_state(
    folder: Path, model: nn.Module, optimiser: Any, schedule: Any, history: list[dict[str, Any]]
) -> None:
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "history": history,
    }
    _write(torch.save, state, folder / "state.pt")


def _resume(
    recipe: Recipe, n: int, folder: Path, model: nn.Module, optimiser: Any, schedule: Any
) -> list[dict[str, Any]]:
    """Bring the state in `folder` into the objects; returns what was measured after each epoch so far."""
    settings = json.dumps(
        {**asdict(recipe), "images": n, "data_version": VERSIONS[recipe.family]}, sort_keys=True
    )
    noted = folder / "recipe.json"
    absent = json.loads(
        json.dumps(asdict(Recipe(recipe.name)))
    )  # a setting that came later had its default then
    if not noted.exists():
        _write(lambda text, path: path.write_text(text), settings, noted)
    elif {**absent, **json.loads(noted.read_text())} != json.loads(settings):
        raise SystemExit(
            f"{folder} holds a run with other settings: delete the folder, or give another --seed or --set."
        )
    if not (folder / "state.pt").exists():
        if recipe.continues:
            seed = f"+seed={recipe.seed}" if recipe.seed != zoo.SEED else ""
            _begin_with(model, finished(folder.with_name(recipe.continues + seed))["model"])
        return []
    state = torch.load(folder / "state.pt", map_location=next(model.parameters()).device, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    return list(state["history"])


def _begin_with(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Take the weights of another network; where the classes are others, the last layer keeps its own start."""
    own = model.state_dict()
    last = [name for name, tensor in tensors.items() if own[name].shape != tensor.shape]
    model.load_state_dict({**tensors, **{name: own[name] for name in last}})


def finished(folder: Path, epochs: int | None = None) -> dict[str, Any]:
    """The state at the end of the run in `folder`, after as many epochs as asked, or as its own recipe says.

    Raises: SystemExit where the folder holds no run, or one that is not done.
    """
    if not (folder / "state.pt").exists():
        raise SystemExit(f"{folder} holds no run: train {folder.name} first.")
    state: dict[str, Any] = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    settings = json.loads((folder / "recipe.json").read_text())
    end = epochs or settings["stop"] or settings["epochs"]
    if len(state["history"]) < end:
        raise SystemExit(f"{folder} has {len(state['history'])} of {end} epochs: finish the training first.")
    return {**state, "settings": settings}
