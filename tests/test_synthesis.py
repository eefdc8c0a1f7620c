"""Class images: regularisers by hand, a linear model whose best image is known, and what is refused."""

import pytest
import torch
from torch import nn

from cnnvis_helpers import networks, zoo
from cnnvis_helpers.synthesis import class_images, sixth_norm, total_variation


def identity(x: torch.Tensor) -> torch.Tensor:
    return x


def test_total_variation_by_hand() -> None:
    """Down: differences 2, 2 in channel 0; across: 1, 1. Channel and batch axes are never differenced."""
    image = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]], [[5.0, 5.0], [5.0, 5.0]]]])
    assert total_variation(image).tolist() == [(4 + 4) / 4 + (1 + 1) / 4]
    both = torch.cat([image, 0 * image])
    assert total_variation(both).tolist() == [2.5, 0.0]


def test_sixth_norm_by_hand() -> None:
    image = torch.tensor([0.0, 0.5, 0.75, 1.0]).view(1, 1, 2, 2)
    assert sixth_norm(image).item() == pytest.approx((1 + 0 + 0.5**6 + 1) / 4)


def test_a_linear_model_is_maximised_where_its_weights_say() -> None:
    """Without penalties each pixel goes to the end of its range that its weight's sign names."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2))
    pictures = class_images(
        model, [0, 1, 0], normalise=identity, size=4, steps=150, rate=0.02, variation=0, extremes=0, jitter=0
    )
    for picture, number in zip(pictures, [0, 1, 0], strict=True):
        expected = (model[1].weight[number] > 0).float().view(3, 4, 4)
        assert torch.equal(picture, expected)


def test_the_optimum_with_both_penalties_has_no_gradient() -> None:
    """One pixel colour c: maximise w·c − (2|c − ½|)⁶/3 per channel; the derivative must vanish there."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1, bias=False))
    with torch.no_grad():
        model[2].weight[0] = torch.tensor([0.6, -0.2, 0.0])
    picture = class_images(
        model, [0], normalise=identity, size=3, steps=4000, rate=0.002, variation=50, extremes=1, jitter=2
    )
    # d/dc of the mean over three channels of (2(c − ½))⁶ is 12 (2(c − ½))⁵ / 3
    expected = [0.5 + 0.5 * (0.6 / 4) ** 0.2, 0.5 - 0.5 * (0.2 / 4) ** 0.2]
    torch.testing.assert_close(picture[0, :2].mean((1, 2)), torch.tensor(expected), atol=0.01, rtol=0)
    assert total_variation(picture).item() < 1e-4


def test_images_repeat_and_the_model_is_left_as_it_was() -> None:
    model = networks.alexnet(seed=1, conv1_init="he").train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    settings = {"normalise": identity, "size": 96, "steps": 3}
    one, two = (class_images(model, [2, 5], **settings) for _ in range(2))
    other = class_images(model, [2, 5], generator=torch.Generator().manual_seed(1), **settings)
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert one.min() >= 0 and one.max() <= 1 and not one.requires_grad
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_the_shipped_robust_network_recognises_its_class_images_with_certainty() -> None:
    net = zoo.load("photos/alexnet-robust")
    chosen = [net.classes.index(name) for name in ("panda", "pizza", "sunflower")]
    pictures = class_images(net.model, chosen, normalise=net.normalise, size=net.input_size, steps=60)
    assert (net.probabilities(pictures)[range(3), chosen] > 0.9).all()


class Constant(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), 2)


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 2, 3), keepdim=False)[:, None] * torch.nan


@pytest.mark.parametrize(
    ("model", "classes", "settings", "said"),
    [
        (Constant(), [0], {}, "nothing to climb"),
        (Broken(), [0], {}, "nothing to climb"),
        (Constant(), [2], {}, "no class 2"),
        (Constant(), [], {}, "not 0 classes"),
        (Constant(), [0], {"steps": 0}, "0 steps"),
        (Constant(), [0], {"jitter": -1}, "jitter -1"),
    ],
)
def test_refused(model: nn.Module, classes: list[int], settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        class_images(model, classes, normalise=identity, size=4, **settings)
