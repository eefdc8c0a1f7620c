"""Train the course's own networks on Diorama and export them as the weight files of the package.

    python data_scripts/train_models.py --list
    python data_scripts/train_models.py alexnet --threads 2 --export
    python data_scripts/train_models.py alexnet --evaluate

A run lives in runs/NAME, is saved after every epoch, and goes on where it stopped when it is started again.
On the CPU a run that was interrupted ends with the very same weights as one that was not. Same command, other
numbers: `--set lr=0.1` changes one setting of the recipe and runs in a folder of its own.
"""

import argparse
import json
import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import torch
from training_loop import Images, Recipe, dead_summary, evaluate, train
from weight_export import export, measure

from cnnvis_helpers import diorama, zoo
from cnnvis_helpers.device import pick

RUNS = Path(__file__).parent.parent / "runs"

RECIPES = {
    recipe.name: recipe
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
            print(f"{name}: {zoo.EMBEDDED[f'diorama/{name}'].about}\n    {other}")
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
    if not args.evaluate:
        training = Images.of(diorama.load("train", args.images, labels=False), device)
        validation = Images.of(diorama.load("validation", labels=False), device)
    test = diorama.load("test", labels=False) if args.export or args.evaluate else None
    for name in args.networks:
        recipe = _changed(RECIPES[name], changes)
        parts = [*changes, *([f"images={args.images}"] if args.images else [])]
        folder = RUNS / "+".join([name, *(re.sub(r"[^-=.,\w]", "", c) for c in parts)])
        occluded = torch.from_numpy(test.attributes["occluded"]) if test is not None else torch.empty(0)
        if args.evaluate:
            model = zoo.load(f"diorama/{name}").model
            images = Images.of(test, torch.device("cpu"))
            print(
                name, measure(model, images, occluded), "dead", dead_summary(evaluate(model, images)["dead"])
            )
            continue
        train(recipe, training, validation, folder, progress=sys.stderr.isatty())
        if args.export:
            for path, accuracy in export(
                recipe, folder, args.out, training, Images.of(test, torch.device("cpu")), occluded
            ):
                print(path.name, accuracy)


if __name__ == "__main__":
    main()
