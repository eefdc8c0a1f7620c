"""From a finished training run to the weight files of the package.

- `export`: write a run's network and its checkpoints as weight files
- `folded`: a network as it is shipped, batch norm folded in and rounded to float16
- `measure`: accuracy on the test split
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from training_data import VERSIONS, Images
from training_loop import Recipe, as_input, attack, augmented, build, evaluate, finished

from cnnvis_helpers import networks, weight_files, zoo

EPSILON = 4 / 255  # the change of each colour value that robustness is measured at


def folded(recipe: Recipe, state: dict[str, Tensor], training: Images) -> nn.Sequential:
    """The network with these weights, as it is shipped: batch norm folded in where it can be, rounded to float16.

    The running statistics of batch norm lag behind: after few steps they still hold their start (mean 0,
    variance 1), and folded in, they would show a network that never was. So they are computed anew, over 20
    batches.
    """
    model = build(recipe)
    model.load_state_dict(state)
    if recipe.batch_norm:
        model.to(training.pixels.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            update_bn(_batches(recipe, training, most=20), model)
    model.cpu().eval()
    if zoo.EMBEDDED[recipe.full_name].build in networks.FOLDABLE:
        model = networks.fold_batch_norm(model)
    model.load_state_dict({name: t.half().float() for name, t in model.state_dict().items()})
    return model


def _batches(recipe: Recipe, training: Images, most: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(recipe.seed)
    order = torch.randperm(len(training), generator=generator).to(training.pixels.device)
    for rows in order.split(recipe.batch)[:most]:
        yield as_input(augmented(training, rows, recipe, generator))


def measure(recipe: Recipe, model: nn.Module, test: Images) -> dict[str, Any]:
    """Accuracy on all test images, the mean over the classes, that of the worst class; and what its family adds.

    Diorama adds the accuracy on images whose object is less than a tenth hidden; photos that under ten steps of
    projected gradient, each of EPSILON/4, within EPSILON.
    """
    given = evaluate(model, test)["answers"]
    labels, classes = test.labels.cpu(), zoo.classes_of(recipe.full_name)
    right = given == labels
    per_class = {
        c: right[labels == i].float().mean().item() for i, c in enumerate(classes) if (labels == i).any()
    }
    worst = min(per_class, key=per_class.__getitem__)
    figures = {
        "test": right.float().mean().item(),
        "balanced": balanced_accuracy_score(labels, given),
        "worst_class_accuracy": per_class[worst],
    }
    if test.hidden is not None:
        clear = test.hidden < 0.1
        figures["test_clear"] = right[clear].float().mean().item() if clear.any() else None
    if recipe.family == "photos" or recipe.epsilon:
        figures["projected_gradient"] = robust_accuracy(model, test)
    return {k: v if v is None else round(v, 4) for k, v in figures.items()} | {
        "worst_class": worst,
        "images": len(test),
    }


def robust_accuracy(model: nn.Module, test: Images, epsilon: float = EPSILON) -> float:
    """Accuracy under ten steps of projected gradient, each of `epsilon`/4, within `epsilon`."""
    right = 0
    for rows in torch.arange(len(test)).split(100):
        labels = test.labels[rows]
        changed = attack(model.eval(), test.pixels[rows] / 255, labels, epsilon, steps=10, step=epsilon / 4)
        with torch.no_grad():
            right += int((model(as_input(changed)).argmax(1) == labels).sum())
    return right / len(test)


def export(
    recipe: Recipe, folder: Path, out: Path, training: Images, test: Images
) -> list[tuple[Path, dict[str, Any]]]:
    """Write the finished run in `folder` and its checkpoints as weight files; returns each and its accuracy."""
    end = recipe.stop or recipe.epochs
    state = finished(folder, end)
    per_epoch = state["settings"]["images"] // recipe.batch
    states = {int(p.stem): load_file(p) for p in sorted((folder / "steps").glob("*.safetensors"))}
    written = []
    for step, tensors in [*states.items(), (end * per_epoch, state["model"])]:
        name = recipe.full_name + (f"@{step}" if step in states else "")
        model = folded(recipe, tensors, training)
        accuracy = measure(recipe, model, test)
        if not recipe.augmented:  # it may learn its images by heart: how many?
            accuracy["training"] = round(evaluate(model, training)["accuracy"], 4)
        facts = {
            "name": name,
            "data_version": str(VERSIONS[recipe.family]),
            "seed": str(recipe.seed),
            "accuracy": accuracy,
            "validation": [round(h["accuracy"], 4) for h in state["history"] if "accuracy" in h],
            "recipe": state["settings"],
            "step": step,
            "classes": zoo.classes_of(recipe.full_name),
            "licence": "MIT",
        }
        path = out / f"{name}.safetensors"
        weight_files.save(path, model.state_dict(), facts)
        written.append((path, accuracy))
    for old in set(out.glob(f"{recipe.full_name}@*.safetensors")) - {path for path, _ in written}:
        old.unlink()  # a checkpoint of an earlier run, at a step that this one did not keep
    return written
