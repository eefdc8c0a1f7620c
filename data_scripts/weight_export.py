"""From a finished training run to the weight files of the package.

- `export`: write a run's network and its checkpoints as weight files
- `folded`: a network as it is shipped, batch norm folded in and rounded to float16
- `measure`: accuracy on the test split
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from training_loop import Images, Recipe, as_input, build, evaluate

from cnnvis_helpers import diorama, networks, weight_files


def folded(recipe: Recipe, state: dict[str, Tensor], training: Images) -> nn.Sequential:
    """The network with these weights, as it is shipped: batch norm folded in, rounded to float16.

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
    model = networks.fold_batch_norm(model.cpu().eval())
    model.load_state_dict({name: t.half().float() for name, t in model.state_dict().items()})
    return model


def _batches(recipe: Recipe, training: Images, most: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(recipe.seed)
    order = torch.randperm(len(training), generator=generator).to(training.pixels.device)
    for rows in order.split(recipe.batch)[:most]:
        yield as_input(training.pixels[rows], generator)


def measure(model: nn.Sequential, test: Images, occluded: Tensor) -> dict[str, Any]:
    """Accuracy on all test images, on those whose object is less than a tenth hidden, and of the worst class."""
    right = evaluate(model, test)["right"]
    labels = test.labels.cpu()
    per_class = {
        c: right[labels == i].float().mean().item()
        for i, c in enumerate(diorama.CLASSES)
        if (labels == i).any()
    }
    worst = min(per_class, key=per_class.__getitem__)
    clear = right[occluded < 0.1].float().mean().item() if (occluded < 0.1).any() else None
    figures = {
        "test": right.float().mean().item(),
        "test_clear": clear,
        "worst_class_accuracy": per_class[worst],
    }
    rounded = {k: v if v is None else round(v, 4) for k, v in figures.items()}
    return {**rounded, "worst_class": worst, "images": len(test)}


def export(
    recipe: Recipe, folder: Path, out: Path, training: Images, test: Images, occluded: Tensor
) -> list[tuple[Path, dict[str, Any]]]:
    """Write the finished run in `folder` and its checkpoints as weight files; returns each and its accuracy."""
    if not (folder / "state.pt").exists():
        raise SystemExit(f"{folder} holds no run: train {recipe.name} first.")
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    history, end = state["history"], recipe.stop or recipe.epochs
    if len(history) < end:
        raise SystemExit(f"{folder} has {len(history)} of {end} epochs: finish the training first.")
    settings = json.loads((folder / "recipe.json").read_text())
    per_epoch = settings["images"] // recipe.batch
    states = {int(p.stem): load_file(p) for p in sorted((folder / "steps").glob("*.safetensors"))}
    written = []
    for step, tensors in [*states.items(), (end * per_epoch, state["model"])]:
        name = f"diorama/{recipe.name}" + (f"@{step}" if step in states else "")
        model = folded(recipe, tensors, training)
        accuracy = measure(model, test, occluded)
        facts = {
            "name": name,
            "data_version": str(diorama.VERSION),
            "seed": str(recipe.seed),
            "accuracy": accuracy,
            "validation": [round(h["accuracy"], 4) for h in history],
            "recipe": settings,
            "step": step,
            "classes": list(diorama.CLASSES),
            "licence": "MIT",
        }
        path = out / f"{name.partition('/')[2]}.safetensors"
        weight_files.save(path, model.state_dict(), facts)
        written.append((path, accuracy))
    for old in set(out.glob(f"{recipe.name}@*.safetensors")) - {path for path, _ in written}:
        old.unlink()  # a checkpoint of an earlier run, at a step that this one did not keep
    return written
