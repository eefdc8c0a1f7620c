"""Objectives and penalties by hand, against autograd, and in sums; and what is refused."""

import math

import pytest
import torch
from torch import nn

from cnnvis_helpers import objectives as o
from cnnvis_helpers.hooks import LayerError

# Two images, two channels, maps of 2 × 2: channel 0 of image 0 is 1, 2 / 3, 4, and so on.
MAPS = torch.tensor(
    [
        [[[1.0, 2.0], [3.0, 4.0]], [[0.0, -2.0], [0.0, 6.0]]],
        [[[0.0, 0.0], [0.0, 8.0]], [[5.0, 5.0], [5.0, 5.0]]],
    ]
)
VECTORS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
SEEN = {"maps": MAPS, "vectors": VECTORS, o.LOGITS: torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, 1.0]])}


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 5))


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (o.unit("maps", 0), [4.0, 8.0]),  # the middle of an even map is below and right of its centre
        (o.unit("maps", 1, (0, 1)), [-2.0, 5.0]),
        (o.unit("maps", [0, 1], (1, 0)), [3.0, 5.0]),
        (o.unit("vectors", [2, 0]), [3.0, 4.0]),
        (o.channel("maps", 0), [2.5, 2.0]),
        (o.channel("maps", [1, 0]), [1.0, 2.0]),
        (o.channel("vectors", 1), [2.0, 5.0]),
        (o.logit(2), [2.0, 1.0]),
        (o.logit([1, 0]), [-1.0, 3.0]),
        (o.layer("maps"), [(1 + 4 + 9 + 16 + 4 + 36) / 16, (64 + 100) / 16]),
        (o.layer("vectors"), [14 / 6, 77 / 6]),
        (o.direction("maps", [3, 4]), [(3 * 2.5 + 4 * 1) / 5, (3 * 2 + 4 * 5) / 5]),
        (o.direction("vectors", [0, 0, -2]), [-3.0, -6.0]),
        (o.diversity("vectors"), [-32 / math.sqrt(14 * 77)] * 2),
        # Gram matrices [[30, 20], [20, 40]] and [[64, 40], [40, 100]]
        (o.diversity("maps"), [-(30 * 64 + 2 * 20 * 40 + 40 * 100) / math.sqrt(3300 * 17296)] * 2),
        (o.each([o.channel("maps", 1), o.logit(0)]), [1.0, 3.0]),
        (o.logit(2) + 1, [3.0, 2.0]),
        (1 - o.logit(2), [-1.0, 0.0]),
        (-o.logit(2), [-2.0, -1.0]),
        (2 * o.logit([1, 0]) - 0.5 * o.channel("maps", 0), [-3.25, 5.0]),
        (o.logit(2) * o.logit(0), [1.0, 3.0]),
        (sum([o.logit(0), o.logit(1), o.logit(2)]), [1.5, 4.0]),
    ],
    ids=lambda value: value.about if isinstance(value, o.Objective) else "",
)
def test_by_hand(objective: o.Objective, expected: list[float]) -> None:
    assert objective(SEEN).tolist() == pytest.approx(expected)


def test_the_middle_of_an_odd_map_is_its_centre() -> None:
    assert o.unit("a", 0)({"a": torch.arange(15.0).view(1, 1, 3, 5)}).item() == 7


def test_diversity_of_three_images_leaves_each_out_of_its_own_mean() -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert o.diversity("a")({"a": a}).tolist() == [-0.5, 0.0, -0.5]


def test_the_gradient_of_layer_is_the_activation() -> None:
    """DeepDream: ½Σf² has the gradient f; ours is its mean."""
    a = MAPS.clone().requires_grad_()
    o.layer("a")({"a": a}).sum().backward()
    torch.testing.assert_close(a.grad, MAPS / 8, rtol=0, atol=0)


