"""Images that fool the base network: what "diorama/alexnet-fooling" learns as a class of its own.

    python data_scripts/fooling_images.py               # 40 runs of evolution, about 8 minutes on one core

Each run evolves CPPN patterns, one elite for every class of "diorama/alexnet" (lecture 06); kept are the elites that
the network gives at least half of its belief. Written is runs/fooling_images.safetensors; a run that was interrupted
goes on where it stopped. The seeds are not those of the lecture.
"""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from cnnvis_helpers import evolution, zoo

FILE = Path(__file__).parent.parent / "runs" / "fooling_images.safetensors"
FIRST_SEED, RUNS, GENERATIONS, CHILDREN = 1_000, 40, 24, 128


def load(file: Path = FILE) -> Tensor:
    """The images, (N, 3, 96, 96) uint8. Raises: SystemExit where they have not been made."""
    if not file.exists():
        raise SystemExit(f"{file} is missing: run python data_scripts/fooling_images.py first.")
    return load_file(file)["images"]


def evolved(seed: int, generations: int = GENERATIONS, children: int = CHILDREN) -> Tensor:
    """The elites of one run that fool the network: (N, 3, 96, 96) uint8."""
    net = zoo.load("diorama/alexnet")
    code = evolution.CPPN(net.input_size)
    score = evolution.confidence(net.model, code, normalise=net.normalise)
    method = evolution.MapElites(children)
    last = evolution.evolve(score, code.genes, method, generations=generations, seed=seed)
    return (code.decode(last.genomes[last.fitness >= 0.5]) * 255).round().to(torch.uint8)


def main(
    file: Path = FILE, runs: int = RUNS, generations: int = GENERATIONS, children: int = CHILDREN
) -> None:
    """Make the images of all runs and write them into one file."""
    parts = file.with_suffix("")
    parts.mkdir(parents=True, exist_ok=True)
    for seed in tqdm(range(FIRST_SEED, FIRST_SEED + runs)):
        part = parts / f"{seed}.safetensors"
        if not part.exists():
            _write(evolved(seed, generations, children), part)
    paths = [parts / f"{seed}.safetensors" for seed in range(FIRST_SEED, FIRST_SEED + runs)]
    _write(torch.cat([load_file(path)["images"] for path in paths]), file)
    print(f"{file}: {len(load(file))} images")


def _write(images: Tensor, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    save_file({"images": images.contiguous()}, temporary)
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
