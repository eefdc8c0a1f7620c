"""Scores of maps against numbers worked out by hand, obvious loops, and orders that are provably best."""

import itertools
import math
from copy import deepcopy

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from cnnvis_helpers import faithfulness as f


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int, height: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(n, 3, height, width, generator=generator(seed))


def seeded(build: type[nn.Module] | object, *args: object, seed: int = 3, **kwargs: object) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build(*args, **kwargs)  # type: ignore[operator]


def network() -> nn.Sequential:
    """A small ConvNet with everything that could leave a trace: in-place ReLUs, dropout, batch norm."""
    return seeded(
        lambda: nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(3, 8, 5, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(72, 5),
        )
    )


MAPS = torch.tensor(
    [
        [[0.0, 1.0, 2.0], [3.0, 4.0, -6.0]],
        [[5.0, 0.0, 0.0], [0.0, 0.0, 5.0]],  # a tie: the first in reading order
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]],
    ]
)
MASKS = torch.tensor(
    [[[0, 1, 0], [0, 1, 1]], [[0, 0, 0], [0, 1, 1]], [[1, 0, 0], [0, 0, 0]]], dtype=torch.bool
)

# --- against the object ----------------


def test_pointing_game_by_hand() -> None:
    assert f.pointing_game(MAPS, MASKS).tolist() == [True, False, False]
    # Of image 1 the peak (0, 0) is √2 from the object at (1, 1); a constant map misses at any tolerance.
    assert f.pointing_game(MAPS, MASKS, 1.4).tolist() == [True, False, False]
    assert f.pointing_game(MAPS, MASKS, 1.5).tolist() == [True, True, False]
    assert f.pointing_game(MAPS[:1], ~MASKS[:1], 0).tolist() == [False]


def test_pointing_game_against_an_obvious_loop() -> None:
    maps = torch.rand(30, 7, 9, generator=generator())
    masks = torch.rand(30, 7, 9, generator=generator(1)) > 0.93
    masks[:, 3, 3] = True
    expected = []
    for one, mask in zip(maps, masks, strict=True):
        row, column = np.unravel_index(int(one.argmax()), (7, 9))
        expected.append(any(math.hypot(r - row, c - column) <= 2 for r, c in mask.nonzero().tolist()))
    assert f.pointing_game(maps, masks, 2).tolist() == expected
    assert 0 < sum(expected) < 30


def test_share_inside_and_area_by_hand() -> None:
    share = f.share_inside(MAPS, MASKS)
    assert share.tolist() == pytest.approx([5 / 10, 5 / 10, 1 / 6])  # -6 counts as nothing
    assert f.area(MASKS).tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 6])
    assert f.share_inside(-MAPS[1:2], MASKS[1:2]).isnan().tolist() == [True]


def test_top_pixels_and_iou_by_hand() -> None:
    top = f.top_pixels(MAPS, MASKS)
    assert top.int().tolist() == [
        [[0, 0, 1], [1, 1, 0]],  # 4, 3, 2
        [[1, 0, 0], [0, 0, 1]],  # both fives
        [[1, 0, 0], [0, 0, 0]],  # the first of equals
    ]
    assert f.iou(MAPS, MASKS).tolist() == pytest.approx([1 / 5, 1 / 3, 1.0])
    assert (f.iou(MASKS.float(), MASKS) == 1).all()


def test_top_pixels_of_tied_maps_are_in_reading_order() -> None:
    # Sorts that are not stable show it on maps of more than 16 equal values.
    masks = torch.zeros(1, 40, 40, dtype=torch.bool)
    masks[0, -1, -7:] = True
    assert f.top_pixels(torch.zeros(1, 40, 40), masks).flatten().nonzero().flatten().tolist() == list(
        range(7)
    )


def test_dataset_iou_is_one_fraction_over_all_images() -> None:
    top = f.top_pixels(MAPS, MASKS)
    value = f.dataset_iou(top, MASKS)
    assert value == pytest.approx((1 + 1 + 1) / (5 + 3 + 1))
    assert abs(value - float(f.iou(MAPS, MASKS).mean())) > 0.1  # not the mean of 1/5, 1/3 and 1
    some = MASKS.clone()
    some[0] = False
    assert f.dataset_iou(top, some) == pytest.approx(2 / (3 + 3 + 1))


