"""Synthesis: models whose best image is known, nothing left behind, scales, film, windows; and what is refused."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from cnnvis_helpers import networks, zoo
from cnnvis_helpers import objectives as o
from cnnvis_helpers.facets import centre_window, facet_means
from cnnvis_helpers.hooks import LayerError
from cnnvis_helpers.image_params import Fourier, Pixels, Yosinski, noise_start
from cnnvis_helpers.images import ImageError
from cnnvis_helpers.synthesis import (
    RECIPES,
    class_images,
    sixth_norm,
    synthesis_steps,
    synthesise,
    total_variation,
)


def identity(x: torch.Tensor) -> torch.Tensor:
    return x


def centred(x: torch.Tensor) -> torch.Tensor:
    return (x - 0.5) / 0.25


def linear(classes: int = 2, side: int = 4) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * side**2, classes))


def test_total_variation_by_hand() -> None:
    """Down: differences 2, 2 in channel 0; across: 1, 1. Channel and batch axes are never differenced."""
    image = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]], [[5.0, 5.0], [5.0, 5.0]]]])
    assert total_variation(image).tolist() == [(4 + 4) / 4 + (1 + 1) / 4]
    both = torch.cat([image, 0 * image])
    assert total_variation(both).tolist() == [2.5, 0.0]


def test_sixth_norm_by_hand() -> None:
    image = torch.tensor([0.0, 0.5, 0.75, 1.0]).view(1, 1, 2, 2)
    assert sixth_norm(image).item() == pytest.approx((1 + 0 + 0.5**6 + 1) / 4)


# --- class_images ----------------


def test_a_linear_model_is_maximised_where_its_weights_say() -> None:
    """Without penalties each pixel goes to the end of its range that its weight's sign names."""
    model = linear()
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
        model, [0], normalise=identity, size=3, steps=1500, rate=0.004, variation=50, extremes=1, jitter=2
    )
    # d/dc of the mean over three channels of (2(c − ½))⁶ is 12 (2(c − ½))⁵ / 3
    expected = [0.5 + 0.5 * (0.6 / 4) ** 0.2, 0.5 - 0.5 * (0.2 / 4) ** 0.2]
    torch.testing.assert_close(picture[0, :2].mean((1, 2)), torch.tensor(expected), atol=0.01, rtol=0)
    assert total_variation(picture).item() < 1e-4


def test_the_shipped_robust_network_recognises_its_class_images_with_certainty() -> None:
    net = zoo.load("photos/alexnet-robust")
    chosen = [net.classes.index(name) for name in ("panda", "pizza", "sunflower")]
    pictures = class_images(net.model, chosen, normalise=net.normalise, size=net.input_size, steps=60)
    assert (net.probabilities(pictures)[range(3), chosen] > 0.9).all()


# --- nothing is left behind ----------------


def test_images_repeat_and_the_model_is_left_as_it_was() -> None:
    """In training mode too: dropout and in-place ReLUs change nothing, no gradient is left on any parameter."""
    model = networks.alexnet(seed=1, conv1_init="he").train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    settings = {"normalise": identity, "size": 96, "steps": 3}
    one, two = (class_images(model, [2, 5], **settings) for _ in range(2))
    other = class_images(model, [2, 5], generator=torch.Generator().manual_seed(1), **settings)
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert one.min() >= 0 and one.max() <= 1 and not one.requires_grad
    assert torch.equal(one, class_images(model.eval(), [2, 5], **settings))
    model.train()
    with torch.no_grad():  # a caller's switch is no obstacle
        assert torch.equal(one, class_images(model, [2, 5], **settings))
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_an_interrupted_run_and_a_run_left_early_restore_the_model() -> None:
    class Interrupting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = linear(), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls > 4:
                raise KeyboardInterrupt
            return self.inner(x)

    model = Interrupting().train()
    wanted = o.logit(0) + o.unit("inner.1", 1)
    settings = {"normalise": identity, "size": 4}
    for step in synthesis_steps(model, wanted, **settings):
        if step.number == 2:
            break
        assert model.training and model.inner[1].weight.requires_grad  # between the steps, too
    with pytest.raises(KeyboardInterrupt):
        synthesise(model, wanted, **settings)
    assert model.training and model.inner.training and model.inner[1].weight.requires_grad
    assert not model.inner[1]._forward_hooks and not model._forward_pre_hooks
    assert model.inner[1].weight.grad is None


