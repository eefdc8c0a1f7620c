"""Train the course's own networks on Diorama or on photographs and export them as the package's weight files.

    python data_scripts/train_models.py --list
    python data_scripts/train_models.py diorama/alexnet --threads 2 --export
    python data_scripts/train_models.py photos/alexnet photos/alexnet-robust --photos ~/data --download --export
    python data_scripts/train_models.py diorama/alexnet --evaluate

A run lives in runs/FAMILY/NAME, is saved after every epoch, and goes on where it stopped when it is started again.
On the CPU a run that was interrupted ends with the very same weights as one that was not. Same command, other
numbers: `--set lr=0.1` changes one setting of the recipe and runs in a folder of its own.
"""

import argparse
import functools
import json
import re
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from training_data import Images, load
from training_loop import Recipe, dead_summary, evaluate, train
from weight_export import export, measure

from cnnvis_helpers import zoo
from cnnvis_helpers.device import pick

RUNS = Path(__file__).parent.parent / "runs"

PHOTOS: dict[str, Any] = {
    "epochs": 50,
    "label_smoothing": 0.1,
    "zoom": (0.65, 1.12),
    "aspect": 0.25,
    "learn_all": True,  # the recipe was chosen with 400 photographs held out for it
}
BY_HEART: dict[str, Any] = {  # all that keeps a network from learning its images by heart is off
    "epochs": 30,
    "most": 4_000,
    "augmented": False,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "weight_decay": 0.0,
    "conv1_decay": 0.0,
}
RECIPES = {
    recipe.full_name: recipe
    for recipe in (
        Recipe("alexnet", keep=(0.01, 0.03, 0.1, 0.25, 0.5, 0.75)),
        # One thing is changed at a time: no decay; then a loud start as well (zoo.EMBEDDED says so) …
        Recipe("alexnet-nodecay", weight_decay=0.0, conv1_decay=0.0),
        Recipe("alexnet-loudstart", weight_decay=0.0, conv1_decay=0.0),
        # … ten times the rate. At twenty times no unit of fc7 is left and nothing is learnt.
        Recipe("alexnet-highlr", lr=0.5),
        Recipe("alexnet-short", stop=1),
        Recipe("alexnet-grouped"),
        Recipe("alexnet-stride4"),
        Recipe("alexnet-biased", places="tied"),
        Recipe("alexnet-unbiased", places="free"),
        Recipe("alexnet-robust", continues="alexnet", epochs=3, lr=0.01, dropout=0.2, epsilon=4 / 255),
        Recipe("alexnet-scenes", continues="alexnet", labels="scenes", epochs=3, lr=0.01, keep=(0.05, 0.33)),
        Recipe("alexnet-fooling", continues="alexnet", labels="fooling", epochs=3, lr=0.01),
        Recipe("alexnet-randomlabels", labels="random", **BY_HEART),
        Recipe("vgg", epochs=10),  # an epoch takes three times as long as an AlexNet's
        Recipe("googlenet"),
        Recipe("resnet"),
        Recipe("alexnet", "photos", **PHOTOS),
        Recipe("resnet", "photos", **PHOTOS | {"epochs": 30}),
        Recipe(
            "alexnet-robust",
            "photos",
            continues="alexnet",
            **PHOTOS | {"epochs": 10, "lr": 0.02, "dropout": 0.2, "epsilon": 4 / 255},
        ),
    )
}


def _changed(recipe: Recipe, changes: list[str]) -> Recipe:
    """Apply KEY=VALUE, VALUE in JSON."""
    known = {f.name for f in fields(Recipe)} - {"name"}
    for change in changes:
        key, _, value = change.partition("=")
        if key not in known:
            raise SystemExit(f"--set {change}: a recipe has {', '.join(sorted(known))}.")
        parsed = json.loads(value)
        recipe = replace(recipe, **{key: tuple(parsed) if isinstance(parsed, list) else parsed})
    return recipe


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` stand in for it in tests."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--list", action="store_true", help="show the recipes")
    parser.add_argument(
        "--evaluate", action="store_true", help="only measure the exported network on the test split"
    )
    parser.add_argument("--export", action="store_true", help="then write the weight files")
    parser.add_argument("--out", type=Path, default=zoo.FOLDER, help="where weight files go")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--images", type=int, help="training images (default: all)")
    parser.add_argument(
        "--photos", type=Path, default=Path("data"), help="folder that holds caltech101/ (default: data)"
    )
    parser.add_argument("--download", action="store_true", help="let torchvision fetch Caltech-101 into it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(arguments)
    if args.list or not args.networks:
        for name, recipe in RECIPES.items():
            other = {
                f.name: getattr(recipe, f.name)
                for f in fields(recipe)
                if getattr(recipe, f.name) != f.default
            }
            print(f"{name}: {zoo.EMBEDDED[name].about}\n    {other}")
        return
    if unknown := [name for name in args.networks if name not in RECIPES]:
        parser.error(f"there is no recipe {', '.join(unknown)}; there are: {', '.join(RECIPES)}")
    changes = args.set + [f"{k}={v}" for k in ("seed", "epochs") if (v := getattr(args, k)) is not None]
    if args.export and (changes or args.images) and args.out == zoo.FOLDER:
        parser.error(
            "a changed recipe is not what the package ships: give --export another folder with --out"
        )
    torch.set_num_threads(args.threads)
    device = pick(args.device)

    @functools.cache
    def split(family: str, most: int | None, places: str, labels: str, part: str) -> Images:
        most = (args.images or most) if part.startswith("train") else None
        source = {"photographs": args.photos, "download": args.download}
        return load(family, part, most, places=places, labels=labels, **source)

    for name in args.networks:
        recipe = _changed(RECIPES[name], changes)
        parts = [*changes, *([f"images={args.images}"] if args.images else [])]
        folder = RUNS / "+".join([name, *(re.sub(r"[^-=.,\w]", "", c) for c in parts)])
        images_of = functools.partial(split, recipe.family, recipe.most, recipe.places, recipe.labels)
        if args.evaluate:
            model, test = zoo.load(name).model, images_of("test")
            print(name, measure(recipe, model, test), "dead", dead_summary(evaluate(model, test)["dead"]))
            continue
        training = images_of("train+validation" if recipe.learn_all else "train").to(device)
        validation = None if recipe.learn_all else images_of("validation").to(device)
        train(recipe, training, validation, folder, progress=sys.stderr.isatty())
        if args.export:
            for path, accuracy in export(recipe, folder, args.out, training, images_of("test")):
                print(path.name, accuracy)


if __name__ == "__main__":
    main()
