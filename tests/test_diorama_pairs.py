"""Two objects in one picture: what is where, and what is refused."""

import pytest
import torch

from cnnvis_helpers import diorama


def test_each_half_shows_its_object_as_it_is_drawn_alone() -> None:
    pairs = diorama.two_objects("test", 20)
    middle = diorama.SIZE // 2
    assert pairs.images.shape == (20, 3, 96, 96) and pairs.masks.shape == (20, 2, 96, 96)
    assert (pairs.labels[:, 0] != pairs.labels[:, 1]).all() and len(pairs.labels.unique()) == 16
    assert not pairs.masks[:, 0, :, middle:].any() and not pairs.masks[:, 1, :, :middle].any()
    assert (pairs.masks.sum((2, 3)) > 100).all()  # both objects are there to be seen
    names = [diorama.CLASSES[c] for c in pairs.labels[0]]
    knobs = {"scene": "meadow", "size": 0.34, "clutter": 0, "occluded": 0}
    left = diorama.render("test", 0, diorama.Knobs(names[0], position=(0.25, 0.6), **knobs))
    right = diorama.render("test", 0, diorama.Knobs(names[1], position=(0.75, 0.6), **knobs))
    shown = (pairs.images[0].permute(1, 2, 0) * 255).round().byte().numpy()
    assert (shown[:, :middle] == left.image[:, :middle]).all()
    assert (shown[:, middle:] == right.image[:, middle:]).all()
    assert (pairs.masks[0, 1, :, middle:].numpy() == right.instance[:, middle:]).all()


def test_more_pairs_begin_with_the_same_ones() -> None:
    few, more = diorama.two_objects("test", 3), diorama.two_objects("test", 5)
    assert torch.equal(few.images, more.images[:3]) and torch.equal(few.labels, more.labels[:3])


@pytest.mark.parametrize(("split", "n"), [("test", 0), ("test", 1001), ("tests", 1)])
def test_pairs_that_there_are_not(split: str, n: int) -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        diorama.two_objects(split, n)