def test_the_global_generator_is_not_touched() -> None:
    state = torch.get_rng_state()
    synthesise(linear(), o.logit(0), normalise=centred, size=4, steps=3, jitter=1)
    assert torch.equal(state, torch.get_rng_state())


# --- the loop ----------------


def test_every_step_of_the_film_is_its_own() -> None:
    model, start = linear(), torch.full((3, 4, 4), 0.5)
    film = list(synthesis_steps(model, o.logit([0, 1]), normalise=identity, size=4, start=start, steps=5))
    assert [step.number for step in film] == [1, 2, 3, 4, 5]
    assert all(not torch.equal(a.images, b.images) for a, b in itertools.pairwise(film))
    expected = model(start.expand(2, 3, 4, 4))[[0, 1], [0, 1]]
    torch.testing.assert_close(film[0].values, expected)  # of the image before the step
    torch.testing.assert_close(film[1].values, model(film[0].images)[[0, 1], [0, 1]])
    last = synthesise(model, o.logit([0, 1]), normalise=identity, size=4, start=start, steps=5)
    assert torch.equal(last, film[-1].images)
    assert start.eq(0.5).all()


def test_plain_ascent_by_hand() -> None:
    """One step of SGD adds rate · gradient; with unit_gradient its root mean square is the rate in every image."""
    model, start = linear(), torch.full((2, 3, 4, 4), 0.5)
    settings = {"normalise": identity, "size": 4, "start": start, "steps": 1, "optimiser": torch.optim.SGD}
    wanted = o.each([o.logit(0), 100 * o.logit(1)])
    w = model[1].weight.detach().view(2, 3, 4, 4) * torch.tensor([1.0, 100.0]).view(2, 1, 1, 1)
    penalty = lambda x: 3 * o.alpha_norm(x, 2, 0.25)  # noqa: E731 - its gradient is 24 (x − ¼) / 48
    image = synthesise(model, wanted, rate=0.001, penalty=penalty, **settings)
    torch.testing.assert_close(image, start + 0.001 * (w - 24 * 0.25 / 48))
    image = synthesise(model, wanted, rate=0.01, unit_gradient=True, **settings)
    torch.testing.assert_close(image - start, 0.01 * w / w.square().mean((1, 2, 3), keepdim=True).sqrt())


def test_after_step_sees_the_distance_from_the_mean_colour_and_the_gradient_of_the_objective_alone() -> None:
    model, seen = linear(), []

    def held(x: torch.Tensor, gradient: torch.Tensor, number: int) -> torch.Tensor:
        seen.append((x, gradient, number))
        return x * 0

    image = synthesise(
        model,
        o.logit(1),
        normalise=centred,
        size=4,
        steps=2,
        start="zero",
        optimiser=torch.optim.SGD,
        penalty=lambda x: 5 * x.sum((1, 2, 3)),
        after_step=held,
    )
    assert image.eq(0.5).all() and [number for _, _, number in seen] == [1, 2]
    weight = model[1].weight.detach()[1].view(1, 3, 4, 4) / 0.25
    for x, gradient, _ in seen:
        torch.testing.assert_close(gradient, weight)
        torch.testing.assert_close(x, 0.01 * (weight - 5))


def test_yosinski_s_decay_is_simonyan_s_l2_penalty() -> None:
    model, settings = linear(), {"normalise": centred, "size": 4, "start": "zero", "steps": 4, "rate": 0.001}
    settings |= {"optimiser": torch.optim.SGD}
    penalty = lambda x: 50 * (x - 0.5).square().sum((1, 2, 3))  # noqa: E731 - a step shrinks x by 0.001 · 2 · 50
    one = synthesise(model, 0.1 * o.logit(0), penalty=penalty, **settings)
    two = synthesise(model, 0.1 / 0.9 * o.logit(0), after_step=Yosinski(decay=0.1), **settings)
    torch.testing.assert_close(one, two)