def test_evaluate_runs_the_model_once_and_the_gradient_is_autograd_s() -> None:
    """An in-place ReLU after the recorded convolution must not change what the objective sees."""
    model, x = small(), torch.randn(2, 3, 8, 8).requires_grad_()
    runs: list[int] = []
    model.register_forward_hook(lambda *_: runs.append(1))
    wanted = 2 * o.unit("0", [1, 3], (2, 4)) + o.logit([4, 0])
    values = o.evaluate(model, wanted, x)
    assert len(runs) == 1
    a = nn.functional.conv2d(x, model[0].weight, model[0].bias)
    y = model(x)
    expected = 2 * torch.stack([a[0, 1, 2, 4], a[1, 3, 2, 4]]) + torch.stack([y[0, 4], y[1, 0]])
    torch.testing.assert_close(values, expected)
    mine, theirs = (torch.autograd.grad(v.sum(), x)[0] for v in (values, expected))
    torch.testing.assert_close(mine, theirs)
    assert not model[0]._forward_hooks and mine.abs().sum() > 0


def test_only_objectives_of_logits_need_logits() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
            return self.inner(x), None

    model, x = Pair(), torch.randn(2, 3, 4, 4)
    assert o.evaluate(model, o.channel("inner", 1), x).shape == (2,)
    with pytest.raises(ValueError, match="returns a tuple"):
        o.evaluate(model, o.logit(0), x)


@pytest.mark.parametrize(
    ("objective", "error", "said"),
    [
        (o.channel("nothing", 0), LayerError, "no layer 'nothing'.*its layers are: 0, 1, 2, 3"),
        (o.channel("0", 4), ValueError, "'0' has channels 0 to 3: there is no 4"),
        (o.unit("0", -1), ValueError, "channels 0 to 3: there is no -1"),
        (o.unit("0", 1.5), ValueError, "whole number"),
        (o.unit("0", 1, (6, 0)), ValueError, r"rows 0 to 5 and columns 0 to 5: no place \(6, 0\)"),
        (o.unit("0", 1, (0, -1)), ValueError, "no place"),
        (o.unit("3", 1, (0, 1)), ValueError, "rows 0 to 0"),
        (o.logit(5), ValueError, "no class 5: the model has 5, numbered 0 to 4"),
        (o.logit([1, 2, 3]), ValueError, "for 3 images, not for 2"),
        (o.channel("0", [1, 2, 3]), ValueError, "for 3 images, not for 2"),
        (o.each([o.logit(0)]), ValueError, "for 1 images, not for 2"),
        (o.direction("0", [1, 2, 3]), ValueError, "has 4 channels; the direction has 3"),
        (o.unit("tokens", 0), LayerError, "units need maps"),
    ],
    ids=lambda value: value.about if isinstance(value, o.Objective) else "",
)
def test_refused_by_evaluate(objective: o.Objective, error: type[Exception], said: str) -> None:
    model: nn.Module = small()
    if objective.layers == {"tokens"}:
        model = nn.Sequential()
        model.add_module("tokens", nn.Flatten(2))  # (N, 3, 64)
    with pytest.raises(error, match=said):
        o.evaluate(model, objective, torch.randn(2, 3, 8, 8))


def test_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"is for 2 images and logit .* for 3"):
        o.logit([0, 1]) + o.logit([0, 1, 2])
    with pytest.raises(ValueError, match="At least one"):
        o.each([])
    for vector in ([0.0, 0.0], [math.nan, 1.0], [[1.0]]):
        with pytest.raises(ValueError, match="direction is a vector"):
            o.direction("0", vector)
    with pytest.raises(TypeError):
        o.logit(0) + "1"
    with pytest.raises(ValueError, match="two or more"):
        o.diversity("a")({"a": torch.ones(1, 3)})