@pytest.mark.parametrize(
    ("maps", "masks", "said"),
    [
        (MAPS[0], MASKS[0], r"finite floats \(N, H, W\).*\(2, 3\)"),
        (MAPS[:0], MASKS[:0], "at least one"),
        (MAPS.long(), MASKS, "int64"),
        (MAPS * float("nan"), MASKS, "NaN or infinite"),
        (MAPS, MASKS.float(), "Masks are bool"),
        (MAPS, MASKS[:2], r"\(2, 2, 3\)"),
        (MAPS, MASKS & (torch.arange(3) != 2)[:, None, None], "mask of image 2 is empty"),
    ],
)
def test_maps_and_masks_that_do_not_fit(maps: Tensor, masks: Tensor, said: str) -> None:
    for score in (f.pointing_game, f.share_inside, f.iou, f.top_pixels):
        with pytest.raises(ValueError, match=said):
            score(maps, masks)


def test_other_bad_arguments_of_the_scores() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        f.pointing_game(MAPS, MASKS, -1)
    with pytest.raises(ValueError, match="0 or more"):
        f.pointing_game(MAPS, MASKS, float("nan"))
    for pred, masks in ((MAPS, MASKS), (MASKS, MASKS[:2]), (MASKS, MASKS & False), (MASKS, MASKS.int())):
        with pytest.raises(ValueError, match="bool tensors of one shape"):
            f.dataset_iou(pred, masks)
    with pytest.raises(ValueError, match="is empty"):
        f.area(MASKS & False)


# --- against the model ----------------


