"""Train decoders from codes to images and export them as weight files of the package.

    python data_scripts/train_decoder.py --list
    python data_scripts/train_decoder.py diorama/decoder-perceptual --export
    python data_scripts/train_decoder.py photos/decoder-perceptual --photos ~/data --export

A run lives in runs/decoder/FAMILY/NAME, is saved after every epoch, and goes on where it stopped when it is started
again.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from training_data import VERSIONS, Images, load
from training_loop import augment

from cnnvis_helpers import generator, weight_files, zoo
from cnnvis_helpers.generator import Decoder
from cnnvis_helpers.hooks import activations

RUNS = Path(__file__).parent.parent / "runs" / "decoder"
CODES = 4_000  # images whose codes give mean and standard deviation


@dataclass(frozen=True)
class Recipe:
    """How one decoder is trained."""

    name: str
    network: str  # whose codes it takes, and whose features count in the perceptual loss
    loss: str = "perceptual"  # or "squared"
    layer: str = "relu6"
    width: int = 128
    epochs: int = 6
    images: int | None = None  # learn from this many images only
    batch: int = 48
    lr: float = 2e-3
    seed: int = 0

    @property
    def family(self) -> str:
        """The images that it learns from: "diorama" or "photos"."""
        return self.name.partition("/")[0]


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("diorama/decoder-squared", "diorama/alexnet", "squared", epochs=3),
        Recipe("diorama/decoder-perceptual", "diorama/alexnet-robust"),
        Recipe("photos/decoder-perceptual", "photos/alexnet-robust", epochs=14),
    )
}


def codes_of(recipe: Recipe, network: zoo.Network, images: Tensor) -> Tensor:
    """The codes (N, units) of images (N, 3, s, s) in [0, 1]."""
    return activations(network.model, network.normalise(images), recipe.layer)[recipe.layer].float()


def pictures(images: Images, rows: Tensor, chance: torch.Generator) -> Tensor:
    """These rows as images in [0, 1]: half of them mirrored; of whole photographs, another piece each time."""
    pixels = images.pixels[rows].float() / 255
    if images.extent is not None:
        return augment(pixels, chance, extent=images.extent[rows])
    mirrored = torch.rand(len(rows), 1, 1, 1, generator=chance) < 0.5
    return torch.where(mirrored, pixels.flip(3), pixels)


def build(recipe: Recipe, network: zoo.Network, training: Images) -> Decoder:
    """The decoder at the start of its training, with the range of the training codes."""
    chance = torch.Generator().manual_seed(recipe.seed)
    rows = torch.randperm(len(training), generator=chance)[:CODES]
    codes = [codes_of(recipe, network, pictures(training, part, chance)) for part in rows.split(200)]
    decoder = Decoder(codes[0].shape[1], size=network.input_size, width=recipe.width, seed=recipe.seed)
    decoder.set_codes(torch.cat(codes))
    return decoder.to(memory_format=torch.channels_last)


def train(recipe: Recipe, training: Images, folder: Path) -> tuple[Decoder, list[dict[str, float]]]:
    """Train a decoder, or go on with the training that `folder` holds; returns it and what each epoch cost.

    Every epoch draws its chances from a seed of its own, and the rate follows from the number of the step, so model
    and optimiser are all that must be kept.
    """
    network = zoo.load(recipe.network)
    network.model.to(memory_format=torch.channels_last)
    decoder = build(recipe, network, training)
    optimiser = torch.optim.Adam(decoder.parameters(), lr=recipe.lr, betas=(0.5, 0.99))
    settings = {**asdict(recipe), "images": len(training), "data_version": VERSIONS[recipe.family]}
    state: dict[str, Any] = {"history": []}
    if (folder / "state.pt").exists():
        state = torch.load(folder / "state.pt", weights_only=True)
        if state["settings"] != settings:
            raise SystemExit(f"{folder} holds a run with other settings: delete the folder.")
        decoder.load_state_dict(state["decoder"])
        optimiser.load_state_dict(state["optimiser"])
    history, per_epoch = list(state["history"]), len(training) // recipe.batch
    total = per_epoch * recipe.epochs
    for epoch in range(len(history), recipe.epochs):
        begin, losses = time.perf_counter(), []
        chance = torch.Generator().manual_seed(recipe.seed * 1_000 + epoch)
        order = torch.randperm(len(training), generator=chance)
        decoder.train()
        for number, rows in enumerate(order.split(recipe.batch)[:per_epoch], start=epoch * per_epoch):
            warm = min(1.0, (number + 1) / 30)
            optimiser.param_groups[0]["lr"] = recipe.lr * warm * (1 - number / total) ** 0.5
            x = pictures(training, rows, chance).contiguous(memory_format=torch.channels_last)
            loss = loss_of(recipe, network, decoder, x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
            if number % 50 == 0:
                print(
                    f"  step {number}/{total}: loss {loss.item():.4f}, {time.perf_counter() - begin:.0f} s",
                    flush=True,
                )
        history.append({"loss": torch.stack(losses).mean().item(), "seconds": time.perf_counter() - begin})
        print(f"{recipe.name} epoch {epoch + 1}/{recipe.epochs}: {history[-1]}", flush=True)
        state = {"decoder": decoder.state_dict(), "optimiser": optimiser.state_dict()}
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state | {"history": history, "settings": settings}, folder / "state.pt.tmp")
        os.replace(
            folder / "state.pt.tmp", folder / "state.pt"
        )  # a killed run leaves the old file or the new
    return decoder.eval(), history


def loss_of(recipe: Recipe, network: zoo.Network, decoder: Decoder, x: Tensor) -> Tensor:
    """The mean loss of a batch of images in [0, 1], decoded from their own codes; networks compute in bfloat16."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = codes_of(recipe, network, x)
        y = decoder(codes).float()
        if recipe.loss == "squared":
            return generator.squared_loss(y, x).mean()
        return generator.perceptual_loss(network.model, y, x, normalise=network.normalise).mean()


