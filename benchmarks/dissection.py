"""What a dissection costs: its time beside a bare forward pass over the same images, and its memory by their number.

    python benchmarks/dissection.py                  # some minutes

relu5 of diorama/alexnet over the 2,000 test images, with 20 exchanges of labels; one thread, the two alternated,
medians. Memory is the most that a process of its own has during the dissection, less what it had when the images were
loaded, with `cache=0`, so that no activations are kept.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import threading
import time

import psutil
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cnnvis_helpers import diorama, zoo
from cnnvis_helpers.dissection import Labels, dissect


class Normalised(Dataset[Tensor]):
    """Images of a batch, one at a time, as the network takes them: 8 bits a colour in memory."""

    def __init__(self, batch: diorama.Batch, net: zoo.Network) -> None:
        self.pixels, self.net = torch.from_numpy(batch.pixels), net

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, i: int) -> Tensor:
        return self.net.normalise(self.pixels[i].permute(2, 0, 1).float() / 255)


def loaded(count: int) -> tuple[zoo.Network, diorama.Batch, Labels]:
    """The network, the first test images and their labels."""
    test = diorama.load("test", count)
    return (
        zoo.load("diorama/alexnet"),
        test,
        Labels(test.maps or {}, {c: diorama.names(c) for c in diorama.CATEGORIES}),
    )


def memory_of(count: int) -> float:
    """By how many MB a dissection of `count` images raises this process's memory, looked at every 10 ms."""
    net, test, labels = loaded(count)
    for values in (test.pixels, *(test.maps or {}).values()):
        values.max()  # files that are mapped into memory count from the first look
    process, seen, over = psutil.Process(), [0], threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not over.wait(0.01):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    dissect(net.model, Normalised(test, net), labels, "relu5", cache=0)
    over.set()
    watcher.join()
    return (max(seen) - before) / 2**20


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)  # in a process of its own
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.memory_of:
        print(f"{memory_of(args.memory_of):.0f}")
        return
    net, test, labels = loaded(args.images)
    x = net.prepare(test.images)
    bare, whole = [], []
    for _ in range(args.rounds):
        start = time.process_time()
        with torch.no_grad():
            for part in x.split(64):
                net.model(part)
        between = time.process_time()
        dissect(net.model, x, labels, "relu5")
        bare.append(between - start)
        whole.append(time.process_time() - between)
    ratio = statistics.median(w / b for w, b in zip(whole, bare, strict=True))
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    print(f"forward pass over {args.images} images: {statistics.median(bare):.2f} s of processor time")
    print(f"dissection of relu5: {statistics.median(whole):.2f} s, {ratio:.2f} times as long")
    for count in (args.images // 4, args.images):
        command = [sys.executable, __file__, "--memory-of", str(count)]
        grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"memory for {count} images: {grown} MB more than with the images alone")


if __name__ == "__main__":
    main()