def test_a_window_scales_the_update_of_every_optimiser() -> None:
    window = torch.zeros(4, 4)
    window[1, 2], window[0, 0] = 1.0, 0.5
    start = torch.full((1, 3, 4, 4), 0.5)
    settings = {"normalise": identity, "size": 4, "start": start, "steps": 1}
    free = synthesise(linear(), o.logit(0), **settings) - start
    held = synthesise(linear(), o.logit(0), window=window, **settings) - start
    torch.testing.assert_close(held, free * window)


def test_scales_grow_and_the_images_always_have_the_full_size() -> None:
    seen: list[int] = []

    def penalty(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[-1])
        return total_variation(x)

    settings = {"normalise": identity, "size": 8, "steps": 6, "scales": (0.5, 0.75, 1), "penalty": penalty}
    film = list(synthesis_steps(linear(side=8), o.logit([0, 1]), **settings, jitter=2))
    assert seen == [4, 4, 6, 6, 8, 8]
    assert all(step.images.shape == (2, 3, 8, 8) for step in film)
    white = torch.ones(2, 3, 8, 8)  # interpolating rounds to above 1
    image = synthesise(linear(side=8), o.logit([0, 1]), **settings, start=white)
    assert image.max() <= 1


def test_jitter_moves_the_image_that_the_model_sees_and_not_the_one_that_is_kept() -> None:
    places = []

    class Looking(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            places.append(divmod(int(x[0, 0].flatten().argmax()), 8))
            return x.sum((2, 3))

    start = torch.zeros(1, 3, 8, 8)
    start[:, :, 4, 4] = 0.5
    settings = {"normalise": identity, "size": 8, "start": start, "rate": 1e-5, "steps": 60, "jitter": 2}
    image = synthesise(Looking(), o.logit(0), **settings)
    assert {row for row, _ in places} == {column for _, column in places} == {2, 3, 4, 5, 6}
    torch.testing.assert_close(image, start, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_raises_the_objective(name: str) -> None:
    body = [nn.Conv2d(3, 6, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*body, nn.Linear(6, 4, bias=False))  # sees the same wherever jitter moves it
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    wanted = 50 * o.logit([0, 3])
    film = list(synthesis_steps(model, wanted, normalise=centred, size=24, steps=30, **RECIPES[name]))
    assert (film[-1].values > film[0].values + 5).all()
    assert film[-1].images.min() >= 0 and film[-1].images.max() <= 1


def test_waves_find_the_same_optimum_as_pixels() -> None:
    """How the image is written down changes the way there; a concave problem has one optimum."""
    settings = {"normalise": identity, "size": 4, "steps": 300, "penalty": lambda x: 8 * o.alpha_norm(x, 2)}
    found = [synthesise(linear(), o.logit([0, 1]), params=way, **settings) for way in (Fourier, Pixels)]
    torch.testing.assert_close(*found, atol=0.01, rtol=0)


def test_diverse_images_of_one_channel_differ_more() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 4, 5)).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / 10)
    settings = {"normalise": centred, "size": 16, "count": 3, "steps": 60, "rate": 0.02}
    alike = synthesise(model, o.channel("2", 1), **settings)
    unlike = synthesise(model, o.channel("2", 1) + 2 * o.diversity("1"), **settings)
    measured = [o.evaluate(model, o.diversity("1"), centred(x)).mean().item() for x in (alike, unlike)]
    assert measured[1] > measured[0] + 0.05


# --- facets ----------------


def test_facet_means_by_hand() -> None:
    """Two groups of codes, 0 1 2 and 100 101; the mean is of the two nearest to the centre, the larger group first."""
    codes = np.array([[100.0], [0.0], [1.5], [101.0], [2.0]])
    images = torch.arange(5).view(5, 1, 1, 1).expand(5, 3, 2, 2) / 10
    means = facet_means(codes, images, 2, nearest=2)
    assert means.shape == (2, 3, 2, 2)
    assert means[:, 0, 0, 0].tolist() == pytest.approx([(0.2 + 0.4) / 2, (0.0 + 0.3) / 2])
    assert facet_means(torch.from_numpy(codes), images, 1)[0, 0, 0, 0].item() == pytest.approx(0.2)