def test_total_variation_by_hand() -> None:
    """Down: 3 and 8 in channel 0; across: 4 and 9. Channels and images are never differenced."""
    one = torch.tensor([[[0.0, 4.0], [3.0, 12.0]], [[5.0, 5.0], [5.0, 5.0]]])
    images = torch.stack([one, 0 * one])
    assert o.total_variation(images).tolist() == [(9 + 64) / 4 + (16 + 81) / 4, 0]
    # Lengths of (down, across): 5 at the top left, 8, 9, and 0 in the corner; two channels with two neighbours each.
    assert o.total_variation(images, 1).tolist() == [(5 + 8 + 9) / 4, 0]
    assert o.total_variation(images, 3).tolist() == pytest.approx([(125 + 512 + 729) / 4, 0])


def test_total_variation_of_wide_and_tall_images_sees_every_pair_of_neighbours() -> None:
    """A slip that differences channels against rows, or leaves a border out, changes these."""
    for shape in ((2, 3, 5), (3, 4, 2), (1, 1, 4)):
        image = torch.randn(1, *shape, dtype=torch.float64)
        channels, height, width = shape
        down = [
            (image[0, c, i + 1, j] - image[0, c, i, j]).item() ** 2
            for c in range(channels)
            for i in range(height - 1)
            for j in range(width)
        ]
        across = [
            (image[0, c, i, j + 1] - image[0, c, i, j]).item() ** 2
            for c in range(channels)
            for i in range(height)
            for j in range(width - 1)
        ]
        if down:
            expected = sum(down) / len(down) + sum(across) / len(across)
            assert o.total_variation(image).item() == pytest.approx(expected)
        per_direction = (len(down) + len(across)) / 2
        image.requires_grad_()
        general = o.total_variation(image, 2 + 1e-9)
        assert general.item() == pytest.approx(sum(down + across) / per_direction)
        assert torch.autograd.grad(general.sum(), image)[0].ne(0).all()


@pytest.mark.parametrize("beta", [1, 1.5, 2, 3])
def test_total_variation_has_a_gradient_of_zero_on_flat_images_and_is_right_elsewhere(beta: float) -> None:
    flat = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(o.total_variation(flat, beta).sum(), flat)[0].eq(0).all()
    image = torch.rand(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: o.total_variation(x, beta), image)


def test_a_step_costs_a_ramp_s_price_at_beta_1_and_more_at_beta_2() -> None:
    """Why β = 1 gives spikes: it does not mind over how many pixels a jump is spread."""
    step = torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(1, 1, 6, 6)
    ramp = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1]).expand(1, 1, 6, 6)
    assert o.total_variation(step, 1).item() == pytest.approx(o.total_variation(ramp, 1).item())
    assert o.total_variation(step, 2).item() == pytest.approx(5 * o.total_variation(ramp, 2).item())


def test_alpha_norm_by_hand() -> None:
    image = torch.tensor([0.0, 0.5, 0.75, 1.0]).view(1, 1, 2, 2)
    assert o.alpha_norm(image).item() == pytest.approx((1 + 0 + 0.5**6 + 1) / 4)
    assert o.sixth_norm(image).item() == o.alpha_norm(image, 6).item()
    assert o.alpha_norm(image, 2).item() == pytest.approx((1 + 0 + 0.25 + 1) / 4)
    assert o.alpha_norm(image, 1, centre=0.75).item() == pytest.approx((1.5 + 0.5 + 0 + 0.5) / 4)
    mean = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1)
    assert o.alpha_norm(mean.expand(2, 3, 4, 4), 2, mean).tolist() == [0.0, 0.0]
    assert o.pixel_penalty(4, 8)(image).item() == pytest.approx(
        4 * o.total_variation(image).item() + 8 * o.sixth_norm(image).item()
    )
    assert o.pixel_penalty(3, beta=1)(image).item() == pytest.approx(3 * o.total_variation(image, 1).item())


def test_penalties_refuse_powers_below_1() -> None:
    with pytest.raises(ValueError, match=r"beta is 1 or more, not 0\.5"):
        o.total_variation(torch.rand(1, 3, 4, 4), 0.5)
    with pytest.raises(ValueError, match="alpha is 1 or more, not 0"):
        o.alpha_norm(torch.rand(1, 3, 4, 4), 0)
