"""The shortcut experiment: the place gives the class away in one version, and nothing does in the other."""

import numpy as np
import pytest
import torch

from cnnvis_helpers.diorama import SCENES, SHORTCUT, congruent, render, shortcut_images
from cnnvis_helpers.diorama.render import Knobs


def test_tied_images_stand_where_their_class_belongs() -> None:
    batch = shortcut_images("test", 24, tied=True)
    assert batch.labels.tolist() == list(range(8)) * 3
    places = [SCENES[s] for s in batch.attributes["scene"]]
    assert places == list(SHORTCUT.values()) * 3
    assert congruent(batch).all()


def test_free_images_hold_every_pair_once() -> None:
    batch = shortcut_images("validation", 64, tied=False, labels=False)
    pairs = set(zip(batch.labels.tolist(), batch.attributes["scene"].tolist(), strict=True))
    assert len(pairs) == 64 and batch.maps is None
    assert congruent(batch).sum() == 8
    assert (
        congruent(batch)[:8].tolist() == [True] + [False] * 7
    )  # the first eight all stand in the cat's place


def test_images_are_the_renderers_and_the_two_versions_share_the_object() -> None:
    tied, free = (shortcut_images("test", 10, tied=t) for t in (True, False))
    example = render("test", 9, Knobs(label="dog", scene="meadow"))
    assert np.array_equal(tied.pixels[9], example.image)
    assert np.array_equal(free.pixels[9], tied.pixels[9])  # image 9 is a dog in the second place: its own
    assert torch.equal(free.labels, tied.labels)
    assert np.array_equal(free.attributes["facing"], tied.attributes["facing"])


@pytest.mark.parametrize(("split", "n"), [("tests", 8), ("test", 0), ("test", 10**6)])
def test_refused(split: str, n: int) -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        shortcut_images(split, n, tied=True)