def test_centre_window_by_hand() -> None:
    window = centre_window(3, 1 / 3)
    assert window.tolist() == [
        pytest.approx(row)
        for row in (
            [np.exp(-1), np.exp(-0.5), np.exp(-1)],
            [np.exp(-0.5), 1, np.exp(-0.5)],
            [np.exp(-1), np.exp(-0.5), np.exp(-1)],
        )
    ]


def test_facets_refuse() -> None:
    images = noise_start(4, 2)
    for codes in (np.zeros((3, 2)), np.zeros(4), np.full((4, 1), np.nan)):
        with pytest.raises(ValueError, match="finite table"):
            facet_means(codes, images)
    for settings in ({"facets": 5}, {"facets": 0}, {"facets": 2, "nearest": 0}):
        with pytest.raises(ValueError, match="There are 4 images"):
            facet_means(np.eye(4), images, **settings)
    with pytest.raises(ImageError, match="from 0 to 1"):
        facet_means(np.eye(4), images * 255)
    with pytest.raises(ValueError, match="above 0"):
        centre_window(4, 0)


# --- what is refused ----------------


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
        (Constant(), [0], {"size": 0}, "0 pixels|not 1 of size 0"),
        (Constant(), [0], {"jitter": -1}, "jitter -1"),
    ],
)
def test_refused(model: nn.Module, classes: list[int], settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        class_images(model, classes, **{"normalise": identity, "size": 4} | settings)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"objective": o.channel("9", 0)}, LayerError, "no layer '9'"),
        ({"objective": o.logit([0, 1]), "count": 3}, ValueError, r"count \(3\), objective \(2\)"),
        ({"count": 0}, ValueError, "one at least"),
        ({"start": torch.full((1, 3, 4, 4), 1.1)}, ImageError, "values from 0 to 1"),
        ({"start": torch.full((1, 3, 4, 4), torch.nan)}, ImageError, "NaN"),
        ({"start": torch.rand(1, 3, 5, 4)}, ValueError, r"\(N, 3, 4, 4\), not \(1, 3, 5, 4\)"),
        ({"start": "black"}, ValueError, "not 'black'"),
        ({"start": "zero", "normalise": lambda x: x + 1}, ValueError, "no image in"),
        ({"scales": ()}, ValueError, "grow to 1"),
        ({"scales": (1, 0.5)}, ValueError, "grow to 1"),
        ({"scales": (48, 96)}, ValueError, "shares of 4 pixels"),
        ({"scales": (0.5, 1), "steps": 1}, ValueError, "each scale"),
        ({"rate": 0}, ValueError, "rate is a number above 0"),
        ({"rate": float("nan")}, ValueError, "rate is a number above 0"),
        ({"window": torch.ones(3, 3)}, ValueError, r"window is \(4, 4\)"),
    ],
)
def test_bad_settings_raise_at_the_call(settings: dict, error: type[Exception], said: str) -> None:  # type: ignore[type-arg]
    settings = {"objective": o.logit(0), "normalise": identity, "size": 4} | settings
    with pytest.raises(error, match=said):
        synthesis_steps(linear(), settings.pop("objective"), **settings)


def test_a_dead_unit_is_named() -> None:
    """A ReLU that is never active has no gradient; ten steps of jitter may wake it, then it is reported."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([0.0, -100.0, 10.0]))
    steps = synthesis_steps(model, o.channel("1", [2, 1, 2]), normalise=identity, size=4)
    assert [next(steps).number for _ in range(9)] == list(range(1, 10))
    with pytest.raises(ValueError, match=r"mean 1\[\[2, 1, 2\]\].*no gradient for image 1:.*before the ReLU"):
        next(steps)
    assert synthesise(model, o.channel("0", 1), normalise=identity, size=4, steps=12).shape == (1, 3, 4, 4)


def test_an_objective_that_grows_without_bound_is_stopped() -> None:
    class Exploding(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.exp(200 * x.mean((2, 3)))

    with pytest.raises(ValueError, match=r"not finite.*smaller rate"):
        synthesise(Exploding(), o.logit(0), normalise=identity, size=4, rate=0.1)


def test_a_gradient_that_is_not_finite_is_stopped() -> None:
    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * 0).sum((2, 3)).sqrt()

    with pytest.raises(ValueError, match=r"gradient of logit 0.*not finite"):
        synthesise(Root(), o.logit(0), normalise=identity, size=4)