def linear(weight: Tensor) -> nn.Sequential:
    """Two classes; the logit of class 1 is the sum of weight × image, that of class 0 is zero."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(weight.numel(), 2, bias=False))
    model[1].weight.data = torch.stack([torch.zeros(weight.numel()), weight.flatten()])
    return model


def test_deletion_and_insertion_by_hand() -> None:
    """One row of four pixels, worth 1, 3, 2 and 0 in red; the map takes them in the order 3, 2, 1, 0."""
    weight = torch.zeros(3, 1, 4)
    weight[0, 0] = torch.tensor([1.0, 3.0, 2.0, 0.0])
    model, x, maps = linear(weight), torch.ones(1, 3, 1, 4), weight[:1, 0][None]
    area, probability = f.deletion(model, x, maps, 1, steps=4)
    expected = torch.sigmoid(torch.tensor([6.0, 3.0, 1.0, 0.0, 0.0]))
    assert torch.allclose(probability[0], expected)
    p = expected.tolist()
    assert area.item() == pytest.approx((p[0] / 2 + p[1] + p[2] + p[3] + p[4] / 2) / 4)
    assert torch.equal(f.deletion(model, x, maps, steps=4).probability, probability)  # class 1 is the model's
    two = f.deletion(model, x, maps, 1, steps=2).probability[0]
    assert torch.allclose(two, expected[[0, 2, 4]])
    three = f.deletion(model, x, maps, 1, steps=3)  # 0, 1, 2 and 4 of 4 pixels
    assert torch.allclose(three.probability[0], expected[[0, 1, 2, 4]])
    assert three.area.item() == pytest.approx((p[0] + p[1]) / 8 + (p[1] + p[2]) / 8 + (p[2] + p[4]) / 4)

    came = f.insertion(model, x, maps, 1, steps=4, fill=0.0)
    assert torch.allclose(came.probability[0], torch.sigmoid(torch.tensor([0.0, 3.0, 5.0, 6.0, 6.0])))
    # A fill of one leaves the image as it is; its class is still that of the whole image.
    flat = f.insertion(model, x, maps, None, steps=4, fill=1.0)
    assert flat.probability.unique().numel() == 1 and flat.area.item() == pytest.approx(p[0])


def test_insertion_starts_from_the_blurred_image() -> None:
    model, x = network().eval(), batch(2, 16, 20)
    given = f.insertion(model, x, torch.rand(2, 16, 20), 2, steps=5)
    blurred = torchvision.transforms.v2.functional.gaussian_blur(x, [7, 7], [1.0, 1.0])  # sigma 16 / 16
    with torch.no_grad():
        ends = [model(picture.clone()).softmax(1)[:, 2] for picture in (blurred, x)]
    assert torch.allclose(given.probability[:, 0], ends[0], atol=1e-6)
    assert torch.allclose(given.probability[:, -1], ends[1], atol=1e-6)
    assert (ends[0] - ends[1]).abs().min() > 1e-3


@pytest.mark.parametrize("fill", [0.0, "picture"])
def test_gradient_times_input_is_the_best_order_for_a_linear_model(fill: float | str) -> None:
    """Among all 720 orders of six pixels: each step then takes the largest sum that so many pixels can have."""
    weight, x = batch(1, 2, 3, seed=4)[0], batch(1, 2, 3, seed=5)
    shown = batch(1, 2, 3, seed=6) if fill == "picture" else torch.zeros(1, 3, 2, 3)
    orders = torch.tensor(list(itertools.permutations(range(6)))).view(-1, 2, 3).float()
    best = (weight * (x - shown)[0]).sum(0)[None]  # what the logit loses with each pixel
    model, many = linear(weight), x.expand(len(orders), -1, -1, -1)
    deleted = f.deletion(model, many, orders, 1, steps=6, fill=shown, batch=1000)
    least = f.deletion(model, x, best, 1, steps=6, fill=shown)
    assert (deleted.probability >= least.probability - 1e-6).all()
    assert deleted.area.min().item() == pytest.approx(least.area.item(), abs=1e-6)
    inserted = f.insertion(model, many, orders, 1, steps=6, fill=shown, batch=1000)
    most = f.insertion(model, x, best, 1, steps=6, fill=shown)
    assert (inserted.probability <= most.probability + 1e-6).all()
    assert inserted.area.max().item() == pytest.approx(most.area.item(), abs=1e-6)
    assert deleted.area.std() > 0.01


@pytest.mark.parametrize("curve", [f.deletion, f.insertion])
def test_curves_against_an_obvious_loop(curve: object) -> None:
    model, x, fill = network().eval(), batch(3, 9, 11), batch(3, 9, 11, seed=7)
    maps = torch.randint(0, 12, (3, 9, 11), generator=generator()).float()  # many ties
    area, probability = curve(model, x, maps, [0, 3, 4], steps=7, fill=fill, batch=5)  # type: ignore[operator]
    for i, number in enumerate([0, 3, 4]):
        pixels = [(-float(maps[i, r, c]), r, c) for r in range(9) for c in range(11)]
        pixels.sort()  # highest first; equal ones by row and column
        start, end = (x[i], fill[i]) if curve is f.deletion else (fill[i], x[i])
        values, shares = [], []
        for step in range(8):
            picture = start.clone()
            count = step * 99 // 7
            for _, r, c in pixels[:count]:
                picture[:, r, c] = end[:, r, c]
            with torch.no_grad():
                values.append(float(model(picture[None]).softmax(1)[0, number]))
            shares.append(count / 99)
        assert probability[i].tolist() == pytest.approx(values, abs=1e-6)
        assert area[i].item() == pytest.approx(np.trapezoid(values, shares), abs=1e-6)
    assert probability.std(1).min() > 1e-3


@pytest.mark.parametrize("curve", [f.deletion, f.insertion])
def test_curves_of_bad_input(curve: object) -> None:
    model, x, maps = linear(torch.ones(3, 2, 3)), batch(3, 2, 3), MAPS
    for changed, said in (
        ({"x": x[0]}, r"x\[None\]"),
        ({"x": x * float("nan")}, "x holds NaN"),
        ({"x": x[:2]}, r"Maps for images \(2, 3, 2, 3\)"),
        ({"maps": maps.mT}, r"not \(3, 3, 2\)"),
        ({"maps": maps / 0}, "NaN or infinite"),
        ({"target_class": 2}, "no class 2"),
        ({"target_class": [0, 1]}, "one for each of 3"),
        ({"steps": 0}, "1 to the number of pixels, 6"),
        ({"steps": 7}, "1 to the number of pixels, 6"),
        ({"batch": 0}, "1 or more"),
        ({"fill": torch.zeros(2)}, "fill has the shape"),
        ({"model": nn.Identity()}, "logits are"),
    ):
        given = {"model": model, "x": x, "maps": maps, "steps": 3, **changed}
        with pytest.raises(ValueError, match=said):
            curve(**given)  # type: ignore[operator]


def test_curves_change_nothing() -> None:
    model, x = network().train(), batch(2, 9, 9).requires_grad_()
    maps = torch.rand(2, 9, 9).requires_grad_()
    copy, before = x.detach().clone(), deepcopy(model.state_dict())
    random = torch.get_rng_state()
    for curve in (f.deletion, f.insertion):
        assert not curve(model, x, maps, steps=3, batch=2, progress=True).area.requires_grad
    assert torch.equal(x, copy) and all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