@torch.no_grad()
def measure(recipe: Recipe, decoder: Decoder, images: Images) -> dict[str, Any]:
    """What the decoder gets wrong on images it has not seen, beside two nulls.

    For each of the measures "squared" (mean squared difference of colours), "absolute" and "features" (the perceptual
    loss without its pixels): own, images from their own codes; mean_image, the mean of these images instead; other,
    images from the code of another image. same_class is the share to which the network whose codes they are gives the
    class that it gave to the original.
    """
    network = zoo.load(recipe.network)
    x = images.pixels.float() / 255
    codes = torch.cat([codes_of(recipe, network, part) for part in x.split(200)])
    y = torch.cat([decoder(part) for part in codes.split(200)])
    shown = {"own": y, "mean_image": x.mean(0, keepdim=True).expand_as(x), "other": y.roll(1, 0)}
    figures: dict[str, Any] = {"images": len(x)}
    for name, z in shown.items():
        pairs = list(zip(z.split(100), x.split(100), strict=True))
        features = [
            generator.perceptual_loss(network.model, a, b, normalise=network.normalise, pixels=0)
            for a, b in pairs
        ]
        figures[name] = {
            "squared": round(generator.squared_loss(z, x).mean().item(), 4),
            "absolute": round((z - x).abs().mean().item(), 4),
            "features": round(torch.cat(features).mean().item(), 4),
        }
    agreed = network.probabilities(y).argmax(1) == network.probabilities(x).argmax(1)
    return figures | {"same_class": round(agreed.float().mean().item(), 4)}


def export(
    recipe: Recipe, decoder: Decoder, history: list[dict[str, float]], images: int, held: Images, out: Path
) -> Path:
    """Write the trained decoder as a weight file, with what it gets wrong on the held-out images; returns the path."""
    half = Decoder(**decoder.architecture)
    half.load_state_dict({name: t.half().to(t.dtype) for name, t in decoder.state_dict().items()})
    path = out / f"{recipe.name}.safetensors"
    facts = {
        "name": recipe.name,
        "network": recipe.network,
        "layer": recipe.layer,
        "loss": recipe.loss,
        "architecture": decoder.architecture,
        "recipe": {**asdict(recipe), "images": images},
        "seed": str(recipe.seed),
        "data_version": str(VERSIONS[recipe.family]),
        "training_loss": [round(h["loss"], 4) for h in history],
        "heldout": measure(recipe, half.eval(), held),
        "licence": "MIT",
    }
    weight_files.save(path, half.state_dict(), facts)
    return path


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, and train or export."""
    parser = argparse.ArgumentParser(description="Train decoders from codes to images.")
    parser.add_argument("decoders", nargs="*", help=f"of: {', '.join(RECIPES)}")
    parser.add_argument("--list", action="store_true", help="show the recipes")
    parser.add_argument("--export", action="store_true", help="write the weight file afterwards")
    parser.add_argument("--out", type=Path, default=zoo.FOLDER, help="where weight files lie")
    parser.add_argument("--photos", type=Path, default=Path("data"), help="the folder that holds caltech101/")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where runs are kept")
    parser.add_argument("--epochs", type=int, help="other than the recipe's, in a run of its own")
    parser.add_argument("--images", type=int, help="learn from so many images only, in a run of its own")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(arguments)
    if args.list or not args.decoders:
        print("\n".join(str(recipe) for recipe in RECIPES.values()))
        return
    if unknown := [name for name in args.decoders if name not in RECIPES]:
        parser.error(f"there is no recipe {', '.join(unknown)}; there are: {', '.join(RECIPES)}")
    torch.set_num_threads(args.threads)
    changes = {key: v for key in ("epochs", "images") if (v := getattr(args, key)) is not None}
    for name in args.decoders:
        recipe = Recipe(**{**asdict(RECIPES[name]), **changes})
        training = load(recipe.family, "train", recipe.images, photographs=args.photos)
        folder = args.runs / "+".join([name, *(f"{key}={value}" for key, value in changes.items())])
        decoder, history = train(recipe, training, folder)
        if args.export:
            held = load(recipe.family, "test", 1_000, photographs=args.photos)
            path = export(recipe, decoder, history, len(training), held, args.out)
            print(path, json.dumps(weight_files.read_facts(path, name)["heldout"]))


if __name__ == "__main__":
    main()
